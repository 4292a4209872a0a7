//! The life of a session: every state meets every event, and one table says what comes of it. RFC 4271 §8.2.2.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::time::Duration;

use millrace_bgp::wire::capability::Capabilities;
use millrace_bgp::wire::refresh::What;
use millrace_bgp::wire::{Family, Kind, Notification, Open, Refresh, keepalive, update};
use millrace_bgp::{Bgp, Clear, Config, ConnId, Input, Notice, Output, PeerConfig, State};
use millrace_proto::{Instant, Machine};

const US: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
const PEER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
/// The connection that we have opened, and one that the peer opens.
const OURS: ConnId = ConnId(1);
const THEIRS: ConnId = ConnId(2);

/// `Shut` is Idle by configuration, `Delayed` an accepted connection on which we let the peer speak first (DelayOpen).
const STATES: [&str; 8] =
    ["Shut", "Idle", "Connect", "Active", "Delayed", "OpenSent", "OpenConfirm", "Established"];

/// What can happen whether or not there is a connection.
const EVENTS: [&str; 7] = ["connected", "refused", "accepted", "clear", "BFD down", "shutdown", "stop"];

/// What can happen on a connection. Timers are events as well, in the states in which they run.
const ON_CONNECTIONS: [&str; 8] = [
    "OPEN",
    "OPEN of another AS",
    "KEEPALIVE",
    "UPDATE",
    "ROUTE-REFRESH",
    "NOTIFICATION",
    "garbage",
    "closed",
];

/// `state | event | next state | what is asked for, in order`. `6/5` is a NOTIFICATION; `theirs` is on the connection that
/// the peer has opened. Other than RFC 4271 §8.2.2 says, Idle takes a connection while it only waits to try again: two
/// routers that refuse each other in turn never meet.
const TABLE: &str = "
    Shut        | connected          | Idle        | close
    Shut        | refused            | Idle        | -
    Shut        | accepted           | Idle        | 6/5 theirs, close theirs
    Shut        | clear              | Idle        | -
    Shut        | BFD down           | Idle        | -
    Shut        | shutdown           | Idle        | -
    Shut        | stop               | Idle        | -
    Idle        | connected          | Idle        | close
    Idle        | refused            | Idle        | -
    Idle        | accepted           | OpenSent    | OPEN theirs
    Idle        | clear              | Idle        | -
    Idle        | BFD down           | Idle        | -
    Idle        | shutdown           | Idle        | -
    Idle        | stop               | Idle        | -
    Idle        | idle hold          | Connect     | connect
    Connect     | connected          | OpenSent    | OPEN
    Connect     | refused            | Active      | -
    Connect     | accepted           | OpenSent    | OPEN theirs
    Connect     | clear              | Idle        | cancel
    Connect     | BFD down           | Connect     | -
    Connect     | shutdown           | Idle        | cancel
    Connect     | stop               | Idle        | cancel
    Connect     | connect retry      | Connect     | cancel, connect
    Active      | connected          | Active      | close
    Active      | refused            | Active      | -
    Active      | accepted           | OpenSent    | OPEN theirs
    Active      | clear              | Idle        | -
    Active      | BFD down           | Active      | -
    Active      | shutdown           | Idle        | -
    Active      | stop               | Idle        | -
    Active      | connect retry      | Connect     | connect
    Delayed     | connected          | Active      | close
    Delayed     | refused            | Active      | -
    Delayed     | accepted           | Active      | 6/5 theirs, close theirs
    Delayed     | OPEN               | OpenConfirm | OPEN theirs, KEEPALIVE theirs
    Delayed     | OPEN of another AS | Idle        | 2/2 theirs, close theirs
    Delayed     | KEEPALIVE          | Idle        | 5/1 theirs, close theirs
    Delayed     | UPDATE             | Idle        | 5/1 theirs, close theirs
    Delayed     | ROUTE-REFRESH      | Idle        | 5/1 theirs, close theirs
    Delayed     | NOTIFICATION       | Idle        | close theirs
    Delayed     | garbage            | Idle        | 1/1 theirs, close theirs
    Delayed     | closed             | Active      | close theirs
    Delayed     | clear              | Idle        | 6/4 theirs, close theirs
    Delayed     | BFD down           | Active      | -
    Delayed     | shutdown           | Idle        | 6/2 theirs, close theirs
    Delayed     | stop               | Idle        | 6/2 theirs, close theirs
    Delayed     | delay open         | OpenSent    | OPEN theirs
    OpenSent    | connected          | OpenSent    | close
    OpenSent    | refused            | OpenSent    | -
    OpenSent    | accepted           | OpenSent    | OPEN theirs
    OpenSent    | OPEN               | OpenConfirm | KEEPALIVE
    OpenSent    | OPEN of another AS | Idle        | 2/2, close
    OpenSent    | KEEPALIVE          | Idle        | 5/1, close
    OpenSent    | UPDATE             | Idle        | 5/1, close
    OpenSent    | ROUTE-REFRESH      | Idle        | 5/1, close
    OpenSent    | NOTIFICATION       | Idle        | close
    OpenSent    | garbage            | Idle        | 1/1, close
    OpenSent    | closed             | Active      | close
    OpenSent    | clear              | Idle        | 6/4, close
    OpenSent    | BFD down           | OpenSent    | -
    OpenSent    | shutdown           | Idle        | 6/2, close
    OpenSent    | stop               | Idle        | 6/2, close
    OpenSent    | hold               | Idle        | 4/0, close
    OpenConfirm | connected          | OpenConfirm | close
    OpenConfirm | refused            | OpenConfirm | -
    OpenConfirm | accepted           | OpenConfirm | OPEN theirs
    OpenConfirm | OPEN               | Idle        | 5/2, close
    OpenConfirm | OPEN of another AS | Idle        | 5/2, close
    OpenConfirm | KEEPALIVE          | Established | up
    OpenConfirm | UPDATE             | Idle        | 5/2, close
    OpenConfirm | ROUTE-REFRESH      | Idle        | 5/2, close
    OpenConfirm | NOTIFICATION       | Idle        | close
    OpenConfirm | garbage            | Idle        | 1/1, close
    OpenConfirm | closed             | Idle        | close
    OpenConfirm | clear              | Idle        | 6/4, close
    OpenConfirm | BFD down           | OpenConfirm | -
    OpenConfirm | shutdown           | Idle        | 6/2, close
    OpenConfirm | stop               | Idle        | 6/2, close
    OpenConfirm | hold               | Idle        | 4/0, close
    OpenConfirm | keepalive          | OpenConfirm | KEEPALIVE
    Established | connected          | Established | close
    Established | refused            | Established | -
    Established | accepted           | Established | OPEN theirs
    Established | OPEN               | Idle        | 5/3, close, down
    Established | OPEN of another AS | Idle        | 5/3, close, down
    Established | KEEPALIVE          | Established | -
    Established | UPDATE             | Established | -
    Established | ROUTE-REFRESH      | Established | -
    Established | NOTIFICATION       | Idle        | close, down
    Established | garbage            | Idle        | 1/1, close, down
    Established | closed             | Idle        | close, down
    Established | clear              | Idle        | 6/4, close, down
    Established | BFD down           | Idle        | 6/10, close, down
    Established | shutdown           | Idle        | 6/2, close, down
    Established | stop               | Idle        | 6/2, close, down
    Established | hold               | Idle        | 4/0, close, down
    Established | keepalive          | Established | KEEPALIVE
    Established | send hold          | Idle        | 8/0, close, down
";

#[test]
fn every_state_meets_every_event() {
    let rows: Vec<[&str; 4]> = TABLE
        .lines()
        .filter(|line| !line.trim().is_empty())
        .map(|line| {
            let cells: Vec<&str> = line.split('|').map(str::trim).collect();
            cells.try_into().expect("well-formed")
        })
        .collect();
    let met: BTreeSet<(&str, &str)> = rows.iter().map(|[state, event, ..]| (*state, *event)).collect();
    for state in STATES {
        for event in EVENTS {
            assert!(met.contains(&(state, event)), "no row for {state} and {event}");
        }
        for event in ON_CONNECTIONS {
            let stale = ["Shut", "Idle", "Connect", "Active"].contains(&state);
            assert!(stale != met.contains(&(state, event)), "a row for {state} and {event}?");
        }
    }
    for [state, event, next, asked] in rows {
        let mut session = Session::new(state);
        let said = session.apply(event);
        let seen = [format!("{:?}", session.state()), said];
        assert_eq!(seen, [next, asked].map(String::from), "{state} meets {event}: state, what is asked for");
    }
}

/// A connection that is gone can be heard of for a while.
#[test]
fn without_a_connection_messages_mean_nothing() {
    for state in ["Shut", "Idle", "Connect", "Active"] {
        for event in ON_CONNECTIONS {
            let mut session = Session::new(state);
            let before = session.state();
            assert_eq!(
                (session.apply(event).as_str(), session.state()),
                ("-", before),
                "{state} meets {event}"
            );
        }
    }
}

/// One peer of a router, and its pretended connections.
struct Session {
    bgp: Bgp,
    now: Instant,
    config: Config,
    /// Where the peer's messages come.
    conn: ConnId,
}

impl Session {
    fn new(state: &str) -> Self {
        let mut peer = PeerConfig::new(65002);
        peer.timers.hold = 9;
        if state == "Delayed" {
            peer.timers.delay_open = Some(Duration::from_secs(5));
            peer.transport.passive = true;
        }
        if state == "Shut" {
            peer.shutdown = Some(String::new());
        }
        let config =
            Config { asn: 65001, router_id: Some(US), peers: [(PEER, peer)].into(), ..Config::default() };
        let mut session = Self { bgp: Bgp::new(1, false), now: Instant::from_secs(1), config, conn: OURS };
        session.input(Input::Configure(Box::new(session.config.clone())));
        let way: &[&str] = match state {
            "Shut" => &[],
            "Idle" => &["idle hold", "connected", "garbage"],
            "Connect" => &["idle hold"],
            "Active" => &["idle hold", "refused"],
            "Delayed" => &["accepted"],
            "OpenSent" => &["idle hold", "connected"],
            "OpenConfirm" => &["idle hold", "connected", "OPEN"],
            "Established" => &["idle hold", "connected", "OPEN", "KEEPALIVE"],
            other => panic!("no state {other}"),
        };
        for event in way {
            session.apply(event);
        }
        if state == "Delayed" {
            session.conn = THEIRS;
        }
        session
    }

    fn state(&self) -> State {
        self.bgp.summary(self.now, false).peers[0].state
    }

    fn apply(&mut self, event: &str) -> String {
        let message = |bytes| Input::Data { conn: self.conn, bytes };
        let input = match event {
            "connected" => Input::Connected { peer: PEER, conn: OURS, local: US },
            "refused" => Input::ConnectFailed { peer: PEER, reason: "connection refused".into() },
            "accepted" => Input::Accepted { conn: THEIRS, peer: PEER, local: US },
            "OPEN" => message(open(65002)),
            "OPEN of another AS" => message(open(65003)),
            "KEEPALIVE" => message(keepalive()),
            "UPDATE" => message(update::end_of_rib_message(Family::IPV4)),
            "ROUTE-REFRESH" => message(Refresh { family: Family::IPV4, what: What::Request }.encode()),
            "NOTIFICATION" => message(Notification::ADMIN_RESET.encode()),
            "garbage" => message(vec![0; 19]),
            "closed" => Input::Closed { conn: self.conn, reason: "reset by the peer".into() },
            "clear" => Input::Clear { peer: Some(PEER), how: Clear::Hard },
            "BFD down" => Input::PeerDown(PEER),
            "shutdown" => {
                let peer = self.config.peers.get_mut(&PEER).expect("the peer");
                peer.shutdown = Some("maintenance".into());
                Input::Configure(Box::new(self.config.clone()))
            }
            "stop" => Input::Shutdown,
            "send hold" => return self.starve(),
            timer => return self.pass(&format!("bgp: {timer}")),
        };
        self.input(input)
    }

    fn input(&mut self, input: Input) -> String {
        self.bgp.handle_input(self.now, input);
        self.asked()
    }

    /// Lets time pass until this timer has made the machine ask for something.
    fn pass(&mut self, timer: &str) -> String {
        loop {
            let (at, name) = self.bgp.poll_timeout().unwrap_or_else(|| panic!("{timer} does not run"));
            self.now = self.now.max(at);
            self.bgp.handle_timeout(self.now);
            let asked = self.asked();
            if name == timer && asked != "-" {
                return asked;
            }
            assert!(self.now < Instant::from_secs(1000), "{timer} does not run");
        }
    }

    /// The peer sends KEEPALIVEs and reads nothing (RFC 9687).
    fn starve(&mut self) -> String {
        for _ in 0..1000 {
            self.now = self.now + Duration::from_secs(1);
            self.bgp.handle_timeout(self.now);
            let asked = self.asked();
            if asked.contains("close") {
                return asked.trim_start_matches("KEEPALIVE, ").to_owned();
            }
            self.input(Input::Data { conn: self.conn, bytes: keepalive() });
        }
        panic!("still there");
    }

    fn asked(&mut self) -> String {
        let outputs = std::iter::from_fn(|| self.bgp.poll_output());
        let asked: Vec<String> = outputs.filter_map(|output| describe(&output)).collect();
        if asked.is_empty() { "-".to_owned() } else { asked.join(", ") }
    }
}

fn open(asn: u32) -> Vec<u8> {
    let capabilities = Capabilities {
        families: vec![Family::IPV4],
        route_refresh: true,
        asn: Some(asn),
        ..Capabilities::default()
    };
    Open { asn, hold_time: 9, router_id: PEER, capabilities }.encode()
}

/// None: nothing that sessions are about.
fn describe(output: &Output) -> Option<String> {
    Some(match output {
        Output::Connect(_) => "connect".into(),
        Output::CancelConnect { .. } => "cancel".into(),
        Output::Close { conn } => if *conn == OURS { "close" } else { "close theirs" }.into(),
        Output::Send { conn, bytes } => {
            let said = said(bytes);
            if *conn == OURS { said } else { format!("{said} theirs") }
        }
        Output::Notice(Notice::Up { .. }) => "up".into(),
        Output::Notice(Notice::Down { .. }) => "down".into(),
        Output::Notice(_)
        | Output::Routes { .. }
        | Output::Track { .. }
        | Output::Bfd { .. }
        | Output::Converged => return None,
    })
}

fn said(bytes: &[u8]) -> String {
    match Kind::ALL.into_iter().find(|kind| *kind as u8 == bytes[18]).expect("a kind") {
        Kind::Open => "OPEN".into(),
        Kind::Update => "UPDATE".into(),
        Kind::Notification => format!("{}/{}", bytes[19], bytes[20]),
        Kind::Keepalive => "KEEPALIVE".into(),
        Kind::RouteRefresh => "ROUTE-REFRESH".into(),
    }
}
