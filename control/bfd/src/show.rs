//! Sessions as operators see them: `show bfd`, the API and the metrics read these.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::time::Duration;

use millrace_proto::{IfIndex, Instant};
use serde::Serialize;

use crate::machine::{Bfd, Client};
use crate::session::Counters;
use crate::state::{Diagnostic, State};
use crate::stats::BadPackets;
use crate::wire::Micros;

#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct SessionView {
    pub interface: IfIndex,
    pub neighbor: Ipv4Addr,
    pub local: Ipv4Addr,
    pub state: State,
    /// In this state for.
    pub since: Duration,
    pub diagnostic: Diagnostic,
    pub clients: BTreeSet<Client>,
    pub discriminator: u32,
    /// What our packets announce.
    pub min_tx: Micros,
    pub min_rx: Micros,
    pub detect_mult: u8,
    /// Between our packets, before jitter.
    pub send_interval: Duration,
    /// Silence after which the session goes down; zero until the other side was heard.
    pub detection_time: Duration,
    pub remote_state: State,
    pub remote_diagnostic: Diagnostic,
    pub remote_discriminator: u32,
    pub remote_min_tx: Micros,
    pub remote_min_rx: Micros,
    pub remote_detect_mult: u8,
    pub counters: Counters,
}

impl Bfd {
    pub fn sessions(&self, now: Instant) -> impl Iterator<Item = SessionView> {
        self.sessions.iter().map(move |(key, watched)| {
            let session = &watched.session;
            let (min_tx, min_rx) = session.announced();
            SessionView {
                interface: key.interface,
                neighbor: key.neighbor,
                local: *watched.source.ip(),
                state: session.state,
                since: now.since(watched.since),
                diagnostic: session.diagnostic,
                clients: watched.clients.clone(),
                discriminator: session.discriminator,
                min_tx,
                min_rx,
                detect_mult: session.params().detect_mult().get(),
                send_interval: session.send_interval(),
                detection_time: session.detection_time(),
                remote_state: session.remote.state,
                remote_diagnostic: session.remote.diagnostic,
                remote_discriminator: session.remote.discriminator,
                remote_min_tx: session.remote.min_tx,
                remote_min_rx: session.remote.min_rx,
                remote_detect_mult: session.remote.detect_mult,
                counters: session.counters,
            }
        })
    }

    /// Packets that belong to no session, or to none as they are.
    pub fn bad_packets(&self) -> &BadPackets {
        &self.bad_packets
    }
}
