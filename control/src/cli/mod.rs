//! The `millrace` command: what it takes, and where each part is done.
//!
//! ```text
//!   run ──▶ run      supervises millrace-dataplane and millrace-control
//!   check, doctor, replay    read files of this machine, talk to nobody
//!   all others ──▶ client ──HTTP──▶ control.sock
//! ```
//!
//! Exit codes: 0 done, 1 failed, 2 wrong usage or configuration, 3 Millrace is not running.

mod capture;
mod client;
mod doctor;
mod exit;
mod explain;
mod files;
mod notify;
mod out;
mod policy;
mod replay;
mod run;
mod show;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

use client::Client;
use exit::Exit;
use out::Out;

/// Where the configuration is unless said otherwise.
pub const CONFIG_FILE: &str = "/etc/millrace/millrace.toml";
/// Where the sockets are unless said otherwise.
pub const RUN_DIR: &str = "/run/millrace";

/// A router that goes past the kernel's network stack.
#[derive(Debug, Parser)]
#[command(name = "millrace", version, arg_required_else_help = true, infer_subcommands = false)]
pub struct Cli {
    /// Directory of the sockets: which router to talk to
    #[arg(long, global = true, value_name = "DIR", env = "MILLRACE_RUN_DIR", default_value = RUN_DIR)]
    run_dir: PathBuf,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start the router: the dataplane and the routing process, and keep them running
    Run {
        /// The configuration
        #[arg(short, long, value_name = "FILE", default_value = CONFIG_FILE)]
        config: PathBuf,
    },
    /// Say what is wrong with a configuration, without putting it in force
    Check {
        #[arg(value_name = "FILE", default_value = CONFIG_FILE)]
        file: PathBuf,
    },
    /// Say what a configuration would change in the running router
    Diff {
        /// Default: the file the router was started with
        #[arg(value_name = "FILE")]
        file: Option<PathBuf>,
        /// JSON for programs
        #[arg(long)]
        json: bool,
    },
    /// Put a configuration in force, as a whole or not at all
    Apply {
        /// Default: the file the router was started with
        #[arg(value_name = "FILE")]
        file: Option<PathBuf>,
        /// Take it back after so many seconds unless `millrace confirm` is given
        #[arg(long, value_name = "SECS", value_parser = clap::value_parser!(u64).range(1..=86_400))]
        confirm: Option<u64>,
        /// JSON for programs
        #[arg(long)]
        json: bool,
    },
    /// Keep the configuration that `apply --confirm` put in force
    Confirm,
    /// Return to the configuration before the last change
    Rollback {
        /// JSON for programs
        #[arg(long)]
        json: bool,
    },
    /// Show the state of the running router
    Show {
        #[command(subcommand)]
        what: show::What,
    },
    /// Forget state of the running router
    Clear {
        #[command(subcommand)]
        what: show::nat::Clear,
    },
    /// Try policies without a router
    Policy {
        #[command(subcommand)]
        what: PolicyCommand,
    },
    /// Say what would become of a packet, and why: the dataplane decides about it as it does about real ones
    Explain(explain::Explain),
    /// Look for what would keep Millrace from running well on this machine
    Doctor {
        /// The configuration whose interfaces and CPUs are looked at
        #[arg(short, long, value_name = "FILE", default_value = CONFIG_FILE)]
        config: PathBuf,
        /// Give the commands that mend what was found
        #[arg(long, conflicts_with = "undo")]
        fix: bool,
        /// Take back what `--fix` has done
        #[arg(long)]
        undo: bool,
        /// JSON for programs
        #[arg(long, conflicts_with_all = ["fix", "undo"])]
        json: bool,
    },
    /// Packets as they pass the workers, printed or written as pcapng
    Capture(capture::Capture),
    /// What becomes of packets that match a filter, one by one
    Trace(capture::Trace),
    /// Play a recording of `millrace-control --record` again, and print what came of it
    Replay {
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
    /// Print a completion script, as in `source <(millrace completions bash)`
    Completions { shell: clap_complete::Shell },
}

#[derive(Debug, Subcommand)]
enum PolicyCommand {
    /// Say what a rule list does to routes, and which rule fires
    Test {
        /// The rule list
        name: String,
        /// A prefix and what is to be said of it, such as "192.0.2.0/24 protocol=static tag=7"
        #[arg(required = true, value_name = "ROUTE")]
        routes: Vec<String>,
        /// The configuration
        #[arg(short, long, value_name = "FILE", default_value = CONFIG_FILE)]
        config: PathBuf,
        /// JSON for programs
        #[arg(long)]
        json: bool,
    },
}

/// The whole command. Standard output may be closed at any time.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are answers, the rest is wrong usage; there is no one to tell when printing fails.
            let _ = error.print();
            return if error.use_stderr() { Exit::Usage.into() } else { Exit::Done.into() };
        }
    };
    let mut out = Out::stdout();
    let result = execute(cli, &mut out).and_then(|exit| out.flush().map(|()| exit));
    match result {
        Ok(exit) => exit.into(),
        Err(error) => error.report(),
    }
}

fn execute(cli: Cli, out: &mut Out) -> Result<Exit, exit::Error> {
    // An empty variable is one that is not set.
    let run_dir = if cli.run_dir.as_os_str().is_empty() { RUN_DIR.into() } else { cli.run_dir };
    let client = Client::new(run_dir.clone());
    match cli.command {
        Command::Run { config } => run::run(&config, &run_dir),
        Command::Check { file } => files::check(&file, out),
        Command::Diff { file, json } => files::diff(&client, file, json, out),
        Command::Apply { file, confirm, json } => files::apply(&client, file, confirm, json, out),
        Command::Confirm => files::confirm(&client, out),
        Command::Rollback { json } => files::rollback(&client, json, out),
        Command::Show { what } => show::show(&client, &what, out),
        Command::Clear { what } => show::nat::clear(&client, &what, out),
        Command::Policy { what: PolicyCommand::Test { name, routes, config, json } } => {
            policy::test(&config, &name, &routes, json, out)
        }
        Command::Explain(what) => explain::explain(&client, &what, out),
        Command::Doctor { config, fix, undo, json } => {
            doctor::doctor(&config, &run_dir, doctor::Wish { fix, undo, json }, out)
        }
        Command::Capture(capture) => capture.run(&client, out),
        Command::Trace(trace) => trace.run(&client, out),
        Command::Replay { file } => replay::replay(&file, out),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "millrace", &mut script);
            out.bytes(&script)?;
            Ok(Exit::Done)
        }
    }
}
