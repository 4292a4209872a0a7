//! Longest-prefix match side by side: Millrace's table, three crates and DPDK over the full Internet table.
//!
//! `cargo bench -p millrace-bench --bench lpm [-- --quick]` writes `results/lpm.json` and `results/lpm.md`.
//! Contenders take turns within each round and ratios are those of a round, so that what else the machine does is
//! shared by all. DPDK takes part where pkg-config finds libdpdk, as a C program of its own (`rte.c`).
//!
//! `--quick`: few rounds, and no rte_lpm, whose table takes over a minute to build.

mod contenders;
mod dpdk;
mod memory;
mod report;

use std::error::Error;
use std::time::Instant;

use millrace_bench::table::{self, Origin};
use millrace_bench::trace::{Rng, Trace};
use millrace_fib::Bulk;
use millrace_net::Prefix;

use contenders::{Contender, Millrace};
use report::{Report, Row};

/// Next hops of the table.
const HOPS: u16 = 64;
const TRACE_LEN: usize = 1 << 22;

/// A route as all contenders take it.
#[derive(Clone, Copy, Debug)]
struct Route {
    prefix: Prefix,
    /// 1 to [`HOPS`]; 0 is the answer where there is no route.
    hop: u16,
}

struct Entrant<'m> {
    contender: Box<dyn Contender + 'm>,
    row: Row,
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<_> = std::env::args().collect();
    let quick = arguments.iter().any(|argument| argument == "--quick");
    let (rounds, builds) = if quick { (3, 1) } else { (9, 5) };
    let origins = match table::full(&table::directory()) {
        Ok(origins) => origins,
        Err(error) => {
            say(&format!("SKIPPED: the LPM benchmark needs the full table. {error}"));
            return Ok(());
        }
    };
    let routes: Vec<_> = origins.iter().map(route).collect();
    if let [.., flag, name] = arguments.as_slice()
        && flag == memory::FLAG
    {
        return memory::answer(name, &routes);
    }
    let prefixes: Vec<_> = routes.iter().map(|route| route.prefix).collect();
    let traces = Trace::ALL.map(|trace| (trace, trace.draw(&prefixes, TRACE_LEN, 42)));
    let mut shuffled = routes.clone();
    Rng(7).shuffle(&mut shuffled);

    say(&format!("building tables of {} routes", routes.len()));
    let build_shuffled = build_seconds(&shuffled, builds)?;
    let build_in_order = build_seconds(&routes, builds)?;
    let owned = contenders::memory()?;
    let mut entrants = in_process(&owned, &routes, build_in_order)?;
    entrants.extend(dpdk::entrants(&routes, &traces, quick)?);

    for (trace, (kind, addresses)) in traces.iter().enumerate() {
        say(&format!("looking up: {}", kind.name()));
        agree(&mut entrants, trace, addresses)?;
        for _ in 0..rounds {
            for Entrant { contender, row } in &mut entrants {
                let count = contender.lookups().min(addresses.len());
                let (_, seconds) = contender.look_up(trace, &addresses[..count])?;
                row.lookups[trace].push(count as f64 / seconds / 1e6);
            }
        }
    }
    say("updating");
    for _ in 0..rounds.min(5) {
        for Entrant { contender, row } in &mut entrants {
            let some = &shuffled[..contender.updates().min(shuffled.len())];
            if !some.is_empty() {
                let (removal, insertion) = contender.update(some)?;
                row.removals.push(some.len() as f64 / removal / 1e6);
                row.insertions.push(some.len() as f64 / insertion / 1e6);
            }
        }
    }
    // After the updates the tables are what they were.
    for (trace, (_, addresses)) in traces.iter().enumerate() {
        agree(&mut entrants, trace, addresses)?;
    }
    let rows = entrants.into_iter().map(|entrant| entrant.row).collect();
    Report { routes: routes.len(), rounds, quick, build_in_order, build_shuffled, rows }.write()
}

/// Median time to build Millrace's table.
fn build_seconds(routes: &[Route], times: usize) -> Result<f64, Box<dyn Error>> {
    let mut figures = Vec::new();
    for _ in 0..times {
        let owned = contenders::memory()?;
        let (millrace, seconds) = timed(|| Millrace::build(&owned, routes).map(drop));
        millrace?;
        figures.push(seconds);
    }
    Ok(median(&figures))
}

fn in_process<'m>(
    owned: &'m millrace_fib::Owned,
    routes: &[Route],
    build: f64,
) -> Result<Vec<Entrant<'m>>, Box<dyn Error>> {
    let millrace = Millrace::build(owned, routes)?;
    let mut entrants = Vec::new();
    for bulk in Bulk::ALL {
        let name = match bulk {
            Bulk::Prefetch => "Millrace, prefetch",
            Bulk::Avx2 => "Millrace, AVX2",
            Bulk::Avx512 => "Millrace, AVX-512",
        };
        match millrace.in_bulk(*bulk) {
            Some(way) => entrants.push(Entrant { contender: Box::new(way), row: Row::new(name, None, None) }),
            None => say(&format!("SKIPPED: {name}: this CPU cannot")),
        }
    }
    let row = Row::new(contenders::MILLRACE, Some(build), memory::of(contenders::MILLRACE));
    entrants.insert(0, Entrant { contender: Box::new(millrace), row });
    for name in contenders::CRATES {
        let (contender, seconds) = timed(|| contenders::build(name, routes));
        entrants
            .push(Entrant { contender: contender?, row: Row::new(name, Some(seconds), memory::of(name)) });
    }
    Ok(entrants)
}

/// All entrants must find the same hops.
fn agree(entrants: &mut [Entrant<'_>], trace: usize, addresses: &[u32]) -> Result<(), Box<dyn Error>> {
    let some = &addresses[..200_000];
    let mut first = None;
    for Entrant { contender, row } in entrants {
        let (sum, _) = contender.look_up(trace, some)?;
        let &mut (ref name, expected) = first.get_or_insert((row.name.clone(), sum));
        if sum != expected {
            return Err(
                format!("{} and {name} do not agree: hops add up to {sum} and {expected}", row.name).into()
            );
        }
    }
    Ok(())
}

fn route(origin: &Origin) -> Route {
    let hop = origin.asn.wrapping_mul(0x9e37_79b1) >> 26;
    Route { prefix: origin.prefix, hop: 1 + u16::try_from(hop).unwrap_or(0) % HOPS }
}

/// The result, and how long it took in seconds.
#[expect(clippy::disallowed_methods, reason = "a benchmark measures time")]
fn timed<T>(work: impl FnOnce() -> T) -> (T, f64) {
    let start = Instant::now();
    let result = work();
    (result, start.elapsed().as_secs_f64())
}

fn median(figures: &[f64]) -> f64 {
    let mut sorted = figures.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}

fn say(text: &str) {
    eprintln!("lpm: {text}");
}
