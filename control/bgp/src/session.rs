//! Sessions: the finite state machine of RFC 4271 §8, for both connections a peer may have with us.
//!
//! ```text
//!               ┌────────────── idle hold, longer each time ◀───────────────┐
//!   Idle ──start──▶ Connect ◀──connect retry──▶ Active                      │ any error: NOTIFICATION
//!                     │ connected                 │ accepted                │
//!                     └────────▶ OpenSent ◀───────┘                         │
//!                                   │ OPEN: collision? capabilities         │
//!                                OpenConfirm ───────────────────────────────┤
//!                                   │ KEEPALIVE                             │
//!                                Established ───────────────────────────────┘
//! ```
//!
//! A connection is in OpenSent, OpenConfirm or Established, or waits for the peer to speak first (DelayOpen); the peer
//! is in Idle, Connect or Active beside. What RFC 4271 calls a second instance of the machine is a second connection.

use std::net::Ipv4Addr;
use std::time::Duration;

use millrace_proto::Instant;

use crate::config::PeerConfig;
use crate::machine::{Bgp, ConnId, Connect, Notice, Output, Timer};
use crate::peer::{Agreed, Conn, Peer, PeerKind, Stage, State};
use crate::table::PeerIx;
use crate::wire::capability::{Capabilities, Family, GracefulRestart};
use crate::wire::{self, Frame, Kind, Notification, Open};

/// RFC 4271 §8.2.2: while no OPEN has come.
const LARGE_HOLD: Duration = Duration::from_secs(240);
/// After the first failure, and at most.
const IDLE_HOLD: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));
/// A session that lasted this long was none that flaps.
const SETTLED: Duration = Duration::from_secs(300);
/// RFC 9687 §3.1
const SEND_HOLD: Duration = Duration::from_secs(480);

/// How a session ends.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct End {
    /// What the peer is told.
    pub(crate) notification: Option<Notification>,
    pub(crate) reason: String,
    pub(crate) then: Then,
    /// Whether a peer that restarts gracefully keeps its routes here.
    pub(crate) graceful: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Then {
    /// Up again after the idle hold time.
    IdleHold,
    /// Up again after this long.
    Wait(Duration),
    /// Down until something else starts it.
    Stay,
}

impl End {
    fn told(notification: Notification) -> Self {
        let reason = format!("sent {notification}");
        Self { notification: Some(notification), reason, then: Then::IdleHold, graceful: true }
    }
}

impl Bgp {
    /// Events 1 and 3: begins to connect, or to wait.
    pub(crate) fn start(&mut self, now: Instant, ix: PeerIx) {
        let Some(peer) = self.peer_mut(ix) else { return };
        if peer.is_shut_down() || peer.waiting != State::Idle || !peer.conns.is_empty() {
            return;
        }
        self.timers.cancel(Timer::IdleHold(ix));
        if let Some(peer) = self.peer_mut(ix) {
            peer.held = false;
        }
        self.connect(now, ix);
    }

    fn connect(&mut self, now: Instant, ix: PeerIx) {
        let Some(peer) = self.peer_mut(ix) else { return };
        if peer.config.transport.passive || peer.dynamic {
            peer.waiting = State::Active;
            return;
        }
        peer.waiting = State::Connect;
        let transport = &peer.config.transport;
        let ttl = match (peer.kind, transport.multihop) {
            (_, Some(hops)) => hops,
            (PeerKind::External, None) => 1,
            (PeerKind::Internal | PeerKind::Confederation, None) => 64,
        };
        let connect =
            Connect { peer: peer.address, port: transport.port, local: transport.local_address, ttl };
        self.outputs.push_back(Output::Connect(connect));
        self.arm_connect_retry(now, ix);
    }

    /// RFC 4271 §10: a quarter of it is left to chance.
    fn arm_connect_retry(&mut self, now: Instant, ix: PeerIx) {
        let Some(peer) = self.peer(ix) else { return };
        let base = peer.config.timers.connect_retry;
        let jittered = self.rng.between(base * 3 / 4, base);
        self.timers.set(Timer::ConnectRetry(ix), now + jittered);
    }

    /// Event 9
    pub(crate) fn connect_retry(&mut self, now: Instant, ix: PeerIx) {
        let Some(peer) = self.peer(ix) else { return };
        match peer.state() {
            State::Connect => {
                let address = peer.address;
                self.outputs.push_back(Output::CancelConnect { peer: address });
                self.connect(now, ix);
            }
            State::Active if peer.conns.is_empty() => self.connect(now, ix),
            State::Idle | State::Active | State::OpenSent | State::OpenConfirm | State::Established => {}
        }
    }

    /// Event 18: nobody answers.
    pub(crate) fn connect_failed(&mut self, now: Instant, address: Ipv4Addr, reason: String) {
        let Some(&ix) = self.by_address.get(&address) else { return };
        let Some(peer) = self.peer_mut(ix) else { return };
        if peer.waiting == State::Connect {
            peer.waiting = State::Active;
            peer.attempt = Some(format!("cannot connect: {reason}"));
            self.arm_connect_retry(now, ix);
        }
    }

    /// Event 16
    pub(crate) fn connected(&mut self, now: Instant, address: Ipv4Addr, conn: ConnId, local: Ipv4Addr) {
        let ix = self.by_address.get(&address).copied();
        let wanted = ix.and_then(|ix| self.peer(ix)).is_some_and(|peer| peer.waiting == State::Connect);
        match ix {
            Some(ix) if wanted => {
                if let Some(peer) = self.peer_mut(ix) {
                    peer.waiting = State::Active;
                }
                self.timers.cancel(Timer::ConnectRetry(ix));
                self.begin(now, ix, conn, local, true);
            }
            Some(_) | None => self.outputs.push_back(Output::Close { conn }),
        }
    }

    /// Event 17
    pub(crate) fn accepted(&mut self, now: Instant, conn: ConnId, address: Ipv4Addr, local: Ipv4Addr) {
        let known = self.by_address.get(&address).copied().or_else(|| self.admit(address));
        let Some(ix) = known else {
            self.refuse(conn);
            self.notice(Notice::Stranger { peer: address });
            return;
        };
        let Some(peer) = self.peer(ix) else { return };
        // RFC 4271 §8.2.2: in Idle all connections are refused; here only while the peer is kept down, for two
        // routers that refuse each other in turn never meet. Two that came from the peer are one too many.
        let again = peer.conns.iter().any(|other| !other.outgoing && other.stage != Stage::Established);
        let held = peer.waiting == State::Idle && peer.conns.is_empty() && peer.held;
        if peer.is_shut_down() || held || again {
            self.refuse(conn);
            return;
        }
        self.begin(now, ix, conn, local, false);
    }

    fn refuse(&mut self, conn: ConnId) {
        self.outputs.push_back(Output::Send { conn, bytes: Notification::REJECTED.encode() });
        self.outputs.push_back(Output::Close { conn });
    }

    /// A neighbour of a range.
    fn admit(&mut self, address: Ipv4Addr) -> Option<PeerIx> {
        let range = self.config.ranges.iter().find(|range| range.prefix.contains(address))?.clone();
        let inside = self.by_address.keys().filter(|known| range.prefix.contains(**known)).count();
        if range.limit <= inside {
            return None;
        }
        let ix = self.add_peer(address, range.peer, true)?;
        self.peer_mut(ix)?.waiting = State::Active;
        Some(ix)
    }

    fn begin(&mut self, now: Instant, ix: PeerIx, id: ConnId, local: Ipv4Addr, outgoing: bool) {
        let Some(peer) = self.peer_mut(ix) else { return };
        let delay = peer.config.timers.delay_open;
        peer.conns.push(Conn {
            id,
            outgoing,
            stage: Stage::Delayed,
            local,
            open: None,
            inbox: Vec::new(),
            extended: false,
            hold: LARGE_HOLD,
            heard: now,
            outstanding: 0,
            progress: now,
        });
        self.by_conn.insert(id, ix);
        match delay {
            Some(delay) => self.timers.set(Timer::DelayOpen(ix, id), now + delay),
            None => self.send_open(now, ix, id),
        }
    }

    /// Event 12
    pub(crate) fn open_delayed(&mut self, now: Instant, ix: PeerIx, conn: ConnId) {
        let delayed = self.peer(ix).and_then(|peer| peer.conn(conn)).map(|conn| conn.stage);
        if delayed == Some(Stage::Delayed) {
            self.send_open(now, ix, conn);
        }
    }

    fn send_open(&mut self, now: Instant, ix: PeerIx, id: ConnId) {
        self.timers.cancel(Timer::DelayOpen(ix, id));
        let Some(open) = self.peer(ix).map(|peer| self.our_open(peer)) else { return };
        if let Some(conn) = self.peer_mut(ix).and_then(|peer| peer.conn_mut(id)) {
            conn.stage = Stage::OpenSent;
            conn.heard = now;
        }
        self.timers.set(Timer::Hold(ix, id), now + LARGE_HOLD);
        self.send(now, ix, id, Kind::Open, open.encode());
    }

    /// The AS a peer sees us in.
    pub(crate) fn local_as(&self, peer: &PeerConfig, kind: PeerKind) -> u32 {
        match (&self.config.confederation, kind) {
            (Some(confederation), PeerKind::External) => peer.local_as.unwrap_or(confederation.asn),
            (Some(_) | None, _) => peer.local_as.unwrap_or(self.config.asn),
        }
    }

    fn our_open(&self, peer: &Peer) -> Open {
        let config = &peer.config;
        let asn = self.local_as(config, peer.kind);
        let restart = self.config.graceful_restart;
        let graceful_restart = restart.enabled.then(|| GracefulRestart {
            restarting: !self.converged,
            notification: true,
            time: restart.restart_secs,
            families: vec![(Family::IPV4, true)],
        });
        Open {
            asn,
            hold_time: config.timers.hold,
            router_id: self.router_id,
            capabilities: Capabilities {
                families: vec![Family::IPV4],
                route_refresh: true,
                enhanced_refresh: true,
                extended_message: config.extended_messages,
                asn: config.four_octet_as.then_some(asn),
                roles: config
                    .role
                    .filter(|_| peer.kind == PeerKind::External)
                    .map(|role| role as u8)
                    .into_iter()
                    .collect(),
                graceful_restart,
                long_lived: Vec::new(),
                add_path: if config.add_path_receive { vec![(Family::IPV4, 1)] } else { Vec::new() },
                unknown: Vec::new(),
            },
        }
    }

    pub(crate) fn send(&mut self, now: Instant, ix: PeerIx, id: ConnId, kind: Kind, bytes: Vec<u8>) {
        let Some(peer) = self.peer_mut(ix) else { return };
        if let Some(count) = peer.stats.sent.get_mut(kind as usize - 1) {
            *count += 1;
        }
        self.send_bytes(now, ix, id, bytes);
    }

    /// Messages that are counted already.
    pub(crate) fn send_bytes(&mut self, now: Instant, ix: PeerIx, id: ConnId, bytes: Vec<u8>) {
        let Some(peer) = self.peer_mut(ix) else { return };
        let configured = peer.config.timers.send_hold;
        let Some(conn) = peer.conn_mut(id) else { return };
        let limit = send_limit(configured, conn);
        let idle = conn.outstanding == 0;
        if idle {
            conn.progress = now;
        }
        conn.outstanding += bytes.len();
        if idle && conn.stage == Stage::Established {
            self.timers.set(Timer::SendHold(ix, id), now + limit);
        }
        self.outputs.push_back(Output::Send { conn: id, bytes });
    }

    pub(crate) fn written(&mut self, now: Instant, id: ConnId, octets: usize) {
        let Some(&ix) = self.by_conn.get(&id) else { return };
        let Some(conn) = self.peer_mut(ix).and_then(|peer| peer.conn_mut(id)) else { return };
        conn.outstanding = conn.outstanding.saturating_sub(octets);
        conn.progress = now;
        if conn.outstanding == 0 {
            self.timers.cancel(Timer::SendHold(ix, id));
        }
    }

    /// RFC 9687: a peer that reads nothing is none, however many KEEPALIVEs it sends.
    pub(crate) fn send_hold_expired(&mut self, now: Instant, ix: PeerIx, id: ConnId) {
        let Some(peer) = self.peer(ix) else { return };
        let Some(conn) = peer.conn(id) else { return };
        let limit = send_limit(peer.config.timers.send_hold, conn);
        let due = conn.progress + limit;
        if now < due {
            self.timers.set(Timer::SendHold(ix, id), due);
            return;
        }
        self.end(now, ix, id, End::told(Notification::SEND_HOLD_TIMER_EXPIRED));
    }

    /// Event 10. Messages only note when they came.
    pub(crate) fn hold_expired(&mut self, now: Instant, ix: PeerIx, id: ConnId) {
        let Some(conn) = self.peer(ix).and_then(|peer| peer.conn(id)) else { return };
        if conn.hold.is_zero() {
            return;
        }
        let due = conn.heard + conn.hold;
        if now < due {
            self.timers.set(Timer::Hold(ix, id), due);
            return;
        }
        self.end(now, ix, id, End::told(Notification::HOLD_TIMER_EXPIRED));
    }

    /// Event 11
    pub(crate) fn keepalive_due(&mut self, now: Instant, ix: PeerIx, id: ConnId) {
        self.send(now, ix, id, Kind::Keepalive, wire::keepalive());
        self.arm_keepalive(now, ix, id);
    }

    fn arm_keepalive(&mut self, now: Instant, ix: PeerIx, id: ConnId) {
        let Some(peer) = self.peer(ix) else { return };
        let Some(conn) = peer.conn(id) else { return };
        if conn.hold.is_zero() {
            return;
        }
        let third = conn.hold / 3;
        let own = peer.config.timers.keepalive.map(|secs| Duration::from_secs(secs.into()));
        let base = own.map_or(third, |own| own.min(third));
        let jittered = self.rng.between(base * 3 / 4, base);
        self.timers.set(Timer::Keepalive(ix, id), now + jittered);
    }

    /// Octets of a connection: as many messages as are whole.
    pub(crate) fn receive(&mut self, now: Instant, id: ConnId, bytes: &[u8]) {
        let Some(&ix) = self.by_conn.get(&id) else { return };
        let Some(conn) = self.peer_mut(ix).and_then(|peer| peer.conn_mut(id)) else { return };
        let mut inbox = std::mem::take(&mut conn.inbox);
        // Whole messages are read where they are; only what is cut in two is copied.
        let mut joined = None;
        let stream: &[u8] = if inbox.is_empty() {
            bytes
        } else {
            inbox.extend_from_slice(bytes);
            joined.insert(std::mem::take(&mut inbox))
        };
        let mut at = 0;
        loop {
            let Some(conn) = self.peer_mut(ix).and_then(|peer| peer.conn_mut(id)) else { return };
            let rest = stream.get(at..).unwrap_or_default();
            match wire::frame(rest, conn.extended) {
                Ok(Some((frame, len))) => {
                    conn.heard = now;
                    at += len;
                    self.message(now, ix, id, frame);
                }
                Ok(None) => {
                    conn.inbox = rest.to_vec();
                    return;
                }
                Err(notification) => {
                    self.end(now, ix, id, End::told(notification));
                    return;
                }
            }
        }
    }

    fn message(&mut self, now: Instant, ix: PeerIx, id: ConnId, frame: Frame<'_>) {
        let Some(peer) = self.peer_mut(ix) else { return };
        if let Some(count) = peer.stats.received.get_mut(frame.kind as usize - 1) {
            *count += 1;
        }
        let Some(stage) = peer.conn(id).map(|conn| conn.stage) else { return };
        match (stage, frame.kind) {
            (_, Kind::Notification) => self.notified(now, ix, id, frame.body),
            (Stage::Delayed | Stage::OpenSent, Kind::Open) => self.opened(now, ix, id, frame.body),
            (Stage::OpenConfirm, Kind::Keepalive) => self.establish(now, ix, id),
            (Stage::Established, Kind::Keepalive) => {}
            (Stage::Established, Kind::Update) => {
                if let Err(notification) = self.update(now, ix, frame.body) {
                    self.end(now, ix, id, End::told(notification));
                }
            }
            (Stage::Established, Kind::RouteRefresh) => {
                if let Err(notification) = self.refresh(ix, frame.body) {
                    self.end(now, ix, id, End::told(notification));
                }
            }
            // RFC 6608
            (Stage::Delayed | Stage::OpenSent, Kind::Update | Kind::Keepalive | Kind::RouteRefresh) => {
                self.end(now, ix, id, End::told(Notification::unexpected_in(1)));
            }
            (Stage::OpenConfirm, Kind::Open | Kind::Update | Kind::RouteRefresh) => {
                self.end(now, ix, id, End::told(Notification::unexpected_in(2)));
            }
            (Stage::Established, Kind::Open) => {
                self.end(now, ix, id, End::told(Notification::unexpected_in(3)));
            }
        }
    }

    /// Events 24 and 25
    fn notified(&mut self, now: Instant, ix: PeerIx, id: ConnId, body: &[u8]) {
        let notification = Notification::decode(body).unwrap_or(Notification::new(0, 0));
        let agreed = self.peer(ix).and_then(|peer| peer.agreed.as_ref());
        let graceful = agreed.is_some_and(Agreed::survives_notification) && !notification.is_hard_reset();
        let reason = format!("received {notification}");
        // Who is not ready for us may be soon.
        let then =
            if notification == Notification::REJECTED { Then::Wait(Duration::ZERO) } else { Then::IdleHold };
        self.end(now, ix, id, End { notification: None, reason, then, graceful });
    }

    /// Event 19: RFC 4271 §6.2, §6.8.
    fn opened(&mut self, now: Instant, ix: PeerIx, id: ConnId, body: &[u8]) {
        let open = Open::decode(body).and_then(|open| self.check_open(ix, &open).map(|()| open));
        let open = match open {
            Ok(open) => open,
            Err(notification) => {
                self.end(now, ix, id, End::told(notification));
                return;
            }
        };
        if !self.wins_collision(now, ix, id, &open) {
            return;
        }
        let Some(peer) = self.peer_mut(ix) else { return };
        let ours = peer.config.timers.hold;
        let extended = peer.config.extended_messages && open.capabilities.extended_message;
        let Some(conn) = peer.conn_mut(id) else { return };
        let delayed = conn.stage == Stage::Delayed;
        conn.hold = Duration::from_secs(ours.min(open.hold_time).into());
        conn.extended = extended;
        conn.open = Some(open);
        if delayed {
            self.send_open(now, ix, id);
        }
        let Some(conn) = self.peer_mut(ix).and_then(|peer| peer.conn_mut(id)) else { return };
        conn.stage = Stage::OpenConfirm;
        let hold = conn.hold;
        if hold.is_zero() {
            self.timers.cancel(Timer::Hold(ix, id));
        } else {
            self.timers.set(Timer::Hold(ix, id), now + hold);
        }
        self.keepalive_due(now, ix, id);
    }

    fn check_open(&self, ix: PeerIx, open: &Open) -> Result<(), Notification> {
        let Some(peer) = self.peer(ix) else { return Ok(()) };
        if open.asn != peer.config.asn {
            return Err(Notification::BAD_PEER_AS);
        }
        // RFC 6286 §2.1
        if peer.kind == PeerKind::Internal && open.router_id == self.router_id {
            return Err(Notification::BAD_IDENTIFIER);
        }
        // RFC 9234 §4.2
        let Some(role) = peer.config.role.filter(|_| peer.kind == PeerKind::External) else { return Ok(()) };
        let fits =
            |remote: u8| wire::Role::ALL.into_iter().any(|known| known as u8 == remote && role.fits(known));
        match open.capabilities.roles[..] {
            [] if peer.config.strict_role => Err(Notification::ROLE_MISMATCH),
            [] => Ok(()),
            [first, ref rest @ ..] if fits(first) && rest.iter().all(|other| *other == first) => Ok(()),
            [..] => Err(Notification::ROLE_MISMATCH),
        }
    }

    /// RFC 4271 §6.8: of two connections the one stays that the speaker with the higher identifier has opened.
    fn wins_collision(&mut self, now: Instant, ix: PeerIx, id: ConnId, open: &Open) -> bool {
        let own = self.router_id;
        let Some(peer) = self.peer(ix) else { return false };
        let Some(this) = peer.conn(id) else { return false };
        let others = peer.conns.iter().filter(|other| other.id != id);
        let Some(other) = others.max_by_key(|other| other.stage) else { return true };
        let (other_id, other_stage) = (other.id, other.stage);
        let collision = End::told(Notification::COLLISION);
        // RFC 6286 §2.3: equal identifiers leave it to the ASes.
        let local = (own, self.local_as(&peer.config, peer.kind));
        let we_win = (open.router_id, open.asn) < local;
        let this_stays = match other_stage {
            // RFC 4724 §5: a peer that restarts gracefully has forgotten the session it had.
            Stage::Established => peer.agreed.as_ref().is_some_and(|agreed| agreed.restart_secs().is_some()),
            Stage::OpenConfirm => this.outgoing == we_win,
            Stage::OpenSent | Stage::Delayed => return true,
        };
        if this_stays {
            let then = if other_stage == Stage::Established {
                End { notification: None, reason: "the peer began anew".into(), ..collision }
            } else {
                collision
            };
            self.end_conn(now, ix, other_id, then);
        } else {
            self.end_conn(now, ix, id, collision);
        }
        this_stays
    }

    /// Event 26 in OpenConfirm.
    fn establish(&mut self, now: Instant, ix: PeerIx, id: ConnId) {
        let others: Vec<ConnId> = self
            .peer(ix)
            .map(|peer| peer.conns.iter().map(|conn| conn.id).filter(|other| *other != id).collect())
            .unwrap_or_default();
        for other in others {
            self.end_conn(now, ix, other, End::told(Notification::COLLISION));
        }
        let Some(peer) = self.peer_mut(ix) else { return };
        let config = &peer.config;
        let (four_octet_as, add_path) = (config.four_octet_as, config.add_path_receive);
        let address = peer.address;
        let own = config.timers.keepalive.map(|secs| Duration::from_secs(secs.into()));
        let (waiting, send_hold) = (peer.waiting, config.timers.send_hold);
        let Some(conn) = peer.conn_mut(id) else { return };
        let Some(open) = conn.open.clone() else { return };
        conn.stage = Stage::Established;
        // What was sent before may be stuck already.
        let stuck = (0 < conn.outstanding).then(|| send_limit(send_hold, conn));
        conn.progress = now;
        let (hold, local, extended) = (conn.hold, conn.local, conn.extended);
        peer.agreed = Some(Agreed {
            conn: id,
            local,
            router_id: open.router_id,
            hold,
            keepalive: own.map_or(hold / 3, |own| own.min(hold / 3)),
            as4: four_octet_as && open.capabilities.asn.is_some(),
            extended,
            add_path_receive: add_path && open.capabilities.add_path(Family::IPV4, 2),
            capabilities: open.capabilities,
        });
        peer.up_since = Some(now);
        peer.attempt = None;
        peer.stats.established += 1;
        peer.waiting = State::Active;
        if waiting == State::Connect {
            self.outputs.push_back(Output::CancelConnect { peer: address });
        }
        self.timers.cancel(Timer::ConnectRetry(ix));
        if let Some(limit) = stuck {
            self.timers.set(Timer::SendHold(ix, id), now + limit);
        }
        self.notice(Notice::Up { peer: address });
        self.session_up(now, ix);
    }

    /// The TCP connection is gone. Event 18
    pub(crate) fn closed(&mut self, now: Instant, id: ConnId, reason: String) {
        let Some(&ix) = self.by_conn.get(&id) else { return };
        let then = match self.peer(ix).and_then(|peer| peer.conn(id)).map(|conn| conn.stage) {
            // RFC 4271 §8.2.2: OpenSent goes to Active and tries again.
            Some(Stage::Delayed | Stage::OpenSent) => Then::Wait(Duration::ZERO),
            Some(Stage::OpenConfirm | Stage::Established) | None => Then::IdleHold,
        };
        self.end(now, ix, id, End { notification: None, reason, then, graceful: true });
    }

    /// Ends a connection, and with the last one the peer's attempt.
    pub(crate) fn end(&mut self, now: Instant, ix: PeerIx, id: ConnId, end: End) {
        let then = end.then;
        self.end_conn(now, ix, id, end);
        let Some(peer) = self.peer_mut(ix) else { return };
        if !peer.conns.is_empty() {
            return;
        }
        if peer.dynamic {
            self.remove_peer(ix);
            return;
        }
        if peer.waiting == State::Connect {
            let address = peer.address;
            self.outputs.push_back(Output::CancelConnect { peer: address });
        }
        self.rest(now, ix, then);
    }

    /// Waits before the next attempt.
    fn rest(&mut self, now: Instant, ix: PeerIx, then: Then) {
        self.timers.cancel(Timer::ConnectRetry(ix));
        let Some(peer) = self.peer_mut(ix) else { return };
        peer.waiting = State::Idle;
        peer.held = matches!(then, Then::Stay | Then::Wait(_));
        let pause = match then {
            Then::Stay => return,
            Then::Wait(pause) if pause.is_zero() => {
                peer.waiting = State::Active;
                peer.held = false;
                self.arm_connect_retry(now, ix);
                return;
            }
            Then::Wait(pause) => pause,
            Then::IdleHold => {
                let pause = peer.idle_hold.max(IDLE_HOLD.0);
                peer.idle_hold = (pause * 2).min(IDLE_HOLD.1);
                pause
            }
        };
        let jittered = self.rng.between(pause * 3 / 4, pause);
        self.timers.set(Timer::IdleHold(ix), now + jittered);
    }

    /// Ends one connection; of an established session its routes, too.
    fn end_conn(&mut self, now: Instant, ix: PeerIx, id: ConnId, end: End) {
        if let Some(notification) = end.notification {
            self.send(now, ix, id, Kind::Notification, notification.encode());
        }
        let Some(peer) = self.peer_mut(ix) else { return };
        let Some(at) = peer.conns.iter().position(|conn| conn.id == id) else { return };
        let conn = peer.conns.remove(at);
        let address = peer.address;
        self.by_conn.remove(&id);
        self.outputs.push_back(Output::Close { conn: id });
        for timer in
            [Timer::Hold(ix, id), Timer::Keepalive(ix, id), Timer::DelayOpen(ix, id), Timer::SendHold(ix, id)]
        {
            self.timers.cancel(timer);
        }
        let Some(peer) = self.peer_mut(ix) else { return };
        if conn.stage != Stage::Established {
            peer.attempt = Some(end.reason);
            return;
        }
        let agreed = peer.agreed.take();
        peer.stats.dropped += 1;
        if peer.up_since.take().is_some_and(|since| SETTLED <= now.since(since)) {
            peer.idle_hold = Duration::ZERO;
        }
        peer.last_down = Some((now, end.reason.clone()));
        self.notice(Notice::Down { peer: address, reason: end.reason });
        self.session_down(now, ix, agreed.filter(|_| end.graceful));
    }

    /// Ends whatever there is with a peer.
    pub(crate) fn stop(
        &mut self,
        now: Instant,
        ix: PeerIx,
        notification: &Notification,
        then: Then,
        reason: &str,
    ) {
        let Some(peer) = self.peer(ix) else { return };
        let hard = peer.agreed.as_ref().is_some_and(Agreed::survives_notification);
        let (conns, address): (Vec<ConnId>, _) =
            (peer.conns.iter().map(|conn| conn.id).collect(), peer.address);
        let connecting = peer.waiting == State::Connect;
        for id in conns {
            let told = notification.clone();
            let told = if hard { told.hard_reset() } else { told };
            let end = End { notification: Some(told), reason: reason.to_owned(), then, graceful: false };
            self.end_conn(now, ix, id, end);
        }
        if connecting {
            self.outputs.push_back(Output::CancelConnect { peer: address });
        }
        self.timers.cancel(Timer::IdleHold(ix));
        if let Some(peer) = self.peer_mut(ix) {
            peer.last_down.get_or_insert_with(|| (now, reason.to_owned()));
        }
        self.rest(now, ix, then);
    }

    pub(crate) fn reset_by_operator(&mut self, now: Instant, ix: PeerIx) {
        if let Some(peer) = self.peer_mut(ix) {
            peer.idle_hold = Duration::ZERO;
        }
        let then = Then::Wait(Duration::from_millis(100));
        self.stop(now, ix, &Notification::ADMIN_RESET, then, "cleared by an operator");
    }

    pub(crate) fn bfd_down(&mut self, now: Instant, address: Ipv4Addr) {
        let Some(&ix) = self.by_address.get(&address) else { return };
        if self.peer(ix).is_some_and(|peer| peer.agreed.is_some()) {
            self.stop(now, ix, &Notification::BFD_DOWN, Then::IdleHold, "BFD says that the peer is down");
        }
    }

    /// The process ends. A restart of it may follow, so established sessions are left without a word where that keeps
    /// the peers forwarding (RFC 4724 §4): their routes here live on in the forwarding table.
    pub(crate) fn shut_down(&mut self, now: Instant) {
        for ix in self.indexes() {
            let reason = "the router is stopping";
            self.stop(now, ix, &Notification::shutdown(reason), Then::Stay, reason);
        }
    }
}

/// How long a peer may take nothing of what it is sent.
fn send_limit(configured: Option<Duration>, conn: &Conn) -> Duration {
    configured.unwrap_or_else(|| SEND_HOLD.max(conn.hold * 2))
}
