//! Several shards over one pool: every packet of a conversation finds the same owner, and no outside endpoint is ever
//! two hosts'.
#![expect(clippy::wildcard_enum_match_arm, reason = "a test panics on whatever it did not expect")]

use std::collections::HashMap;

use millrace_nat::{
    Allocation, Config, Endpoint, Filtering, Flow, Forward, Limits, Nat, PerProtocol, Pool, Side, Slices,
    Source, SourceAction, Static, Verdict, protocol,
};
use millrace_net::Instant;
use proptest::prelude::*;

const NOW: Instant = Instant::from_secs(1000);

fn config(allocation: Allocation) -> Config {
    let addr = |text: &str| text.parse().expect("address");
    Config {
        pools: vec![Pool {
            name: "wan".into(),
            addresses: vec![addr("203.0.113.8"), addr("203.0.113.9")],
            ports: 1024..=65535,
            filtering: PerProtocol::same(Filtering::EndpointIndependent),
            allocation,
        }],
        sources: vec![Source { from: "10.0.0.0/8".parse().expect("prefix"), action: SourceAction::Pool(0) }],
        forwards: vec![Forward {
            protocol: protocol::UDP,
            outside: addr("203.0.113.8"),
            outside_ports: 5000..=5100,
            inside: addr("10.0.0.7"),
            inside_port: 5000,
        }],
        statics: vec![Static { outside: addr("203.0.113.77"), inside: addr("10.0.0.77") }],
        limits: Limits { sessions: 4096, mappings: 4096, ..Limits::default() },
        ..Config::default()
    }
}

/// Lets the owner translate, hand-offs followed.
fn deliver(shards: &mut [Nat], side: Side, flow: Flow) -> Option<(Endpoint, Endpoint)> {
    let owner = usize::from(shards[0].owner(side, &flow));
    for shard in &*shards {
        assert_eq!(usize::from(shard.owner(side, &flow)), owner, "all shards agree on the owner of {flow:?}");
    }
    match shards[owner].translate(NOW, side, &flow, None) {
        Verdict::Translate(r) => Some((r.src, r.dst)),
        Verdict::Handoff(to, r) => {
            assert_ne!(usize::from(to), owner);
            let flow = Flow { protocol: flow.protocol, src: r.src, dst: r.dst };
            match shards[usize::from(to)].translate(NOW, Side::Outside, &flow, None) {
                Verdict::Translate(r) => Some((flow.src, r.dst)),
                other => panic!("{other:?}"),
            }
        }
        Verdict::Bypass | Verdict::Refuse(_) | Verdict::Deny(_) => None,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn no_endpoint_is_shared_and_answers_come_home(
        workers in 1u16..5,
        blocks: bool,
        flows in prop::collection::vec((0u32..200, 1u16..2000, prop::sample::select(vec![1u8, 6, 17, 47])), 1..300),
    ) {
        let allocation =
            if blocks { Allocation::Blocks { size: 512, max: 4, idle_secs: 60 } } else { Allocation::Random };
        let slices = Slices::new(workers, if blocks { 512 } else { 64 });
        let mut shards: Vec<Nat> =
            (0..workers).map(|w| Nat::new(config(allocation.clone()), slices, w, 7, NOW)).collect();
        let remote = Endpoint { addr: 0xc633_6401, port: 53 };
        let mut owners: HashMap<(u8, Endpoint), Endpoint> = HashMap::new();
        for (host, port, protocol) in flows {
            let portless = protocol == 47;
            let src = Endpoint { addr: 0x0a00_0000 + host, port: if portless { 0 } else { port } };
            let dst = if portless { Endpoint { port: 0, ..remote } } else { remote };
            let Some((outside, _)) = deliver(&mut shards, Side::Inside, Flow { protocol, src, dst }) else {
                prop_assert!(portless || blocks, "only a claimed protocol or a full block refuses");
                continue;
            };
            prop_assert_eq!(*owners.entry((protocol, outside)).or_insert(src), src, "shared {}", outside);
            let back = deliver(&mut shards, Side::Outside, Flow { protocol, src: dst, dst: outside });
            prop_assert_eq!(back, Some((dst, src)), "the answer to {} comes home", outside);
        }
    }

    #[test]
    fn hairpinning_across_shards(workers in 1u16..5, a in 0u32..200, b in 200u32..400) {
        let slices = Slices::new(workers, 64);
        let mut shards: Vec<Nat> =
            (0..workers).map(|w| Nat::new(config(Allocation::Random), slices, w, 7, NOW)).collect();
        let host = |n| Endpoint { addr: 0x0a00_0000 + n, port: 4000 };
        let udp = |src, dst| Flow { protocol: protocol::UDP, src, dst };
        let remote = Endpoint { addr: 0xc633_6401, port: 53 };
        let (b_outside, _) = deliver(&mut shards, Side::Inside, udp(host(b), remote)).expect("mapped");
        let (a_outside, reached) = deliver(&mut shards, Side::Inside, udp(host(a), b_outside)).expect("hairpinned");
        prop_assert_eq!(reached, host(b));
        let (seen, back) = deliver(&mut shards, Side::Inside, udp(host(b), a_outside)).expect("answered");
        prop_assert_eq!((seen, back), (b_outside, host(a)));
    }
}

#[test]
fn forwards_and_one_to_one_have_one_owner() {
    let slices = Slices::new(4, 64);
    let mut shards: Vec<Nat> =
        (0..4).map(|w| Nat::new(config(Allocation::Random), slices, w, 7, NOW)).collect();
    let remote = Endpoint { addr: 0xc633_6401, port: 53 };
    for port in 5000..=5100 {
        let outside = Endpoint { addr: 0xcb00_7108, port };
        let inside = Endpoint { addr: 0x0a00_0007, port };
        let flow = Flow { protocol: protocol::UDP, src: remote, dst: outside };
        assert_eq!(deliver(&mut shards, Side::Outside, flow), Some((remote, inside)));
        let flow = Flow { protocol: protocol::UDP, src: inside, dst: remote };
        assert_eq!(deliver(&mut shards, Side::Inside, flow), Some((outside, remote)));
    }
    assert_eq!(
        shards.iter().map(|s| s.totals().mappings).sum::<u64>(),
        101,
        "each forward lives in one shard"
    );
    let outside = Endpoint { addr: 0xcb00_714d, port: 9 };
    let inside = Endpoint { addr: 0x0a00_004d, port: 9 };
    let flow = Flow { protocol: protocol::TCP, src: remote, dst: outside };
    assert_eq!(deliver(&mut shards, Side::Outside, flow), Some((remote, inside)));
    let flow = Flow { protocol: protocol::TCP, src: inside, dst: remote };
    assert_eq!(deliver(&mut shards, Side::Inside, flow), Some((outside, remote)));
}
