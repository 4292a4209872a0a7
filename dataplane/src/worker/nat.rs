//! NAT as a worker has it: the shard in its engine, kept to the configuration in force; what the shard has to tell; and
//! errands the clerk sends into it between two bursts.

use std::fmt;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use millrace_ebpf_abi::port_word;
use millrace_engine::Engine;
use millrace_nat::{Config, Nat, Slices, State};
use millrace_net::Instant;

use super::outlet::{Packet, Requests};

/// What every worker makes its shard from.
#[derive(Debug)]
pub(crate) struct Setup {
    /// Differs from that of any other setup.
    pub(crate) number: u64,
    pub(crate) config: Config,
    pub(crate) slices: Slices,
    /// Addresses the host has too, with their slots in the map of ports.
    pub(crate) slots: Vec<(Ipv4Addr, u8)>,
    /// State of the process before, for a shard that is made.
    pub(crate) saved: Option<Arc<State>>,
    /// Whether somebody wants to know of mappings.
    pub(crate) log: bool,
    pub(crate) seed: u64,
    pub(crate) restored: Arc<Restored>,
}

/// What the shards have made of saved state.
#[derive(Debug, Default)]
pub(crate) struct Restored {
    pub(crate) sessions: AtomicU64,
    pub(crate) mappings: AtomicU64,
}

impl PartialEq for Setup {
    fn eq(&self, other: &Self) -> bool {
        self.number == other.number
    }
}

impl Eq for Setup {}

/// Something the clerk has a worker do with its shard. It delays the next burst: a few thousand records at a time.
pub(crate) struct Errand(pub(crate) Box<Deed>);

type Deed = dyn FnOnce(Instant, Option<&mut Nat>) + Send;

impl fmt::Debug for Errand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Errand")
    }
}

/// Between the shard and the rest of the process.
#[derive(Debug)]
pub(super) struct Desk {
    /// Ports that NAT holds on addresses it shares with the host, as the XDP program reads them.
    ports: &'static [AtomicU64],
    requests: Arc<Requests>,
    setup: Option<Arc<Setup>>,
}

impl Desk {
    pub(super) fn new(ports: &'static [AtomicU64], requests: Arc<Requests>) -> Self {
        Self { ports, requests, setup: None }
    }

    /// Has the shard be what `setup` says. State that still fits goes on.
    pub(super) fn follow(
        &mut self,
        now: Instant,
        worker: usize,
        engine: &mut Engine<'static, Packet>,
        setup: Option<&Arc<Setup>>,
    ) {
        if self.setup.as_ref() == setup {
            return;
        }
        self.setup = setup.cloned();
        let Some(setup) = setup else {
            engine.set_nat(None);
            return;
        };
        match engine.nat_mut() {
            Some(nat) => {
                let kept = nat.reconfigure(now, setup.config.clone(), setup.slices);
                tracing::info!(
                    worker,
                    sessions = kept.sessions,
                    sessions_ended = kept.sessions_ended,
                    mappings = kept.mappings,
                    mappings_ended = kept.mappings_ended,
                    "address translation follows another configuration"
                );
            }
            None => {
                let number = u16::try_from(worker).unwrap_or(u16::MAX);
                let mut nat = Nat::new(setup.config.clone(), setup.slices, number, setup.seed, now);
                if let Some(saved) = &setup.saved {
                    restore(&mut nat, now, saved, &setup.restored);
                }
                engine.set_nat(Some(nat));
            }
        }
        self.tell(engine);
    }

    /// Passes on what the shard has to tell. Before frames are sent: an answer to them finds its port in the map.
    #[inline]
    pub(super) fn tell(&self, engine: &mut Engine<'static, Packet>) {
        let (Some(nat), Some(setup)) = (engine.nat_mut(), &self.setup) else { return };
        while let Some(change) = nat.poll_port_change() {
            let slot = setup.slots.iter().find(|(address, _)| address.to_bits() == change.outside.addr);
            let Some((_, slot)) = slot else { continue };
            let (word, bit) = port_word(*slot, change.protocol, change.outside.port);
            let Some(word) = self.ports.get(word as usize) else { continue };
            if change.held {
                word.fetch_or(bit, Ordering::Relaxed);
            } else {
                word.fetch_and(!bit, Ordering::Relaxed);
            }
        }
        let mut told = false;
        while let Some(event) = nat.poll_event() {
            if setup.log {
                told = true;
                self.requests.tell(event);
            }
        }
        if told {
            self.requests.bell.ring();
        }
    }
}

fn restore(nat: &mut Nat, now: Instant, saved: &State, restored: &Restored) {
    match nat.restore(now, saved) {
        Ok(kept) => {
            restored.sessions.fetch_add(kept.sessions, Ordering::Relaxed);
            restored.mappings.fetch_add(kept.mappings, Ordering::Relaxed);
        }
        Err(bad) => tracing::error!(%bad, "address translation starts without the sessions of before"),
    }
}
