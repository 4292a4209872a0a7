//! What this router announces of its own: networks, routes of other protocols, aggregates.

use std::collections::BTreeMap;

use millrace_net::Prefix;
use millrace_policy::{self as policy, Origin};
use millrace_proto::Instant;

use crate::attrs::{AttrId, Draft};
use crate::import::{accepts, changed, policy_route, set_communities};
use crate::machine::{Bgp, Redistributed};
use crate::table::{Path, PeerIx};
use crate::wire::Code;

/// Path identifiers of routes of one's own.
pub(crate) const REDISTRIBUTED: u32 = 999;
pub(crate) const NETWORK: u32 = 1000;
pub(crate) const AGGREGATE: u32 = 1001;

/// Routes of other protocols, as the shell tells them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Own {
    pub(crate) redistributed: BTreeMap<Prefix, Redistributed>,
}

impl Bgp {
    pub(crate) fn redistribute(&mut self, now: Instant, route: Redistributed) {
        if self.own.redistributed.get(&route.prefix) == Some(&route) {
            return;
        }
        let mut draft = Draft {
            origin: Origin::Incomplete,
            med: route.med,
            local_pref: route.local_pref,
            ..Draft::default()
        };
        set_communities(&mut draft, &route.communities);
        self.originate(now, route.prefix, REDISTRIBUTED, draft, None);
        self.own.redistributed.insert(route.prefix, route);
    }

    pub(crate) fn withdraw_redistributed(&mut self, prefix: Prefix) {
        if self.own.redistributed.remove(&prefix).is_some() {
            self.take_path(prefix, PeerIx::LOCAL, REDISTRIBUTED);
        }
    }

    pub(crate) fn originate_networks(&mut self, now: Instant) {
        for (prefix, list) in self.config.networks.clone() {
            let draft = Draft::default();
            self.originate(now, prefix, NETWORK, draft, list.as_deref());
        }
    }

    /// Puts a route of one's own into the table, if the policy takes it.
    fn originate(
        &mut self,
        now: Instant,
        prefix: Prefix,
        id: u32,
        draft: Draft,
        list: Option<&policy::RuleList>,
    ) {
        let mut attrs = draft.finish();
        if let Some(list) = list {
            let bgp = attrs.to_policy();
            let mut route = policy_route(prefix, &attrs, None, bgp.clone());
            if !accepts(list, &mut route, self.config.asn) {
                self.take_path(prefix, PeerIx::LOCAL, id);
                return;
            }
            if let Some(draft) = changed(&attrs, &bgp, &route) {
                attrs = draft.finish();
            }
        }
        let used = self.attrs.hold_value(attrs);
        let known = self.table.paths(prefix).iter().find(|path| path.is(PeerIx::LOCAL, id));
        if known.is_some_and(|path| path.used == used) {
            self.attrs.release(used);
            return;
        }
        let since = u32::try_from(now.as_secs()).unwrap_or(u32::MAX);
        let received = AttrId::NONE;
        self.put(prefix, Path { received, used, id, since, peer: PeerIx::LOCAL, epoch: 0, selected: false });
    }

    /// Aggregates a prefix is part of are looked at again.
    pub(crate) fn note_aggregates(&mut self, prefix: Prefix) {
        if self.config.aggregates.is_empty() {
            return;
        }
        let covering =
            self.config.aggregates.keys().filter(|block| block.covers(prefix) && **block != prefix);
        self.stale_aggregates.extend(covering.copied());
    }

    /// RFC 4271 §9.2.2.2: an aggregate stands while there is anything in it.
    pub(crate) fn update_aggregates(&mut self, now: Instant) {
        while let Some(block) = self.stale_aggregates.pop_first() {
            let configured = self.config.aggregates.contains_key(&block);
            let is_part = |(prefix, paths): (Prefix, &[Path])| {
                prefix != block && paths.first().is_some_and(|path| path.selected)
            };
            let has_parts = self.table.within(block).any(is_part);
            if !configured || !has_parts {
                self.take_path(block, PeerIx::LOCAL, AGGREGATE);
                continue;
            }
            let mut draft = Draft { origin: Origin::Incomplete, ..Draft::default() };
            draft.set(Code::AtomicAggregate, Vec::new());
            let aggregator = [self.config.asn.to_be_bytes(), self.router_id.octets()].concat();
            draft.set(Code::Aggregator, aggregator);
            self.originate(now, block, AGGREGATE, draft, None);
        }
    }

    /// Whether a summary stands for the prefix.
    pub(crate) fn is_suppressed(&self, prefix: Prefix) -> bool {
        self.config.aggregates.iter().any(|(block, aggregate)| {
            aggregate.summary_only
                && block.covers(prefix)
                && *block != prefix
                && self
                    .table
                    .paths(*block)
                    .iter()
                    .any(|path| path.is(PeerIx::LOCAL, AGGREGATE) && path.selected)
        })
    }
}
