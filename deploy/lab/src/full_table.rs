//! A table of the size of the Internet's through control into the FIB: how long it takes, and whether it is right.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::process::run as run_command;
use crate::topology::Line;
use crate::{Child, Lab, Ping, Router, wait_until};

/// A table is loaded well within this, or not at all.
const PATIENCE: Duration = Duration::from_secs(120);
/// The gateways the prefixes are spread over: stations on the router's `wan` link.
const GATEWAYS: u8 = 16;

/// One line of the table: prefix and length.
pub type Entry = (Ipv4Addr, u8);

/// The 1,050,000 prefixes of the data directory: `MILLRACE_DATA`, or `../shared/data` beside the repository.
pub fn internet(root: &Path) -> Result<Vec<Entry>> {
    let dir = std::env::var_os("MILLRACE_DATA").map_or_else(|| root.join("../shared/data"), PathBuf::from);
    let mut table = Vec::new();
    for name in ["fulltable-v4.csv.gz", "fulltable-v4-extra2026.csv.gz"] {
        let path = dir.join(name);
        ensure!(path.is_file(), "no {}: set MILLRACE_DATA to where the tables are", path.display());
        let text = run_command(Command::new("zcat").arg(&path))?;
        for line in text.lines() {
            let entry = line.split(',').next().and_then(|prefix| prefix.split_once('/'));
            let (address, length) = entry.with_context(|| format!("in {}: {line:?}", path.display()))?;
            table.push((address.parse()?, length.parse()?));
        }
    }
    Ok(table)
}

/// A made-up table: nested prefixes of every length from /8 to /32, the same on every run.
pub fn synthetic(size: usize) -> Vec<Entry> {
    let mut state = 0x9e37_79b9_u32;
    let mut seen = std::collections::BTreeSet::new();
    while seen.len() < size {
        // xorshift32
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        // Half of them /24 as in the real table, all under 20.0.0.0 to 83.255.255.255.
        let length = if state & 1 == 0 { 24 } else { 8 + u8::try_from((state >> 1) % 25).unwrap_or(0) };
        let first = 20 + (state >> 26);
        let address = (first << 24 | (state >> 2) & 0x00ff_ffff) & mask(length);
        seen.insert((Ipv4Addr::from(address), length));
    }
    seen.into_iter().collect()
}

fn mask(length: u8) -> u32 {
    u32::MAX.checked_shl(32 - u32::from(length)).unwrap_or(0)
}

/// Which gateway a prefix goes to.
fn gateway(entry: Entry) -> Ipv4Addr {
    let hash = u32::from(entry.0).wrapping_mul(0x9e37_79b1) >> 16;
    let host = 2 + u8::try_from((hash + u32::from(entry.1)) % u32::from(GATEWAYS)).unwrap_or(0);
    Ipv4Addr::new(10, 0, 2, host)
}

/// The most specific entry that covers an address, found by looking at all of them.
fn longest(table: &[Entry], address: Ipv4Addr) -> Option<Entry> {
    let covers = |entry: &&Entry| u32::from(address) & mask(entry.1) == u32::from(entry.0);
    table.iter().filter(covers).max_by_key(|entry| entry.1).copied()
}

/// As likely as not under a more specific entry.
fn last_address(entry: Entry) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(entry.0) | !mask(entry.1))
}

/// What a load took.
#[derive(Clone, Debug)]
pub struct Load {
    pub prefixes: usize,
    /// From the start of `millrace run` to the last prefix in the FIB.
    pub start_to_fib: Duration,
    /// From SIGHUP with every gateway changed to the last prefix in the FIB again.
    pub reload_to_fib: Duration,
    /// Resident memory after the load, and its highest until after the reload.
    pub control_mib: (u64, u64),
    pub dataplane_mib: (u64, u64),
    /// From the start of `millrace run` to the last prefix in the kernel's table; none where it is not mirrored.
    pub start_to_kernel: Option<Duration>,
}

/// As it stands in bench/results: one load without and one with the mirror into the kernel.
pub fn markdown(alone: &Load, mirrored: &Load) -> String {
    let seconds = |duration: Duration| format!("{:.2} s", duration.as_secs_f64());
    let memory = |(after, peak): (u64, u64)| format!("{after} / {peak} MiB");
    let kernel = |load: &Load| load.start_to_kernel.map_or_else(|| "-".to_owned(), seconds);
    let row = |what: &str, figure: &dyn Fn(&Load) -> String| {
        format!("| {what} | {} | {} |\n", figure(alone), figure(mirrored))
    };
    let mut text = format!(
        "# The whole table\n\n\
         {} static routes over {GATEWAYS} gateways, from the configuration file through control into the FIB. `make bench`\n\
         writes this file, and fails when the first figure is over 3 s; where the prefixes come from is told beside them\n\
         (`MILLRACE_DATA`). Two virtual processors.\n\n\
         | what | `mirror = \"none\"` | `mirror = \"all\"` |\n|---|---|---|\n",
        alone.prefixes
    );
    text += &row("start of `millrace run` to the last prefix in the FIB", &|load| seconds(load.start_to_fib));
    text += &row("start of `millrace run` to the last prefix in the kernel's table", &kernel);
    text += &row("SIGHUP with every gateway changed to the last change in the FIB", &|load| {
        seconds(load.reload_to_fib)
    });
    text +=
        &row("memory of millrace-control, after the load / at its highest", &|load| memory(load.control_mib));
    text += &row("memory of millrace-dataplane, the same; its FIB has 32 MiB", &|load| {
        memory(load.dataplane_mib)
    });
    text
}

/// Loads the table as static routes (`mirror` as in `[kernel]`), then checks `samples` addresses against a look at the whole table, and that
/// packets go where it says.
#[expect(clippy::disallowed_methods, reason = "a load time is measured on the real clock")]
pub fn run(lab: &Lab, table: &[Entry], mirror: &str, samples: usize) -> Result<Load> {
    let line = Line::new(lab)?;
    for host in 3..2 + GATEWAYS {
        line.server.ip(&format!("address add 10.0.2.{host}/24 dev eth0"))?;
    }
    // One file of prefixes a gateway.
    let dir = line.router.dir();
    let write = |gateway: &dyn Fn(Entry) -> Ipv4Addr| -> Result<()> {
        let mut files = BTreeMap::new();
        for entry in table {
            let file: &mut String = files.entry(gateway(*entry)).or_default();
            writeln!(file, "{}/{}", entry.0, entry.1)?;
        }
        for (gateway, prefixes) in files {
            fs::write(dir.join(format!("{gateway}.csv")), prefixes)?;
        }
        Ok(())
    };
    write(&gateway)?;
    let statics: String = (2..2 + GATEWAYS)
        .map(|host| format!("[[static]]\nprefixes-from = \"10.0.2.{host}.csv\"\nvia = [\"10.0.2.{host}\"]\n"))
        .collect();
    let full = crate::config(&["lan", "wan"], &format!("{statics}[kernel]\nmirror = \"{mirror}\"\n"));
    let start = Instant::now();
    let mut router = Router::launch(&line.router, &full)?;
    wait_until("the whole table in the FIB", PATIENCE, || {
        ensure!(router.is_running()?, "`millrace run` has ended: {}", router.log());
        let Ok(true) = router.is_synced() else { return Ok(false) };
        let routes = router.get_json("/api/v1/fib")?["routes"].as_u64();
        Ok(routes.is_some_and(|routes| table.len() as u64 <= routes))
    })?;
    let start_to_fib = start.elapsed();
    router.wait_ready()?;
    let mut start_to_kernel = None;
    if mirror == "all" {
        wait_until("the whole table in the kernel", PATIENCE, || {
            let mirror = &router.get_json("/api/v1/status")?["mirror"];
            Ok(mirror["pending"] == 0 && mirror["routes"].as_u64().is_some_and(|n| table.len() as u64 <= n))
        })?;
        start_to_kernel = Some(start.elapsed());
    }

    let step = (table.len() / samples.max(1)).max(1);
    for entry in table.iter().step_by(step) {
        let address = last_address(*entry);
        if matches!(address.octets()[0], 10 | 127) {
            continue;
        }
        let expected = longest(table, address).context("its own prefix covers it")?;
        let answer = &router.show(&format!("fib {address}"))?["answer"];
        let prefix = format!("{}/{}", expected.0, expected.1);
        ensure!(answer["prefix"] == prefix.as_str(), "{address} meets {answer}, not {prefix}");
        let via = &answer["nexthop"]["members"][0]["gateway"];
        ensure!(*via == gateway(expected).to_string(), "{address} goes to {via}");
    }
    // And one of them by packet.
    let entry = table[table.len() / 2];
    let address = last_address(entry);
    line.server.ip(&format!("address add {address}/32 dev lo"))?;
    let ping = Ping::new(&line.client, &address.to_string()).run()?;
    ensure!(ping.received == 3, "{address}: {ping:?}");

    let rss = [Child::Control, Child::Dataplane].map(|child| memory_mib(&router, child, "VmRSS:"));
    let moved = |entry: Entry| {
        Ipv4Addr::from(
            u32::from(Ipv4Addr::new(10, 0, 2, 2)) + (u32::from(gateway(entry)) + 1) % u32::from(GATEWAYS),
        )
    };
    write(&moved)?;
    // The first and the last of the table: changes are sent in order of address.
    let ends = [table[0], table[table.len() - 1]];
    let start = Instant::now();
    router.signal(rustix::process::Signal::HUP)?;
    wait_until("the changed table in the FIB", PATIENCE, || {
        for entry in ends {
            let fib = router.get_json(&format!("/api/v1/fib?address={}", entry.0))?;
            let longest = longest(table, entry.0).context("its own prefix covers it")?;
            if fib["answer"]["nexthop"]["members"][0]["gateway"] != moved(longest).to_string() {
                return Ok(false);
            }
        }
        router.is_synced()
    })?;
    let reload_to_fib = start.elapsed();
    let peak = [Child::Control, Child::Dataplane].map(|child| memory_mib(&router, child, "VmHWM:"));
    let ([control, dataplane], [control_peak, dataplane_peak]) = (rss, peak);
    Ok(Load {
        prefixes: table.len(),
        start_to_fib,
        start_to_kernel,
        reload_to_fib,
        control_mib: (control?, control_peak?),
        dataplane_mib: (dataplane?, dataplane_peak?),
    })
}

/// One of the memory lines of /proc/PID/status.
fn memory_mib(router: &Router, child: Child, what: &str) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{}/status", router.pid(child)?))?;
    let line =
        status.lines().find_map(|line| line.strip_prefix(what)).with_context(|| format!("no {what}"))?;
    let kib: u64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kib / 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_made_up_table_is_nested_and_the_same_every_time() {
        let table = synthetic(5000);
        assert_eq!(table.len(), 5000);
        assert_eq!(table, synthetic(5000));
        assert!(table.iter().all(|(address, length)| u32::from(*address) & !mask(*length) == 0));
        for length in [8, 16, 24, 25, 32] {
            assert!(table.iter().any(|(_, l)| *l == length), "no /{length}");
        }
        let nested = table.iter().filter(|(a, l)| longest(&table, last_address((*a, *l))) != Some((*a, *l)));
        assert!(100 < nested.count());
    }
}
