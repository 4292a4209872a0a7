//! `millrace-control`: the routing process. Usually started by `millrace run`.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser;
use millrace_control::config::{ConfigError, Loaded};
use millrace_control::http::{Commits, Server};
use millrace_control::{config, record, runtime};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// Routes, next hops and the API of a Millrace router.
#[derive(Debug, Parser)]
#[command(name = "millrace-control", version)]
struct Args {
    /// The configuration file.
    #[arg(short, long, value_name = "FILE", default_value = "/etc/millrace/millrace.toml")]
    config: PathBuf,
    /// Where the sockets are.
    #[arg(long, value_name = "DIR", env = "MILLRACE_RUN_DIR", default_value = "/run/millrace")]
    run_dir: PathBuf,
    /// Record what the routing protocols are told, keys included, for `millrace replay`.
    #[arg(long, value_name = "DIR", env = "MILLRACE_RECORD")]
    record: Option<PathBuf>,
    /// What to log: error, warn, info, debug, trace, or a filter such as `millrace_control=debug`.
    #[arg(long, value_name = "LEVEL", env = "MILLRACE_LOG", default_value = "info")]
    log: String,
}

fn main() -> ExitCode {
    let args = Args::parse();
    if let Err(error) = start_log(&args.log) {
        eprintln!("millrace-control: --log {}: {error}", args.log);
        return ExitCode::from(2);
    }
    match run(&args) {
        Ok(code) => code,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn start_log(filter: &str) -> Result<()> {
    let filter = EnvFilter::try_new(filter)?;
    let colors = std::io::stderr().is_terminal();
    tracing_subscriber::fmt().with_env_filter(filter).with_ansi(colors).with_writer(std::io::stderr).init();
    Ok(())
}

/// One thread serves everything: the table has one owner, and the packets are another process's.
#[tokio::main(flavor = "current_thread")]
async fn run(args: &Args) -> Result<ExitCode> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hangup = signal(SignalKind::hangup())?;
    // The run directory first: what lies in it is this process's only from here on.
    let server = Server::bind(&args.run_dir)?;
    let loaded = match load(args) {
        Ok(loaded) => loaded,
        Err(error) => {
            eprintln!("{error}");
            return Ok(ExitCode::from(2));
        }
    };
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    if let Some(directory) = &args.record {
        record::into(directory).with_context(|| format!("--record {}", directory.display()))?;
        tracing::warn!(directory = %directory.display(), "recording; the files hold keys and passwords");
    }
    let (handle, runtime) =
        runtime::start(&args.run_dir, loaded.config).await.context("following the kernel's interfaces")?;
    let runtime = tokio::spawn(runtime.run());
    let commits = Commits::new(handle.clone(), &args.run_dir);

    let reload = {
        let (commits, file) = (commits.clone(), args.config.clone());
        tokio::spawn(async move {
            while hangup.recv().await.is_some() {
                reload(&commits, &file).await;
            }
        })
    };
    let stop = async {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    server.run(handle.clone(), commits, args.config.clone(), stop).await;
    reload.abort();
    handle.stop().await;
    runtime.await.context("the routing task")?;
    Ok(ExitCode::SUCCESS)
}

/// The file; or, where a configuration was on probation when the last process ended, the one before it.
fn load(args: &Args) -> Result<Loaded, ConfigError> {
    match millrace_control::http::unconfirmed(&args.run_dir) {
        Some(Ok(loaded)) => {
            tracing::warn!("starting with the configuration before the one that nobody confirmed");
            Ok(loaded)
        }
        Some(Err(error)) => {
            tracing::error!(%error, "the configuration to return to cannot be read; starting with the file");
            config::load(&args.config)
        }
        None => config::load(&args.config),
    }
}

/// SIGHUP: the file is read again; a bad one changes nothing.
async fn reload(commits: &Commits, file: &Path) {
    match config::load(file) {
        Ok(loaded) => {
            for warning in &loaded.warnings {
                tracing::warn!("{warning}");
            }
            match commits.apply(loaded.config).await {
                Ok(report) if !report.changed => tracing::info!("reloaded: nothing has changed"),
                Ok(report) => tracing::info!(
                    routes_added = report.routes_added,
                    routes_removed = report.routes_removed,
                    restart = ?report.restart,
                    "reloaded"
                ),
                Err(error) => tracing::error!(%error, "not reloaded; the running configuration stays"),
            }
        }
        Err(error) => tracing::error!("not reloaded; the running configuration stays\n{error}"),
    }
}
