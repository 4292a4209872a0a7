//! Routers that talk to each other over pretended connections, in virtual time.

#![expect(clippy::unwrap_used, reason = "a test may fail")]

use std::collections::{BTreeMap, VecDeque};
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use millrace_bgp::config::{Aggregate, MaxPrefixes, OverLimit};
use millrace_bgp::wire::Role;
use millrace_bgp::{Bgp, Clear, Config, ConnId, Input, Notice, Output, PeerConfig, State};
use millrace_net::Prefix;
use millrace_policy::rule::{Arithmetic, Change, Rule};
use millrace_policy::{Community, Decision, RuleList};
use millrace_proto::{Instant, Machine};

fn addr(last: usize) -> Ipv4Addr {
    Ipv4Addr::new(10, 0, 0, u8::try_from(last).unwrap())
}

fn prefix(text: &str) -> Prefix {
    text.parse().unwrap()
}

fn accept(changes: Vec<Change>) -> Option<Arc<RuleList>> {
    let rule = Rule { name: None, conditions: vec![], changes, decision: Some(Decision::Accept) };
    Some(Arc::new(RuleList { name: "test".into(), rules: vec![rule], default: Decision::Reject }))
}

/// A neighbour to whom everything is said and of whom everything is taken.
fn open(asn: u32) -> PeerConfig {
    PeerConfig { import: accept(vec![]), export: accept(vec![]), ..PeerConfig::new(asn) }
}

/// All on one wire: router `n` has the address 10.0.0.n.
struct Lab {
    now: Instant,
    routers: BTreeMap<usize, Bgp>,
    configs: BTreeMap<usize, Config>,
    next_conn: u64,
    /// Ends of connections: (router, its number) to the other end.
    wires: BTreeMap<(usize, ConnId), (usize, ConnId)>,
    cut: Vec<(usize, usize)>,
    fib: BTreeMap<usize, BTreeMap<Prefix, Vec<Ipv4Addr>>>,
    notices: Vec<(usize, Notice)>,
    /// Octets that went from one router to another.
    sent: BTreeMap<(usize, usize), usize>,
    acks: bool,
    queue: VecDeque<(usize, Input)>,
    busy: bool,
}

impl Lab {
    fn new(ases: &[u32]) -> Self {
        let mut lab = Self {
            now: Instant::from_secs(1),
            routers: BTreeMap::new(),
            configs: BTreeMap::new(),
            next_conn: 1,
            wires: BTreeMap::new(),
            cut: Vec::new(),
            fib: BTreeMap::new(),
            notices: Vec::new(),
            sent: BTreeMap::new(),
            acks: true,
            queue: VecDeque::new(),
            busy: false,
        };
        for (at, asn) in ases.iter().enumerate() {
            let config = Config { asn: *asn, router_id: Some(addr(at + 1)), ..Config::default() };
            lab.configs.insert(at + 1, config);
            lab.routers.insert(at + 1, Bgp::new(at as u64, false));
        }
        lab
    }

    fn peer(&mut self, a: usize, at_a: PeerConfig, b: usize, at_b: PeerConfig) {
        self.configs.get_mut(&a).unwrap().peers.insert(addr(b), at_a);
        self.configs.get_mut(&b).unwrap().peers.insert(addr(a), at_b);
    }

    /// A plain session between two routers.
    fn join(&mut self, a: usize, b: usize) {
        let (for_a, for_b) = (open(self.configs[&b].asn), open(self.configs[&a].asn));
        self.peer(a, for_a, b, for_b);
    }

    fn network(&mut self, router: usize, text: &str) {
        self.configs.get_mut(&router).unwrap().networks.insert(prefix(text), None);
    }

    fn configure(&mut self) {
        for (router, config) in self.configs.clone() {
            self.input(router, Input::Configure(Box::new(config)));
        }
    }

    /// One after the other, in the order in which they came up.
    fn input(&mut self, router: usize, input: Input) {
        self.queue.push_back((router, input));
        if !self.busy {
            self.drain();
        }
    }

    fn drain(&mut self) {
        self.busy = true;
        while let Some((router, input)) = self.queue.pop_front() {
            let Some(machine) = self.routers.get_mut(&router) else { continue };
            machine.handle_input(self.now, input);
            let outputs: Vec<Output> = std::iter::from_fn(|| machine.poll_output()).collect();
            self.carry(router, outputs);
        }
        self.busy = false;
    }

    fn carry(&mut self, router: usize, outputs: Vec<Output>) {
        for output in outputs {
            match output {
                Output::Connect(connect) => {
                    let other = usize::from(connect.peer.octets()[3]);
                    let is_cut = self.cut.contains(&(router, other)) || self.cut.contains(&(other, router));
                    if is_cut || !self.routers.contains_key(&other) {
                        let reason = "no route to host".into();
                        self.input(router, Input::ConnectFailed { peer: connect.peer, reason });
                        continue;
                    }
                    let (here, there) = (ConnId(self.next_conn), ConnId(self.next_conn + 1));
                    self.next_conn += 2;
                    self.wires.insert((router, here), (other, there));
                    self.wires.insert((other, there), (router, here));
                    let (own, peer) = (addr(router), addr(other));
                    self.input(router, Input::Connected { peer, conn: here, local: own });
                    self.input(other, Input::Accepted { conn: there, peer: own, local: peer });
                }
                Output::Send { conn, bytes } => {
                    let octets = bytes.len();
                    if let Some(&(other, there)) = self.wires.get(&(router, conn)) {
                        *self.sent.entry((router, other)).or_default() += octets;
                        self.input(other, Input::Data { conn: there, bytes });
                    }
                    self.input(router, Input::Written { conn, octets });
                }
                Output::Close { conn } => {
                    if let Some((other, there)) = self.wires.remove(&(router, conn)) {
                        self.wires.remove(&(other, there));
                        let reason = "connection closed by the peer".into();
                        self.input(other, Input::Closed { conn: there, reason });
                    }
                }
                Output::Routes { batch, routes } => {
                    for route in routes {
                        let fib = self.fib.entry(router).or_default();
                        match route.route {
                            Some(forwarding) => {
                                let gateways = forwarding.next_hops.iter().filter_map(|hop| hop.gateway);
                                fib.insert(route.prefix, gateways.collect());
                            }
                            None => drop(fib.remove(&route.prefix)),
                        }
                    }
                    if self.acks {
                        self.input(router, Input::FibAcked(batch));
                    }
                }
                Output::Track { address, wanted: true } => {
                    self.input(router, Input::NextHop { address, metric: Some(0) });
                }
                Output::Notice(notice) => self.notices.push((router, notice)),
                Output::Track { .. }
                | Output::CancelConnect { .. }
                | Output::Bfd { .. }
                | Output::Converged => {}
            }
        }
    }

    /// Lets time pass.
    fn run(&mut self, duration: Duration) {
        let until = self.now + duration;
        loop {
            let next = self.routers.iter().filter_map(|(router, machine)| {
                machine.poll_timeout().map(|(at, _)| (at.max(self.now), *router))
            });
            let Some((at, router)) = next.min().filter(|(at, _)| *at <= until) else { break };
            self.now = at;
            let machine = self.routers.get_mut(&router).unwrap();
            machine.handle_timeout(at);
            let outputs: Vec<Output> = std::iter::from_fn(|| machine.poll_output()).collect();
            self.busy = true;
            self.carry(router, outputs);
            self.drain();
        }
        self.now = until;
    }

    fn start(&mut self) {
        self.configure();
        self.run(Duration::from_secs(5));
    }

    fn state(&self, router: usize, peer: usize) -> State {
        let summary = self.routers[&router].summary(self.now, false);
        summary.peers.iter().find(|view| view.address == addr(peer)).unwrap().state
    }

    fn why_down(&self, router: usize, peer: usize) -> String {
        let summary = self.routers[&router].summary(self.now, false);
        let view = summary.peers.iter().find(|view| view.address == addr(peer)).unwrap();
        [view.last_down.clone(), view.last_attempt.clone()].map(Option::unwrap_or_default).join("; ")
    }

    /// `path / next hop / MED / preference / communities` of the best path.
    fn best(&self, router: usize, text: &str) -> Option<String> {
        let route = self.routers[&router].route(self.now, prefix(text))?;
        let path = route.paths.into_iter().find(|path| path.best)?;
        let attributes = path.attributes;
        let communities: Vec<String> = attributes.communities.iter().map(ToString::to_string).collect();
        let next_hop = attributes.next_hop.map_or("self".into(), |hop| hop.to_string());
        Some(format!("{} via {next_hop} {}", attributes.as_path, communities.join(",")).trim().to_owned())
    }

    fn fib(&self, router: usize) -> Vec<String> {
        self.fib.get(&router).into_iter().flatten().map(|(prefix, _)| prefix.to_string()).collect()
    }
}

#[test]
fn external_routers_tell_each_other() {
    let mut lab = Lab::new(&[65001, 65002, 65003]);
    lab.join(1, 2);
    lab.join(2, 3);
    lab.network(1, "192.0.2.0/24");
    lab.network(3, "198.51.100.0/24");
    lab.start();
    assert_eq!(
        (lab.state(1, 2), lab.state(2, 3)),
        (State::Established, State::Established),
        "{}",
        lab.why_down(1, 2)
    );
    assert_eq!(lab.best(3, "192.0.2.0/24").as_deref(), Some("65002 65001 via 10.0.0.2"));
    assert_eq!(lab.best(1, "198.51.100.0/24").as_deref(), Some("65002 65003 via 10.0.0.2"));
    assert_eq!(lab.fib(2), ["192.0.2.0/24", "198.51.100.0/24"]);
    // A network that is no more is withdrawn everywhere.
    lab.configs.get_mut(&1).unwrap().networks.clear();
    lab.start();
    assert_eq!(lab.best(3, "192.0.2.0/24"), None);
    assert_eq!(lab.fib(2), ["198.51.100.0/24"]);
    // And the sessions live on for hours, with nothing but keepalives.
    lab.run(Duration::from_secs(7200));
    assert_eq!(lab.state(1, 2), State::Established);
    assert!(lab.notices.iter().all(|(_, notice)| matches!(notice, Notice::Up { .. })), "{:?}", lab.notices);
}

#[test]
fn without_a_policy_external_peers_tell_nothing() {
    let mut lab = Lab::new(&[65001, 65002]);
    lab.peer(1, open(65002), 2, PeerConfig::new(65001));
    lab.network(1, "192.0.2.0/24");
    lab.network(2, "198.51.100.0/24");
    lab.start();
    assert_eq!(lab.state(1, 2), State::Established);
    assert_eq!((lab.best(2, "192.0.2.0/24"), lab.best(1, "198.51.100.0/24")), (None, None));
    // What was refused is there all the same, and a policy needs no new session.
    lab.configs.get_mut(&2).unwrap().peers.insert(addr(1), open(65001));
    lab.start();
    assert_eq!(lab.best(2, "192.0.2.0/24").as_deref(), Some("65001 via 10.0.0.1"));
    assert_eq!(lab.best(1, "198.51.100.0/24").as_deref(), Some("65002 via 10.0.0.2"));
    assert_eq!(lab.notices.len(), 2, "{:?}", lab.notices);
}

#[test]
fn an_equal_configuration_sends_nothing() {
    let mut lab = Lab::new(&[65001, 65002]);
    lab.join(1, 2);
    lab.network(1, "192.0.2.0/24");
    lab.start();
    let sent = lab.sent.clone();
    lab.configure();
    assert_eq!(lab.sent, sent);
    // A change of the export policy sends what it changes, and no more.
    lab.network(1, "198.51.100.0/24");
    lab.start();
    let export = accept(vec![Change::AddCommunities(vec![Community::Standard(7)])]);
    lab.configs.get_mut(&1).unwrap().peers.insert(addr(2), PeerConfig { export, ..open(65002) });
    lab.start();
    assert_eq!(lab.best(2, "192.0.2.0/24").as_deref(), Some("65001 via 10.0.0.1 0:7"));
    let export = accept(vec![]);
    lab.configs.get_mut(&1).unwrap().peers.insert(addr(2), PeerConfig { export, ..open(65002) });
    lab.start();
    assert_eq!(lab.best(2, "198.51.100.0/24").as_deref(), Some("65001 via 10.0.0.1"));
    assert_eq!(lab.notices.len(), 2, "{:?}", lab.notices);
}

#[test]
fn internal_routes_stop_at_the_second_router_unless_reflected() {
    let mut lab = Lab::new(&[65001; 3]);
    lab.join(1, 2);
    lab.join(2, 3);
    lab.network(1, "192.0.2.0/24");
    lab.start();
    assert_eq!(lab.best(2, "192.0.2.0/24").as_deref(), Some("via 10.0.0.1"));
    assert_eq!(lab.best(3, "192.0.2.0/24"), None);
    let client = PeerConfig { reflector_client: true, ..open(65001) };
    lab.configs.get_mut(&2).unwrap().peers.insert(addr(1), client);
    lab.start();
    lab.run(Duration::from_secs(30));
    assert_eq!(lab.best(3, "192.0.2.0/24").as_deref(), Some("via 10.0.0.1"));
    let route = lab.routers[&3].route(lab.now, prefix("192.0.2.0/24")).unwrap();
    let attributes = &route.paths[0].attributes;
    assert_eq!((attributes.originator, &attributes.cluster_list[..]), (Some(addr(1)), &[addr(2)][..]));
}

#[test]
fn the_better_path_wins_and_the_other_takes_over() {
    let mut lab = Lab::new(&[65001, 65002, 65003, 65004]);
    for (a, b) in [(1, 2), (1, 3), (2, 4), (3, 4)] {
        lab.join(a, b);
    }
    lab.network(4, "192.0.2.0/24");
    lab.start();
    assert_eq!(lab.best(1, "192.0.2.0/24").as_deref(), Some("65002 65004 via 10.0.0.2"));
    let import = accept(vec![Change::Preference(Arithmetic::To(200))]);
    lab.configs.get_mut(&1).unwrap().peers.insert(addr(3), PeerConfig { import, ..open(65003) });
    lab.start();
    assert_eq!(lab.best(1, "192.0.2.0/24").as_deref(), Some("65003 65004 via 10.0.0.3"));
    lab.cut.push((1, 3));
    lab.input(1, Input::Clear { peer: Some(addr(3)), how: Clear::Hard });
    lab.run(Duration::from_secs(5));
    assert_eq!(lab.best(1, "192.0.2.0/24").as_deref(), Some("65002 65004 via 10.0.0.2"));
    assert!(lab.why_down(1, 3).contains("no route to host"), "{}", lab.why_down(1, 3));
    assert!(lab.why_down(3, 1).contains("administrative reset"), "{}", lab.why_down(3, 1));
}

#[test]
fn nothing_is_announced_before_the_fib_has_it() {
    let mut lab = Lab::new(&[65001, 65002, 65003]);
    lab.join(1, 2);
    lab.join(2, 3);
    lab.configs.get_mut(&2).unwrap().wait_for_fib = true;
    lab.start();
    lab.acks = false;
    lab.network(1, "192.0.2.0/24");
    lab.start();
    assert_eq!((lab.best(2, "192.0.2.0/24").is_some(), lab.best(3, "192.0.2.0/24")), (true, None));
    lab.input(2, Input::FibAcked(u64::MAX));
    lab.run(Duration::from_secs(1));
    assert_eq!(lab.best(3, "192.0.2.0/24").as_deref(), Some("65002 65001 via 10.0.0.2"));
}

#[test]
fn too_many_prefixes_end_the_session() {
    let mut lab = Lab::new(&[65001, 65002]);
    lab.join(1, 2);
    let limited = MaxPrefixes { limit: 2, warn_percent: 75, action: OverLimit::Shutdown };
    let config = PeerConfig { max_prefixes: Some(limited), ..open(65001) };
    lab.configs.get_mut(&2).unwrap().peers.insert(addr(1), config);
    for network in ["192.0.2.0/24", "198.51.100.0/24"] {
        lab.network(1, network);
    }
    lab.start();
    assert_eq!(lab.state(2, 1), State::Established);
    lab.network(1, "203.0.113.0/24");
    lab.start();
    lab.run(Duration::from_secs(300));
    assert_eq!(lab.state(2, 1), State::Idle);
    assert!(lab.why_down(2, 1).contains("more than the 2"), "{}", lab.why_down(2, 1));
    assert!(
        lab.why_down(1, 2).contains("maximum number of prefixes") || lab.why_down(1, 2).contains("rejected")
    );
    assert!(lab.fib(2).is_empty());
    lab.input(2, Input::Clear { peer: None, how: Clear::Hard });
    lab.configs.get_mut(&1).unwrap().networks.remove(&prefix("203.0.113.0/24"));
    lab.start();
    lab.run(Duration::from_secs(120));
    assert_eq!(lab.state(2, 1), State::Established);
}

#[test]
fn roles_keep_routes_from_leaking() {
    // 2 is customer of 1 and of 3: what 1 says must not reach 3.
    let mut lab = Lab::new(&[65001, 65002, 65003]);
    let with = |asn, role| PeerConfig { role: Some(role), ..open(asn) };
    lab.peer(1, with(65002, Role::Provider), 2, with(65001, Role::Customer));
    lab.peer(2, with(65003, Role::Customer), 3, with(65002, Role::Provider));
    lab.network(1, "192.0.2.0/24");
    lab.network(2, "198.51.100.0/24");
    lab.start();
    assert!(lab.best(2, "192.0.2.0/24").is_some() && lab.best(3, "198.51.100.0/24").is_some());
    assert_eq!(lab.best(3, "192.0.2.0/24"), None);
    // Two providers do not fit.
    lab.configs.get_mut(&3).unwrap().peers.insert(addr(2), with(65002, Role::Customer));
    lab.start();
    lab.run(Duration::from_secs(10));
    assert_ne!(lab.state(2, 3), State::Established);
    assert!(lab.why_down(2, 3).contains("role mismatch"), "{}", lab.why_down(2, 3));
}

#[test]
fn aggregates_stand_while_they_have_parts() {
    let mut lab = Lab::new(&[65001, 65002]);
    lab.join(1, 2);
    lab.configs
        .get_mut(&1)
        .unwrap()
        .aggregates
        .insert(prefix("10.8.0.0/16"), Aggregate { summary_only: true });
    lab.network(1, "10.8.1.0/24");
    lab.network(1, "10.9.1.0/24");
    lab.start();
    assert_eq!(lab.fib(2), ["10.8.0.0/16", "10.9.1.0/24"]);
    assert_eq!(lab.fib(1), ["10.8.0.0/16"], "what none of the parts takes is dropped");
    lab.configs.get_mut(&1).unwrap().networks.remove(&prefix("10.8.1.0/24"));
    lab.start();
    assert_eq!(lab.fib(2), ["10.9.1.0/24"]);
}

#[test]
fn a_restart_keeps_routes_until_everything_is_told_again() {
    let mut lab = Lab::new(&[65001, 65002]);
    lab.join(1, 2);
    for network in ["192.0.2.0/24", "198.51.100.0/24"] {
        lab.network(1, network);
    }
    lab.start();
    assert_eq!(lab.fib(2).len(), 2);
    // Router 1 dies without a word and comes back with one network less.
    let gone: Vec<_> = lab.wires.keys().copied().collect();
    lab.wires.clear();
    lab.routers.insert(1, Bgp::new(9, true));
    for (router, conn) in gone.into_iter().filter(|(router, _)| *router == 2) {
        lab.input(router, Input::Closed { conn, reason: "connection reset".into() });
    }
    assert_eq!(lab.fib(2).len(), 2, "kept while it is away");
    lab.configs.get_mut(&1).unwrap().networks.remove(&prefix("192.0.2.0/24"));
    lab.run(Duration::from_millis(500));
    lab.configure();
    lab.run(Duration::from_secs(30));
    assert_eq!(lab.state(2, 1), State::Established);
    assert_eq!(lab.fib(2), ["198.51.100.0/24"]);
    // One that does not come back is forgotten.
    lab.routers.remove(&1);
    let gone: Vec<_> = lab.wires.keys().copied().filter(|(router, _)| *router == 2).collect();
    lab.wires.clear();
    for (router, conn) in gone {
        lab.input(router, Input::Closed { conn, reason: "connection reset".into() });
    }
    lab.run(Duration::from_secs(100));
    assert_eq!(lab.fib(2), ["198.51.100.0/24"]);
    lab.run(Duration::from_secs(30));
    assert!(lab.fib(2).is_empty());
}

#[test]
fn large_tables_are_packed_and_arrive_whole() {
    let mut lab = Lab::new(&[65001, 65002, 65003]);
    lab.join(1, 2);
    lab.join(2, 3);
    for at in 0..20_000u32 {
        let network = Prefix::truncated(Ipv4Addr::from_bits(0x0b00_0000 | at << 8), 24);
        lab.configs.get_mut(&1).unwrap().networks.insert(network, None);
    }
    lab.start();
    lab.run(Duration::from_secs(5));
    assert_eq!(lab.fib(3).len(), 20_000);
    // Four octets a prefix, and little besides.
    assert!(lab.sent[&(2, 3)] < 20_000 * 4 + 12_000, "{}", lab.sent[&(2, 3)]);
    assert_eq!(lab.routers[&3].summary(lab.now, false).attribute_sets, 1);
    // A late one is told everything, and sends nothing back.
    lab.input(3, Input::Clear { peer: None, how: Clear::Hard });
    lab.run(Duration::from_secs(10));
    assert_eq!(lab.fib(3).len(), 20_000);
    let summary = lab.routers[&2].summary(lab.now, true);
    assert_eq!(summary.peers[1].prefixes_advertised, 20_000);
    assert_eq!(lab.routers[&3].summary(lab.now, false).peers[0].stats.sent[1], 2, "two end-of-RIBs");
}
