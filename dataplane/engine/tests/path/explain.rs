//! What `explain` says of a packet is what becomes of it: both are done, and everything is compared.

use std::sync::Arc;

use millrace_acl::{Acl, Action, Policer, Rule, RuleIndex, Unit};
use millrace_engine::{Filter, Guard, Hits, Urpf, VerdictKind};
use millrace_net::{PortId, Rate};

use crate::rig::{
    BUFFER, Buffer, DF, Datagram, HEADROOM, LAN, MF, Router, THIN, WAN, addr, config, memory, udp,
};

/// Two rules in, one out, a policer that has room for one packet.
struct Lists {
    inward: Arc<Filter>,
    outward: Arc<Filter>,
    policer: Arc<Policer>,
}

impl Lists {
    fn new() -> Self {
        let to = |prefix: &str, action| Rule { dst: vec![prefix.parse().unwrap()], ..Rule::any(action) };
        let inward = [to("10.1.9.0/24", Action::Drop), to("10.1.8.0/24", Action::Reject)];
        let outward = [to("10.1.7.0/24", Action::Reject)];
        let filter = |rules: &[Rule]| {
            Arc::new(Filter::new(Acl::compile(rules).unwrap(), Action::Accept, Vec::new(), 1))
        };
        let policer = Policer::new(Rate { per_second: 1, burst: 1 }, Unit::Packets);
        Self { inward: filter(&inward), outward: filter(&outward), policer: Arc::new(policer) }
    }

    fn put(&self, router: &mut Router<'_>) {
        let guard = |filter: &Arc<Filter>| Guard { filter: Some(Arc::clone(filter)), policer: None };
        router.set_port(LAN, |port| {
            port.guard_in = guard(&self.inward);
            port.redirects = true;
        });
        router.set_port(WAN, |port| {
            port.guard_out = guard(&self.outward);
            port.urpf = Urpf::Strict;
        });
        router.set_port(THIN, |port| {
            port.guard_in = Guard { filter: None, policer: Some(Arc::clone(&self.policer)) };
        });
    }
}

fn packets() -> Vec<(PortId, Vec<u8>)> {
    let mut all = Vec::new();
    let destinations = [
        "10.1.2.3",
        "10.1.7.3",
        "10.1.8.3",
        "10.1.9.3",
        "10.2.0.9",
        "10.3.0.9",
        "10.4.0.9",
        "10.5.0.9",
        "10.5.1.7",
        "10.6.0.1",
        "10.7.0.1",
        "10.8.0.1",
        "10.9.0.1",
        "10.10.0.1",
        "10.11.0.1",
        "172.16.3.3",
        "192.0.2.1",
        "192.0.2.10",
        "192.0.2.77",
        "192.0.2.255",
        "198.51.100.255",
        "203.0.113.9",
        "8.8.8.8",
        "224.0.0.5",
        "255.255.255.255",
        "127.0.0.1",
    ];
    for dst in destinations {
        for port in [LAN, WAN, THIN] {
            for (ttl, fragment, len) in [(64, 0, 18), (1, 0, 18), (64, DF, 900), (64, 0, 900), (64, MF, 32)] {
                let payload = udp(4000, 53, len);
                all.push((port, Datagram { ttl, fragment, payload, ..Datagram::to(dst) }.on(port)));
            }
        }
    }
    let options = Datagram { options: vec![7, 7, 4, 0, 0, 0, 0, 0], ..Datagram::default() };
    let source_routed = Datagram { options: vec![131, 3, 4, 0], ..Datagram::default() };
    let forged = Datagram { src: addr("0.0.0.1"), ..Datagram::default() };
    for datagram in [options, source_routed, forged] {
        all.push((LAN, datagram.on(LAN)));
    }
    all.push((LAN, Datagram::default().on(WAN)));
    all.push((LAN, Datagram::default().on(LAN)[..40].to_vec()));
    all.push((LAN, vec![0; 9]));
    all
}

#[test]
fn what_is_said_is_what_happens() {
    for (port, bytes) in packets() {
        let lists = Lists::new();
        let (real_memory, dry_memory) = (memory(), memory());
        let mut dry_config = config();
        dry_config.worker = usize::MAX;
        let mut real = Router::new(&real_memory);
        let mut dry = Router::with_config(&dry_memory, dry_config);
        for router in [&mut real, &mut dry] {
            lists.put(router);
        }
        // First the question, so that nothing it might have taken is there for the packet.
        let frame = Buffer::with_headroom(&bytes, HEADROOM, BUFFER);
        dry.frames += 1;
        let said = dry.engine.explain(dry.now, &dry.ports, (port, frame), &mut dry.bench);
        assert_eq!(lists.inward.hits(None), Hits::default());
        real.receive([(port, &bytes[..])]);

        let verdict = VerdictKind::ALL.iter().find(|&&kind| real.page.verdicts(kind) != 0).copied();
        assert_eq!(Some(said.verdict.kind()), verdict, "{port:?} {bytes:x?}");
        assert_eq!(dry.bench.tx, real.bench.tx, "{port:?} {bytes:x?}");
        assert_eq!(dry.bench.asked, real.bench.asked);
        let verdicts = |name: &String| !name.starts_with("verdict");
        let mut counts = (dry.counts(), real.counts());
        counts.0.retain(|name, _| verdicts(name));
        counts.1.retain(|name, _| verdicts(name));
        assert_eq!(counts.0, counts.1, "{port:?} {bytes:x?}");
        dry.check_frames();
    }
}

#[test]
fn the_rule_the_bucket_and_the_adjacency_are_named() {
    let lists = Lists::new();
    let memory = memory();
    let mut router = Router::new(&memory);
    lists.put(&mut router);
    let mut ask = |dst: &str| {
        router.frames += 1;
        let frame = Buffer::with_headroom(&Datagram::to(dst).on(LAN), HEADROOM, BUFFER);
        router.engine.explain(router.now, &router.ports, (LAN, frame), &mut router.bench)
    };
    let rule = |judged: Option<millrace_engine::Judgement>| judged.map(|judged| judged.rule);
    for (dst, inward, outward, bucket, adjacency) in [
        ("10.1.2.3", Some(None), Some(None), true, true),
        ("10.1.9.3", Some(Some(RuleIndex(0))), None, false, false),
        ("10.1.8.3", Some(Some(RuleIndex(1))), None, false, false),
        ("10.1.7.3", Some(None), Some(Some(RuleIndex(0))), true, true),
        ("192.0.2.10", Some(None), None, false, true),
        ("8.8.8.8", Some(None), None, false, false),
    ] {
        let said = ask(dst);
        assert_eq!((rule(said.inward), rule(said.outward)), (inward, outward), "{dst}");
        assert_eq!((said.bucket.is_some(), said.adjacency.is_some()), (bucket, adjacency), "{dst}");
    }
    assert_eq!(ask("10.1.2.3").bucket, Some((0, 1)));
    let spread: std::collections::BTreeSet<_> =
        (0..32).map(|host| ask(&format!("10.5.0.{host}")).bucket.unwrap()).collect();
    assert!(8 < spread.len() && spread.iter().all(|&(index, len)| index < len && len == 64), "{spread:?}");
}
