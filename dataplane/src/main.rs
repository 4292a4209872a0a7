//! `millrace-dataplane`: the forwarding process.
//!
//! ```text
//!   control ──api socket──▶ clerk (main thread) ──▶ tables ◀── workers (one pinned thread each) ◀──▶ AF_XDP sockets
//!   kernel ──rtnetlink────▶   │    ▲                              │                                     ▲
//!                             └────┼─ commands, snapshots ──────▶ │                                 XDP program
//!                                  └───────── neighbours wanted ──┘
//! ```
//! The clerk owns everything that changes; workers only read, and count in pages of their own.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser;
use tracing_subscriber::EnvFilter;

mod bell;
mod captures;
mod clerk;
mod clock;
mod control_link;
mod counters;
mod crew;
mod dataplane;
mod explain;
mod filters;
mod handoff;
mod host;
mod instance;
mod nat;
mod neighbors;
mod netlink;
mod ports;
mod privileges;
mod router;
mod scheduling;
mod sysfs;
mod tables;
mod worker;
mod xdp;

/// Forwards packets past the kernel's network stack, as `millrace-control` tells it.
#[derive(Debug, Parser)]
#[command(name = "millrace-dataplane", version)]
struct Args {
    /// Where the sockets are. Several routers on one host have a directory each.
    #[arg(long, env = "MILLRACE_RUN_DIR", default_value = "/run/millrace")]
    run_dir: PathBuf,
    /// What is logged to standard error: error, warn, info, debug or trace, or a filter such as info,aya=warn.
    #[arg(long, env = "MILLRACE_LOG", default_value = "info")]
    log: String,
}

fn main() -> ExitCode {
    let args = Args::parse();
    if let Err(error) = start_log(&args.log) {
        eprintln!("millrace-dataplane: --log {}: {error}", args.log);
        return ExitCode::from(2);
    }
    match run(&args) {
        Ok(()) => ExitCode::SUCCESS,
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

fn run(args: &Args) -> Result<()> {
    privileges::check()?;
    let instance = instance::Instance::claim(&args.run_dir)?;
    let [number, seed] = random()?;
    clerk::run(instance, &args.run_dir, number, seed)
}

/// Two numbers nobody can foresee: who we are, and the seed of our hashes.
fn random() -> Result<[u64; 2]> {
    let mut bytes = [0; 16];
    std::fs::File::open("/dev/urandom")
        .and_then(|mut file| std::io::Read::read_exact(&mut file, &mut bytes))
        .context("reading /dev/urandom")?;
    let (number, seed) = bytes.split_at(8);
    let word = |half: &[u8]| half.try_into().map(u64::from_ne_bytes);
    Ok([word(number)?, word(seed)?])
}
