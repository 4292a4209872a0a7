//! Messages in, messages out: requests and responses, regular and triggered updates. RFC 2453 §3.9, §3.10.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;
use std::time::Duration;

use millrace_net::Prefix;
use millrace_proto::{Datagram, IfIndex, Instant, Transmit};

use crate::auth;
use crate::config::Authentication;
use crate::link::{Link, Neighbor};
use crate::machine::{Notice, Output, Rip, Timer};
use crate::receive::{self, Accepted};
use crate::send::{BURST, Job, Next, PAUSE, Purpose, Routes};
use crate::stats::{BadPacket, BadRoute};
use crate::table::{NeighborKey, Path};
use crate::wire::{self, Command, Entry, Version};

/// Whole tables being sent to those who asked, at a time. More requests go unanswered.
const MAX_REPLIES: usize = 64;

impl Rip {
    pub(crate) fn handle_datagram(&mut self, now: Instant, datagram: &Datagram) {
        let ours =
            |address: Ipv4Addr| self.interfaces.values().any(|interface| interface.has_address(address));
        let Some(link) = self.links.get(&datagram.interface).filter(|link| link.talks()) else { return };
        let source = NeighborKey { interface: datagram.interface, address: *datagram.source.ip() };
        let accepted = match receive::accept(datagram, link, ours, self.clock.unix(now)) {
            Ok(accepted) => accepted,
            Err(reason) => return self.refuse(source, reason),
        };
        if datagram.source.port() == wire::PORT {
            self.meet(now, source, &accepted);
        }
        match accepted.packet.command {
            Command::Request => self.handle_request(now, datagram, &accepted),
            Command::Response => self.handle_response(now, source, &accepted),
        }
    }

    fn refuse(&mut self, source: NeighborKey, reason: BadPacket) {
        let Some(link) = self.links.get_mut(&source.interface) else { return };
        link.stats.bad_packets.count(reason);
        if let Some(neighbor) = link.neighbors.get_mut(&source.address) {
            neighbor.bad_packets += 1;
        }
        self.outputs.push_back(Output::Notice(Notice::BadPacket { from: source, reason }));
    }

    /// Notes that a neighbour is there.
    fn meet(&mut self, now: Instant, source: NeighborKey, accepted: &Accepted<'_>) {
        let Some(link) = self.links.get_mut(&source.interface) else { return };
        let version = accepted.packet.version;
        let neighbor = link.neighbors.entry(source.address).or_insert_with(|| Neighbor::new(now, version));
        neighbor.heard = now;
        neighbor.version = version;
        neighbor.sequences.remember(accepted.believed);
        let (timeout, bfd) = (link.config.timers.timeout, link.config.bfd);
        self.timers.set(Timer::Neighbor(source), now + timeout);
        if bfd {
            self.watch(source, true);
        }
    }

    /// RFC 2453 §3.9.1
    fn handle_request(&mut self, now: Instant, datagram: &Datagram, accepted: &Accepted<'_>) {
        let Some(link) = self.links.get_mut(&datagram.interface) else { return };
        link.stats.requests_received += 1;
        let (source, own, packet) = (datagram.source, accepted.own, accepted.packet);
        // A router that only listens answers those who look into it, not routers that want to use it.
        let listed = link.config.neighbors.contains(source.ip());
        if link.config.passive && source.port() == wire::PORT && !listed {
            return;
        }
        let mut entries = packet.entries();
        if entries.len() == 1 && entries.next().is_some_and(|entry| entry.asks_for_everything()) {
            let replies = self.jobs.values().filter(|job| job.purpose == Purpose::Reply);
            if replies.clone().any(|job| job.destination == source) || MAX_REPLIES <= replies.count() {
                return;
            }
            let sequence = self.next_sequence(now);
            let job = Job {
                link: datagram.interface,
                source: own,
                destination: source,
                version: packet.version,
                purpose: Purpose::Reply,
                routes: Routes::Whole { after: None },
                sequence,
            };
            self.begin(now, job);
        } else if packet.entries().len() != 0 {
            self.answer_entries(now, datagram, accepted);
        }
    }

    /// The table as it is, without split horizon (RFC 2453 §3.9.1).
    fn answer_entries(&mut self, now: Instant, datagram: &Datagram, accepted: &Accepted<'_>) {
        let (own, packet) = (accepted.own, accepted.packet);
        let metric = |prefix: Prefix| {
            self.table.get(prefix).and_then(|entry| entry.state()).map(|state| state.metric())
        };
        let answer = |entry: Entry| {
            let known = receive::destination(&entry, packet.version, &own)
                .ok()
                .filter(|_| entry.family == wire::FAMILY_IPV4);
            let metric = known.and_then(metric).unwrap_or(crate::Metric::INFINITY);
            Entry { metric: metric.get().into(), ..entry }
        };
        let answers: Vec<Entry> = packet.entries().map(answer).collect();
        let sequence = self.next_sequence(now);
        let unix = self.clock.unix(now);
        let Some(link) = self.links.get_mut(&datagram.interface) else { return };
        let authentication = match packet.version {
            Version::V1 => &Authentication::None,
            Version::V2 => &link.config.authentication,
        };
        let Some(protection) = auth::protection(authentication, unix, sequence) else {
            link.stats.unsendable += 1;
            return;
        };
        for entries in answers.chunks(wire::capacity(protection)) {
            link.stats.replies_sent += 1;
            self.outputs.push_back(Output::Send(Transmit {
                interface: datagram.interface,
                source: SocketAddrV4::new(own.address, wire::PORT),
                destination: datagram.source,
                ttl: link.config.ttl_security.ttl(),
                payload: wire::encode(Command::Response, packet.version, entries, protection),
            }));
        }
    }

    /// RFC 2453 §3.9.2
    fn handle_response(&mut self, now: Instant, source: NeighborKey, accepted: &Accepted<'_>) {
        let Some(link) = self.links.get_mut(&source.interface) else { return };
        link.stats.responses_received += 1;
        let timers = link.config.timers;
        for entry in accepted.packet.entries() {
            let Some(link) = self.links.get(&source.interface) else { return };
            let read = receive::interpret(
                &entry,
                accepted.packet.version,
                source.address,
                &accepted.own,
                &link.interface,
            );
            let (prefix, received) = match read {
                Ok(read) => read,
                Err(reason) => {
                    self.refuse_route(source, entry.address, reason);
                    continue;
                }
            };
            let Some(worth) = link.worth(prefix, source.address, &received) else {
                self.table.remove_path(now, prefix, source);
                continue;
            };
            if self.config.max_routes <= self.table.len() && self.table.get(prefix).is_none() {
                self.refuse_route(source, entry.address, BadRoute::TableFull);
            } else {
                let path = Path::new(source, received, worth, now, now + timers.timeout);
                self.table.hear(now, prefix, path, timers.garbage);
            }
        }
    }

    fn refuse_route(&mut self, source: NeighborKey, address: Ipv4Addr, reason: BadRoute) {
        let Some(link) = self.links.get_mut(&source.interface) else { return };
        link.stats.bad_routes.count(reason);
        if let Some(neighbor) = link.neighbors.get_mut(&source.address) {
            neighbor.bad_routes += 1;
        }
        self.outputs.push_back(Output::Notice(Notice::BadRoute { from: source, address, reason }));
    }

    /// RFC 2453 §3.8: the whole table to every neighbour of a link, and the time of the next such update.
    pub(crate) fn start_regular(&mut self, now: Instant, index: IfIndex) {
        let Some(link) = self.links.get_mut(&index) else { return };
        link.regular_begun = true;
        let (timers, destinations) = (link.config.timers, link.destinations());
        let next = self.rng.around(timers.update, timers.spread()).max(Duration::from_millis(500));
        self.timers.set(Timer::Regular(index), now + next);
        let sequence = self.next_sequence(now);
        for (source, destination) in destinations {
            let unfinished = |job: &Job| {
                (job.link, job.source, job.destination, job.purpose)
                    == (index, source, destination, Purpose::Regular)
            };
            if let Some(id) = self.jobs.iter().find(|(_, job)| unfinished(job)).map(|(id, _)| *id) {
                self.jobs.remove(&id);
                self.timers.cancel(Timer::Job(id));
            }
            let routes = Routes::Whole { after: None };
            let purpose = Purpose::Regular;
            let job =
                Job { link: index, source, destination, version: Version::V2, purpose, routes, sequence };
            self.begin(now, job);
        }
    }

    /// RFC 2453 §3.10.1: what has changed, to everyone; then none for 1 to 5 s.
    pub(crate) fn trigger(&mut self, now: Instant) {
        let hold = self.rng.between(Duration::from_secs(1), Duration::from_secs(5));
        self.timers.set(Timer::Triggered, now + hold);
        let prefixes: Arc<[Prefix]> = self.table.take_changed().into_iter().collect();
        let sequence = self.next_sequence(now);
        // A link whose regular update has just begun, or is due, hears of it anyway.
        let due = |link: &&Link| {
            let regular = self.timers.get(Timer::Regular(link.interface.index));
            !link.regular_begun && regular.is_none_or(|at| now < at)
        };
        let destinations: Vec<_> = self
            .links
            .values()
            .filter(due)
            .flat_map(|link| link.destinations().into_iter().map(|to| (link.interface.index, to)))
            .collect();
        for (link, (source, destination)) in destinations {
            let routes = Routes::Changed { prefixes: Arc::clone(&prefixes), next: 0 };
            let purpose = Purpose::Triggered;
            self.begin(
                now,
                Job { link, source, destination, version: Version::V2, purpose, routes, sequence },
            );
        }
    }

    fn begin(&mut self, now: Instant, job: Job) {
        let id = self.next_job;
        self.next_job += 1;
        self.jobs.insert(id, job);
        self.resume(now, id);
    }

    /// Sends the next burst of a job.
    pub(crate) fn resume(&mut self, now: Instant, id: u64) {
        let Some(mut job) = self.jobs.remove(&id) else { return };
        for _ in 0..BURST {
            if !self.send_next(now, &mut job) {
                return;
            }
        }
        self.jobs.insert(id, job);
        self.timers.set(Timer::Job(id), now + PAUSE);
    }

    /// Sends a job at once, whatever its length.
    pub(crate) fn send_all(&mut self, now: Instant, mut job: Job) {
        while self.send_next(now, &mut job) {}
    }

    fn send_next(&mut self, now: Instant, job: &mut Job) -> bool {
        let Some(link) = self.links.get_mut(&job.link) else { return false };
        match job.next(now, self.clock, link, &self.table) {
            Next::Message(transmit) => {
                match job.purpose {
                    Purpose::Regular => link.stats.updates_sent += 1,
                    Purpose::Triggered | Purpose::Farewell => link.stats.triggered_sent += 1,
                    Purpose::Reply => link.stats.replies_sent += 1,
                }
                self.outputs.push_back(Output::Send(transmit));
                self.notice_expired_key(now, job.link);
                true
            }
            Next::NoKey => {
                link.stats.unsendable += 1;
                false
            }
            Next::Done => false,
        }
    }

    /// RFC 4822 §5.1: the operator is told when the last key has run out, once for each key and link.
    fn notice_expired_key(&mut self, now: Instant, index: IfIndex) {
        let Some(link) = self.links.get_mut(&index) else { return };
        let (Authentication::Plain(chain) | Authentication::Cryptographic(chain)) =
            &link.config.authentication
        else {
            return;
        };
        let expired =
            chain.send_key(self.clock.unix(now)).filter(|send| send.expired).map(|send| send.key.id);
        if let Some(key) = expired.filter(|_| link.expired_key != expired) {
            let chain = chain.name().to_owned();
            self.outputs.push_back(Output::Notice(Notice::KeyExpired { interface: index, chain, key }));
        }
        link.expired_key = expired;
    }

    /// RFC 4822 §2.2: grows with every update, and from one life of the process to the next, by the calendar.
    pub(crate) fn next_sequence(&mut self, now: Instant) -> u32 {
        let calendar = u32::try_from(self.clock.unix(now).0).unwrap_or(u32::MAX);
        self.sequence = self.sequence.saturating_add(1).max(calendar);
        self.sequence
    }
}
