//! What each fuzz target does with octets from outside: they are answered with a value or an error, never with a panic, and
//! what was understood is written so that it is understood the same.
//!
//! `control/tests/anything.rs` includes this file and runs it over `corpus/` and `regressions/`, so that a finding stays
//! found where there is neither nightly nor libFuzzer. Seeds in `corpus/` are made by `corpus/make.sh`.
//!
//! Checksums stop a fuzzer at the door: the targets put right those that protect from accidents (OSPF), and leave alone
//! those that protect from others (the digests of authentication, verified above the decoders).

use std::path::Path;

use millrace_bgp::wire::{self as bgp_wire, Kind, Notification, Open, Refresh, Update, UpdateContext};
use millrace_control::config;
use millrace_ospf::wire::{self as ospf_wire, Lsa, Protection};
use millrace_policy::offline;
use millrace_policy::rule::Context;

/// A RIP datagram. RFC 2453 §4, RFC 4822.
pub fn rip(octets: &[u8]) {
    use millrace_rip::wire::{Authentication, Packet, Protection, Version, capacity, encode};
    let Ok(packet) = Packet::decode(octets) else { return };
    let entries: Vec<_> = packet.entries().collect();
    assert!(entries.len() * 20 <= octets.len());
    let plain = (packet.version, packet.authentication) == (Version::V2, Authentication::None);
    if plain && entries.len() <= capacity(Protection::None) {
        let written = encode(packet.command, packet.version, &entries, Protection::None);
        let again = Packet::decode(&written).expect("what this router writes");
        assert!(again.entries().eq(entries));
    }
}

/// A BFD control packet. RFC 5880 §4.1.
pub fn bfd(octets: &[u8]) {
    use millrace_bfd::wire::Packet;
    if let Ok(packet) = Packet::decode(octets) {
        assert_eq!(Packet::decode(&packet.encode()), Ok(packet));
    }
}

/// An OSPF packet as it came, the same with its checksum put right, and the octets as one LSA. RFC 2328 appendix A.
pub fn ospf(octets: &[u8]) {
    const AUTH_TYPE: std::ops::Range<usize> = 14..24;
    ospf_packet(octets);
    let mut mended = octets.to_vec();
    // With the cryptographic kind the checksum is not looked at; no octets of a digest.
    if let Some(field) = mended.get_mut(AUTH_TYPE) {
        field.copy_from_slice(&[0, 2, 0, 0, 0, 0, 0, 0, 0, 0]);
        ospf_packet(&mended);
    }
    lsa(octets.to_vec());
}

fn ospf_packet(octets: &[u8]) {
    use millrace_ospf::wire::{Body, Packet};
    let Ok(packet) = Packet::decode(octets) else { return };
    let Ok(body) = packet.body() else { return };
    if let Body::Update(update) = &body
        && !update.bad.is_empty()
    {
        return;
    }
    let written = ospf_wire::encode(packet.router, packet.area, &body, Protection::None);
    let again = Packet::decode(&written).expect("what this router writes");
    assert_eq!(again.body(), Ok(body));
}

fn lsa(mut octets: Vec<u8>) {
    let Ok(len) = u16::try_from(octets.len()) else { return };
    let Some(field) = octets.get_mut(18..20) else { return };
    field.copy_from_slice(&len.to_be_bytes());
    // RFC 2328 §12.1.7: everything but the age.
    let checksum = ospf_wire::fletcher(&octets[2..], 14);
    octets[16..18].copy_from_slice(&checksum.to_be_bytes());
    let Ok(read) = Lsa::from_octets(&octets) else { return };
    let mut written = Vec::new();
    read.encode(&mut written);
    assert_eq!(Lsa::from_octets(&written), Ok(read));
}

/// What stands in a BGP stream, whatever was agreed about it. RFC 4271 §4, RFC 7606.
pub fn bgp(octets: &[u8]) {
    for extended in [false, true] {
        let mut stream = octets;
        while let Ok(Some((frame, len))) = bgp_wire::frame(stream, extended) {
            assert!(0 < len && frame.body.len() < len);
            match frame.kind {
                Kind::Open => open(frame.body),
                Kind::Update => every_update(frame.body),
                Kind::Notification => notification(frame.body),
                Kind::RouteRefresh => refresh(frame.body),
                Kind::Keepalive => assert!(frame.body.is_empty()),
            }
            stream = &stream[len..];
        }
    }
}

fn open(body: &[u8]) {
    if let Ok(open) = Open::decode(body) {
        let written = open.encode();
        let frame =
            bgp_wire::frame(&written, false).expect("what this router writes").expect("a whole message").0;
        Open::decode(frame.body).expect("what this router writes");
    }
}

fn every_update(body: &[u8]) {
    for bits in 0u8..16 {
        let add_path = bits & 4 != 0;
        let context = UpdateContext {
            as4: bits & 1 != 0,
            external: bits & 2 != 0,
            confederation: bits & 8 != 0,
            add_path,
            add_path_v6: add_path,
        };
        let Ok(update) = Update::decode(body, context) else { continue };
        let runs = [update.withdrawn, update.mp_withdrawn, update.announced, update.mp_announced];
        assert!(runs.iter().map(|run| run.iter().count()).sum::<usize>() <= body.len());
        // RFC 7606 §2: what is announced has attributes, or is withdrawn.
        let announces = !update.announced.is_empty() || !update.mp_announced.is_empty();
        assert!(!announces || update.draft.is_some() || update.treat_as_withdraw);
    }
}

fn notification(body: &[u8]) {
    let Some(notification) = Notification::decode(body) else { return };
    assert!(!notification.to_string().is_empty());
    assert!(notification.message().is_none_or(|text| !text.contains(char::is_control)));
    let _ = notification.encode();
}

fn refresh(body: &[u8]) {
    if let Ok(Some(refresh)) = Refresh::decode(body) {
        assert_eq!(Refresh::decode(&refresh.encode()[19..]), Ok(Some(refresh)));
    }
}

/// A configuration file.
pub fn config(octets: &[u8]) {
    match config::parse_bytes(octets.to_vec(), Path::new("m.toml")) {
        Ok(loaded) => {
            let written = loaded.config.to_string();
            let again = config::parse(&written, Path::new("m.toml"));
            assert_eq!(again.expect("the effective form is a configuration").config, loaded.config);
        }
        Err(error) => assert!(!error.problems.is_empty() && !error.to_string().is_empty()),
    }
}

/// A configuration, and behind a line `%%` the routes that its policy is asked about, one a line.
pub fn policy(octets: &[u8]) {
    let Ok(text) = std::str::from_utf8(octets) else { return };
    let (text, routes) = text.split_once("\n%%\n").unwrap_or(("", text));
    let Ok(loaded) = config::parse(text, Path::new("m.toml")) else { return };
    let lists = &loaded.config.policy.policies.rule_lists;
    for text in routes.lines() {
        let Ok(route) = offline::parse_route(text) else { continue };
        for list in lists.values() {
            for own_as in [None, Some(65_001)] {
                let report = offline::explain(list, &route, Context { own_as });
                let mut changed = route.clone();
                let verdict = list.apply(&mut changed, Context { own_as });
                // `millrace policy test` says what the router does.
                assert_eq!(report.decided_by, list.label(verdict.fired));
                assert_eq!(report.changes.is_empty(), changed == route);
            }
        }
    }
}
