//! FRRouting in a node.

use std::fs;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::READY;
use crate::process::{run, tail};
use crate::{Node, Process, wait_until};

/// Where Debian and FRR's own packages put the daemons.
const DAEMONS: &str = "/usr/lib/frr";
/// Each daemon makes a directory for crash logs here, named after its process id.
const CRASH_LOGS: &str = "/var/tmp/frr";
/// The account the daemons give their rights up to.
const ACCOUNT: &str = "frr";

/// zebra, staticd and others of FRR. Killed when dropped.
#[derive(Debug)]
pub struct Frr {
    node: Node,
    dir: PathBuf,
    daemons: Vec<(String, Process)>,
}

impl Frr {
    /// Starts zebra, staticd and `daemons` (`ripd`, `bfdd`, `ospfd`, `bgpd`, …) and configures them, in vtysh's words.
    /// A line that FRR does not understand is an error.
    pub fn start(node: &Node, daemons: &[&str], config: &str) -> Result<Self> {
        let dir = fresh_dir(node)?;
        let mut frr = Self { node: node.clone(), dir, daemons: Vec::new() };
        // Whoever starts before zebra listens tries again after ten seconds only.
        frr.launch("zebra")?;
        frr.wait_file("zserv.api")?;
        for daemon in ["staticd"].iter().chain(daemons) {
            frr.launch(daemon)?;
        }
        for daemon in ["zebra", "staticd"].iter().chain(daemons) {
            frr.wait_file(&format!("{daemon}.vty"))?;
        }
        frr.configure(config)?;
        Ok(frr)
    }

    fn launch(&mut self, daemon: &str) -> Result<()> {
        let path = |file: &str| self.dir.join(file).display().to_string();
        let mut args = vec![
            "-f".to_owned(),
            "/dev/null".to_owned(),
            "-z".to_owned(),
            path("zserv.api"),
            "--vty_socket".to_owned(),
            self.dir.display().to_string(),
            "-i".to_owned(),
            path(&format!("{daemon}.pid")),
            "-P0".to_owned(),
            "--log=stdout".to_owned(),
        ];
        if daemon == "bfdd" {
            args.extend(["--bfdctl".to_owned(), path("bfdd.sock")]);
        }
        let process = self.node.spawn(&format!("{DAEMONS}/{daemon}"), args)?;
        self.daemons.push((daemon.to_owned(), process));
        Ok(())
    }

    fn wait_file(&mut self, file: &str) -> Result<()> {
        let path = self.dir.join(file);
        let daemons = &mut self.daemons;
        wait_until(&format!("FRR's {file}"), READY, || {
            for (daemon, process) in daemons.iter_mut() {
                ensure!(process.is_running()?, "{daemon} has ended: {}", tail(&process.out(), 10));
            }
            Ok(path.exists())
        })
    }

    /// More lines of configuration.
    pub fn configure(&self, config: &str) -> Result<()> {
        let file = self.dir.join("config");
        fs::write(&file, config)?;
        self.run(&[Path::new("-f"), &file]).map(drop)
    }

    /// `vtysh -c COMMAND`
    pub fn vtysh(&self, command: &str) -> Result<String> {
        self.run(&["-c", command])
    }

    /// `vtysh -c "COMMAND json"`
    pub fn json(&self, command: &str) -> Result<Value> {
        let text = self.vtysh(&format!("{command} json"))?;
        serde_json::from_str(&text).with_context(|| format!("{command} json gave {text:?}"))
    }

    /// Waits until the JSON answer to `command` is as `look` wants it; the error has the last one.
    pub fn wait(&self, command: &str, deadline: Duration, look: impl Fn(&Value) -> bool) -> Result<Value> {
        let mut last = Value::Null;
        let waited = wait_until(&format!("FRR's {command}"), deadline, || {
            last = self.json(command)?;
            Ok(look(&last))
        });
        waited.with_context(|| format!("{command}: {last}")).map(|()| last)
    }

    /// kill -9 to all its daemons. What they put into the kernel stays, as it does in life.
    pub fn kill(self) {}

    pub fn node(&self) -> &Node {
        &self.node
    }

    fn run<S: AsRef<std::ffi::OsStr>>(&self, args: &[S]) -> Result<String> {
        run(Command::new("vtysh").arg("--vty_socket").arg(&self.dir).args(args))
    }
}

impl Drop for Frr {
    fn drop(&mut self) {
        for (daemon, process) in self.daemons.drain(..) {
            let crash_logs = Path::new(CRASH_LOGS).join(format!("{daemon}.{}", process.pid()));
            drop(process);
            // Not there where the daemon had not come so far.
            let _ = fs::remove_dir_all(crash_logs);
        }
    }
}

/// A directory that FRR's account may write to; another one for each start.
fn fresh_dir(node: &Node) -> Result<PathBuf> {
    let accounts = fs::read_to_string("/etc/passwd")?;
    let mut fields =
        accounts.lines().find_map(|line| line.strip_prefix(ACCOUNT)?.strip_prefix(':')).into_iter();
    let mut fields = fields.next().context("no account for FRR")?.split(':').skip(1);
    let mut id = || fields.next()?.parse::<u32>().ok();
    let (user, group) = (id().context("no user id")?, id().context("no group id")?);
    let dir = (0..)
        .map(|n: u32| node.dir().join(format!("frr{n}")))
        .find(|dir| !dir.exists())
        .context("no name for a directory")?;
    fs::create_dir(&dir)?;
    chown(&dir, Some(user), Some(group))?;
    Ok(dir)
}
