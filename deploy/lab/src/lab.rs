//! The lab: a set of namespaces under one name, and their removal on every way out.
//!
//! Names are `mr-lab-PID-N-NODE`. A lab ends by `Drop` (also while panicking), by SIGINT, SIGTERM or SIGHUP, and
//! if its process was killed outright, by the sweep that the next lab begins with.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{self, Command};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, Once, PoisonError};

use anyhow::{Context, Result};
use rustix::process::Signal;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::node::{End, Node};
use crate::process::{run, send, tail};

const PREFIX: &str = "mr-lab-";

/// The labs of this process, for the signal thread.
static LABS: Mutex<Vec<String>> = Mutex::new(Vec::new());
static COUNT: AtomicU32 = AtomicU32::new(0);
static SIGNALS: Once = Once::new();

/// Removes all its namespaces and files when dropped, and kills what still runs in them.
#[derive(Debug)]
pub struct Lab {
    id: String,
    dir: PathBuf,
}

impl Lab {
    /// Needs root (or CAP_SYS_ADMIN and CAP_NET_ADMIN): see [`crate::missing`].
    pub fn new() -> Result<Self> {
        sweep();
        SIGNALS.call_once(watch_signals);
        let id = format!("{PREFIX}{}-{}", process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let dir = std::env::temp_dir().join(&id);
        LABS.lock().unwrap_or_else(PoisonError::into_inner).push(id.clone());
        fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
        Ok(Self { id, dir })
    }

    /// A namespace: lo up, forwarding off, no reverse-path filter, no IPv6 chatter.
    pub fn node(&self, name: &str) -> Result<Node> {
        let dir = self.dir.join(name);
        fs::create_dir(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
        Node::create(name, format!("{}-{name}", self.id), dir)
    }

    /// A veth pair between two nodes, both ends up and addressed.
    pub fn link(&self, a: End<'_>, b: End<'_>) -> Result<()> {
        run(Command::new("ip")
            .args(["link", "add", a.interface, "netns", a.node.namespace(), "type", "veth"])
            .args(["peer", "name", b.interface, "netns", b.node.namespace()]))?;
        for end in [a, b] {
            if let Some(address) = end.address {
                end.node.ip(&format!("address add {address} dev {}", end.interface))?;
            }
            end.node.ip(&format!("link set {} up", end.interface))?;
        }
        Ok(())
    }

    /// Where logs, configurations and captures are, one directory a node; goes with the lab.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The end of every log, for the report of a failure.
    pub fn logs(&self) -> String {
        let mut files: Vec<PathBuf> = Vec::new();
        for node in entries(&self.dir) {
            files.extend(
                entries(&node)
                    .into_iter()
                    .filter(|f| f.extension().is_some_and(|e| e == "err" || e == "out")),
            );
        }
        files.sort();
        let mut report = String::new();
        for file in files {
            let text = fs::read(&file).unwrap_or_default();
            let text = tail(String::from_utf8_lossy(&text).trim(), 25);
            if !text.is_empty() {
                report +=
                    &format!("── {}\n{text}\n", file.strip_prefix(&self.dir).unwrap_or(&file).display());
            }
        }
        report
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        remove(&self.id);
        LABS.lock().unwrap_or_else(PoisonError::into_inner).retain(|id| *id != self.id);
    }
}

/// Removes what processes that are no more have left behind; gives the names of the namespaces.
pub fn sweep() -> Vec<String> {
    let mut dead: Vec<String> = entries(Path::new("/run/netns"))
        .into_iter()
        .chain(entries(&std::env::temp_dir()))
        .filter_map(|path| {
            let name = path.file_name()?.to_str()?;
            let mut words = name.strip_prefix(PREFIX)?.splitn(3, '-');
            let (pid, n) = (words.next()?.parse::<u32>().ok()?, words.next()?.parse::<u32>().ok()?);
            (!Path::new(&format!("/proc/{pid}")).exists()).then(|| format!("{PREFIX}{pid}-{n}"))
        })
        .collect();
    dead.sort();
    dead.dedup();
    dead.iter().flat_map(|id| remove(id)).collect()
}

/// Ends all processes of one lab, then removes its namespaces and files. Does what it can: an error here is that
/// another process was quicker with the same leftovers.
fn remove(id: &str) -> Vec<String> {
    let namespaces: Vec<String> = entries(Path::new("/run/netns"))
        .into_iter()
        .filter_map(|path| Some(path.file_name()?.to_str()?.to_owned()))
        .filter(|name| name.strip_prefix(id).is_some_and(|rest| rest.starts_with('-')))
        .collect();
    for namespace in &namespaces {
        let pids = run(Command::new("ip").args(["netns", "pids", namespace])).unwrap_or_default();
        for pid in pids.lines().filter_map(|line| line.trim().parse().ok()) {
            let _ = send(pid, Signal::KILL);
        }
        let _ = run(Command::new("ip").args(["netns", "delete", namespace]));
    }
    let _ = fs::remove_dir_all(std::env::temp_dir().join(id));
    namespaces
}

/// From here on a signal that would end the process first removes its labs.
fn watch_signals() {
    let Ok(mut signals) = Signals::new([SIGINT, SIGTERM, SIGHUP]) else { return };
    std::thread::spawn(move || {
        for signal in signals.forever() {
            for id in LABS.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
                remove(&id);
            }
            let _ = signal_hook::low_level::emulate_default_handler(signal);
        }
    });
}

fn entries(dir: &Path) -> Vec<PathBuf> {
    fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
}
