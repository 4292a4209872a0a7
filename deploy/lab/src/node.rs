//! A node of the lab: one network namespace.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::process::{Process, run};

/// No command of a lab takes longer than this.
const COMMAND: Duration = Duration::from_secs(120);

/// Cheap to clone; the namespace lives as long as its [`crate::Lab`].
#[derive(Clone, Debug)]
pub struct Node {
    name: String,
    namespace: String,
    dir: PathBuf,
    /// Numbers the log files.
    runs: Arc<AtomicU32>,
}

/// One end of a link to be.
#[derive(Clone, Copy, Debug)]
pub struct End<'a> {
    pub(crate) node: &'a Node,
    pub(crate) interface: &'a str,
    pub(crate) address: Option<&'a str>,
}

impl Node {
    pub(crate) fn create(name: &str, namespace: String, dir: PathBuf) -> Result<Self> {
        run(Command::new("ip").args(["netns", "add", &namespace]))?;
        let node = Self { name: name.to_owned(), namespace, dir, runs: Arc::default() };
        node.ip("link set lo up")?;
        node.sysctl(&[
            ("net.ipv6.conf.all.disable_ipv6", "1"),
            ("net.ipv6.conf.default.disable_ipv6", "1"),
            ("net.ipv4.conf.all.rp_filter", "0"),
            ("net.ipv4.conf.default.rp_filter", "0"),
            ("net.ipv4.ip_forward", "0"),
        ])?;
        Ok(node)
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// As `ip netns` knows it.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// Where its files are.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// An end of a link with an address (`10.0.1.2/24`).
    pub fn end<'a>(&'a self, interface: &'a str, address: &'a str) -> End<'a> {
        End { node: self, interface, address: Some(address) }
    }

    /// An end of a link without an address.
    pub fn bare<'a>(&'a self, interface: &'a str) -> End<'a> {
        End { node: self, interface, address: None }
    }

    /// `ip -n NAMESPACE WORDS…`; gives stdout.
    pub fn ip(&self, words: &str) -> Result<String> {
        run(Command::new("ip").args(["-n", &self.namespace]).args(words.split_whitespace()))
    }

    /// `ip -json …` of this namespace.
    pub fn ip_json(&self, words: &str) -> Result<Value> {
        let text = self.ip(&format!("-json {words}"))?;
        serde_json::from_str(if text.trim().is_empty() { "[]" } else { &text }).context("ip -json")
    }

    pub fn sysctl(&self, settings: &[(&str, &str)]) -> Result<()> {
        let script: String = settings
            .iter()
            .map(|(key, value)| format!("echo {value} >/proc/sys/{} || exit\n", key.replace('.', "/")))
            .collect();
        run(&mut self.command("sh", ["-c", &script])).map(drop)
    }

    /// The kernel of this node forwards: a plain Linux router.
    pub fn forwards(&self) -> Result<()> {
        self.sysctl(&[("net.ipv4.ip_forward", "1")])
    }

    /// A command that runs in this namespace.
    pub fn command<S: AsRef<OsStr>>(
        &self,
        program: impl AsRef<OsStr>,
        args: impl IntoIterator<Item = S>,
    ) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.namespace]).arg(program).args(args);
        command
    }

    /// Starts a program in this namespace, in the background.
    pub fn spawn<S: AsRef<OsStr>>(
        &self,
        program: &str,
        args: impl IntoIterator<Item = S>,
    ) -> Result<Process> {
        let base = Path::new(program).file_name().unwrap_or_default().to_string_lossy();
        let name = format!("{:02}-{base}", self.runs.fetch_add(1, Ordering::Relaxed));
        Process::spawn(&self.dir, &name, self.command(program, args))
    }

    /// Runs a program in this namespace to its end; a non-zero exit is an error. Gives stdout.
    pub fn run<S: AsRef<OsStr>>(&self, program: &str, args: impl IntoIterator<Item = S>) -> Result<String> {
        self.spawn(program, args)?.finish(COMMAND)
    }

    /// Runs `body` on a thread in this namespace. Sockets it makes are the namespace's and may be used anywhere.
    pub fn within<T: Send>(&self, body: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        let namespace = std::fs::File::open(format!("/run/netns/{}", self.namespace))?;
        std::thread::scope(|scope| {
            let thread = scope.spawn(move || {
                let kind = Some(rustix::thread::LinkNameSpaceType::Network);
                rustix::thread::move_into_link_name_space(std::os::fd::AsFd::as_fd(&namespace), kind)?;
                body()
            });
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// Packets and bytes an interface has sent and received, by the kernel's count, as `(rx, tx)`.
    pub fn packets(&self, interface: &str) -> Result<(u64, u64)> {
        let link = self.ip_json(&format!("-statistics link show dev {interface}"))?;
        let stats = &link[0]["stats64"];
        let of = |side: &str| stats[side]["packets"].as_u64().context("no packet counter in ip -s link");
        Ok((of("rx")?, of("tx")?))
    }
}
