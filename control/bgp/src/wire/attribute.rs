//! Path attributes: codes, flags, and what is done about one that is wrong. RFC 4271 §4.3 and §5, RFC 7606 §7.

use std::net::Ipv4Addr;

use millrace_policy::Origin;

use super::notification::Notification;
use super::update::UpdateContext;
use crate::as_path::{self, AsPath, SegmentKind};
use crate::attrs::{Attrs, Draft, Other};

pub const OPTIONAL: u8 = 0x80;
pub const TRANSITIVE: u8 = 0x40;
pub const PARTIAL: u8 = 0x20;
pub const EXTENDED: u8 = 0x10;

/// RFC 4271 §5.1.5 leaves it to the speaker; everybody has this.
pub const LOCAL_PREF_DEFAULT: u32 = 100;

/// Attributes that mean something here.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub enum Code {
    Origin = 1,
    AsPath = 2,
    NextHop = 3,
    Med = 4,
    LocalPref = 5,
    AtomicAggregate = 6,
    Aggregator = 7,
    Communities = 8,
    OriginatorId = 9,
    ClusterList = 10,
    MpReach = 14,
    MpUnreach = 15,
    ExtendedCommunities = 16,
    As4Path = 17,
    As4Aggregator = 18,
    Aigp = 26,
    LargeCommunities = 32,
    OnlyToCustomer = 35,
}

impl Code {
    pub const ALL: [Self; 18] = [
        Self::Origin,
        Self::AsPath,
        Self::NextHop,
        Self::Med,
        Self::LocalPref,
        Self::AtomicAggregate,
        Self::Aggregator,
        Self::Communities,
        Self::OriginatorId,
        Self::ClusterList,
        Self::MpReach,
        Self::MpUnreach,
        Self::ExtendedCommunities,
        Self::As4Path,
        Self::As4Aggregator,
        Self::Aigp,
        Self::LargeCommunities,
        Self::OnlyToCustomer,
    ];

    pub fn from_octet(octet: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|code| *code as u8 == octet)
    }

    /// The flags optional and transitive it must have.
    pub const fn flags(self) -> u8 {
        match self {
            Self::Origin | Self::AsPath | Self::NextHop | Self::LocalPref | Self::AtomicAggregate => {
                TRANSITIVE
            }
            Self::Med
            | Self::OriginatorId
            | Self::ClusterList
            | Self::MpReach
            | Self::MpUnreach
            | Self::Aigp => OPTIONAL,
            Self::Aggregator
            | Self::Communities
            | Self::ExtendedCommunities
            | Self::As4Path
            | Self::As4Aggregator
            | Self::LargeCommunities
            | Self::OnlyToCustomer => OPTIONAL | TRANSITIVE,
        }
    }
}

/// RFC 7606 §2, from the mildest: what is done about an attribute.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Treatment {
    /// The route stays, the attribute goes.
    Discard,
    /// The routes of the message are withdrawn.
    Withdraw,
}

/// An attribute as it came.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Raw<'b> {
    pub(crate) flags: u8,
    pub(crate) code: u8,
    pub(crate) value: &'b [u8],
}

/// Attributes that are only of use together with others.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Asides {
    pub(crate) has_origin: bool,
    pub(crate) has_path: bool,
    pub(crate) has_next_hop: bool,
    pub(crate) as4_path: Option<Vec<u8>>,
    pub(crate) as4_aggregator: Option<[u8; 8]>,
    /// The AS of an AGGREGATOR of six octets.
    aggregator_as: Option<u16>,
}

/// Takes an attribute other than MP_REACH_NLRI and MP_UNREACH_NLRI into the draft.
pub(crate) fn read(
    raw: Raw<'_>,
    context: UpdateContext,
    draft: &mut Draft,
    asides: &mut Asides,
) -> Result<Option<Treatment>, Notification> {
    let Some(code) = Code::from_octet(raw.code) else {
        return unknown(raw, draft);
    };
    // RFC 7606 §3 c. Whose length is wrong in a way that is only discarded, its flags are, too.
    if raw.flags & (OPTIONAL | TRANSITIVE) != code.flags() {
        return Ok(Some(match code {
            Code::Origin
            | Code::AsPath
            | Code::NextHop
            | Code::Med
            | Code::LocalPref
            | Code::AtomicAggregate
            | Code::Aggregator
            | Code::Communities
            | Code::OriginatorId
            | Code::ClusterList
            | Code::ExtendedCommunities
            | Code::LargeCommunities
            | Code::OnlyToCustomer
            | Code::MpReach
            | Code::MpUnreach => Treatment::Withdraw,
            Code::As4Path | Code::As4Aggregator | Code::Aigp => Treatment::Discard,
        }));
    }
    Ok(known(code, raw, context, draft, asides).err())
}

fn unknown(raw: Raw<'_>, draft: &mut Draft) -> Result<Option<Treatment>, Notification> {
    if raw.flags & OPTIONAL == 0 {
        // RFC 4271 §6.3
        let mut attribute = vec![raw.flags & !EXTENDED, raw.code];
        attribute.push(u8::try_from(raw.value.len()).unwrap_or(u8::MAX));
        attribute.extend(raw.value.iter().take(255));
        return Err(Notification::unrecognized_well_known(&attribute));
    }
    // RFC 4271 §5: passed on as it is, marked as partial; what is not transitive is quietly ignored.
    if raw.flags & TRANSITIVE != 0 {
        let flags = OPTIONAL | TRANSITIVE | PARTIAL;
        draft.others.push(Other { code: raw.code, flags, value: raw.value.to_vec() });
    }
    Ok(None)
}

fn known(
    code: Code,
    raw: Raw<'_>,
    context: UpdateContext,
    draft: &mut Draft,
    asides: &mut Asides,
) -> Result<(), Treatment> {
    let value = raw.value;
    let flags = raw.flags & (OPTIONAL | TRANSITIVE | PARTIAL);
    let word = || value.try_into().map(u32::from_be_bytes).map_err(|_| Treatment::Withdraw);
    let keep = |draft: &mut Draft, value: &[u8]| {
        draft.others.push(Other { code: raw.code, flags, value: value.to_vec() });
    };
    let multiple = |of: usize| !value.is_empty() && value.len().is_multiple_of(of);
    match code {
        Code::Origin => {
            draft.origin = match value {
                [0] => Origin::Igp,
                [1] => Origin::Egp,
                [2] => Origin::Incomplete,
                _ => return Err(Treatment::Withdraw),
            };
            asides.has_origin = true;
        }
        Code::AsPath => {
            let width = if context.as4 { 4 } else { 2 };
            let path = as_path::read(value, width).ok_or(Treatment::Withdraw)?;
            // RFC 5065 §5: only members of the confederation may say so.
            if context.external && !context.confederation && AsPath::new(&path).has_confederation() {
                return Err(Treatment::Withdraw);
            }
            draft.as_path = path;
            asides.has_path = true;
        }
        Code::NextHop => {
            let octets: [u8; 4] = value.try_into().map_err(|_| Treatment::Withdraw)?;
            draft.next_hop = Ipv4Addr::from(octets);
            asides.has_next_hop = true;
        }
        Code::Med => draft.med = Some(word()?),
        // RFC 7606 §7.5: from external peers it is discarded, whatever it holds.
        Code::LocalPref if context.external && !context.confederation => return Err(Treatment::Discard),
        Code::LocalPref => draft.local_pref = Some(word()?),
        Code::AtomicAggregate => {
            if !value.is_empty() {
                return Err(Treatment::Discard);
            }
            keep(draft, value);
        }
        Code::Aggregator => match (context.as4, value) {
            (true, [_, _, _, _, _, _, _, _]) => keep(draft, value),
            (false, &[a, b, c, d, e, f]) => {
                asides.aggregator_as = Some(u16::from_be_bytes([a, b]));
                keep(draft, &[0, 0, a, b, c, d, e, f]);
            }
            _ => return Err(Treatment::Discard),
        },
        Code::Communities if multiple(4) => keep(draft, value),
        Code::ExtendedCommunities if multiple(8) => keep(draft, value),
        Code::LargeCommunities if multiple(12) => keep(draft, value),
        Code::Communities | Code::ExtendedCommunities | Code::LargeCommunities => {
            return Err(Treatment::Withdraw);
        }
        // RFC 7606 §7.9, §7.10
        Code::OriginatorId | Code::ClusterList if context.external => return Err(Treatment::Discard),
        Code::OriginatorId if value.len() == 4 => keep(draft, value),
        Code::ClusterList if multiple(4) => keep(draft, value),
        Code::OriginatorId | Code::ClusterList => return Err(Treatment::Withdraw),
        // RFC 6793 §4.1, §6: from a peer that has four octets anyway they are discarded.
        Code::As4Path if context.as4 => return Err(Treatment::Discard),
        Code::As4Path => {
            let path = as_path::read(value, 4).ok_or(Treatment::Discard)?;
            // RFC 6793 §6: what is inside a confederation does not belong there, and is left out.
            let outside = as_path::rewrite(&path, |kind, asn| (!kind.is_confederation()).then_some(asn));
            asides.as4_path = Some(outside);
        }
        Code::As4Aggregator if context.as4 => return Err(Treatment::Discard),
        Code::As4Aggregator => {
            asides.as4_aggregator = Some(value.try_into().map_err(|_| Treatment::Discard)?);
        }
        // RFC 7311 §3.2: read and shown; a length that does not add up is discarded.
        Code::Aigp => match value {
            [1, 0, 11, _, _, _, _, _, _, _, _, ..] => keep(draft, value),
            _ => return Err(Treatment::Discard),
        },
        // RFC 9234 §5
        Code::OnlyToCustomer if value.len() == 4 => keep(draft, value),
        Code::OnlyToCustomer | Code::MpReach | Code::MpUnreach => return Err(Treatment::Withdraw),
    }
    Ok(())
}

/// Puts together what an old speaker had to say in two attributes (RFC 6793 §4.2.3).
pub(crate) fn combine(draft: &mut Draft, asides: Asides) {
    let as_trans = asides.aggregator_as.is_none_or(|asn| asn == super::AS_TRANS);
    if !as_trans {
        return;
    }
    if let (Some(_), Some(aggregator)) = (asides.aggregator_as, asides.as4_aggregator) {
        draft.set(Code::Aggregator, aggregator.to_vec());
    }
    if let Some(four) = asides.as4_path {
        let path = std::mem::take(&mut draft.as_path);
        draft.as_path = as_path::merge(path, &four);
    }
}

/// Writes a set of attributes; returns where the next hop stands in `out`.
pub fn encode(out: &mut Vec<u8>, attrs: &Attrs, as4: bool) -> usize {
    put(out, TRANSITIVE, Code::Origin as u8, &[attrs.origin as u8]);
    let path = attrs.as_path();
    let (narrow, lost) = if as4 { (Vec::new(), false) } else { as_path::narrow(path) };
    put(out, TRANSITIVE, Code::AsPath as u8, if as4 { path.bytes() } else { &narrow });
    put(out, TRANSITIVE, Code::NextHop as u8, &attrs.next_hop.octets());
    let next_hop = out.len() - 4;
    if let Some(med) = attrs.med {
        put(out, OPTIONAL, Code::Med as u8, &med.to_be_bytes());
    }
    if let Some(preference) = attrs.local_pref {
        put(out, TRANSITIVE, Code::LocalPref as u8, &preference.to_be_bytes());
    }
    for other in attrs.others() {
        match (as4, other.value) {
            (false, &[a, b, c, d, e, f, g, h]) if other.code == Code::Aggregator as u8 => {
                let asn = u32::from_be_bytes([a, b, c, d]);
                let short = u16::try_from(asn).unwrap_or(super::AS_TRANS);
                let [i, j] = short.to_be_bytes();
                put(out, other.flags, other.code, &[i, j, e, f, g, h]);
                if u32::from(short) != asn {
                    put(out, Code::As4Aggregator.flags(), Code::As4Aggregator as u8, other.value);
                }
            }
            (_, value) => put(out, other.flags, other.code, value),
        }
    }
    if lost {
        let outside = as_path::rewrite(path.bytes(), |kind: SegmentKind, asn| {
            (!kind.is_confederation()).then_some(asn)
        });
        put(out, Code::As4Path.flags(), Code::As4Path as u8, &outside);
    }
    next_hop
}

fn put(out: &mut Vec<u8>, flags: u8, code: u8, value: &[u8]) {
    match u8::try_from(value.len()) {
        Ok(len) => out.extend([flags, code, len]),
        Err(_) => {
            let len = u16::try_from(value.len()).unwrap_or(u16::MAX);
            out.extend([flags | EXTENDED, code]);
            out.extend(len.to_be_bytes());
        }
    }
    out.extend_from_slice(value);
}
