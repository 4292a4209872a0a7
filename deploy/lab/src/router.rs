//! Millrace in a node: `millrace run`, its sockets and its two children.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use rustix::process::Signal;
use serde_json::Value;

use crate::process::send;
use crate::{Node, Process, wait_for, wait_until};

/// From start to the last interface in service. Debug builds on a busy machine with two processors need most of it.
const READY: Duration = Duration::from_secs(30);

/// The processes `millrace run` supervises.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Child {
    Control,
    Dataplane,
}

impl Child {
    fn program(self) -> &'static str {
        match self {
            Self::Control => "millrace-control",
            Self::Dataplane => "millrace-dataplane",
        }
    }
}

/// A running Millrace. Killed when dropped; [`Router::stop`] ends it as an operator would.
#[derive(Debug)]
pub struct Router {
    node: Node,
    run: Process,
    config: PathBuf,
    run_dir: PathBuf,
}

/// Configuration text: these interfaces in service with as little else as goes, then `rest`.
pub fn config(interfaces: &[&str], rest: &str) -> String {
    let ports: String = interfaces.iter().map(|name| format!("[[interface]]\nname = \"{name}\"\n")).collect();
    format!("[dataplane]\nworkers = [{}]\nframes = 4096\n{ports}{rest}", next_cpu())
}

/// Several routers on one machine take turns on its processors.
fn next_cpu() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    (std::process::id() as usize + NEXT.fetch_add(1, Ordering::Relaxed)) % cpus
}

/// The `millrace` beside this program: cargo puts tests in `deps/` under the binaries.
pub fn millrace() -> Result<PathBuf> {
    let exe = std::env::current_exe().context("no path to this program")?;
    let beside = exe.ancestors().skip(1).take(2).map(|dir| dir.join("millrace")).find(|path| path.is_file());
    beside.with_context(|| {
        format!("no `millrace` beside {}: `cargo build --workspace --bins` makes it", exe.display())
    })
}

impl Router {
    /// Writes the configuration, starts `millrace run` in the node, and waits until every interface is in service
    /// and all routes are in the FIB.
    pub fn start(node: &Node, config: &str) -> Result<Self> {
        let mut router = Self::launch(node, config)?;
        router.wait_ready()?;
        Ok(router)
    }

    /// Starts it and does not wait.
    pub fn launch(node: &Node, config: &str) -> Result<Self> {
        Self::launch_as(node, "millrace", config)
    }

    /// Starts it under a name of its own, for a node with several; does not wait.
    pub fn launch_as(node: &Node, name: &str, config: &str) -> Result<Self> {
        Self::launch_with(node, name, config, &[])
    }

    /// The same with environment variables that are paths.
    pub fn launch_with(node: &Node, name: &str, config: &str, environment: &[(&str, &Path)]) -> Result<Self> {
        let (file, run_dir) = (node.dir().join(format!("{name}.toml")), node.dir().join(name));
        fs::write(&file, config)?;
        fs::create_dir_all(&run_dir)?;
        let program = millrace()?;
        let args = [Path::new("run"), Path::new("-c"), &file, Path::new("--run-dir"), &run_dir];
        let mut command = node.command(program, args);
        command.envs(environment.iter().copied());
        let run = Process::spawn(node.dir(), name, command)?;
        Ok(Self { node: node.clone(), run, config: file, run_dir })
    }

    pub fn node(&self) -> &Node {
        &self.node
    }

    pub fn is_running(&mut self) -> Result<bool> {
        self.run.is_running()
    }

    /// What the three processes have logged so far.
    pub fn log(&self) -> String {
        self.run.err() + &self.run.out()
    }

    /// Waits until every configured interface is in service and the FIB has what the RIB has.
    pub fn wait_ready(&mut self) -> Result<()> {
        let mut last = String::new();
        wait_until("Millrace to be ready", READY, || {
            ensure!(self.run.is_running()?, "`millrace run` has ended");
            match self.ready() {
                Ok(()) => return Ok(true),
                Err(why) => last = format!("{why:#}"),
            }
            Ok(false)
        })
        .with_context(|| format!("it says: {last}\n{}", crate::process::tail(&self.log(), 20)))
    }

    /// An error says what is missing.
    fn ready(&self) -> Result<()> {
        let interfaces = self.get_json("/api/v1/interfaces")?;
        let interfaces = interfaces.as_array().context("/api/v1/interfaces is no list")?;
        ensure!(!interfaces.is_empty(), "no interface yet");
        for interface in interfaces {
            if let Some(problem) = interface["problem"].as_str() {
                bail!("{}: {problem}", interface["name"]);
            }
            ensure!(
                interface["queues"].as_array().is_some_and(|queues| !queues.is_empty()),
                "{} has no socket",
                interface["name"]
            );
        }
        ensure!(self.is_synced()?, "routes are still on their way");
        Ok(())
    }

    /// Whether the FIB has what the RIB has, and the RIB all of the configuration.
    pub fn is_synced(&self) -> Result<bool> {
        let status = self.get_json("/api/v1/status")?;
        Ok(status["fib"]["state"] == "synced" && status["rib"]["loading"] == false)
    }

    /// `millrace show WORDS… --json`.
    pub fn show(&self, words: &str) -> Result<Value> {
        let args = ["show"].into_iter().chain(words.split_whitespace()).chain(["--json"]);
        let output = self.millrace(args)?;
        let text = String::from_utf8_lossy(&output.stdout);
        ensure!(output.status.success(), "show {words}: {}", String::from_utf8_lossy(&output.stderr).trim());
        serde_json::from_str(&text).with_context(|| format!("show {words} --json gave {text:?}"))
    }

    /// One named number of `show counters --json`, as in `count("drops", "no-route")`.
    pub fn count(&self, group: &str, name: &str) -> Result<u64> {
        let counters = self.show("counters")?;
        counters[group][name].as_u64().with_context(|| format!("no {group}.{name} in {counters}"))
    }

    /// The table a person sees.
    pub fn show_text(&self, words: &str) -> Result<String> {
        let output = self.millrace(["show"].into_iter().chain(words.split_whitespace()))?;
        ensure!(output.status.success(), "show {words}: {}", String::from_utf8_lossy(&output.stderr).trim());
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Any other command of the CLI, talking to this router.
    pub fn millrace<'a>(&self, args: impl IntoIterator<Item = &'a str>) -> Result<Output> {
        let mut command = Command::new(millrace()?);
        command.args(args).env("MILLRACE_RUN_DIR", &self.run_dir).stdin(Stdio::null());
        command.output().with_context(|| format!("cannot start {command:?}"))
    }

    /// A GET on the control socket.
    pub fn get(&self, path: &str) -> Result<String> {
        let mut socket = UnixStream::connect(self.run_dir.join("control.sock")).context("control.sock")?;
        write!(socket, "GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n")?;
        let mut answer = String::new();
        socket.read_to_string(&mut answer)?;
        let (head, body) = answer.split_once("\r\n\r\n").context("half an answer")?;
        ensure!(
            head.starts_with("HTTP/1.") && head.contains(" 200 "),
            "GET {path}: {}",
            head.lines().next().unwrap_or_default()
        );
        Ok(body.to_owned())
    }

    /// A GET on the control socket that is answered with JSON.
    pub fn get_json(&self, path: &str) -> Result<Value> {
        let body = self.get(path)?;
        serde_json::from_str(&body).with_context(|| format!("GET {path} gave {body:?}"))
    }

    /// The value of one sample of `/metrics`, by name with labels as written there.
    pub fn metric(&self, sample: &str) -> Result<f64> {
        let text = self.get("/metrics")?;
        let line = text.lines().find_map(|line| line.strip_prefix(sample)?.strip_prefix(' '));
        let value = line.with_context(|| format!("no {sample} in /metrics"))?;
        value.parse().with_context(|| format!("{sample} is {value}"))
    }

    /// Overwrites the configuration file that `millrace run` was given.
    pub fn write_config(&self, config: &str) -> Result<()> {
        fs::write(&self.config, config).map_err(Into::into)
    }

    /// Where its sockets are.
    pub fn run_dir(&self) -> &Path {
        &self.run_dir
    }

    pub fn config_file(&self) -> &Path {
        &self.config
    }

    /// Process id of one of the children.
    pub fn pid(&self, child: Child) -> Result<u32> {
        find_child(self.run.pid(), child.program())?
            .with_context(|| format!("{} does not run", child.program()))
    }

    /// Signals `millrace run` itself.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        self.run.signal(signal)
    }

    /// kill -9, and gone when this returns; gives the process id it had.
    pub fn kill(&self, child: Child) -> Result<u32> {
        let pid = self.pid(child)?;
        send(pid, Signal::KILL)?;
        wait_until("the killed process to be gone", READY, || Ok(is_gone(pid)))?;
        Ok(pid)
    }

    /// Waits for a successor of the child that had this process id.
    pub fn wait_successor(&self, child: Child, of: u32) -> Result<u32> {
        let what = format!("a new {}", child.program());
        wait_for(&what, READY, || Ok(find_child(self.run.pid(), child.program())?.filter(|pid| *pid != of)))
    }

    /// SIGTERM, and the end of it.
    pub fn stop(mut self) -> Result<()> {
        self.run.signal(Signal::TERM)?;
        let status = self.run.wait(READY)?;
        ensure!(status.success(), "`millrace run` ended with {status}");
        Ok(())
    }
}

impl Drop for Router {
    fn drop(&mut self) {
        // Its children, once orphaned, are nobody's: they go first.
        let _ = self.run.signal(Signal::STOP);
        for child in [Child::Control, Child::Dataplane] {
            if let Ok(pid) = self.pid(child) {
                let _ = send(pid, Signal::KILL);
            }
        }
    }
}

/// The child of `parent` that runs `program`.
fn find_child(parent: u32, program: &str) -> Result<Option<u32>> {
    for entry in fs::read_dir("/proc")?.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        let Some((state, of)) = state_and_parent(pid) else { continue };
        let exe = fs::read_link(entry.path().join("exe")).unwrap_or_default();
        if of == parent && state != 'Z' && exe.file_name().is_some_and(|name| name == program) {
            return Ok(Some(pid));
        }
    }
    Ok(None)
}

/// Ended, whether or not its parent has asked.
fn is_gone(pid: u32) -> bool {
    state_and_parent(pid).is_none_or(|(state, _)| state == 'Z')
}

/// From /proc/PID/stat; none when there is no such process.
fn state_and_parent(pid: u32) -> Option<(char, u32)> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = stat.rsplit_once(") ")?.1.split(' ');
    Some((fields.next()?.chars().next()?, fields.next()?.parse().ok()?))
}
