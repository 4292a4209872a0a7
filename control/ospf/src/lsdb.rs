//! The database: one instance of each LSA, and how old it is.

use std::collections::BTreeMap;

use millrace_proto::Instant;

use crate::link::LinkId;
use crate::wire::{AreaId, Lsa, LsaHeader, LsaKey, LsaType, MAX_AGE};

/// How far an LSA is flooded, and therefore which database holds it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) enum Scope {
    Link(LinkId),
    Area(AreaId),
    As,
}

impl Scope {
    /// Of an LSA that travels on a link of `area`.
    pub(crate) const fn of(kind: LsaType, link: LinkId, area: AreaId) -> Self {
        match kind {
            LsaType::OpaqueLink => Self::Link(link),
            LsaType::External | LsaType::OpaqueAs => Self::As,
            LsaType::Router
            | LsaType::Network
            | LsaType::Summary
            | LsaType::AsbrSummary
            | LsaType::Nssa
            | LsaType::OpaqueArea => Self::Area(area),
        }
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Entry {
    lsa: Lsa,
    /// When it had the age in its header.
    installed: Instant,
}

impl Entry {
    /// Seconds, up to [`MAX_AGE`].
    pub(crate) fn age(&self, now: Instant) -> u16 {
        let passed = u16::try_from(now.since(self.installed).as_secs()).unwrap_or(MAX_AGE);
        self.lsa.header.age.saturating_add(passed).min(MAX_AGE)
    }

    pub(crate) fn is_max_age(&self, now: Instant) -> bool {
        self.age(now) == MAX_AGE
    }

    /// As it was installed.
    pub(crate) const fn lsa(&self) -> &Lsa {
        &self.lsa
    }

    /// As old as it is at `now`.
    pub(crate) fn aged(&self, now: Instant) -> Lsa {
        self.lsa.with_age(self.age(now))
    }

    pub(crate) fn header(&self, now: Instant) -> LsaHeader {
        LsaHeader { age: self.age(now), ..self.lsa.header }
    }

    pub(crate) const fn installed(&self) -> Instant {
        self.installed
    }

    /// When it will be [`MAX_AGE`] old.
    pub(crate) fn expires(&self) -> Instant {
        self.installed + std::time::Duration::from_secs((MAX_AGE - self.lsa.header.age).into())
    }
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Lsdb {
    entries: BTreeMap<LsaKey, Entry>,
}

impl Lsdb {
    pub(crate) fn get(&self, key: LsaKey) -> Option<&Entry> {
        self.entries.get(&key)
    }

    pub(crate) fn insert(&mut self, now: Instant, lsa: Lsa) {
        self.entries.insert(lsa.key(), Entry { lsa, installed: now });
    }

    pub(crate) fn remove(&mut self, key: LsaKey) -> Option<Entry> {
        self.entries.remove(&key)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (LsaKey, &Entry)> {
        self.entries.iter().map(|(key, entry)| (*key, entry))
    }

    /// All of one type.
    pub(crate) fn of_kind(&self, kind: LsaType) -> impl Iterator<Item = (LsaKey, &Entry)> {
        let first = LsaKey { kind, id: std::net::Ipv4Addr::UNSPECIFIED, router: crate::wire::RouterId::NONE };
        self.entries
            .range(first..)
            .take_while(move |(key, _)| key.kind == kind)
            .map(|(key, entry)| (*key, entry))
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }
}
