//! `lab`: the demo, and labs to play with.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use clap::{Parser, Subcommand, ValueEnum};
use millrace_lab::topology::{Chain, Line};
use millrace_lab::{Lab, Node, Router, config, full_table, millrace, missing, nat_bench, soak, sweep};

use crate::paint::{Ink, Screen};

mod demo;
mod paint;

/// Network namespaces with routers in them.
#[derive(Debug, Parser)]
#[command(name = "lab", version)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Shows what Millrace does: ping, traceroute, TCP, refusals, and what the counters say of it.
    Demo,
    /// Makes a lab and keeps it until Ctrl-C.
    Up(Plan),
    /// Makes a lab and opens a shell on the client; leaving the shell removes the lab.
    Shell(Plan),
    /// TCP and UDP through one router at once: no frame may be lost.
    Soak {
        #[arg(long, default_value = "60")]
        seconds: u32,
    },
    /// Loads the table of the whole Internet (MILLRACE_DATA) and prints what it took, as Markdown.
    FullTable,
    /// Address translation beside nftables' masquerade over veth, as Markdown.
    Nat {
        /// Seconds for each of the figures
        #[arg(long, default_value = "5")]
        seconds: u64,
    },
    /// Removes what killed labs have left behind.
    Clean,
}

#[derive(Debug, clap::Args)]
struct Plan {
    #[arg(long, value_enum, default_value = "line")]
    topology: Topology,
    #[arg(long, value_enum, default_value = "millrace")]
    router: Forwarder,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Topology {
    /// client – router – server
    Line,
    /// client – r1 – r2 – r3 – server
    Chain,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Forwarder {
    Millrace,
    /// Plain Linux forwarding, to compare with.
    Kernel,
}

/// What the whole table may take from the start of `millrace run` into the FIB.
const FULL_TABLE: Duration = Duration::from_secs(3);

fn main() -> ExitCode {
    let screen = Screen::new();
    match run(Args::parse(), screen) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            screen.bad(&format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// False when a step of the demo failed; it has said so itself.
fn run(args: Args, screen: Screen) -> Result<bool> {
    if let Some(reason) = missing() {
        bail!("{reason}");
    }
    match args.command {
        Command::Demo => return demo::run(screen),
        Command::Up(plan) => {
            let _up = Up::new(&plan, screen)?;
            screen.line("Ctrl-C removes the lab.");
            loop {
                std::thread::park();
            }
        }
        Command::Shell(plan) => {
            let up = Up::new(&plan, screen)?;
            screen.line(&format!("A shell on {}; leaving it removes the lab.", up.nodes[0].name()));
            let shell = std::env::var("SHELL").unwrap_or_else(|_| "/bin/sh".to_owned());
            let mut shell = up.nodes[0].command::<&str>(shell, []);
            if let Some(router) = up.routers.first() {
                screen.line(&format!("`millrace show interfaces` there asks {}.", router.node().name()));
                let program = millrace()?;
                let path = std::env::var_os("PATH").unwrap_or_default();
                let dirs =
                    program.parent().map(Path::to_owned).into_iter().chain(std::env::split_paths(&path));
                shell.env("PATH", std::env::join_paths(dirs)?).env("MILLRACE_RUN_DIR", router.run_dir());
            }
            // How the shell ended is its user's business.
            shell.status().context("cannot start a shell")?;
        }
        Command::Soak { seconds } => {
            screen.line(&format!("TCP and UDP through one router for {seconds} s …"));
            let seen = soak::run(&Lab::new()?, seconds)?;
            screen.good(&format!(
                "{} frames, none lost; TCP {:.0} Mbit/s, {} UDP datagrams",
                seen.packets,
                seen.tcp.mbits(),
                seen.udp.datagrams
            ));
        }
        Command::FullTable => {
            let table = full_table::internet(&std::env::current_dir()?)?;
            let alone = full_table::run(&Lab::new()?, &table, "none", 1000)?;
            let mirrored = full_table::run(&Lab::new()?, &table, "all", 1000)?;
            screen.line(full_table::markdown(&alone, &mirrored).trim_end());
            ensure!(
                alone.start_to_fib <= FULL_TABLE,
                "the table took {:?}, longer than {FULL_TABLE:?}",
                alone.start_to_fib
            );
        }
        Command::Nat { seconds } => {
            let length = std::time::Duration::from_secs(seconds);
            let rates = |by| -> Result<Vec<nat_bench::Rate>> {
                nat_bench::FLOWS
                    .iter()
                    .map(|&flows| nat_bench::run(&Lab::new()?, by, flows, length))
                    .collect()
            };
            let ours = rates(nat_bench::Translator::Millrace)?;
            let theirs = rates(nat_bench::Translator::Nftables)?;
            screen.line(nat_bench::markdown(&ours, &theirs).trim_end());
        }
        Command::Clean => {
            let swept = sweep();
            screen.line(&format!("{} namespaces removed", swept.len()));
            screen.block(&swept.join("\n"));
        }
    }
    Ok(true)
}

/// A lab with everything in it running. Routers end before their namespaces do.
struct Up {
    nodes: Vec<Node>,
    routers: Vec<Router>,
    _lab: Lab,
}

impl Up {
    fn new(plan: &Plan, screen: Screen) -> Result<Self> {
        let lab = Lab::new()?;
        // Client first; then each router with its interfaces and static routes.
        let (nodes, routers) = match plan.topology {
            Topology::Line => {
                let Line { client, router, server } = Line::new(&lab)?;
                (vec![client, router.clone(), server], vec![(router, ["lan", "wan"], &[] as &[_])])
            }
            Topology::Chain => {
                let Chain { client, routers: [r1, r2, r3], server } = Chain::new(&lab)?;
                let nodes = vec![client, r1.clone(), r2.clone(), r3.clone(), server];
                let ends = ["west", "east"];
                let [s1, s2, s3] = Chain::ROUTES;
                (nodes, vec![(r1, ends, s1), (r2, ends, s2), (r3, ends, s3)])
            }
        };
        let mut running = Vec::new();
        for (node, interfaces, statics) in routers {
            match plan.router {
                Forwarder::Millrace => {
                    running.push(Router::start(&node, &config(&interfaces, &Chain::statics(statics)))?)
                }
                Forwarder::Kernel => {
                    node.forwards()?;
                    for (prefix, via) in statics {
                        node.ip(&format!("route add {prefix} via {via}"))?;
                    }
                }
            }
        }
        for node in &nodes {
            screen.line(&format!(
                "{:>8}  {}",
                node.name(),
                screen.ink(Ink::Blue, &format!("ip netns exec {} bash", node.namespace()))
            ));
        }
        if !running.is_empty() {
            screen.line("The routers answer to:");
        }
        for router in &running {
            let ask = format!(
                "MILLRACE_RUN_DIR={} {} show interfaces",
                router.run_dir().display(),
                millrace()?.display()
            );
            screen.line(&format!("{:>8}  {}", router.node().name(), screen.ink(Ink::Blue, &ask)));
        }
        Ok(Self { nodes, routers: running, _lab: lab })
    }
}
