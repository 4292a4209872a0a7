//! BIRD in a node.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use super::READY;
use crate::process::run;
use crate::{Node, Process, wait_until};

/// One `bird`. Killed when dropped.
#[derive(Debug)]
pub struct Bird {
    process: Process,
    socket: PathBuf,
    config: PathBuf,
}

/// Follows the kernel's interfaces and puts every route that is not the kernel's own into its main table.
const BASE: &str = "log stderr all;\nprotocol device { scan time 1; }\n\
    protocol kernel { scan time 1; ipv4 { export where source != RTS_DEVICE; import none; }; }\n";

impl Bird {
    /// Starts BIRD with `config` besides the device and kernel protocols, and waits until it answers.
    pub fn start(node: &Node, config: &str) -> Result<Self> {
        let (file, socket) = (node.dir().join("bird.conf"), node.dir().join("bird.ctl"));
        // A killed one has left it behind.
        let _ = fs::remove_file(&socket);
        fs::write(&file, format!("{BASE}{config}"))?;
        run(Command::new("bird").arg("-p").arg("-c").arg(&file)).context("BIRD's configuration")?;
        let args = ["-f".as_ref(), "-c".as_ref(), file.as_os_str(), "-s".as_ref(), socket.as_os_str()];
        let process = node.spawn("bird", args)?;
        let mut bird = Self { process, socket, config: file };
        bird.process.wait_for_output("Started", READY)?;
        bird.wait("show status", "Daemon is up and running", READY)?;
        Ok(bird)
    }

    /// Another configuration in place of the first, taken by the running BIRD.
    pub fn reconfigure(&self, config: &str) -> Result<()> {
        fs::write(&self.config, format!("{BASE}{config}"))?;
        self.birdc("configure").map(drop)
    }

    /// `birdc COMMAND`; BIRD has no JSON.
    pub fn birdc(&self, command: &str) -> Result<String> {
        run(Command::new("birdc").arg("-s").arg(&self.socket).args(command.split_whitespace()))
    }

    /// Waits until the answer to `command` holds `text`; the error has the last one.
    pub fn wait(&self, command: &str, text: &str, deadline: Duration) -> Result<String> {
        let mut last = String::new();
        let waited = wait_until(&format!("{text:?} in BIRD's {command}"), deadline, || {
            last = self.birdc(command)?;
            Ok(last.contains(text))
        });
        waited.with_context(|| format!("{command}: {last}")).map(|()| last)
    }

    /// kill -9. What it put into the kernel stays, as it does in life.
    pub fn kill(self) {}
}
