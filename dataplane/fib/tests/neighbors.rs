//! Neighbours and adjacencies, one thread: the hash table against a map, what frames get, time of use.

mod oracle;

use core::net::Ipv4Addr;
use std::collections::BTreeMap;

use millrace_fib::{
    Adjacency, AdjacencyId, AdjacencyState, Geometry, Link, Owned, Quiescence, Refusal, Resolution, Tag,
    Tpid, Vlan, Writer,
};
use millrace_net::{Mac, PortId};
use oracle::{LINK, Rng, SMALL};

const PORT: PortId = PortId(2);
const ADDRESS: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 7);

#[test]
fn an_adjacency_follows_its_neighbour_and_its_port() {
    let owned = Owned::new(SMALL).unwrap();
    let mut writer = Writer::new(owned.memory(), Quiescence::new(0));
    let reader = writer.reader();
    assert_eq!(writer.neighbor_insert(PORT, ADDRESS), Err(Refusal::UnknownPort));
    writer.port_set(PORT, LINK);
    let id = writer.neighbor_insert(PORT, ADDRESS).unwrap();
    let mut expected = Adjacency {
        state: AdjacencyState::Incomplete,
        port: PORT,
        src: LINK.mac,
        dst: Mac::ZERO,
        mtu: LINK.mtu,
        vlan: LINK.vlan,
        next_hop: ADDRESS,
    };
    assert_eq!(reader.adjacency(id), expected);
    let mac = Mac([2, 0, 0, 0, 9, 9]);
    writer.neighbor_set(id, Resolution::Complete(mac)).unwrap();
    expected = Adjacency { state: AdjacencyState::Complete, dst: mac, ..expected };
    assert_eq!(reader.adjacency(id), expected);
    assert_eq!(writer.neighbor_insert(PORT, ADDRESS), Ok(id), "idempotent");
    assert_eq!(reader.adjacency(id), expected, "and harmless");

    let tag = |vid| Tag::new(Tpid::Customer, vid).unwrap();
    for vlan in [Vlan::Tagged(tag(7)), Vlan::Double { outer: tag(8), inner: tag(9) }, Vlan::Untagged] {
        let link = Link { mac: Mac([2, 0, 0, 0, 8, 8]), mtu: 9000, vlan };
        writer.port_set(PORT, link);
        writer.port_set(PortId(9), LINK);
        expected = Adjacency { src: link.mac, mtu: link.mtu, vlan, ..expected };
        assert_eq!(reader.adjacency(id), expected);
    }
    writer.neighbor_set(id, Resolution::Failed).unwrap();
    assert_eq!(reader.adjacency(id).state, AdjacencyState::Failed);
    assert_eq!(reader.adjacency(AdjacencyId::NONE).state, AdjacencyState::Failed);
}

#[test]
fn use_is_noted_by_the_second() {
    let owned = Owned::new(SMALL).unwrap();
    let mut writer = Writer::new(owned.memory(), Quiescence::new(0));
    let reader = writer.reader();
    writer.port_set(PORT, LINK);
    let id = writer.neighbor_insert(PORT, ADDRESS).unwrap();
    assert_eq!(reader.last_used(id), None);
    for now in [0, 5, 5, u32::MAX] {
        reader.touch(id, now);
        assert_eq!(reader.last_used(id), Some(now));
    }
    assert_eq!(reader.adjacency(id).next_hop, ADDRESS, "and nothing else");
}

#[test]
fn the_hash_table_agrees_with_a_map() {
    let owned = Owned::new(Geometry { adjacencies: 100, neighbors: 256, ..SMALL }).unwrap();
    let mut writer = Writer::new(owned.memory(), Quiescence::new(0));
    let reader = writer.reader();
    for port in 0..4 {
        writer.port_set(PortId(port), LINK);
    }
    let mut map = BTreeMap::new();
    let mut rng = Rng(4);
    for _ in 0..20_000 {
        let port = PortId(u16::try_from(rng.below(4)).unwrap());
        let address = Ipv4Addr::from_bits(0x0a00_0000 + u32::try_from(rng.below(60)).unwrap());
        if rng.below(3) == 0 {
            writer.neighbor_remove(port, address);
            map.remove(&(port, address));
        } else {
            match writer.neighbor_insert(port, address) {
                Ok(id) => assert_eq!(*map.entry((port, address)).or_insert(id), id),
                Err(refusal) => {
                    assert_eq!((refusal, map.len()), (Refusal::AdjacenciesExhausted, 99));
                    assert!(!map.contains_key(&(port, address)));
                }
            }
        }
        assert_eq!(reader.neighbor(port, address), map.get(&(port, address)).copied());
    }
    let mut listed: Vec<_> = writer.neighbors().map(|n| ((n.port, n.address), n.id)).collect();
    listed.sort_unstable();
    assert_eq!(listed, map.into_iter().collect::<Vec<_>>());
}

/// The addresses of links, in order and at random, coming and going at half load: no line ever fills.
#[test]
fn half_of_the_slots_can_be_filled() {
    for slots in [1u32 << 9, 1 << 12, 1 << 16] {
        let wanted = slots / 2;
        let owned = Owned::new(Geometry { adjacencies: wanted + 1, neighbors: slots, ..SMALL }).unwrap();
        let mut writer = Writer::new(owned.memory(), Quiescence::new(0));
        writer.port_set(PORT, LINK);
        for i in 0..wanted {
            writer.neighbor_insert(PORT, Ipv4Addr::from_bits(0x0a00_0000 + i)).unwrap();
        }
        let mut rng = Rng(u64::from(slots));
        let mut there: Vec<_> = writer.neighbors().map(|n| n.address).collect();
        for _ in 0..20_000 {
            let gone = rng.index(there.len());
            writer.neighbor_remove(PORT, there.swap_remove(gone));
            let address = Ipv4Addr::from_bits(0x0a80_0000 + u32::try_from(rng.below(1 << 20)).unwrap());
            if writer.reader().neighbor(PORT, address).is_none() {
                there.push(address);
            }
            writer.neighbor_insert(PORT, address).unwrap();
        }
    }
}

#[test]
fn a_full_line_is_a_counted_refusal_that_changes_nothing() {
    // One line: the ninth neighbour has nowhere to stand.
    let owned = Owned::new(Geometry { neighbors: 8, ..SMALL }).unwrap();
    let mut writer = Writer::new(owned.memory(), Quiescence::new(0));
    writer.port_set(PORT, LINK);
    let address = |i| Ipv4Addr::new(10, 0, 0, i);
    for i in 0..8 {
        writer.neighbor_insert(PORT, address(i)).unwrap();
    }
    assert_eq!(writer.neighbor_insert(PORT, address(8)), Err(Refusal::NeighborsExhausted));
    let stats = writer.stats();
    assert_eq!((stats.adjacencies.used, stats.refused), (8, 1));
    writer.neighbor_remove(PORT, address(3));
    assert!(writer.neighbor_insert(PORT, address(8)).is_ok());
}
