//! The writer works while readers look: every answer must have been right at some moment around the look-up.
//!
//! The changes are made up beforehand, so that what each watched address should answer after each of them is known.
//! The writer publishes how many changes it has begun and how many it has finished. A reader notes the finished ones,
//! looks up, and notes the begun ones: the answer must be that of one of the states in between, both ends included.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod oracle;

use core::net::Ipv4Addr;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use millrace_fib::{
    AdjacencyState, Bulk, Geometry, Group, GroupId, GroupSpec, Owned, Quiescence, Reader, Refusal,
    Resolution, Writer,
};
use millrace_net::{Mac, PortId, Prefix};
use oracle::{LINK, Naive, Rng, SMALL, corners, glean_groups};

const READERS: usize = 2;
/// Under Miri everything takes a thousand times as long, and a few interleavings already say a lot.
const STEPS: usize = if cfg!(miri) { 25 } else { 1500 };

#[derive(Clone, Copy)]
enum Change {
    Insert(Prefix, u16),
    Remove(Prefix),
}

/// Changes, and what they make of each watched address: `answers[address][state]`, 0 where no route covers it.
struct Script {
    changes: Vec<Change>,
    addresses: Vec<u32>,
    answers: Vec<Vec<u16>>,
}

impl Script {
    /// `value(step)` is what the route inserted in that step answers; at most `live` routes exist at a time.
    fn new(seed: u64, steps: usize, live: usize, tbl8: u32, value: impl Fn(usize, &mut Rng) -> u16) -> Self {
        let mut rng = Rng(seed);
        let (size, shortest) = if cfg!(miri) { (6, 20) } else { (60, 0) };
        let pool: Vec<_> =
            std::iter::repeat_with(|| rng.prefix()).filter(|p| shortest <= p.len()).take(size).collect();
        let mut addresses: Vec<_> = pool.iter().copied().flat_map(corners).collect();
        addresses.sort_unstable();
        addresses.dedup();
        let mut naive: Naive<u16> = Naive::default();
        let mut changes = Vec::new();
        let mut answers = vec![vec![0]; addresses.len()];
        for step in 0..steps {
            let prefix = pool[rng.index(pool.len())];
            let value = value(step, &mut rng);
            let before = naive.clone();
            naive.0.insert(prefix, value);
            let fits = naive.0.len() <= live && naive.extended_blocks() <= tbl8 as usize;
            if fits && rng.below(5) < 3 {
                changes.push(Change::Insert(prefix, value));
            } else {
                naive = before;
                // Mostly what is there, so that the table keeps changing.
                let there = naive.0.keys().nth(rng.index(naive.0.len().max(1))).copied().unwrap_or(prefix);
                naive.0.remove(&there);
                changes.push(Change::Remove(there));
            }
            for (address, answers) in addresses.iter().zip(&mut answers) {
                answers.push(naive.longest(*address).map_or(0, |(_, value)| value));
            }
        }
        Self { changes, addresses, answers }
    }
}

/// How far the writer is.
#[derive(Default)]
struct Progress {
    begun: AtomicUsize,
    finished: AtomicUsize,
    over: AtomicBool,
}

impl Progress {
    fn step(&self, state: usize, change: impl FnOnce()) {
        self.begun.store(state + 1, Ordering::Release);
        change();
        self.finished.store(state + 1, Ordering::Release);
    }

    /// The answer of `look`, and the states that it may be of.
    fn around<T>(&self, look: impl FnOnce() -> T) -> (T, std::ops::RangeInclusive<usize>) {
        let from = self.finished.load(Ordering::Acquire);
        let answer = look();
        (answer, from..=self.begun.load(Ordering::Acquire))
    }
}

/// Runs `write` here and `read` in threads until it is over; `read` gets its number. All begin together.
fn race(progress: &Progress, write: impl FnOnce(), read: impl Fn(u64) + Sync) {
    /// Ends the readers also when the writer's assertions fail.
    struct Over<'p>(&'p Progress);
    impl Drop for Over<'_> {
        fn drop(&mut self) {
            self.0.over.store(true, Ordering::Release);
        }
    }
    let start = Barrier::new(READERS + 1);
    thread::scope(|scope| {
        let over = Over(progress);
        for number in 0..READERS as u64 {
            let (read, start) = (&read, &start);
            scope.spawn(move || {
                start.wait();
                read(number);
            });
        }
        start.wait();
        write();
        drop(over);
    });
}

#[test]
fn every_answer_was_right_at_some_moment() {
    let script =
        Script::new(1, STEPS, 60, SMALL.tbl8_groups, |_, rng| 1 + u16::try_from(rng.below(20)).unwrap());
    let owned = Owned::new(SMALL).unwrap();
    let quiescence = Quiescence::new(READERS);
    let mut writer = Writer::new(owned.memory(), quiescence.clone());
    let groups = glean_groups(&mut writer, 20);
    let value = |group: GroupId| groups.iter().position(|&g| g == group).map_or(0, |i| i + 1);
    let progress = Progress::default();
    let reader = writer.reader();
    let read = |number: u64| {
        let worker = quiescence.worker(usize::try_from(number).unwrap()).unwrap();
        worker.online();
        let mut rng = Rng(number);
        let ways: Vec<_> = Bulk::ALL.iter().filter_map(|&bulk| reader.with_bulk(bulk)).collect();
        let mut found = [GroupId::NONE; if cfg!(miri) { 4 } else { 100 }];
        while !progress.over.load(Ordering::Acquire) {
            let i = rng.index(script.addresses.len());
            let (group, states) = progress.around(|| reader.lookup(script.addresses[i]));
            check(&script, i, value(group), states);

            let picks: Vec<_> = (0..found.len()).map(|_| rng.index(script.addresses.len())).collect();
            let addresses: Vec<_> = picks.iter().map(|&i| script.addresses[i]).collect();
            let way = ways[rng.index(ways.len())];
            let ((), states) = progress.around(|| way.lookup_bulk(&addresses, &mut found));
            for (&i, &group) in picks.iter().zip(&found) {
                check(&script, i, value(group), states.clone());
            }
            worker.quiescent();
        }
    };
    let write = || {
        for (state, change) in script.changes.iter().enumerate() {
            progress.step(state, || match *change {
                Change::Insert(prefix, value) => {
                    patiently(|| writer.route_insert(prefix, groups[usize::from(value) - 1]).map(drop));
                }
                Change::Remove(prefix) => drop(writer.route_remove(prefix)),
            });
        }
    };
    race(&progress, write, read);
}

/// Every route has a group of its own, with two neighbours of its own, that go with it: tbl8 groups, next-hop groups,
/// bucket blocks and adjacencies are all reused as fast as the readers allow. What a reader finds at the end of
/// address → group → bucket → adjacency must be what the route of some moment around the look-up says.
#[test]
fn nothing_is_reused_in_sight_of_a_reader() {
    let geometry = Geometry { tbl8_groups: 5, groups: 24, buckets: 64 * 24, adjacencies: 48, neighbors: 128 };
    // Each step's value is unique. Two blocks are left over, so that tbl8 groups are waited for, not refused for good.
    let script = Script::new(2, STEPS, 20, 3, |step, _| u16::try_from(step + 1).unwrap());
    let owned = Owned::new(geometry).unwrap();
    let quiescence = Quiescence::new(READERS);
    let mut writer = Writer::new(owned.memory(), quiescence.clone());
    writer.port_set(PortId(1), LINK);
    let reader = writer.reader();
    let progress = Progress::default();
    let read = |number: u64| {
        let worker = quiescence.worker(usize::try_from(number).unwrap()).unwrap();
        let mut rng = Rng(number);
        while !progress.over.load(Ordering::Acquire) {
            // A worker that sleeps is offline, and may wake up at any time.
            worker.online();
            for _ in 0..rng.below(50) {
                let i = rng.index(script.addresses.len());
                let hash = u32::try_from(rng.below(1 << 32)).unwrap();
                let (value, states) =
                    progress.around(|| follow(&reader, script.addresses[i], hash, &mut rng));
                check(&script, i, value, states);
                worker.quiescent();
            }
            worker.offline();
        }
    };
    let write = || {
        for (state, change) in script.changes.iter().enumerate() {
            progress.step(state, || {
                let old = match *change {
                    Change::Insert(prefix, value) => {
                        let member = |writer: &mut Writer<'_>, half| {
                            let address = address_of(value, half);
                            let id = patiently(|| writer.neighbor_insert(PortId(1), address));
                            let mac = Mac::from_bits(u64::from(address.to_bits()));
                            writer.neighbor_set(id, Resolution::Complete(mac)).unwrap();
                            (id, 1)
                        };
                        let spec = GroupSpec::Forward(vec![member(&mut writer, 0), member(&mut writer, 1)]);
                        let group = patiently(|| writer.group_insert(&spec));
                        for half in [0, 1] {
                            writer.neighbor_remove(PortId(1), address_of(value, half));
                        }
                        // Held by the group, it was only set back to Incomplete: the kernel has it again.
                        if let GroupSpec::Forward(members) = &spec {
                            for (id, half) in members.iter().map(|m| m.0).zip(0..) {
                                let mac = Mac::from_bits(u64::from(address_of(value, half).to_bits()));
                                writer.neighbor_set(id, Resolution::Complete(mac)).unwrap();
                            }
                        }
                        patiently(|| writer.route_insert(prefix, group))
                    }
                    Change::Remove(prefix) => writer.route_remove(prefix),
                };
                if let Some(old) = old {
                    assert_eq!(writer.group_routes(old), 0);
                    writer.group_remove(old).unwrap();
                }
            });
        }
    };
    race(&progress, write, read);
    let stats = writer.stats();
    assert_eq!(stats.groups.used, stats.routes);
    assert_eq!(stats.adjacencies.used, 2 * stats.routes, "{stats:?}");
    assert_eq!(stats.buckets.used, 64 * stats.routes);
}

/// The value of the route that decides about `address`, as a worker finds it: step by step, with time in between.
fn follow(reader: &Reader<'_>, address: u32, hash: u32, rng: &mut Rng) -> usize {
    let mut dawdle = || {
        if rng.below(8) == 0 {
            thread::yield_now();
        }
    };
    let id = reader.lookup(address);
    dawdle();
    let buckets = match reader.group(id) {
        Group::Forward(buckets) => buckets,
        Group::None => return 0,
        group
        @ (Group::Glean(_) | Group::Local | Group::Blackhole | Group::Unreachable | Group::Prohibit) => {
            panic!("{group:?} was never made")
        }
    };
    dawdle();
    let id = reader.bucket(buckets, hash);
    dawdle();
    let adjacency = reader.adjacency(id);
    assert_eq!(adjacency.state, AdjacencyState::Complete);
    assert_eq!(adjacency.dst.to_bits(), u64::from(adjacency.next_hop.to_bits()));
    usize::try_from(adjacency.next_hop.to_bits() >> 1).unwrap() & 0xffff
}

fn address_of(value: u16, half: u32) -> Ipv4Addr {
    Ipv4Addr::from_bits(0x0a00_0000 | u32::from(value) << 1 | half)
}

fn check(script: &Script, i: usize, value: usize, states: std::ops::RangeInclusive<usize>) {
    let allowed = &script.answers[i][states.clone()];
    assert!(
        allowed.iter().any(|&allowed| usize::from(allowed) == value),
        "{} answered {value} in states {states:?}, which allow {allowed:?}",
        Ipv4Addr::from_bits(script.addresses[i]),
    );
}

/// What is refused because readers may still see it becomes free when they have moved on.
fn patiently<T>(mut change: impl FnMut() -> Result<T, Refusal>) -> T {
    for _ in 0..10_000_000u64 {
        match change() {
            Ok(done) => return done,
            Err(
                Refusal::Tbl8Exhausted
                | Refusal::GroupsExhausted
                | Refusal::BucketsExhausted
                | Refusal::AdjacenciesExhausted,
            ) => thread::yield_now(),
            Err(
                refusal @ (Refusal::NeighborsExhausted
                | Refusal::UnknownGroup
                | Refusal::UnknownAdjacency
                | Refusal::UnknownPort
                | Refusal::BadMembers
                | Refusal::GroupInUse),
            ) => panic!("{refusal}"),
        }
    }
    panic!("readers never moved on");
}

/// Keys that stay are found at every moment, whatever comes and goes in their lines; keys that never were are not.
#[test]
fn neighbours_that_stay_are_always_found() {
    const STAYING: u32 = 24;
    const PASSING: u32 = 40;
    let geometry = Geometry { adjacencies: 256, neighbors: 64, ..SMALL };
    let owned = Owned::new(geometry).unwrap();
    let quiescence = Quiescence::new(READERS);
    let mut writer = Writer::new(owned.memory(), quiescence.clone());
    let port = |i: u32| PortId(u16::try_from(i % 3).unwrap());
    let address = |i: u32| Ipv4Addr::from_bits(0x0a00_0000 + i);
    for p in 0..3 {
        writer.port_set(PortId(p), LINK);
    }
    let staying: Vec<_> =
        (0..STAYING).map(|i| writer.neighbor_insert(port(i), address(i)).unwrap()).collect();
    let reader = writer.reader();
    let progress = Progress::default();
    let read = |number: u64| {
        let worker = quiescence.worker(usize::try_from(number).unwrap()).unwrap();
        worker.online();
        while !progress.over.load(Ordering::Acquire) {
            for (i, id) in (0..).zip(&staying) {
                assert_eq!(reader.neighbor(port(i), address(i)), Some(*id));
                assert_eq!(reader.neighbor(port(i + 1), address(i)), None, "the port is part of the key");
            }
            // Those that come and go: an answer leads to the neighbour that was asked for.
            for i in STAYING..STAYING + PASSING {
                if let Some(id) = reader.neighbor(port(i), address(i)) {
                    let adjacency = reader.adjacency(id);
                    assert_eq!((adjacency.port, adjacency.next_hop), (port(i), address(i)));
                }
            }
            worker.quiescent();
        }
    };
    let write = || {
        let mut rng = Rng(9);
        for _ in 0..if cfg!(miri) { 60 } else { 300_000 } {
            let i = STAYING + u32::try_from(rng.below(u64::from(PASSING))).unwrap();
            // Where there is no room, something goes.
            if rng.below(2) == 0 || writer.neighbor_insert(port(i), address(i)).is_err() {
                writer.neighbor_remove(port(i), address(i));
            }
        }
    };
    race(&progress, write, read);
}
