//! Address translation as the clerk has it: the plan in force, addresses shared with the host, the log, ARP for addresses
//! that are nobody else's, and state that outlives a planned restart.
//!
//! ```text
//!   [nat], addresses of interfaces ──▶ Plan ──▶ Setup ──▶ a shard in each worker
//!                                        ├─ shared ──▶ LOCALS and NAT_PORTS of the XDP program
//!                                        └─ alone  ──▶ Arp
//!   shards ── events ──▶ Log          shards ◀── Errand ── reports, clear
//! ```

mod arp;
mod host_ports;
mod log;
mod plan;
pub(crate) mod report;
mod saved;

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use millrace_api::nat::NatConfig;
use millrace_ebpf_abi::{MAX_SHARED, slot_words};
use millrace_nat::Slices;
use millrace_net::{Instant, Mac};

pub(crate) use arp::Arp;
use host_ports::HostPorts;
pub(crate) use log::Log;
pub(crate) use plan::Addresses;
use plan::Plan;
use saved::Saved;

use crate::worker::nat::{Restored, Setup};

/// Where state outlives a process.
pub(crate) fn state_file(run_dir: &Path) -> PathBuf {
    run_dir.join(saved::FILE)
}

#[derive(Debug)]
pub(crate) struct Service {
    wanted: Option<NatConfig>,
    workers: usize,
    seed: u64,
    host_ports: HostPorts,
    plan: Plan,
    setup: Option<Arc<Setup>>,
    next_number: u64,
    /// Slots of shared addresses. An address keeps its slot as long as it is shared.
    slots: BTreeMap<Ipv4Addr, u8>,
    ports: &'static [AtomicU64],
    saved: Saved,
    restored: Arc<Restored>,
    pub(crate) log: Log,
    pub(crate) arp: Arp,
}

impl Service {
    /// `ports` is the map of ports that NAT holds on shared addresses; `state` is where state outlives the process.
    pub(crate) fn new(workers: usize, seed: u64, ports: &'static [AtomicU64], state: PathBuf) -> Self {
        Self {
            wanted: None,
            workers,
            seed,
            host_ports: HostPorts::default(),
            plan: Plan::default(),
            setup: None,
            next_number: 0,
            slots: BTreeMap::new(),
            ports,
            saved: Saved::new(state),
            restored: Arc::default(),
            log: Log::default(),
            arp: Arp::default(),
        }
    }

    /// What control wants; in force with the next [`Service::follow`].
    pub(crate) fn configure(&mut self, wanted: Option<NatConfig>) {
        if let Some(wanted) = &wanted {
            self.log.configure(&wanted.log);
            self.host_ports = HostPorts::read();
        }
        self.wanted = wanted;
    }

    /// Brings the plan in line with the host's addresses.
    pub(crate) fn follow(&mut self, host: &impl Addresses) {
        let Some(wanted) = self.wanted.clone() else {
            self.plan = Plan::default();
            self.setup = None;
            self.slots.clear();
            return;
        };
        let plan = plan::plan(&wanted, self.workers, host, &self.host_ports);
        let log = self.log.is_wanted();
        if self.setup.as_ref().is_some_and(|setup| setup.log == log) && plan == self.plan {
            return;
        }
        self.assign_slots(&plan);
        let workers = u16::try_from(self.workers).unwrap_or(u16::MAX);
        self.next_number += 1;
        self.setup = Some(Arc::new(Setup {
            number: self.next_number,
            config: plan.config.clone(),
            slices: Slices::new(workers, plan.largest_block),
            slots: self.slots.iter().map(|(address, slot)| (*address, *slot)).collect(),
            saved: self.saved.take(),
            log,
            seed: self.seed,
            restored: Arc::clone(&self.restored),
        }));
        for (pool, problem) in wanted.pools.iter().zip(&plan.problems) {
            if let Some(problem) = problem {
                tracing::warn!(pool = pool.name, problem, "a pool translates nothing");
            }
        }
        self.plan = plan;
    }

    /// Shared addresses keep their slots; others get free ones, without a bit set.
    fn assign_slots(&mut self, plan: &Plan) {
        let shared: BTreeSet<Ipv4Addr> = plan.config.shared.iter().copied().collect();
        self.slots.retain(|address, _| shared.contains(address));
        for address in shared {
            if self.slots.contains_key(&address) {
                continue;
            }
            let free = (0..MAX_SHARED).find(|slot| !self.slots.values().any(|taken| taken == slot));
            let Some(slot) = free else {
                tracing::error!(%address, max = MAX_SHARED, "too many addresses are shared with the host; this one stays the host's alone");
                continue;
            };
            for word in self.ports.get(slot_words(slot)).into_iter().flatten() {
                word.store(0, Ordering::Relaxed);
            }
            self.slots.insert(address, slot);
        }
    }

    /// What workers make their shards from; none where nothing is translated.
    pub(crate) fn setup(&self) -> Option<Arc<Setup>> {
        self.setup.clone()
    }

    /// The slot of an address that NAT shares with the host.
    pub(crate) fn slot(&self, address: Ipv4Addr) -> Option<u8> {
        self.slots.get(&address).copied()
    }

    /// Answers for NAT's own addresses on these outside links, and announces them where they have not been.
    pub(crate) fn follow_links(&mut self, now: Instant, links: &BTreeMap<u32, Mac>) {
        self.arp.follow(now, links, &self.plan.alone);
    }

    /// What became of the state of the process before; none where there was none.
    pub(crate) fn restored(&self) -> Option<String> {
        if let Some(problem) = &self.saved.problem {
            return Some(problem.clone());
        }
        let Restored { sessions, mappings } = &*self.restored;
        let saved = self.saved.sessions?;
        let (sessions, mappings) = (sessions.load(Ordering::Relaxed), mappings.load(Ordering::Relaxed));
        Some(format!(
            "taken over from before the restart: {sessions} of {saved} sessions, {mappings} mappings"
        ))
    }

    /// Leaves state for the next process.
    pub(crate) fn save(&self, state: &[u8]) {
        self.saved.write(state);
    }
}
