//! Step by step, one thread: what a reader may still hold is not given out again until it has said that it holds nothing.

mod oracle;

use core::net::Ipv4Addr;

use millrace_fib::{Geometry, Group, GroupSpec, Owned, Quiescence, Refusal, Resolution, Stats, Writer};
use millrace_net::{Mac, PortId, Prefix};
use oracle::{LINK, SMALL};

/// One of everything.
const ONE: Geometry = Geometry { tbl8_groups: 1, groups: 2, buckets: 64, adjacencies: 3, neighbors: 8 };
const PORT: PortId = PortId(0);

fn address(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 0, 0, last)
}

#[test]
fn a_group_that_may_be_held_is_not_given_out_again() {
    let owned = Owned::new(ONE).unwrap();
    let quiescence = Quiescence::new(2);
    let mut writer = Writer::new(owned.memory(), quiescence.clone());
    let reader = writer.reader();
    let (idle, busy) = (quiescence.worker(0).unwrap(), quiescence.worker(1).unwrap());
    busy.online();

    let old = writer.group_insert(&GroupSpec::Glean(PORT)).unwrap();
    let prefix = Prefix::truncated(address(0), 24);
    writer.route_insert(prefix, old).unwrap();
    let held = reader.lookup(address(1).to_bits());
    writer.route_remove(prefix);
    writer.group_remove(old).unwrap();

    // Held by `busy`: not free, however often the writer asks, and what it was.
    for _ in 0..3 {
        assert_eq!(writer.group_insert(&GroupSpec::Local), Err(Refusal::GroupsExhausted));
        writer.reclaim();
    }
    assert_eq!(reader.group(held), Group::Glean(PORT));
    // `idle` wakes up after the removal: it does not hold the group, and does not hold it up.
    idle.online();
    busy.quiescent();
    let new = writer.group_insert(&GroupSpec::Local).unwrap();
    assert_eq!((new, reader.group(new)), (old, Group::Local), "the only group there is");
    let Stats { refused, awaiting_quiescence, .. } = writer.stats();
    assert_eq!((refused, awaiting_quiescence), (3, 0));
}

#[test]
fn a_worker_that_is_offline_or_gone_holds_nothing_up() {
    for leave in [|w: millrace_fib::Quiescent| w.offline(), |w: millrace_fib::Quiescent| drop(w)] {
        let owned = Owned::new(ONE).unwrap();
        let quiescence = Quiescence::new(1);
        let mut writer = Writer::new(owned.memory(), quiescence.clone());
        let worker = quiescence.worker(0).unwrap();
        worker.online();
        assert!(quiescence.worker(0).is_none(), "one handle a worker");
        let group = writer.group_insert(&GroupSpec::Local).unwrap();
        writer.group_remove(group).unwrap();
        assert_eq!(writer.group_insert(&GroupSpec::Local), Err(Refusal::GroupsExhausted));
        leave(worker);
        assert_eq!(writer.group_insert(&GroupSpec::Local), Ok(group));
        assert!(quiescence.worker(0).is_some(), "the handle came back");
    }
}

#[test]
fn the_present_epoch_is_not_a_past_one() {
    // What is taken out after a worker's quiescent state waits for its next one.
    let owned = Owned::new(Geometry { groups: 3, ..ONE }).unwrap();
    let quiescence = Quiescence::new(1);
    let mut writer = Writer::new(owned.memory(), quiescence.clone());
    let worker = quiescence.worker(0).unwrap();
    worker.online();
    let first = writer.group_insert(&GroupSpec::Local).unwrap();
    let second = writer.group_insert(&GroupSpec::Local).unwrap();
    writer.group_remove(first).unwrap();
    writer.reclaim();
    worker.quiescent();
    writer.group_remove(second).unwrap();
    assert_eq!(writer.group_insert(&GroupSpec::Local), Ok(first));
    assert_eq!(writer.group_insert(&GroupSpec::Local), Err(Refusal::GroupsExhausted));
    worker.quiescent();
    assert_eq!(writer.group_insert(&GroupSpec::Local), Ok(second));
}

#[test]
fn blocks_of_long_routes_and_buckets_wait_too() {
    let owned = Owned::new(Geometry { groups: 8, ..ONE }).unwrap();
    let quiescence = Quiescence::new(1);
    let mut writer = Writer::new(owned.memory(), quiescence.clone());
    let worker = quiescence.worker(0).unwrap();
    worker.online();
    writer.port_set(PORT, LINK);
    let [a, b] = [1, 2].map(|last| writer.neighbor_insert(PORT, address(last)).unwrap());
    let pair = GroupSpec::Forward(vec![(a, 1), (b, 1)]);
    let group = writer.group_insert(&pair).unwrap();
    let hosts = [1, 2].map(|n| Prefix::host(Ipv4Addr::new(192, 0, n, 1)));

    writer.route_insert(hosts[0], group).unwrap();
    writer.route_remove(hosts[0]);
    assert_eq!(writer.route_insert(hosts[1], group), Err(Refusal::Tbl8Exhausted));
    // To one member and back: the block of 64 buckets is given up, and is not there to come back to.
    writer.group_replace(group, &GroupSpec::Forward(vec![(a, 1)])).unwrap();
    assert_eq!(writer.group_replace(group, &pair), Err(Refusal::BucketsExhausted));
    assert_eq!(writer.group_spec(group), Some(&GroupSpec::Forward(vec![(a, 1)])), "refused, so unchanged");
    worker.quiescent();
    assert_eq!(writer.route_insert(hosts[1], group), Ok(None));
    assert_eq!(writer.group_replace(group, &pair), Ok(()));
}

#[test]
fn an_adjacency_lives_as_long_as_a_group_or_a_reader_may_use_it() {
    let owned = Owned::new(Geometry { adjacencies: 2, ..SMALL }).unwrap();
    let quiescence = Quiescence::new(1);
    let mut writer = Writer::new(owned.memory(), quiescence.clone());
    let reader = writer.reader();
    let worker = quiescence.worker(0).unwrap();
    worker.online();
    writer.port_set(PORT, LINK);
    let id = writer.neighbor_insert(PORT, address(1)).unwrap();
    writer.neighbor_set(id, Resolution::Complete(Mac([2; 6]))).unwrap();
    reader.touch(id, 7);
    let group = writer.group_insert(&GroupSpec::Forward(vec![(id, 1), (id, 2)])).unwrap();

    writer.neighbor_remove(PORT, address(1));
    writer.neighbor_remove(PORT, address(1));
    assert_eq!(reader.neighbor(PORT, address(1)), Some(id), "the group keeps it");
    assert_eq!(
        writer.neighbor_insert(PORT, address(1)),
        Ok(id),
        "and it is the same when the kernel has it again"
    );
    writer.neighbor_remove(PORT, address(1));
    assert_eq!(writer.neighbor_insert(PORT, address(2)), Err(Refusal::AdjacenciesExhausted));
    writer.group_remove(group).unwrap();
    assert_eq!(reader.neighbor(PORT, address(1)), None);
    assert_eq!(writer.neighbor_set(id, Resolution::Failed), Err(Refusal::UnknownAdjacency));
    // A reader may still be about to send by it.
    assert_eq!(reader.adjacency(id).next_hop, address(1));
    assert_eq!(writer.neighbor_insert(PORT, address(2)), Err(Refusal::AdjacenciesExhausted));
    worker.quiescent();
    assert_eq!(writer.neighbor_insert(PORT, address(2)), Ok(id));
    assert_eq!((reader.adjacency(id).next_hop, reader.last_used(id)), (address(2), None));
}
