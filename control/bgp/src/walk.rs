//! Work that takes longer than one call may: walks through the whole table, a part at a time.

use millrace_net::Prefix;
use millrace_proto::Instant;

use crate::groups::{CHUNK, To};
use crate::machine::Bgp;
use crate::table::PeerIx;
use crate::wire::refresh::{Refresh, What as Mark};
use crate::wire::{Family, Kind, update};

/// A walk under way.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Job {
    what: What,
    after: Option<Prefix>,
    begun: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum What {
    /// Paths of sessions before the present one go.
    Purge(PeerIx),
    /// The import policy has changed, or may have.
    Reimport(PeerIx),
    /// Next hops have moved.
    Reselect,
    Join {
        ix: PeerIx,
        to: To,
        /// Nobody else is in the group, and what is noted of it means nothing.
        first: bool,
        /// Not before the forwarding table has this batch.
        barrier: u64,
    },
}

impl Job {
    const fn new(what: What) -> Self {
        Self { what, after: None, begun: false }
    }

    pub(crate) const fn purge(ix: PeerIx) -> Self {
        Self::new(What::Purge(ix))
    }

    pub(crate) const fn reimport(ix: PeerIx) -> Self {
        Self::new(What::Reimport(ix))
    }

    pub(crate) const fn reselect() -> Self {
        Self::new(What::Reselect)
    }

    pub(crate) const fn join(ix: PeerIx, to: To, first: bool, barrier: u64) -> Self {
        Self::new(What::Join { ix, to, first, barrier })
    }

    /// Whether it sends to this peer.
    pub(crate) fn is_for(&self, ix: PeerIx) -> bool {
        matches!(self.what, What::Join { ix: of, .. } if of == ix)
    }

    pub(crate) fn concerns(&self, ix: PeerIx) -> bool {
        matches!(self.what, What::Purge(of) | What::Reimport(of) | What::Join { ix: of, .. } if of == ix)
    }
}

impl Bgp {
    /// Adds a walk, unless the same one is waiting.
    pub(crate) fn queue(&mut self, job: Job) {
        if !self.jobs.contains(&job) {
            self.jobs.push_back(job);
        }
    }

    fn is_runnable(&self, job: &Job) -> bool {
        match job.what {
            What::Join { ix, barrier, .. } => {
                self.converged && self.is_in_fib(barrier) && self.has_credit(ix)
            }
            What::Purge(_) | What::Reimport(_) | What::Reselect => true,
        }
    }

    pub(crate) fn has_work(&self) -> bool {
        self.jobs.iter().any(|job| self.is_runnable(job)) || self.ready_group().is_some()
    }

    /// A part of whatever there is to do.
    pub(crate) fn work(&mut self, now: Instant) {
        if let Some(at) = self.jobs.iter().position(|job| self.is_runnable(job))
            && let Some(job) = self.jobs.remove(at)
            && let Some(job) = self.step(now, job)
        {
            self.jobs.push_back(job);
        }
        if let Some(group) = self.ready_group() {
            self.flush_group(now, group);
        }
    }

    /// What is left of it.
    fn step(&mut self, now: Instant, mut job: Job) -> Option<Job> {
        if let What::Join { ix, to, .. } = job.what
            && !std::mem::replace(&mut job.begun, true)
        {
            self.mark(now, ix, to, Mark::Begin);
        }
        let mut seen = 0;
        let mut last = None;
        let mut prefixes: Vec<Prefix> = Vec::new();
        for (prefix, paths) in self.table.after(job.after).take(CHUNK) {
            seen += 1;
            last = Some(prefix);
            let epoch = |ix| self.peer(ix).map(|peer| peer.epoch);
            let meant = match job.what {
                What::Purge(ix) => paths.iter().any(|path| path.peer == ix && Some(path.epoch) != epoch(ix)),
                What::Reimport(ix) => paths.iter().any(|path| path.peer == ix),
                What::Reselect | What::Join { .. } => true,
            };
            if meant {
                prefixes.push(prefix);
            }
        }
        match job.what {
            What::Purge(ix) => prefixes.into_iter().for_each(|prefix| self.purge(prefix, ix)),
            What::Reimport(ix) => prefixes.into_iter().for_each(|prefix| self.reimport(prefix, ix)),
            What::Reselect => prefixes.into_iter().for_each(|prefix| self.reselect(prefix)),
            What::Join { ix, to, first, .. } => {
                // The default route may have to be told although the table does not have it.
                if job.after.is_none() && prefixes.first() != Some(&Prefix::DEFAULT) {
                    prefixes.insert(0, Prefix::DEFAULT);
                }
                let number = self.peer(ix).and_then(|peer| peer.group)?;
                if first {
                    for prefix in &prefixes {
                        self.table.set_told(*prefix, 1 << number, false);
                    }
                }
                self.tell(now, number, &prefixes, to);
            }
        }
        job.after = last;
        if seen == CHUNK {
            return Some(job);
        }
        if let What::Join { ix, to, .. } = job.what {
            self.mark(now, ix, to, Mark::End);
        }
        None
    }

    fn purge(&mut self, prefix: Prefix, ix: PeerIx) {
        let epoch = self.peer(ix).map(|peer| peer.epoch);
        let of = self.table.paths(prefix).iter().filter(|path| path.peer == ix && Some(path.epoch) != epoch);
        let ids: Vec<u32> = of.map(|path| path.id).collect();
        for id in ids {
            self.take_path(prefix, ix, id);
        }
    }

    /// Says that everything follows, or that that was everything: RFC 4724 §2, RFC 7313 §4.
    fn mark(&mut self, now: Instant, ix: PeerIx, to: To, mark: Mark) {
        let Some(agreed) = self.peer(ix).and_then(|peer| peer.agreed.as_ref()) else { return };
        let (conn, enhanced) = (agreed.conn, agreed.capabilities.enhanced_refresh);
        match to {
            To::Newcomer(_) if mark == Mark::End => {
                self.send(now, ix, conn, Kind::Update, update::end_of_rib_message(Family::IPV4));
            }
            To::Only(_) if enhanced => {
                let refresh = Refresh { family: Family::IPV4, what: mark };
                self.send(now, ix, conn, Kind::RouteRefresh, refresh.encode());
            }
            To::Everybody | To::Newcomer(_) | To::Only(_) => {}
        }
    }
}
