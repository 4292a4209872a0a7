//! The routing table under the whole Internet: candidate changes a second, and what a changed next hop costs.
//!
//! `cargo bench -p millrace-bench --bench rib` writes `results/rib.md`. Times are CPU time of this thread, so that other
//! work on the machine counts little; changes are drained in batches as the routing process does, without the dataplane.

use std::error::Error;
use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use millrace_bench::table;
use millrace_bench::trace::Rng;
use millrace_net::{Instant, Prefix};
use millrace_rib::{Delta, IfIndex, Nexthop, Protocol, Rib, Route, Settings, Target, Via};

/// Changes between two drains: a batch for the dataplane.
const BATCH: usize = 8192;
const ROUNDS: usize = 3;
/// Seconds.
const TICK: f64 = 0.004;

/// A row of the result: what was done, how often, and what the dataplane was told.
struct Row {
    what: &'static str,
    changes: usize,
    seconds: f64,
    told: usize,
}

fn main() -> Result<(), Box<dyn Error>> {
    let origins = match table::full(&table::directory()) {
        Ok(origins) => origins,
        Err(error) => {
            eprintln!("SKIPPED: the RIB benchmark needs the full table. {error}");
            return Ok(());
        }
    };
    let sorted: Vec<Prefix> = origins.iter().map(|origin| origin.prefix).collect();
    let mut shuffled = sorted.clone();
    Rng(7).shuffle(&mut shuffled);
    let mut rounds = Vec::new();
    for _ in 0..ROUNDS {
        rounds.push(round(&sorted, &shuffled)?);
    }
    let text = report(sorted.len(), &rounds)?;
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("results/rib.md");
    std::fs::write(path, &text)?;
    eprintln!("{text}");
    Ok(())
}

/// Everything once, on a table of its own.
fn round(sorted: &[Prefix], shuffled: &[Prefix]) -> Result<Vec<Row>, Box<dyn Error>> {
    let mut rows = Vec::new();
    let mut note = |what, changes, (seconds, deltas): (f64, Vec<Delta>)| {
        rows.push(Row { what, changes, seconds, told: deltas.len() });
        deltas
    };
    let one = Target::gateway("172.16.0.1".parse()?);
    let mut rib = empty()?;
    note("a full table, in order", sorted.len(), insert(&mut rib, sorted, &learned(0, one.clone()))?);
    let mut rib = empty()?;
    note(
        "a full table, shuffled as BGP sends it",
        sorted.len(),
        insert(&mut rib, shuffled, &learned(0, one.clone()))?,
    );
    let again = note("the same again", sorted.len(), insert(&mut rib, shuffled, &learned(0, one.clone()))?);
    assert!(again.is_empty(), "an equal route is not told");
    note(
        "every route to another next hop",
        sorted.len(),
        insert(&mut rib, shuffled, &learned(0, Target::gateway("172.16.0.2".parse()?)))?,
    );
    note(
        "a second candidate for every prefix, of another distance",
        sorted.len(),
        insert(&mut rib, shuffled, &floating(one.clone()))?,
    );
    note("the better candidate of every prefix goes", sorted.len(), remove(&mut rib, shuffled)?);

    let moved = timed(|rib| moved(rib, "10.0.1.1"), &mut rib)?;
    let told = note("the next hop under all routes moves to another neighbour", 1, moved);
    let routes = told
        .iter()
        .filter(|delta| matches!(delta, Delta::RouteUpsert { prefix, .. } if *prefix != via_prefix()));
    assert_eq!(routes.count(), 0, "no route is touched when its gateway moves");

    let mut rib = empty()?;
    let watched = |interface, gateway: &str| -> Result<Nexthop, Box<dyn Error>> {
        Ok(Nexthop {
            via: Via::Watched { interface: IfIndex(interface), gateway: gateway.parse()? },
            weight: 1,
        })
    };
    let two = Target::via(vec![watched(1, "10.0.0.1")?, watched(2, "10.0.1.1")?]);
    insert(&mut rib, sorted, &floating(two))?;
    let neighbor = "10.0.0.1".parse()?;
    let fall_silent = |rib: &mut Rib| {
        rib.set_silent(IfIndex(1), neighbor, true);
        Ok(())
    };
    let silent = timed(fall_silent, &mut rib)?;
    let told = note("one of two watched next hops of all routes falls silent", 1, silent);
    assert!(matches!(told.as_slice(), [Delta::GroupUpsert { .. }]), "one message: {told:?}");
    Ok(rows)
}

/// Two interfaces, and a network that all next hops are in.
fn empty() -> Result<Rib, Box<dyn Error>> {
    let mut rib = Rib::new(Settings::default());
    for (index, subnet) in [(1, "10.0.0.0/24"), (2, "10.0.1.0/24")] {
        rib.set_interface(IfIndex(index), true);
        let connected = Route {
            protocol: Protocol::Connected,
            instance: 0,
            distance: 0,
            metric: 0,
            tag: 0,
            target: Target::interface(IfIndex(index)),
        };
        rib.insert(subnet.parse()?, &connected, Instant::ZERO);
    }
    moved(&mut rib, "10.0.0.1")?;
    while !rib.is_idle() {
        rib.drain(BATCH, &mut Vec::new());
    }
    Ok(rib)
}

fn via_prefix() -> Prefix {
    Prefix::truncated([172, 16, 0, 0].into(), 16)
}

/// The network that all next hops are in is reached through this neighbour.
fn moved(rib: &mut Rib, neighbor: &str) -> Result<(), Box<dyn Error>> {
    let target = Target::gateway(neighbor.parse()?);
    let route = Route { protocol: Protocol::Ospf, instance: 0, distance: 110, metric: 0, tag: 0, target };
    rib.insert(via_prefix(), &route, Instant::ZERO);
    Ok(())
}

fn learned(metric: u32, target: Target) -> Route {
    Route { protocol: Protocol::Ebgp, instance: 0, distance: 20, metric, tag: 0, target }
}

fn floating(target: Target) -> Route {
    Route { protocol: Protocol::Static, instance: 250, distance: 250, metric: 0, tag: 0, target }
}

fn insert(rib: &mut Rib, prefixes: &[Prefix], route: &Route) -> Result<(f64, Vec<Delta>), Box<dyn Error>> {
    batches(rib, prefixes, |rib, prefix| rib.insert(prefix, route, Instant::ZERO))
}

fn remove(rib: &mut Rib, prefixes: &[Prefix]) -> Result<(f64, Vec<Delta>), Box<dyn Error>> {
    batches(rib, prefixes, |rib, prefix| rib.remove(prefix, Protocol::Ebgp, 0))
}

fn batches(
    rib: &mut Rib,
    prefixes: &[Prefix],
    change: impl Fn(&mut Rib, Prefix),
) -> Result<(f64, Vec<Delta>), Box<dyn Error>> {
    let mut deltas = Vec::with_capacity(prefixes.len() + 16);
    let start = cpu()?;
    for batch in prefixes.chunks(BATCH) {
        for &prefix in batch {
            change(rib, prefix);
        }
        while !rib.is_idle() {
            rib.drain(BATCH, &mut deltas);
        }
    }
    Ok(((cpu()? - start).as_secs_f64(), deltas))
}

fn timed(
    change: impl FnOnce(&mut Rib) -> Result<(), Box<dyn Error>>,
    rib: &mut Rib,
) -> Result<(f64, Vec<Delta>), Box<dyn Error>> {
    let mut deltas = Vec::new();
    let start = cpu()?;
    change(rib)?;
    while !rib.is_idle() {
        rib.drain(BATCH, &mut deltas);
    }
    Ok(((cpu()? - start).as_secs_f64(), deltas))
}

/// CPU time of this thread.
fn cpu() -> Result<Duration, Box<dyn Error>> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat")?;
    let nanoseconds = text.split_whitespace().next().ok_or("no CPU time in schedstat")?;
    Ok(Duration::from_nanos(nanoseconds.parse()?))
}

/// Of each row the round of the median.
fn report(prefixes: usize, rounds: &[Vec<Row>]) -> Result<String, Box<dyn Error>> {
    let mut text = format!(
        "# The routing table under the whole Internet\n\n\
         {prefixes} prefixes; CPU time of one thread, median of {ROUNDS} rounds. Changes go in and deltas come out in batches of {BATCH}.\n\
         `cargo bench -p millrace-bench --bench rib` writes this file.\n\n\
         | what | changes | time | changes a second | messages to the dataplane |\n|---|---|---|---|---|\n"
    );
    let first = rounds.first().ok_or("no round")?;
    for (at, row) in first.iter().enumerate() {
        let mut seconds: Vec<f64> = rounds.iter().filter_map(|rows| Some(rows.get(at)?.seconds)).collect();
        seconds.sort_by(f64::total_cmp);
        let seconds = seconds.get(seconds.len() / 2).copied().unwrap_or_default();
        let rate = if row.changes < 1000 {
            "-".to_owned()
        } else {
            format!("{:.2} M", row.changes as f64 / seconds / 1e6)
        };
        // The kernel accounts CPU time by the tick.
        let time =
            if seconds < TICK { "under a tick".to_owned() } else { format!("{:.0} ms", seconds * 1e3) };
        writeln!(text, "| {} | {} | {time} | {rate} | {} |", row.what, row.changes, row.told)?;
    }
    Ok(text)
}
