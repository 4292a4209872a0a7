//! A process in the background: its output in files, its end tied to the value's.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

use crate::wait::{wait_for, wait_until};

/// Killed when dropped.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    out: PathBuf,
    err: PathBuf,
}

impl Process {
    /// Starts `command` with nothing on stdin, stdout in `DIR/NAME.out` and stderr in `DIR/NAME.err`.
    pub fn spawn(dir: &Path, name: &str, mut command: Command) -> Result<Self> {
        let out = dir.join(format!("{name}.out"));
        let err = dir.join(format!("{name}.err"));
        let child = command
            .stdin(Stdio::null())
            .stdout(File::create(&out).with_context(|| format!("cannot write {}", out.display()))?)
            .stderr(File::create(&err)?)
            .spawn()
            .with_context(|| format!("cannot start {command:?}"))?;
        Ok(Self { name: name.to_owned(), child, out, err })
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it has written to stdout so far.
    pub fn out(&self) -> String {
        read(&self.out)
    }

    /// What it has written to stderr so far.
    pub fn err(&self) -> String {
        read(&self.err)
    }

    pub fn is_running(&mut self) -> Result<bool> {
        Ok(self.child.try_wait()?.is_none())
    }

    pub fn signal(&self, signal: Signal) -> Result<()> {
        send(self.pid(), signal).with_context(|| format!("cannot signal {}", self.name))
    }

    /// Waits until stdout or stderr holds `text`.
    pub fn wait_for_output(&mut self, text: &str, deadline: Duration) -> Result<()> {
        let what = format!("{text:?} from {}", self.name);
        wait_until(&what, deadline, || {
            if self.out().contains(text) || self.err().contains(text) {
                return Ok(true);
            }
            if let Some(status) = self.child.try_wait()? {
                bail!("{} ended with {status}: {}", self.name, tail(&self.err(), 10));
            }
            Ok(false)
        })
    }

    pub fn wait(&mut self, deadline: Duration) -> Result<ExitStatus> {
        wait_for(&format!("{} to end", self.name), deadline, || Ok(self.child.try_wait()?))
    }

    /// Waits for the end, takes a non-zero exit for an error, and gives stdout.
    pub fn finish(&mut self, deadline: Duration) -> Result<String> {
        let status = self.wait(deadline)?;
        if !status.success() {
            bail!("{} ended with {status}: {}{}", self.name, tail(&self.err(), 10), tail(&self.out(), 10));
        }
        Ok(self.out())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail only when it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Sends `signal` to the process `pid`; an error when there is none.
pub(crate) fn send(pid: u32, signal: Signal) -> Result<()> {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).context("not a process id")?;
    Ok(kill_process(pid, signal)?)
}

/// The last `lines` lines of `text`.
pub(crate) fn tail(text: &str, lines: usize) -> String {
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}

fn read(path: &Path) -> String {
    fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
}

/// Runs `command` to its end; a non-zero exit is an error that carries what it wrote. Gives stdout.
pub(crate) fn run(command: &mut Command) -> Result<String> {
    let output =
        command.stdin(Stdio::null()).output().with_context(|| format!("cannot start {command:?}"))?;
    if !output.status.success() {
        let said = [output.stderr, output.stdout].map(|s| String::from_utf8_lossy(&s).trim().to_owned());
        bail!("{command:?} ended with {}: {}", output.status, said.join("\n"));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
