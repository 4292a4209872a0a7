//! Routes: the shadow first, then the entries of the span that belong to the prefix.

use core::net::Ipv4Addr;
use std::ops::ControlFlow;

use millrace_net::Prefix;

use super::{Refusal, Retired, Writer};
use crate::id::GroupId;
use crate::reader::EXTENDED;
use crate::shadow::{Area, Item, bits};

impl Writer<'_> {
    /// Adds or replaces a route; the group it had.
    pub fn route_insert(&mut self, prefix: Prefix, group: GroupId) -> Result<Option<GroupId>, Refusal> {
        if !self.group_exists(group) {
            return Err(Refusal::UnknownGroup);
        }
        let old = match prefix.len() {
            ..24 => self.insert_short(prefix, group),
            24 => self.insert_block(prefix, group),
            _ => self.insert_long(prefix, group)?,
        };
        self.groups[group.index()].routes += 1;
        match old {
            Some(old) => self.groups[old.index()].routes -= 1,
            None => self.routes += 1,
        }
        Ok(old)
    }

    /// Removes a route; the group it had, or `None` where there is no such route.
    pub fn route_remove(&mut self, prefix: Prefix) -> Option<GroupId> {
        let old = match prefix.len() {
            ..24 => self.remove_short(prefix),
            24 => self.remove_block(prefix),
            _ => self.remove_long(prefix),
        }?;
        self.groups[old.index()].routes -= 1;
        self.routes -= 1;
        Some(old)
    }

    /// The group of exactly this prefix.
    pub fn route_get(&self, prefix: Prefix) -> Option<GroupId> {
        if prefix.len() < 24 {
            return self.shadow.get(prefix);
        }
        let block = prefix.bits() >> 8;
        match self.extension(block) {
            Some(slot) => self.hosts[usize::from(slot)].get(prefix),
            None if prefix.len() == 24 && self.shadow.is_marked(block) => {
                Some(GroupId(self.dir.entry(block)))
            }
            None => None,
        }
    }

    /// The route that decides about an address.
    pub fn longest_match(&self, address: Ipv4Addr) -> Option<(Prefix, GroupId)> {
        let block = address.to_bits() >> 8;
        match self.extension(block) {
            Some(slot) => self.hosts[usize::from(slot)].longest(address),
            None if self.shadow.is_marked(block) => {
                Some((Prefix::truncated(address, 24), GroupId(self.dir.entry(block))))
            }
            None => None,
        }
        .or_else(|| self.shadow.cover_of_block(block))
    }

    /// At most `limit` routes after `after`, in order of address and length.
    pub fn routes_after(&self, after: Option<Prefix>, limit: usize) -> Vec<(Prefix, GroupId)> {
        let mut routes = Vec::new();
        if limit == 0 {
            return routes;
        }
        self.shadow.walk(after, |item| {
            let mut push = |prefix, group| {
                routes.push((prefix, group));
                if routes.len() < limit { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
            };
            let block = match item {
                Item::Prefix(prefix, group) => return push(prefix, group),
                Item::Block(block) => block,
            };
            let routes = match self.extension(block) {
                Some(slot) => self.hosts[usize::from(slot)].sorted(block),
                None => vec![(block_prefix(block), GroupId(self.dir.entry(block)))],
            };
            for (prefix, group) in routes {
                if after.is_none_or(|after| after < prefix) {
                    push(prefix, group)?;
                }
            }
            ControlFlow::Continue(())
        });
        routes
    }

    fn insert_short(&mut self, prefix: Prefix, group: GroupId) -> Option<GroupId> {
        let old = self.shadow.insert(prefix, group);
        if old != Some(group) {
            self.paint(prefix, group);
        }
        old
    }

    fn remove_short(&mut self, prefix: Prefix) -> Option<GroupId> {
        let old = self.shadow.remove(prefix)?;
        let cover = self.shadow.cover_of(prefix).map_or(GroupId::NONE, |(_, group)| group);
        if cover != old {
            self.paint(prefix, cover);
        }
        Some(old)
    }

    /// Writes `group` over all that no prefix longer than `prefix` owns in its span.
    fn paint(&mut self, prefix: Prefix, group: GroupId) {
        let Self { shadow, dir, hosts, .. } = self;
        shadow.open(prefix, |area| match area {
            Area::Blocks(blocks) => dir.fill(blocks, group.0),
            Area::Leaf { first, open, marked } => {
                dir.fill_slots(first, open, group.0);
                for slot in bits(marked) {
                    let entry = dir.entry(first + slot);
                    if entry & EXTENDED != 0 {
                        let slot = entry & !EXTENDED;
                        dir.set_hosts(slot, &hosts[usize::from(slot)].compose(group));
                    }
                }
            }
        });
    }

    fn insert_block(&mut self, prefix: Prefix, group: GroupId) -> Option<GroupId> {
        let block = prefix.bits() >> 8;
        if let Some(slot) = self.extension(block) {
            let old = self.hosts[usize::from(slot)].insert(prefix, group);
            self.recompose(block, slot);
            return old;
        }
        let old = self.shadow.is_marked(block).then(|| GroupId(self.dir.entry(block)));
        if old.is_none() {
            self.shadow.mark(block);
        }
        self.dir.set(block, group.0);
        old
    }

    fn remove_block(&mut self, prefix: Prefix) -> Option<GroupId> {
        let block = prefix.bits() >> 8;
        if let Some(slot) = self.extension(block) {
            let old = self.hosts[usize::from(slot)].remove(prefix)?;
            self.recompose(block, slot);
            return Some(old);
        }
        let old = self.shadow.is_marked(block).then(|| GroupId(self.dir.entry(block)))?;
        self.shadow.unmark(block);
        self.dir.set(block, self.cover_of_block(block).0);
        Some(old)
    }

    fn insert_long(&mut self, prefix: Prefix, group: GroupId) -> Result<Option<GroupId>, Refusal> {
        let block = prefix.bits() >> 8;
        if let Some(slot) = self.extension(block) {
            let old = self.hosts[usize::from(slot)].insert(prefix, group);
            self.recompose(block, slot);
            return Ok(old);
        }
        let slot = self.allocate(|w| w.tbl8.take(), Refusal::Tbl8Exhausted)?;
        let owner = GroupId(self.dir.entry(block));
        if self.hosts.len() <= usize::from(slot) {
            self.hosts.resize_with(usize::from(slot) + 1, Default::default);
        }
        let hosts = &mut self.hosts[usize::from(slot)];
        if self.shadow.is_marked(block) {
            hosts.insert(block_prefix(block), owner);
        }
        hosts.insert(prefix, group);
        // Whole before it is published.
        self.dir.set_hosts(slot, &hosts.compose(owner));
        self.dir.set(block, EXTENDED | slot);
        self.shadow.mark(block);
        Ok(None)
    }

    fn remove_long(&mut self, prefix: Prefix) -> Option<GroupId> {
        let block = prefix.bits() >> 8;
        let slot = self.extension(block)?;
        let hosts = &mut self.hosts[usize::from(slot)];
        let old = hosts.remove(prefix)?;
        if hosts.is_extended() {
            self.recompose(block, slot);
            return Some(old);
        }
        let own = std::mem::take(hosts).block();
        if own.is_none() {
            self.shadow.unmark(block);
        }
        let owner = own.unwrap_or_else(|| self.cover_of_block(block));
        self.dir.set(block, owner.0);
        self.retire(Retired::Tbl8(slot));
        Some(old)
    }

    /// The tbl8 group of a block.
    fn extension(&self, block: u32) -> Option<u16> {
        let entry = self.dir.entry(block);
        (entry & EXTENDED != 0).then_some(entry & !EXTENDED)
    }

    fn recompose(&self, block: u32, slot: u16) {
        self.dir.set_hosts(slot, &self.hosts[usize::from(slot)].compose(self.cover_of_block(block)));
    }

    fn cover_of_block(&self, block: u32) -> GroupId {
        self.shadow.cover_of_block(block).map_or(GroupId::NONE, |(_, group)| group)
    }
}

fn block_prefix(block: u32) -> Prefix {
    Prefix::truncated(Ipv4Addr::from_bits(block << 8), 24)
}
