//! What the types of LSA say. RFC 2328 A.4.2 to A.4.5, RFC 3101, RFC 5250.

use std::net::Ipv4Addr;

use millrace_net::Prefix;
use millrace_proto::Cursor;
use serde::Serialize;

use super::{DecodeError, INFINITY, LsaType, RouterId};

#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum LsaBody {
    Router(RouterLsa),
    Network(Network),
    /// Types 3 and 4.
    Summary(Summary),
    /// Types 5 and 7.
    External(External),
    /// Carried, not understood.
    Opaque(Vec<u8>),
}

#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct RouterLsa {
    pub flags: RouterFlags,
    /// Those of unknown kinds are left out.
    pub links: Vec<RouterLink>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct RouterFlags {
    /// B: in several areas.
    pub border: bool,
    /// E: has routes of other protocols.
    pub boundary: bool,
    /// V: end of a virtual link through this area.
    pub virtual_end: bool,
    /// Nt: translates type 7 LSAs whatever others do (RFC 3101).
    pub translator: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
pub struct RouterLink {
    pub kind: LinkKind,
    /// The neighbour, the designated router's address, or the network.
    pub id: Ipv4Addr,
    /// The own address (or interface number), or the mask.
    pub data: Ipv4Addr,
    pub metric: u16,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
#[repr(u8)]
pub enum LinkKind {
    PointToPoint = 1,
    Transit = 2,
    Stub = 3,
    Virtual = 4,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Network {
    pub mask: Ipv4Addr,
    /// Those fully adjacent to the designated router, and itself.
    pub routers: Vec<RouterId>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct Summary {
    pub mask: Ipv4Addr,
    /// Up to [`INFINITY`].
    pub metric: u32,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct External {
    pub mask: Ipv4Addr,
    /// Compared before any internal cost.
    pub type_2: bool,
    /// Up to [`INFINITY`].
    pub metric: u32,
    /// 0.0.0.0: the originator.
    pub forwarding: Ipv4Addr,
    pub tag: u32,
}

impl LinkKind {
    fn from_octet(octet: u8) -> Option<Self> {
        match octet {
            1 => Some(Self::PointToPoint),
            2 => Some(Self::Transit),
            3 => Some(Self::Stub),
            4 => Some(Self::Virtual),
            0 | 5.. => None,
        }
    }
}

impl RouterFlags {
    const fn from_octet(octet: u8) -> Self {
        Self {
            border: octet & 1 != 0,
            boundary: octet & 2 != 0,
            virtual_end: octet & 4 != 0,
            translator: octet & 16 != 0,
        }
    }

    fn octet(self) -> u8 {
        u8::from(self.border)
            | u8::from(self.boundary) << 1
            | u8::from(self.virtual_end) << 2
            | u8::from(self.translator) << 4
    }
}

impl LsaBody {
    pub(super) fn decode(kind: LsaType, octets: &[u8]) -> Result<Self, DecodeError> {
        let mut cursor = Cursor::new(octets);
        let fields = match kind {
            LsaType::Router => return router(cursor),
            LsaType::Network => network(cursor),
            LsaType::Summary | LsaType::AsbrSummary => summary(&mut cursor),
            LsaType::External | LsaType::Nssa => external(&mut cursor),
            LsaType::OpaqueLink | LsaType::OpaqueArea | LsaType::OpaqueAs => {
                Ok(Self::Opaque(octets.to_vec()))
            }
        };
        fields.map_err(|_| DecodeError::LsaBody)
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Router(router) => {
                out.extend([router.flags.octet(), 0]);
                out.extend(u16::try_from(router.links.len()).unwrap_or(u16::MAX).to_be_bytes());
                for link in &router.links {
                    out.extend(link.id.octets());
                    out.extend(link.data.octets());
                    out.extend([link.kind as u8, 0]);
                    out.extend(link.metric.to_be_bytes());
                }
            }
            Self::Network(network) => {
                out.extend(network.mask.octets());
                out.extend(network.routers.iter().flat_map(|router| router.0.octets()));
            }
            Self::Summary(summary) => {
                out.extend(summary.mask.octets());
                out.extend(summary.metric.min(INFINITY).to_be_bytes());
            }
            Self::External(external) => {
                out.extend(external.mask.octets());
                let kind = u32::from(external.type_2) << 31;
                out.extend((external.metric.min(INFINITY) | kind).to_be_bytes());
                out.extend(external.forwarding.octets());
                out.extend(external.tag.to_be_bytes());
            }
            Self::Opaque(data) => out.extend(data),
        }
    }
}

fn router(mut cursor: Cursor<'_>) -> Result<LsaBody, DecodeError> {
    let mut read = || -> Result<RouterLsa, millrace_proto::Truncated> {
        let flags = RouterFlags::from_octet(cursor.u8()?);
        let _zero = cursor.u8()?;
        let count = usize::from(cursor.u16()?);
        let mut links = Vec::with_capacity(count.min(cursor.remaining() / 12));
        for _ in 0..count {
            let (id, data) = (cursor.addr()?, cursor.addr()?);
            let (kind, tos, metric) = (cursor.u8()?, cursor.u8()?, cursor.u16()?);
            // Metrics of other types of service (RFC 1583).
            cursor.take(usize::from(tos) * 4)?;
            links.extend(LinkKind::from_octet(kind).map(|kind| RouterLink { kind, id, data, metric }));
        }
        Ok(RouterLsa { flags, links })
    };
    read().map(LsaBody::Router).map_err(|_| DecodeError::LsaBody)
}

fn network(mut cursor: Cursor<'_>) -> Result<LsaBody, millrace_proto::Truncated> {
    let mask = mask(&mut cursor)?;
    let mut routers = Vec::with_capacity(cursor.remaining() / 4);
    while !cursor.is_empty() {
        routers.push(RouterId(cursor.addr()?));
    }
    Ok(LsaBody::Network(Network { mask, routers }))
}

fn summary(cursor: &mut Cursor<'_>) -> Result<LsaBody, millrace_proto::Truncated> {
    let mask = mask(cursor)?;
    let metric = cursor.u32()? & INFINITY;
    Ok(LsaBody::Summary(Summary { mask, metric }))
}

fn external(cursor: &mut Cursor<'_>) -> Result<LsaBody, millrace_proto::Truncated> {
    let mask = mask(cursor)?;
    let metric = cursor.u32()?;
    Ok(LsaBody::External(External {
        mask,
        type_2: metric >> 31 == 1,
        metric: metric & INFINITY,
        forwarding: cursor.addr()?,
        tag: cursor.u32()?,
    }))
}

/// Ones, then zeros.
fn mask(cursor: &mut Cursor<'_>) -> Result<Ipv4Addr, millrace_proto::Truncated> {
    let mask = cursor.addr()?;
    if mask_len(mask).is_some() { Ok(mask) } else { Err(millrace_proto::Truncated) }
}

/// None where ones stand behind zeros.
fn mask_len(mask: Ipv4Addr) -> Option<u8> {
    let bits = mask.to_bits();
    let len = bits.leading_ones();
    (bits.checked_shl(len).unwrap_or(0) == 0).then(|| u8::try_from(len).unwrap_or(32))
}

/// The network that an address and a mask name; host bits are cut.
pub(crate) fn network_of(id: Ipv4Addr, mask: Ipv4Addr) -> Prefix {
    Prefix::truncated(id, mask_len(mask).unwrap_or(32))
}
