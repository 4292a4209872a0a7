//! GoBGP in a node.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};

use super::READY;
use crate::process::run;
use crate::{Node, Process, wait_until};

/// Where it listens for `gobgp`; the namespace is its own.
const API: &str = "127.0.0.1:50051";

/// One `gobgpd`. Killed when dropped. It puts no routes into the kernel.
#[derive(Debug)]
pub struct Gobgp {
    node: Node,
    _process: Process,
}

impl Gobgp {
    /// Starts GoBGP with this configuration (TOML) and waits until it answers.
    pub fn start(node: &Node, config: &str) -> Result<Self> {
        let file = node.dir().join("gobgp.toml");
        fs::write(&file, config)?;
        let args = ["-f".as_ref(), file.as_os_str(), "--api-hosts".as_ref(), API.as_ref()];
        let gobgp = Self { node: node.clone(), _process: node.spawn("gobgpd", args)? };
        wait_until("GoBGP to answer", READY, || Ok(gobgp.gobgp("global").is_ok()))?;
        Ok(gobgp)
    }

    /// `gobgp COMMAND`
    pub fn gobgp(&self, command: &str) -> Result<String> {
        run(&mut self.node.command("gobgp", command.split_whitespace()))
    }

    /// Waits until the answer to `command` is as `look` wants it; the error has the last one.
    pub fn wait(&self, command: &str, deadline: Duration, look: impl Fn(&str) -> bool) -> Result<String> {
        let mut last = String::new();
        let waited = wait_until(&format!("GoBGP's {command}"), deadline, || {
            last = self.gobgp(command)?;
            Ok(look(&last))
        });
        waited.with_context(|| format!("{command}: {last}")).map(|()| last)
    }
}
