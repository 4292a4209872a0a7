//! `millrace run`: starts the dataplane and the routing process, and keeps them running.
//!
//! ```text
//!            ┌── died ──▶ back-off ──┐
//!   start ──▶ running ◀──────────────┘     exit code 2: the configuration is wrong, everything stops
//!               │ SIGHUP ──▶ to control     never ready and dying again and again: everything stops
//!               │ SIGTERM, SIGINT
//!               ▼
//!            control stops, then the dataplane, then this
//! ```

use std::io::{self, IsTerminal};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use hyper::Method;
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until, timeout};

use super::client::Client;
use super::exit::{Error, Exit};
use super::notify::Notify;
use super::out::pause;
use crate::config;
use crate::http::RunDirLock;

/// A program that ran this long was not broken from the start.
const SETTLED: Duration = Duration::from_secs(10);
/// Between two starts of a program that keeps dying: doubled each time, from the first to the second.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(10));
/// Deaths in a row after which a router that was never ready gives up.
const HOPELESS: u32 = 5;
/// A program that has not ended this long after SIGTERM is killed.
const STOP_PATIENCE: Duration = Duration::from_secs(10);
/// How often it is looked whether the router is ready.
const READY_POLL: Duration = Duration::from_millis(100);
/// The routing process answers within this, or something is wrong with it.
const ANSWER: Duration = Duration::from_secs(2);

pub(super) fn run(config: &Path, run_dir: &Path) -> Result<Exit, Error> {
    // In a directory of its own choice a child would look for relative names elsewhere.
    let absolute =
        |path: &Path| std::path::absolute(path).map_err(|error| Error::File { path: path.to_owned(), error });
    let (config, run_dir) = (absolute(config)?, absolute(run_dir)?);
    let loaded = config::load(&config)?;
    start_log();
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    make_run_dir(&run_dir).map_err(|error| Error::File { path: run_dir.clone(), error })?;
    let lock = RunDirLock::take(&run_dir, "run.lock")
        .map_err(|error| Error::File { path: run_dir.clone(), error })?;
    let Some(_lock) = lock else {
        let dir = run_dir.display();
        return Err(Error::Failed(format!(
            "another `millrace run` uses {dir}: choose another directory with --run-dir"
        )));
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Error::Failed(format!("no runtime: {error}")))?;
    runtime.block_on(async {
        let mut supervisor = Supervisor::new(&config, &run_dir)?;
        let result = supervisor.supervise().await;
        supervisor.stop().await;
        result
    })
}

fn start_log() {
    use tracing_subscriber::EnvFilter;
    let filter = EnvFilter::try_from_env("MILLRACE_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let colors = io::stderr().is_terminal();
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_ansi(colors).with_writer(io::stderr);
    // The journal has its own clock.
    if std::env::var_os("JOURNAL_STREAM").is_some() { log.without_time().init() } else { log.init() }
}

fn make_run_dir(dir: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new().recursive(true).mode(0o750).create(dir)
}

/// One of the two programs.
struct Program {
    name: &'static str,
    path: PathBuf,
    args: Vec<std::ffi::OsString>,
    child: Option<Child>,
    started: Instant,
    /// Deaths in a row, each soon after the start.
    failures: u32,
    /// When it is to be started again.
    restart_at: Option<Instant>,
}

impl Program {
    fn new(name: &'static str, args: Vec<std::ffi::OsString>) -> Result<Self, Error> {
        let own = std::env::current_exe()
            .map_err(|error| Error::Failed(format!("no path to this program: {error}")))?;
        let path = own.with_file_name(name);
        if !path.is_file() {
            return Err(Error::Failed(format!(
                "{} is not there: millrace, millrace-control and millrace-dataplane belong into one directory",
                path.display()
            )));
        }
        Ok(Self { name, path, args, child: None, started: Instant::now(), failures: 0, restart_at: None })
    }

    fn start(&mut self) -> io::Result<()> {
        let mut command = std::process::Command::new(&self.path);
        // In a process group of its own, so that Ctrl-C reaches this process only, which stops both in order.
        command.args(&self.args).stdin(Stdio::null()).env_remove("NOTIFY_SOCKET").env_remove("WATCHDOG_USEC");
        command.process_group(0);
        let mut command = Command::from(command);
        self.child = Some(command.kill_on_drop(true).spawn()?);
        self.started = Instant::now();
        self.restart_at = None;
        Ok(())
    }

    /// Waits for its end while it runs, else for the time to start it again; never ends for one that is to stay away.
    async fn next(&mut self) -> Turn {
        match (&mut self.child, self.restart_at) {
            (Some(child), _) => Turn::Ended(child.wait().await),
            (None, Some(at)) => {
                sleep_until(at).await;
                Turn::Due
            }
            (None, None) => std::future::pending().await,
        }
    }

    fn signal(&self, signal: Signal) {
        let id = self.child.as_ref().and_then(Child::id).and_then(|id| i32::try_from(id).ok());
        let Some(pid) = id.and_then(Pid::from_raw) else { return };
        if let Err(error) = kill_process(pid, signal) {
            tracing::warn!(%error, "{} cannot be signalled", self.name);
        }
    }

    /// Notes a death; gives the pause until the next start.
    fn plan_restart(&mut self) -> Duration {
        self.child = None;
        self.failures = if self.started.elapsed() < SETTLED { self.failures + 1 } else { 0 };
        let pause = match self.failures {
            0 => Duration::ZERO,
            n => BACK_OFF.0.saturating_mul(1 << (n - 1).min(16)).min(BACK_OFF.1),
        };
        self.restart_at = Some(Instant::now() + pause);
        pause
    }

    async fn stop(&mut self) {
        self.signal(Signal::TERM);
        let Some(child) = &mut self.child else { return };
        if timeout(STOP_PATIENCE, child.wait()).await.is_err() {
            tracing::warn!("{} does not end: killed", self.name);
            if let Err(error) = child.kill().await {
                tracing::warn!(%error, "{} cannot be killed", self.name);
            }
        }
        self.child = None;
    }
}

/// What a program's supervision comes to next.
enum Turn {
    Ended(io::Result<ExitStatus>),
    Due,
}

/// How a program ended, in words.
fn ending(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => status.to_string(),
    }
}

struct Supervisor {
    dataplane: Program,
    control: Program,
    client: Client,
    notify: Notify,
    ready: bool,
    /// How often the service manager wants to hear that all is well.
    watchdog: Option<Duration>,
}

/// What happened.
enum Event {
    Turn(Which, Turn),
    Reload,
    Stop(&'static str),
    LookReady,
    Watchdog,
}

#[derive(Clone, Copy)]
enum Which {
    Dataplane,
    Control,
}

impl Supervisor {
    fn new(config: &Path, run_dir: &Path) -> Result<Self, Error> {
        let dir = || vec!["--run-dir".into(), run_dir.into()];
        let control = [vec!["-c".into(), config.into()], dir()].concat();
        let watchdog = std::env::var("WATCHDOG_USEC").ok().and_then(|text| text.parse().ok());
        Ok(Self {
            dataplane: Program::new("millrace-dataplane", dir())?,
            control: Program::new("millrace-control", control)?,
            client: Client::new(run_dir.to_owned()),
            notify: Notify::from_env(),
            ready: false,
            watchdog: watchdog.map(|usec: u64| Duration::from_micros(usec / 2)),
        })
    }

    fn program(&mut self, which: Which) -> &mut Program {
        match which {
            Which::Dataplane => &mut self.dataplane,
            Which::Control => &mut self.control,
        }
    }

    async fn supervise(&mut self) -> Result<Exit, Error> {
        let io = |error: io::Error| Error::Failed(format!("signals cannot be received: {error}"));
        let mut hangup = signal(SignalKind::hangup()).map_err(io)?;
        let mut terminate = signal(SignalKind::terminate()).map_err(io)?;
        let mut interrupt = signal(SignalKind::interrupt()).map_err(io)?;
        let mut poll = interval(READY_POLL);
        poll.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut watchdog = interval(self.watchdog.unwrap_or(Duration::from_secs(3600)));
        for which in [Which::Dataplane, Which::Control] {
            self.start(which)?;
        }
        loop {
            let event = tokio::select! {
                turn = self.dataplane.next() => Event::Turn(Which::Dataplane, turn),
                turn = self.control.next() => Event::Turn(Which::Control, turn),
                _ = hangup.recv() => Event::Reload,
                _ = terminate.recv() => Event::Stop("SIGTERM"),
                _ = interrupt.recv() => Event::Stop("SIGINT"),
                _ = poll.tick(), if !self.ready => Event::LookReady,
                _ = watchdog.tick(), if self.watchdog.is_some() => Event::Watchdog,
            };
            match event {
                Event::Turn(which, Turn::Ended(status)) => self.ended(which, status)?,
                Event::Turn(which, Turn::Due) => self.start(which)?,
                Event::Reload => {
                    tracing::info!("SIGHUP: the configuration is read again");
                    self.control.signal(Signal::HUP);
                }
                Event::Stop(signal) => {
                    tracing::info!("{signal}: stopping");
                    return Ok(Exit::Done);
                }
                Event::LookReady => self.look_ready().await,
                Event::Watchdog if self.healthy().await => self.notify.send("WATCHDOG=1"),
                Event::Watchdog => tracing::warn!("the routing process does not answer"),
            }
        }
    }

    fn start(&mut self, which: Which) -> Result<(), Error> {
        let program = self.program(which);
        program
            .start()
            .map_err(|error| Error::Failed(format!("{} cannot be started: {error}", program.path.display())))
    }

    fn ended(&mut self, which: Which, status: io::Result<ExitStatus>) -> Result<(), Error> {
        let ready = self.ready;
        let program = self.program(which);
        let name = program.name;
        let status =
            status.map_err(|error| Error::Failed(format!("{name} cannot be waited for: {error}")))?;
        if status.code() == Some(Exit::Usage as i32) {
            return Err(Error::Child(format!(
                "{name} says that the configuration is wrong; its reasons are above"
            )));
        }
        let pause_for = program.plan_restart();
        if !ready && HOPELESS <= program.failures {
            let failures = program.failures;
            return Err(Error::Failed(format!(
                "{name} has ended {failures} times in a row before the router was ready; its reasons are above"
            )));
        }
        let how = ending(status);
        tracing::error!("{name} has ended ({how}); it is started again in {}", pause(pause_for));
        Ok(())
    }

    /// The router is ready when the dataplane has everything the routing process knows.
    async fn look_ready(&mut self) {
        let Some(status) = self.ask("/api/v1/status").await else { return };
        if status["fib"]["state"] == "synced" && status["rib"]["loading"] == false {
            self.ready = true;
            tracing::info!("ready");
            self.notify.send("READY=1");
        }
    }

    async fn healthy(&self) -> bool {
        self.ask("/api/v1/version").await.is_some()
    }

    async fn ask(&self, path: &str) -> Option<serde_json::Value> {
        use http_body_util::BodyExt;
        let answer = async {
            let response = self.client.request(Method::GET, path, None).await.ok()?;
            let body = response.into_body().collect().await.ok()?;
            serde_json::from_slice(&body.to_bytes()).ok()
        };
        timeout(ANSWER, answer).await.ok()?
    }

    /// Control first: it takes its routes back while the dataplane still forwards.
    async fn stop(&mut self) {
        self.notify.send("STOPPING=1");
        self.control.stop().await;
        self.dataplane.stop().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn program() -> Program {
        Program {
            name: "stub",
            path: PathBuf::new(),
            args: Vec::new(),
            child: None,
            started: Instant::now(),
            failures: 0,
            restart_at: None,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn pauses_grow_and_are_forgotten_after_a_good_run() {
        let mut program = program();
        let mut pauses = Vec::new();
        for _ in 0..9 {
            pauses.push(program.plan_restart().as_millis());
            program.started = Instant::now();
        }
        assert_eq!(pauses, [100, 200, 400, 800, 1600, 3200, 6400, 10_000, 10_000]);
        tokio::time::advance(SETTLED).await;
        assert_eq!(program.plan_restart(), Duration::ZERO);
        assert_eq!(program.failures, 0);
    }
}
