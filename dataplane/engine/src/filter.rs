//! A packet filter in force: a compiled list, what happens to packets that no rule matches, the rules' policers, and
//! what each rule has met. Immutable but for its counters and buckets; shared by all workers and all ports that use it.

use core::sync::atomic::{AtomicU64, Ordering};

use millrace_acl::{Acl, Action, Key, Policer, RuleIndex};
use millrace_net::Instant;

use crate::outcome::DropReason;

#[derive(Debug)]
pub struct Filter {
    acl: Acl,
    default: Action,
    /// By rule; shorter where later rules have none.
    policers: Box<[Option<Policer>]>,
    /// By worker, then by rule; the last row is for packets that no rule matches. A worker's own rows, so that two
    /// never write to one cache line.
    hits: Box<[Box<[Row]>]>,
}

#[derive(Debug, Default)]
struct Row {
    packets: AtomicU64,
    bytes: AtomicU64,
    policed: AtomicU64,
}

/// What a rule has met, all workers together.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Hits {
    /// Packets it matched, those its policer refused among them.
    pub packets: u64,
    /// Of the IPv4 packets, headers included.
    pub bytes: u64,
    pub policed: u64,
}

/// What a list says about a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Judgement {
    /// The rule that decided; `None` where none matches.
    pub rule: Option<RuleIndex>,
    /// Why it does not pass, if it does not.
    pub refused: Option<DropReason>,
}

impl Filter {
    /// `policers` by rule. Workers are numbered from 0 to `workers`.
    pub fn new(acl: Acl, default: Action, policers: Vec<Option<Policer>>, workers: usize) -> Self {
        let rows = || (0..=acl.len()).map(|_| Row::default()).collect();
        let hits = (0..workers).map(|_| rows()).collect();
        Self { acl, default, policers: policers.into(), hits }
    }

    /// Judges a packet of `bytes`, counts it, and takes from the rule's policer. For a worker that there is not, it only
    /// says what it would do.
    #[inline]
    pub(crate) fn judge(&self, worker: usize, now: Instant, key: &Key, bytes: u16) -> Judgement {
        let rule = self.acl.classify(key);
        let at = rule.map_or(self.acl.len(), |rule| rule.0 as usize);
        let row = self.hits.get(worker).and_then(|rows| rows.get(at));
        if let Some(row) = row {
            add(&row.packets, 1);
            add(&row.bytes, bytes.into());
        }
        let refused = match rule.map_or(self.default, |rule| self.acl.action(rule)) {
            Action::Drop => Some(DropReason::AclDrop),
            Action::Reject => Some(DropReason::AclReject),
            Action::Accept => self.policers.get(at).and_then(Option::as_ref).and_then(|policer| {
                let conforms = match row {
                    Some(_) => policer.conforms(now, bytes),
                    None => policer.would_conform(now, bytes),
                };
                if let Some(row) = row.filter(|_| !conforms) {
                    add(&row.policed, 1);
                }
                (!conforms).then_some(DropReason::Policed)
            }),
        };
        Judgement { rule, refused }
    }

    /// What `rule`, or the default action, has met.
    pub fn hits(&self, rule: Option<RuleIndex>) -> Hits {
        let at = rule.map_or(self.acl.len(), |rule| rule.0 as usize);
        self.hits.iter().filter_map(|rows| rows.get(at)).fold(Hits::default(), |sum, row| Hits {
            packets: sum.packets + row.packets.load(Ordering::Relaxed),
            bytes: sum.bytes + row.bytes.load(Ordering::Relaxed),
            policed: sum.policed + row.policed.load(Ordering::Relaxed),
        })
    }

    /// Memory of the compiled list, in bytes.
    pub fn bytes(&self) -> usize {
        self.acl.bytes()
    }
}

/// Only the row's own worker writes.
#[inline]
fn add(counter: &AtomicU64, n: u64) {
    counter.store(counter.load(Ordering::Relaxed).wrapping_add(n), Ordering::Relaxed);
}
