//! Packets on their way out: protected, numbered, counted.

use std::net::{Ipv4Addr, SocketAddrV4};

use millrace_proto::{Instant, Transmit};

use crate::auth;
use crate::config::Authentication;
use crate::link::LinkId;
use crate::machine::{Notice, Ospf, Output};
use crate::wire::{Body, encode};

/// Packets stay on their link; those of virtual links cross an area.
const TTL: u8 = 1;
const VIRTUAL_TTL: u8 = 255;

impl Ospf {
    pub(crate) fn send(&mut self, now: Instant, id: LinkId, to: Ipv4Addr, body: &Body) {
        let unix = self.clock.unix(now);
        // Follows the calendar, so that a restart does not fall behind what neighbours have seen (RFC 2328 D.3).
        let second = u32::try_from(unix.0).unwrap_or(u32::MAX);
        self.sequence = self.sequence.saturating_add(1).max(second);
        let (own, sequence) = (self.router_id(), self.sequence);
        let Some(link) = self.links.get_mut(&id).filter(|link| link.talks()) else { return };
        let Some((protection, expired)) = auth::protection(&link.config.authentication, unix, sequence)
        else {
            link.stats.unsent += 1;
            return;
        };
        let payload = encode(own, link.area, body, protection);
        link.stats.sent.count(body.kind());
        let transmit = Transmit {
            interface: link.interface.index,
            source: SocketAddrV4::new(link.address, 0),
            destination: SocketAddrV4::new(to, 0),
            ttl: if link.is_virtual() { VIRTUAL_TTL } else { TTL },
            payload,
        };
        let told = link.expired_key == expired;
        link.expired_key = expired;
        let interface = link.interface.name.clone();
        let chain = match &link.config.authentication {
            Authentication::None => String::new(),
            Authentication::Simple(chain) | Authentication::Cryptographic(chain) => chain.name().to_owned(),
        };
        self.outputs.push_back(Output::Send(transmit));
        if let (Some(key), false) = (expired, told) {
            self.notice(Notice::KeyExpired { interface, chain, key });
        }
    }
}
