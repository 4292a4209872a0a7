//! What a filter can ask about, read from a frame once.

use std::net::Ipv4Addr;

use millrace_net::Mac;

const ETHERNET: usize = 14;
const TAG: usize = 4;
const MAX_TAGS: usize = 2;
const TCP: u8 = 6;
const UDP: u8 = 17;

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Facts {
    pub(crate) len: usize,
    /// Source and destination.
    pub(crate) ether: Option<(Mac, Mac)>,
    /// The outermost tag's.
    pub(crate) vlan: Option<u16>,
    pub(crate) arp: bool,
    pub(crate) ip: Option<Ip>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Ip {
    pub(crate) source: Ipv4Addr,
    pub(crate) destination: Ipv4Addr,
    pub(crate) protocol: u8,
    /// Source and destination, of TCP and UDP that are whole or a first fragment.
    pub(crate) ports: Option<(u16, u16)>,
}

impl Facts {
    pub(crate) fn of(frame: &[u8]) -> Self {
        let mut facts = Self { len: frame.len(), ..Self::default() };
        let Some((destination, rest)) = frame.split_first_chunk::<6>() else { return facts };
        let Some(source) = rest.first_chunk::<6>() else { return facts };
        facts.ether = Some((Mac(*source), Mac(*destination)));
        let (mut at, mut tags) = (ETHERNET - 2, 0);
        let mut ethertype = word(frame, at);
        while let (Some(0x8100 | 0x88a8), true) = (ethertype, tags < MAX_TAGS) {
            facts.vlan = facts.vlan.or(word(frame, at + 2).map(|tci| tci & 0x0fff));
            (at, tags) = (at + TAG, tags + 1);
            ethertype = word(frame, at);
        }
        match ethertype {
            Some(0x0800) => facts.ip = frame.get(at + 2..).and_then(Ip::of),
            Some(0x0806) => facts.arp = true,
            Some(_) | None => {}
        }
        facts
    }
}

impl Ip {
    fn of(packet: &[u8]) -> Option<Self> {
        let header = packet.first_chunk::<20>()?;
        if header[0] >> 4 != 4 {
            return None;
        }
        let payload = usize::from(header[0] & 0x0f) * 4;
        let first = word(packet, 6)? & 0x1fff == 0;
        let protocol = header[9];
        let ports = if first && matches!(protocol, TCP | UDP) {
            word(packet, payload).zip(word(packet, payload + 2))
        } else {
            None
        };
        let [.., s0, s1, s2, s3, d0, d1, d2, d3] = *header;
        Some(Self {
            source: Ipv4Addr::new(s0, s1, s2, s3),
            destination: Ipv4Addr::new(d0, d1, d2, d3),
            protocol,
            ports,
        })
    }
}

fn word(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk::<2>().map(|word| u16::from_be_bytes(*word))
}
