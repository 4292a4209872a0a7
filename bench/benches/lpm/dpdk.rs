//! DPDK's tables, in a C program of their own (`rte.c`) that is built here where pkg-config finds libdpdk.

use std::error::Error;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use millrace_bench::trace::Trace;

use crate::contenders::Contender;
use crate::report::Row;
use crate::{Entrant, Route, say};

/// What `rte.c` can be.
struct Kind {
    /// Its first argument.
    argument: &'static str,
    name: &'static str,
    /// Takes over a minute to build, and as long for the updates the others do in a second.
    slow: bool,
}

const KINDS: [Kind; 3] = [
    Kind { argument: "fib-avx512", name: "rte_fib, AVX-512", slow: false },
    Kind { argument: "fib-scalar", name: "rte_fib, scalar", slow: false },
    Kind { argument: "lpm-x4", name: "rte_lpm, x4", slow: true },
];

/// The DPDK tables that can be had; the others are named with the reason.
pub(crate) fn entrants(
    routes: &[Route],
    traces: &[(Trace, Vec<u32>)],
    quick: bool,
) -> Result<Vec<Entrant<'static>>, Box<dyn Error>> {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("lpm");
    fs::create_dir_all(&directory)?;
    let program = match compile(&directory) {
        Ok(program) => program,
        Err(error) => {
            say(&format!("SKIPPED: rte_fib and rte_lpm: {error}"));
            return Ok(Vec::new());
        }
    };
    let files = write_files(&directory, routes, traces)?;
    let mut entrants = Vec::new();
    for kind in KINDS.iter().filter(|kind| !quick || !kind.slow) {
        say(&format!("building {}{}", kind.name, if kind.slow { ", which takes over a minute" } else { "" }));
        match Running::start(&program, kind, &files) {
            Ok((running, build, memory)) => entrants.push(Entrant {
                contender: Box::new(running),
                row: Row::new(kind.name, Some(build), Some(memory)),
            }),
            Err(error) => say(&format!("SKIPPED: {}: {error}", kind.name)),
        }
    }
    Ok(entrants)
}

fn compile(directory: &Path) -> Result<PathBuf, Box<dyn Error>> {
    let flags = Command::new("pkg-config").args(["--cflags", "--libs", "libdpdk"]).output();
    let flags = match flags {
        Ok(output) if output.status.success() => String::from_utf8(output.stdout)?,
        _ => return Err("pkg-config finds no libdpdk; on Debian: apt-get install libdpdk-dev".into()),
    };
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/lpm/rte.c");
    let program = directory.join("rte");
    let output = Command::new("cc")
        .args(["-O3", "-march=native", "-Wall", "-o"])
        .args([&program, &source])
        .args(flags.split_whitespace())
        .output()
        .map_err(|error| format!("cc: {error}"))?;
    if output.status.success() {
        Ok(program)
    } else {
        Err(format!("rte.c does not compile: {}", String::from_utf8_lossy(&output.stderr)).into())
    }
}

/// Routes as three 32-bit words each, traces as one word an address, in the machine's byte order.
fn write_files(
    directory: &Path,
    routes: &[Route],
    traces: &[(Trace, Vec<u32>)],
) -> Result<Vec<PathBuf>, Box<dyn Error>> {
    let words = routes.iter().flat_map(|r| [r.prefix.bits(), u32::from(r.prefix.len()), u32::from(r.hop)]);
    let mut files = vec![directory.join("routes")];
    fs::write(&files[0], words.flat_map(u32::to_ne_bytes).collect::<Vec<_>>())?;
    for (trace, addresses) in traces {
        let path = directory.join(trace.name());
        fs::write(&path, addresses.iter().copied().flat_map(u32::to_ne_bytes).collect::<Vec<_>>())?;
        files.push(path);
    }
    Ok(files)
}

/// A running program: it answers each line with a line of numbers, and ends when its input does.
struct Running {
    child: Child,
    commands: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
    slow: bool,
}

impl Running {
    /// Starts one and waits until its table is built: seconds, and MiB of its heap.
    fn start(program: &Path, kind: &Kind, files: &[PathBuf]) -> Result<(Self, f64, f64), Box<dyn Error>> {
        let mut child = Command::new(program)
            .arg(kind.argument)
            .args(files)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let commands = child.stdin.take();
        let answers = BufReader::new(child.stdout.take().ok_or("no output")?);
        let mut running = Self { child, commands, answers, slow: kind.slow };
        let (build, memory) = running.answer()?;
        Ok((running, build, memory))
    }

    fn ask(&mut self, command: &str) -> Result<(f64, f64), Box<dyn Error>> {
        writeln!(self.commands.as_mut().ok_or("no input")?, "{command}")?;
        self.answer()
    }

    fn answer(&mut self) -> Result<(f64, f64), Box<dyn Error>> {
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        let error = || format!("answered {line:?}; run it by hand to see why");
        let (first, second) = line.trim().split_once(' ').ok_or_else(error)?;
        Ok((first.parse()?, second.parse()?))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.commands = None;
        let _ = self.child.wait();
    }
}

impl Contender for Running {
    fn updates(&self) -> usize {
        if self.slow { 1000 } else { 100_000 }
    }

    fn look_up(&mut self, trace: usize, addresses: &[u32]) -> Result<(u64, f64), Box<dyn Error>> {
        let (sum, seconds) = self.ask(&format!("lookup {trace} {}", addresses.len()))?;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a sum of small numbers")]
        Ok((sum as u64, seconds))
    }

    /// The program picks by itself: the routes of its file in a fixed random order.
    fn update(&mut self, routes: &[Route]) -> Result<(f64, f64), Box<dyn Error>> {
        self.ask(&format!("update {}", routes.len()))
    }
}
