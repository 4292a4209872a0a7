//! ExaBGP in a node: a speaker without a table, which says what it is configured to and writes down what it hears.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::process::tail;
use crate::{Node, Process, wait_until};

/// One `exabgp` with one neighbour. Killed when dropped.
#[derive(Debug)]
pub struct Exabgp {
    process: Process,
    heard: PathBuf,
}

impl Exabgp {
    /// Starts ExaBGP as a neighbour of `peer`, with these lines of configuration in its `neighbor`.
    pub fn start(node: &Node, peer: &str, config: &str) -> Result<Self> {
        let path = |name: &str| node.dir().join(name);
        let (file, script, heard) = (path("exabgp.conf"), path("exabgp.sh"), path("exabgp.json"));
        // ExaBGP runs this and tells it everything, a line of JSON each. The shell stays: to ExaBGP the script has ended
        // when nobody has its output open.
        fs::write(&script, format!("#!/bin/sh\ncat >{}\nexit\n", heard.display()))?;
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755))?;
        let text = format!(
            "process heard {{ run {}; encoder json; }}\nneighbor {peer} {{\n{config}\
             api {{ processes [ heard ]; receive {{ parsed; update; notification; }} neighbor-changes; }}\n}}\n",
            script.display()
        );
        fs::write(&file, text)?;
        let env = ["exabgp_daemon_user=root", "exabgp_api_cli=false", "exabgp"].map(Into::into);
        let process = node.spawn("env", env.into_iter().chain([file.into_os_string()]))?;
        Ok(Self { process, heard })
    }

    /// Waits until it has heard something that is as `look` wants it.
    pub fn wait(&mut self, what: &str, deadline: Duration, look: impl Fn(&Value) -> bool) -> Result<Value> {
        let mut found = None;
        let waited = wait_until(&format!("ExaBGP to hear {what}"), deadline, || {
            ensure!(self.process.is_running()?, "ExaBGP has ended: {}", tail(&self.process.out(), 10));
            found = self.heard().into_iter().find(&look);
            Ok(found.is_some())
        });
        waited.with_context(|| format!("of it all: {:#?}", self.heard()))?;
        found.context("nothing")
    }

    /// Everything it has heard, oldest first.
    fn heard(&self) -> Vec<Value> {
        let text = fs::read_to_string(&self.heard).unwrap_or_default();
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }
}
