//! Update groups: peers that are told the same are told it together.
//!
//! ```text
//!   log of changed prefixes ──▶ a group's cursor ──▶ rules, policy, attributes as sent ──▶ sorted by set
//!     (one for all groups)        as far as the                                           └─▶ messages, encoded once,
//!                                 FIB has acknowledged                                        a copy for each member
//! ```
//!
//! What a peer was told is not kept: it follows from the best route and the policy. One bit a prefix says whether the
//! group announces it, so that a withdrawal is only sent where there is something to withdraw.

use std::collections::{BTreeMap, VecDeque};
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use millrace_net::Prefix;
use millrace_policy::RuleList;
use millrace_proto::Instant;

use crate::attrs::AttrId;
use crate::machine::{Bgp, Notice, Timer};
use crate::peer::{Agreed, Peer, PeerKind};
use crate::table::{GROUPS, PeerIx};
use crate::walk::Job;
use crate::wire::{self, Kind, Role, attribute, nlri};

/// Prefixes looked at in one go.
pub(crate) const CHUNK: usize = 8192;
/// Octets a member may have before it that the kernel has not taken; then its group waits.
const CREDIT: usize = 1 << 20;

/// What has to be equal for two peers to be told the same.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Key {
    pub(crate) kind: PeerKind,
    pub(crate) client: bool,
    pub(crate) route_server: bool,
    pub(crate) local_as: u32,
    /// Of the peer, where it is replaced in paths.
    pub(crate) override_as: Option<u32>,
    pub(crate) export: Option<Arc<RuleList>>,
    pub(crate) needs_policy: bool,
    pub(crate) next_hop_self: bool,
    pub(crate) remove_private: bool,
    pub(crate) default_originate: bool,
    pub(crate) role: Option<Role>,
    pub(crate) as4: bool,
    pub(crate) extended: bool,
    pub(crate) interval: Duration,
}

#[derive(Clone, Debug)]
pub(crate) struct Group {
    pub(crate) key: Key,
    pub(crate) members: Vec<PeerIx>,
    /// The next entry of the log.
    cursor: u64,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Groups {
    list: Vec<Option<Group>>,
    /// Changed prefixes, each with the batch of routes it is in.
    log: VecDeque<(Prefix, u64)>,
    /// The number of the first entry of the log.
    base: u64,
}

/// Whom a run of prefixes is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum To {
    Everybody,
    /// Prefixes to withdraw are of no interest: it has been told nothing.
    Newcomer(PeerIx),
    /// Everything, withdrawals as well.
    Only(PeerIx),
}

/// Encoded messages, of whose next hops some are the sender's own address.
#[derive(Debug, Default)]
struct Encoded {
    bytes: Vec<u8>,
    messages: u64,
    /// Where the address of each member belongs.
    patches: Vec<usize>,
}

impl Key {
    fn new(bgp: &Bgp, peer: &Peer, agreed: &Agreed) -> Self {
        let config = &peer.config;
        let external = peer.kind == PeerKind::External;
        Self {
            kind: peer.kind,
            client: config.reflector_client && peer.kind == PeerKind::Internal,
            route_server: config.route_server_client && external,
            local_as: bgp.local_as(config, peer.kind),
            override_as: (config.as_override && external).then_some(config.asn),
            export: config.export.clone(),
            needs_policy: config.needs_policy,
            next_hop_self: config.next_hop_self,
            remove_private: config.remove_private && external,
            default_originate: config.default_originate,
            role: config.role.filter(|_| external),
            as4: agreed.as4,
            extended: agreed.extended,
            interval: config.timers.advertisement,
        }
    }
}

impl Groups {
    /// A changed prefix, told when its batch of routes is acknowledged.
    pub(crate) fn log(&mut self, prefix: Prefix, batch: u64) {
        if self.list.iter().flatten().any(|group| !group.members.is_empty()) {
            self.log.push_back((prefix, batch));
        }
    }

    fn end(&self) -> u64 {
        self.base + self.log.len() as u64
    }

    pub(crate) fn get(&self, number: u8) -> Option<&Group> {
        self.list.get(usize::from(number))?.as_ref()
    }

    /// Bits of groups that somebody is in.
    pub(crate) fn in_use(&self) -> u32 {
        let used = self
            .list
            .iter()
            .enumerate()
            .filter(|(_, group)| group.as_ref().is_some_and(|group| !group.members.is_empty()));
        used.fold(0, |bits, (number, _)| bits | 1 << number)
    }

    /// What every group has seen goes.
    fn trim(&mut self) {
        let waiting = self.list.iter().flatten().filter(|group| !group.members.is_empty());
        let first = waiting.map(|group| group.cursor).min().unwrap_or_else(|| self.end());
        let seen = usize::try_from(first.saturating_sub(self.base)).unwrap_or(usize::MAX);
        self.log.drain(..seen.min(self.log.len()));
        self.base = first;
        if self.log.is_empty() {
            self.log.shrink_to(CHUNK);
        }
    }

    /// Changes that have not been told to everybody.
    pub(crate) fn backlog(&self) -> usize {
        self.log.len()
    }

    fn numbers(&self) -> impl Iterator<Item = u8> + use<> {
        let len = u8::try_from(self.list.len()).unwrap_or(u8::MAX);
        0..len
    }
}

impl Bgp {
    /// A session is up: it joins those that are told the same, and is told everything.
    pub(crate) fn join_group(&mut self, ix: PeerIx) {
        let Some((peer, agreed)) = self.peer(ix).and_then(|peer| Some((peer, peer.agreed.as_ref()?))) else {
            return;
        };
        let key = Key::new(self, peer, agreed);
        let address = peer.address;
        let groups = &mut self.groups;
        let same = groups.list.iter().position(|group| group.as_ref().is_some_and(|group| group.key == key));
        let number = same.or_else(|| {
            let free = groups.list.iter().position(Option::is_none);
            free.or_else(|| {
                groups.list.push(None);
                (groups.list.len() <= GROUPS).then_some(groups.list.len() - 1)
            })
        });
        let Some(number) = number else {
            groups.list.truncate(GROUPS);
            self.notice(Notice::TooManyGroups { peer: address, limit: GROUPS });
            return;
        };
        let end = groups.end();
        let Some(place) = groups.list.get_mut(number) else { return };
        let group = place.get_or_insert(Group { key, members: Vec::new(), cursor: end });
        let first = group.members.is_empty();
        if first {
            group.cursor = end;
        }
        group.members.push(ix);
        let number = u8::try_from(number).ok();
        if let Some(peer) = self.peer_mut(ix) {
            peer.group = number;
        }
        self.flush_routes();
        let barrier = self.batch - 1;
        self.queue(Job::join(ix, To::Newcomer(ix), first, barrier));
    }

    pub(crate) fn leave_group(&mut self, ix: PeerIx) {
        self.jobs.retain(|job| !job.is_for(ix));
        let Some(number) = self.peer_mut(ix).and_then(|peer| peer.group.take()) else { return };
        let Some(place) = self.groups.list.get_mut(usize::from(number)) else { return };
        if let Some(group) = place {
            group.members.retain(|member| *member != ix);
            if group.members.is_empty() {
                *place = None;
                self.timers.cancel(Timer::Advertise(number));
            }
        }
        self.groups.trim();
    }

    /// Everything once more, as for a ROUTE-REFRESH.
    pub(crate) fn send_everything(&mut self, ix: PeerIx) {
        if self.peer(ix).is_some_and(|peer| peer.group.is_some()) {
            self.queue(Job::join(ix, To::Only(ix), false, 0));
        }
    }

    /// Whether a member can take more.
    pub(crate) fn has_credit(&self, ix: PeerIx) -> bool {
        self.peer(ix).and_then(Peer::session).is_none_or(|conn| conn.outstanding < CREDIT)
    }

    /// The first group that may send, if any.
    pub(crate) fn ready_group(&self) -> Option<u8> {
        self.groups.numbers().find(|number| {
            let Some(group) = self.groups.get(*number) else { return false };
            let at = usize::try_from(group.cursor - self.groups.base).unwrap_or(usize::MAX);
            let Some((_, batch)) = self.groups.log.get(at) else { return false };
            self.converged
                && self.is_in_fib(*batch)
                && self.timers.get(Timer::Advertise(*number)).is_none()
                && !group.members.is_empty()
                && group.members.iter().all(|member| self.has_credit(*member))
        })
    }

    pub(crate) fn is_in_fib(&self, batch: u64) -> bool {
        !self.config.wait_for_fib || batch <= self.acked
    }

    /// Tells a group what has changed.
    pub(crate) fn flush_group(&mut self, now: Instant, number: u8) {
        let Some(group) = self.groups.get(number) else { return };
        let start = usize::try_from(group.cursor - self.groups.base).unwrap_or(usize::MAX);
        let interval = group.key.interval;
        let ready = self.groups.log.iter().skip(start).take(CHUNK);
        let mut prefixes: Vec<Prefix> =
            ready.take_while(|(_, batch)| self.is_in_fib(*batch)).map(|(prefix, _)| *prefix).collect();
        let taken = prefixes.len() as u64;
        prefixes.sort_unstable();
        prefixes.dedup();
        self.tell(now, number, &prefixes, To::Everybody);
        let mut more = false;
        let end = self.groups.end();
        if let Some(Some(group)) = self.groups.list.get_mut(usize::from(number)) {
            group.cursor += taken;
            more = group.cursor < end;
        }
        self.groups.trim();
        if !interval.is_zero() && !more {
            let jittered = self.rng.between(interval * 3 / 4, interval);
            self.timers.set(Timer::Advertise(number), now + jittered);
        }
    }

    /// Tells what is to be said of some prefixes.
    pub(crate) fn tell(&mut self, now: Instant, number: u8, prefixes: &[Prefix], to: To) {
        let Some(group) = self.groups.get(number).cloned() else { return };
        let bit = 1u32 << number;
        let mut seen = None;
        let mut announced: Vec<(AttrId, PeerIx, Prefix)> = Vec::new();
        let mut withdrawn: Vec<Prefix> = Vec::new();
        // Where the source itself was told what another had said, it is told that this is over.
        let mut back: BTreeMap<PeerIx, Vec<Prefix>> = BTreeMap::new();
        for &prefix in prefixes {
            let told = self.table.told(prefix) & bit != 0;
            match self.export(&group.key, prefix, &mut seen) {
                Some((draft, source)) => {
                    let id = self.attrs.hold_value(draft.finish());
                    if told && group.members.contains(&source) {
                        back.entry(source).or_default().push(prefix);
                    }
                    announced.push((id, source, prefix));
                    if !told {
                        self.table.set_told(prefix, bit, true);
                    }
                }
                None => {
                    if told || matches!(to, To::Only(_)) && group.key.default_originate {
                        withdrawn.push(prefix);
                    }
                    if told {
                        self.table.set_told(prefix, bit, false);
                    }
                }
            }
        }
        let members: Vec<PeerIx> = match to {
            To::Everybody => group.members.clone(),
            To::Newcomer(ix) | To::Only(ix) => vec![ix],
        };
        if !matches!(to, To::Newcomer(_)) {
            let encoded = encode_withdrawn(&withdrawn, group.key.extended);
            for &member in &members {
                self.deliver(now, member, &encoded);
            }
            for (source, prefixes) in back {
                if members.contains(&source) {
                    self.deliver(now, source, &encode_withdrawn(&prefixes, group.key.extended));
                }
            }
        }
        announced.sort_unstable();
        self.send_announced(now, &group.key, &members, &announced);
        for (id, ..) in announced {
            self.attrs.release(id);
        }
    }

    /// Routes in the order of their sets and sources; each set is encoded once.
    fn send_announced(
        &mut self,
        now: Instant,
        key: &Key,
        members: &[PeerIx],
        announced: &[(AttrId, PeerIx, Prefix)],
    ) {
        let mut common = Encoded::default();
        for run in announced.chunk_by(|a, b| (a.0, a.1) == (b.0, b.1)) {
            let Some((id, source, _)) = run.first() else { continue };
            let Some(attrs) = self.attrs.get(*id) else { continue };
            let mut encoded = Encoded::default();
            encode_announced(&mut encoded, attrs, run.iter().map(|(.., prefix)| *prefix), key);
            if !members.contains(source) {
                common.append(encoded);
                continue;
            }
            // In order: what stands before goes before.
            let before = std::mem::take(&mut common);
            for &member in members {
                self.deliver(now, member, &before);
                if member != *source {
                    self.deliver(now, member, &encoded);
                }
            }
        }
        for &member in members {
            self.deliver(now, member, &common);
        }
    }

    fn deliver(&mut self, now: Instant, ix: PeerIx, encoded: &Encoded) {
        if encoded.bytes.is_empty() {
            return;
        }
        let Some(peer) = self.peer_mut(ix) else { return };
        let Some((conn, local)) = peer.agreed.as_ref().map(|agreed| (agreed.conn, agreed.local)) else {
            return;
        };
        if let Some(count) = peer.stats.sent.get_mut(Kind::Update as usize - 1) {
            *count += encoded.messages;
        }
        let mut bytes = encoded.bytes.clone();
        for &at in &encoded.patches {
            if let Some(place) = bytes.get_mut(at..at + 4) {
                place.copy_from_slice(&local.octets());
            }
        }
        self.send_bytes(now, ix, conn, bytes);
    }

    pub(crate) fn group_of(&self, ix: PeerIx) -> Option<(u8, &Group)> {
        let number = self.peer(ix)?.group?;
        Some((number, self.groups.get(number)?))
    }

    /// The group a peer would be in with its configuration as it is.
    pub(crate) fn has_moved(&self, ix: PeerIx) -> bool {
        let Some((peer, agreed)) = self.peer(ix).and_then(|peer| Some((peer, peer.agreed.as_ref()?))) else {
            return false;
        };
        self.group_of(ix).is_some_and(|(_, group)| group.key != Key::new(self, peer, agreed))
    }

    /// The configuration puts a peer into another group: it is told what differs.
    pub(crate) fn change_group(&mut self, now: Instant, ix: PeerIx) {
        let Some((number, group)) = self.group_of(ix) else { return };
        let (key, bit) = (group.key.clone(), 1u32 << number);
        let told: Vec<Prefix> = self
            .table
            .after(None)
            .map(|(prefix, _)| prefix)
            .filter(|prefix| self.table.told(*prefix) & bit != 0)
            .collect();
        self.leave_group(ix);
        self.join_group(ix);
        self.jobs.retain(|job| !job.is_for(ix));
        let Some((number, group)) = self.group_of(ix) else { return };
        let (new, first) = (group.key.clone(), group.members.len() == 1);
        self.tell_difference(now, ix, (&key, &told), (&new, 1u32 << number, first));
    }

    /// Sends what the new key says and the old one did not, prefix by prefix.
    fn tell_difference(
        &mut self,
        now: Instant,
        ix: PeerIx,
        (old, told): (&Key, &[Prefix]),
        (new, bit, first): (&Key, u32, bool),
    ) {
        let mut announced = Vec::new();
        let mut withdrawn = Vec::new();
        let prefixes: Vec<Prefix> = self.table.after(None).map(|(prefix, _)| prefix).collect();
        for prefix in prefixes {
            let was = told.binary_search(&prefix).is_ok();
            let before = if was { self.export(old, prefix, &mut None) } else { None };
            let after = self.export(new, prefix, &mut None);
            if first {
                self.table.set_told(prefix, bit, after.is_some());
            }
            let same = before == after;
            match after {
                Some(_) if same => {}
                Some((draft, source)) => {
                    announced.push((self.attrs.hold_value(draft.finish()), source, prefix));
                }
                None if was => withdrawn.push(prefix),
                None => {}
            }
        }
        let encoded = encode_withdrawn(&withdrawn, new.extended);
        self.deliver(now, ix, &encoded);
        announced.sort_unstable();
        self.send_announced(now, new, &[ix], &announced);
        for (id, ..) in announced {
            self.attrs.release(id);
        }
    }
}

impl Encoded {
    fn append(&mut self, other: Self) {
        let shift = self.bytes.len();
        self.bytes.extend(other.bytes);
        self.messages += other.messages;
        self.patches.extend(other.patches.into_iter().map(|at| at + shift));
    }
}

const fn limit(extended: bool) -> usize {
    if extended { wire::MAX_EXTENDED } else { wire::MAX_MESSAGE }
}

fn encode_withdrawn(prefixes: &[Prefix], extended: bool) -> Encoded {
    let mut encoded = Encoded::default();
    let out = &mut encoded.bytes;
    let mut rest = prefixes.iter().peekable();
    while rest.peek().is_some() {
        let start = wire::begin(out, Kind::Update);
        let at = out.len();
        out.extend([0, 0]);
        while let Some(prefix) = rest
            .next_if(|prefix| out.len() - start + nlri::encoded_len(**prefix, false) + 2 <= limit(extended))
        {
            nlri::encode(out, None, *prefix);
        }
        let len = u16::try_from(out.len() - at - 2).unwrap_or(u16::MAX);
        wire::put_u16(out, at, len);
        out.extend([0, 0]);
        wire::finish(out, start);
        encoded.messages += 1;
    }
    encoded
}

fn encode_announced(
    encoded: &mut Encoded,
    attrs: &crate::attrs::Attrs,
    prefixes: impl Iterator<Item = Prefix>,
    key: &Key,
) {
    let mut block = Vec::new();
    let next_hop = attribute::encode(&mut block, attrs, key.as4);
    let patch = attrs.next_hop == Ipv4Addr::UNSPECIFIED;
    // RFC 4271 §9.2: a set that does not fit is not announced.
    if limit(key.extended) < wire::HEADER + 4 + block.len() + 5 {
        return;
    }
    let len = u16::try_from(block.len()).unwrap_or(u16::MAX);
    let mut rest = prefixes.peekable();
    let out = &mut encoded.bytes;
    while rest.peek().is_some() {
        let start = wire::begin(out, Kind::Update);
        out.extend([0, 0]);
        out.extend(len.to_be_bytes());
        if patch {
            encoded.patches.push(out.len() + next_hop);
        }
        out.extend_from_slice(&block);
        while let Some(prefix) = rest
            .next_if(|prefix| out.len() - start + nlri::encoded_len(*prefix, false) <= limit(key.extended))
        {
            nlri::encode(out, None, prefix);
        }
        wire::finish(out, start);
        encoded.messages += 1;
    }
}
