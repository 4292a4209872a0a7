//! State under another configuration, in another process, in other hands: what fits goes on, what is broken is refused.

use core::net::Ipv4Addr;

use millrace_nat::{
    Allocation, BadState, Config, Cursor, Endpoint, Filtering, Flow, Forward, Limits, Nat, PerProtocol, Pool,
    Side, Slices, Source, SourceAction, State, Static, Tcp, Verdict, protocol,
};
use millrace_net::Instant;
use proptest::prelude::*;

const NOW: Instant = Instant::from_secs(1000);
const SYN: Tcp = Tcp { syn: true, ack: false, fin: false, rst: false };

fn config(allocation: Allocation) -> Config {
    let addr = |text: &str| text.parse().expect("address");
    Config {
        pools: vec![Pool {
            name: "wan".into(),
            addresses: vec![addr("203.0.113.8"), addr("203.0.113.9")],
            ports: 1024..=65535,
            filtering: PerProtocol::same(Filtering::AddressDependent),
            allocation,
        }],
        sources: vec![Source { from: "10.0.0.0/8".parse().expect("prefix"), action: SourceAction::Pool(0) }],
        forwards: vec![Forward {
            protocol: protocol::UDP,
            outside: addr("203.0.113.8"),
            outside_ports: 5000..=5003,
            inside: addr("10.0.0.7"),
            inside_port: 5000,
        }],
        statics: vec![Static { outside: addr("203.0.113.77"), inside: addr("10.0.0.77") }],
        limits: Limits { sessions: 1000, mappings: 1000, ..Limits::default() },
        ..Config::default()
    }
}

fn blocks() -> Allocation {
    Allocation::Blocks { size: 64, max: 4, idle_secs: 60 }
}

fn shard(config: Config, slices: Slices, worker: u16) -> Nat {
    Nat::new(config, slices, worker, 42, NOW)
}

const REMOTE: Endpoint = Endpoint { addr: 0xc633_6401, port: 53 };

/// Conversations of every kind; gives flow and outside endpoint.
fn converse(nat: &mut Nat) -> Vec<(Flow, Endpoint)> {
    let mut made = Vec::new();
    for host in [5, 6, 7, 77] {
        for (port, protocol) in [(5000, protocol::UDP), (5001, protocol::TCP), (0, 47), (9, protocol::ICMP)] {
            let src = Endpoint::new(Ipv4Addr::new(10, 0, 0, host), port);
            let portless = protocol == 47 || protocol == protocol::ICMP;
            let dst = if portless { Endpoint { port: 0, ..REMOTE } } else { REMOTE };
            let flow = Flow { protocol, src, dst };
            let tcp = (protocol == protocol::TCP).then_some(SYN);
            if let Verdict::Translate(r) = nat.translate(NOW, Side::Inside, &flow, tcp) {
                made.push((flow, r.src));
            }
        }
    }
    assert!(12 < made.len());
    made
}

/// Every conversation goes on in both directions as it was.
fn goes_on(nat: &mut Nat, made: &[(Flow, Endpoint)]) {
    for (flow, outside) in made {
        let guess = nat.approach(nat.probe(Side::Inside, flow));
        let sent = nat.translate_known(NOW, guess, flow, None).expect("a session");
        assert_eq!(sent.src, *outside, "{flow:?}");
        let answer = Flow { protocol: flow.protocol, src: flow.dst, dst: *outside };
        let guess = nat.approach(nat.probe(Side::Outside, &answer));
        assert_eq!(nat.translate_known(NOW, guess, &answer, None).expect("a session").dst, flow.src);
    }
}

fn ends(nat: &mut Nat) {
    for secs in (1000..20_000).step_by(100) {
        nat.expire(Instant::from_secs(secs), 1_000_000);
    }
    let totals = nat.totals();
    assert_eq!((totals.sessions, totals.mappings, totals.subscribers), (0, 4, 0), "forwards alone stay");
    assert_eq!(nat.poll_timeout(), None);
}

#[test]
fn state_goes_on_in_another_process() {
    for allocation in [Allocation::Random, blocks()] {
        let slices = Slices::new(1, 64);
        let mut old = shard(config(allocation.clone()), slices, 0);
        let made = converse(&mut old);
        let state = State::read(&old.dump(NOW)).expect("whole");
        assert_eq!(
            (state.sessions(), state.mappings()),
            (made.len(), usize::try_from(old.totals().mappings).unwrap_or(0))
        );
        let mut fresh = Nat::new(config(allocation), slices, 0, 4711, NOW);
        let kept = fresh.restore(NOW, &state).expect("of this boot");
        assert_eq!((kept.sessions, kept.sessions_ended, kept.mappings_ended), (made.len() as u64, 0, 0));
        assert_eq!(fresh.poll_event(), None, "nothing is logged anew");
        goes_on(&mut fresh, &made);
        let views = |nat: &Nat| {
            let mut all = Vec::new();
            assert_eq!(nat.sessions_page(Cursor::default(), 1000, |s| all.push(format!("{s:?}"))), None);
            all.sort();
            all
        };
        assert_eq!(views(&fresh), views(&old), "with their times");
        ends(&mut fresh);
    }
}

#[test]
fn resting_ports_go_on_resting() {
    let slices = Slices::new(1, 64);
    let one_port = || {
        let mut config = config(Allocation::Random);
        config.pools[0].addresses.truncate(1);
        config.pools[0].ports = 2000..=2000;
        config
    };
    let mut old = shard(one_port(), slices, 0);
    let flow = Flow { protocol: protocol::UDP, src: Endpoint { addr: 0x0a00_0005, port: 1 }, dst: REMOTE };
    assert!(matches!(old.translate(NOW, Side::Inside, &flow, None), Verdict::Translate(_)));
    let later = Instant::from_secs(1300);
    old.expire(later, 100);
    let state = State::read(&old.dump(later)).expect("whole");
    let mut fresh = Nat::new(one_port(), slices, 0, 1, later);
    fresh.restore(later, &state).expect("of this boot");
    assert!(matches!(fresh.translate(later, Side::Inside, &flow, None), Verdict::Refuse(_)));
    let rested = Instant::from_secs(1420);
    fresh.expire(rested, 100);
    assert!(matches!(fresh.translate(rested, Side::Inside, &flow, None), Verdict::Translate(_)));
}

#[test]
fn shards_take_what_they_own() {
    let slices = Slices::new(2, 64);
    let mut shards: Vec<Nat> = (0..2).map(|w| shard(config(Allocation::Random), slices, w)).collect();
    let mut made = vec![Vec::new(), Vec::new()];
    for host in 1..=40 {
        let src = Endpoint::new(Ipv4Addr::new(10, 1, 0, host), 4000);
        let flow = Flow { protocol: protocol::UDP, src, dst: REMOTE };
        let owner = usize::from(shards[0].owner(Side::Inside, &flow));
        let Verdict::Translate(r) = shards[owner].translate(NOW, Side::Inside, &flow, None) else { panic!() };
        made[owner].push((flow, r.src));
    }
    let bytes: Vec<u8> = shards.iter().flat_map(|shard| shard.dump(NOW)).collect();
    let state = State::read(&bytes).expect("whole");
    for (worker, made) in (0..2).zip(&made) {
        let mut fresh = shard(config(Allocation::Random), slices, worker);
        let kept = fresh.restore(NOW, &state).expect("of this boot");
        assert_eq!(kept.sessions, made.len() as u64);
        goes_on(&mut fresh, made);
    }
    // One worker for two: what it could have made itself, which is all.
    let mut one = shard(config(Allocation::Random), Slices::new(1, 64), 0);
    assert_eq!(one.restore(NOW, &state).expect("of this boot").sessions, 40);
}

#[test]
fn broken_state_is_refused_with_a_sentence() {
    let mut nat = shard(config(Allocation::Random), Slices::new(1, 64), 0);
    converse(&mut nat);
    let whole = nat.dump(NOW);
    for at in 0..whole.len() {
        let mut broken = whole.clone();
        broken[at] ^= 0x10;
        assert!(State::read(&broken).is_err(), "byte {at}");
        assert!(at == 0 || State::read(&whole[..at]).is_err(), "cut at {at}");
    }
    let mut newer = whole.clone();
    newer[4] = 9;
    for (bytes, error, sentence) in [
        (&b"[router]\nname"[..], BadState::NotState, "does not begin as NAT state does"),
        (&newer, BadState::Version(9), "version 9 and this program reads 1"),
        (&whole[..100], BadState::CutShort, "ends before it should"),
    ] {
        let got = State::read(bytes).expect_err("broken");
        assert_eq!(got, error);
        assert!(got.to_string().contains(sentence), "{got}");
    }
    let state = State::read(&nat.dump(Instant::from_secs(5000))).expect("whole");
    let mut fresh = shard(config(Allocation::Random), Slices::new(1, 64), 0);
    assert_eq!(fresh.restore(NOW, &state), Err(BadState::Clock));
    assert_eq!(fresh.totals().mappings, 4, "the forwards alone");
}

proptest! {
    #[test]
    fn any_bytes_are_answered(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = State::read(&[&b"MRNS\x01\0"[..], &bytes].concat());
        let _ = State::read(&bytes);
    }
}

#[test]
fn a_configuration_keeps_what_still_fits() {
    type Change = fn(&mut Config);
    // (what changes, conversations that go on of 5, 6, 7 and 77)
    let table: [(&str, Change, [bool; 4]); 9] = [
        ("a timer", |c| c.timers.udp = 400, [true; 4]),
        ("a filter", |c| c.pools[0].filtering = PerProtocol::same(Filtering::EndpointIndependent), [true; 4]),
        ("an address more", |c| c.pools[0].addresses.insert(0, Ipv4Addr::new(203, 0, 113, 7)), [true; 4]),
        ("the table's size", |c| c.limits.sessions = 2000, [true; 4]),
        (
            "the pool's addresses",
            |c| c.pools[0].addresses = vec![Ipv4Addr::new(203, 0, 113, 99)],
            [false, false, false, true],
        ),
        (
            "who is translated",
            |c| c.sources[0].from = "10.0.0.6/32".parse().expect("prefix"),
            [false, true, false, true],
        ),
        ("no static address", |c| c.statics.clear(), [true, true, true, false]),
        ("exempt", |c| c.sources[0].action = SourceAction::Exempt, [false, false, false, true]),
        (
            "a destination is exempt",
            |c| {
                let to = SourceAction::ExemptTo("0.0.0.0/0".parse().expect("prefix"));
                c.sources.insert(0, Source { from: "10.0.0.6/32".parse().expect("prefix"), action: to });
            },
            [true, false, true, true],
        ),
    ];
    for (name, change, expected) in table {
        let mut nat = shard(config(Allocation::Random), Slices::new(1, 64), 0);
        let made: Vec<_> =
            converse(&mut nat).into_iter().filter(|(flow, _)| flow.protocol == protocol::TCP).collect();
        let mut new = config(Allocation::Random);
        change(&mut new);
        let kept = nat.reconfigure(NOW, new, Slices::new(1, 64));
        for ((flow, outside), expected) in made.iter().zip(expected) {
            let guess = nat.approach(nat.probe(Side::Inside, flow));
            let sent = nat.translate_known(NOW, guess, flow, Some(Tcp { ack: true, ..Tcp::default() }));
            assert_eq!(sent.map(|r| r.src), expected.then_some(*outside), "{name}: {flow:?}");
        }
        assert_eq!(kept.sessions_ended != 0, expected.contains(&false), "{name}");
    }
}

/// The host learns of every port that becomes NAT's, and of every one that is its own again.
#[test]
fn ports_shared_with_the_host_are_told_of() {
    let mut shared = config(Allocation::Random);
    shared.shared = vec![Ipv4Addr::new(203, 0, 113, 8), Ipv4Addr::new(203, 0, 113, 9)];
    let mut nat = shard(shared.clone(), Slices::new(1, 64), 0);
    let mut held = std::collections::BTreeSet::new();
    let mut follow = |nat: &mut Nat| {
        while let Some(change) = nat.poll_port_change() {
            let key = (change.protocol, change.outside);
            if change.held {
                held.insert(key);
            } else {
                held.remove(&key);
            }
        }
        let mut mapped = std::collections::BTreeSet::new();
        nat.mappings_page(Cursor::default(), 1000, |m| {
            if m.outside.addr().octets()[3] != 77 {
                mapped.insert((m.protocol, m.outside));
            }
        });
        assert_eq!(held, mapped);
        held.len()
    };
    assert_eq!(follow(&mut nat), 4, "forwards");
    converse(&mut nat);
    assert!(10 < follow(&mut nat));
    shared.sources[0].from = "10.0.0.6/32".parse().expect("prefix");
    nat.reconfigure(NOW, shared, Slices::new(1, 64));
    assert!(follow(&mut nat) < 10);
    ends(&mut nat);
    assert_eq!(follow(&mut nat), 4);
}
