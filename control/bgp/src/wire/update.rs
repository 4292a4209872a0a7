//! UPDATE. RFC 4271 §4.3 and §6.3, RFC 4760, RFC 7606.
//!
//! ```text
//!   ┌────────────┬───────────────────┬────────────┬─────────────────┬──────────────────┐
//!   │ length (2) │ withdrawn prefixes│ length (2) │ path attributes │ announced prefixes …
//!   └────────────┴───────────────────┴────────────┴─────────────────┴──────────────────┘
//! ```

use std::net::Ipv4Addr;

use millrace_proto::{Cursor, Truncated};

use super::attribute::{self, Asides, Code, EXTENDED, Raw, Treatment};
use super::capability::Family;
use super::nlri::{self, Nlri};
use super::notification::Notification;
use crate::attrs::Draft;

/// What was agreed with the sender.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct UpdateContext {
    pub as4: bool,
    /// Of another AS, those of the confederation among them.
    pub external: bool,
    /// Of another AS of our confederation.
    pub confederation: bool,
    /// IPv4 prefixes come with path identifiers.
    pub add_path: bool,
    /// IPv6 prefixes come with path identifiers.
    pub add_path_v6: bool,
}

/// One UPDATE, checked.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Update<'b> {
    pub withdrawn: Nlri<'b>,
    /// IPv4 prefixes of MP_UNREACH_NLRI.
    pub mp_withdrawn: Nlri<'b>,
    pub announced: Nlri<'b>,
    /// IPv4 prefixes of MP_REACH_NLRI, with their next hop.
    pub mp_announced: Nlri<'b>,
    pub mp_next_hop: Option<Ipv4Addr>,
    /// Prefixes of IPv6 announced and withdrawn, counted; they are not kept.
    pub ipv6: (usize, usize),
    /// None: nothing is announced, or what is announced is to be withdrawn.
    pub draft: Option<Draft>,
    /// The routes announced are withdrawn instead (RFC 7606 §2).
    pub treat_as_withdraw: bool,
    /// Attributes that were wrong, and what was done about each.
    pub problems: Vec<(u8, Treatment)>,
    /// RFC 4724 §2
    pub end_of_rib: Option<Family>,
}

/// The attributes that hold prefixes.
#[derive(Default)]
struct Multiprotocol<'b> {
    reach: Option<&'b [u8]>,
    unreach: Option<&'b [u8]>,
}

impl<'b> Update<'b> {
    pub fn decode(body: &'b [u8], context: UpdateContext) -> Result<Self, Notification> {
        let mut cursor = Cursor::new(body);
        let list = |_: Truncated| Notification::MALFORMED_ATTRIBUTES;
        let len = cursor.u16().map_err(list)?;
        let withdrawn = cursor.take(len.into()).map_err(list)?;
        let len = cursor.u16().map_err(list)?;
        let attributes = cursor.take(len.into()).map_err(list)?;
        let mut update = Self {
            withdrawn: Nlri::new(withdrawn, context.add_path)?,
            announced: Nlri::new(cursor.rest(), context.add_path)?,
            ..Self::default()
        };
        if withdrawn.is_empty() && attributes.is_empty() && cursor.is_empty() {
            update.end_of_rib = Some(Family::IPV4);
            return Ok(update);
        }
        let mut draft = Draft::default();
        let mut asides = Asides::default();
        let multiprotocol = update.attributes(attributes, context, &mut draft, &mut asides)?;
        update.multiprotocol(&multiprotocol, context)?;
        if update.announced.is_empty() && update.mp_announced.is_empty() {
            if attributes.len() <= 7 && withdrawn.is_empty() {
                update.end_of_rib = end_of_rib(&multiprotocol);
            }
            return Ok(update);
        }
        let missing = if update.announced.is_empty() {
            draft.next_hop = update.mp_next_hop.unwrap_or(Ipv4Addr::UNSPECIFIED);
            false
        } else {
            !asides.has_next_hop
        };
        // RFC 7606 §3 d
        for (is_missing, code) in
            [(!asides.has_origin, Code::Origin), (!asides.has_path, Code::AsPath), (missing, Code::NextHop)]
        {
            if is_missing && !update.problems.iter().any(|(known, _)| *known == code as u8) {
                update.problem(code as u8, Treatment::Withdraw);
            }
        }
        attribute::combine(&mut draft, asides);
        update.draft = (!update.treat_as_withdraw).then_some(draft);
        Ok(update)
    }

    fn problem(&mut self, code: u8, treatment: Treatment) {
        self.treat_as_withdraw |= treatment == Treatment::Withdraw;
        self.problems.push((code, treatment));
    }

    fn attributes(
        &mut self,
        attributes: &'b [u8],
        context: UpdateContext,
        draft: &mut Draft,
        asides: &mut Asides,
    ) -> Result<Multiprotocol<'b>, Notification> {
        let mut multiprotocol = Multiprotocol::default();
        let mut seen = [0u64; 4];
        let mut cursor = Cursor::new(attributes);
        while !cursor.is_empty() {
            // RFC 7606 §4: what is cut short hides no prefixes, as their place is known.
            let Ok(raw) = next(&mut cursor) else {
                self.problem(0, Treatment::Withdraw);
                break;
            };
            let (word, bit) = (usize::from(raw.code >> 6), 1 << (raw.code & 63));
            let again = seen.get(word).is_some_and(|word| word & bit != 0);
            if let Some(word) = seen.get_mut(word) {
                *word |= bit;
            }
            let place = match Code::from_octet(raw.code) {
                Some(Code::MpReach) => Some(&mut multiprotocol.reach),
                Some(Code::MpUnreach) => Some(&mut multiprotocol.unreach),
                Some(_) | None => None,
            };
            match place {
                // RFC 7606 §3 g
                Some(_) if again => return Err(Notification::MALFORMED_ATTRIBUTES),
                Some(place) => {
                    *place = Some(raw.value);
                    if raw.flags & (attribute::OPTIONAL | attribute::TRANSITIVE) != attribute::OPTIONAL {
                        self.problem(raw.code, Treatment::Withdraw);
                    }
                }
                None if again => self.problem(raw.code, Treatment::Discard),
                None => {
                    if let Some(treatment) = attribute::read(raw, context, draft, asides)? {
                        self.problem(raw.code, treatment);
                    }
                }
            }
        }
        Ok(multiprotocol)
    }

    /// RFC 4760 §3, §4; RFC 7606 §5.3, §7.11: prefixes that cannot be found cannot be withdrawn either.
    fn multiprotocol(
        &mut self,
        multiprotocol: &Multiprotocol<'b>,
        context: UpdateContext,
    ) -> Result<(), Notification> {
        let optional = |_: Truncated| Notification::OPTIONAL_ATTRIBUTE;
        if let Some(value) = multiprotocol.reach {
            let mut cursor = Cursor::new(value);
            let family =
                Family { afi: cursor.u16().map_err(optional)?, safi: cursor.u8().map_err(optional)? };
            let len = cursor.u8().map_err(optional)?;
            let next_hop = cursor.take(len.into()).map_err(optional)?;
            cursor.u8().map_err(optional)?;
            match family {
                Family::IPV4 => {
                    let octets: [u8; 4] =
                        next_hop.try_into().map_err(|_| Notification::OPTIONAL_ATTRIBUTE)?;
                    self.mp_next_hop = Some(octets.into());
                    self.mp_announced = Nlri::new(cursor.rest(), context.add_path)?;
                }
                Family::IPV6 => {
                    if !matches!(next_hop.len(), 16 | 32) {
                        return Err(Notification::OPTIONAL_ATTRIBUTE);
                    }
                    nlri::check(cursor.rest(), context.add_path_v6, 128)?;
                    self.ipv6.0 = count(cursor.rest(), context.add_path_v6);
                }
                // What was not agreed is ignored (RFC 4760 §7).
                _ => {}
            }
        }
        if let Some(value) = multiprotocol.unreach {
            let mut cursor = Cursor::new(value);
            let family =
                Family { afi: cursor.u16().map_err(optional)?, safi: cursor.u8().map_err(optional)? };
            match family {
                Family::IPV4 => self.mp_withdrawn = Nlri::new(cursor.rest(), context.add_path)?,
                Family::IPV6 => {
                    nlri::check(cursor.rest(), context.add_path_v6, 128)?;
                    self.ipv6.1 = count(cursor.rest(), context.add_path_v6);
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// RFC 4724 §2: an UPDATE with nothing but an empty MP_UNREACH_NLRI.
fn end_of_rib(multiprotocol: &Multiprotocol<'_>) -> Option<Family> {
    match multiprotocol.unreach {
        Some(&[a, b, safi]) => Some(Family { afi: u16::from_be_bytes([a, b]), safi }),
        Some(_) | None => None,
    }
}

fn next<'b>(cursor: &mut Cursor<'b>) -> Result<Raw<'b>, Truncated> {
    let (flags, code) = (cursor.u8()?, cursor.u8()?);
    let len = if flags & EXTENDED == 0 { cursor.u8()?.into() } else { cursor.u16()? };
    Ok(Raw { flags, code, value: cursor.take(len.into())? })
}

fn count(bytes: &[u8], add_path: bool) -> usize {
    let mut cursor = Cursor::new(bytes);
    let mut skip = || -> Result<(), Truncated> {
        if add_path {
            cursor.u32()?;
        }
        let len = cursor.u8()?;
        cursor.take(usize::from(len.div_ceil(8))).map(drop)
    };
    std::iter::from_fn(|| skip().ok()).count()
}

/// A whole UPDATE that ends the initial exchange of `family` (RFC 4724 §2).
pub fn end_of_rib_message(family: Family) -> Vec<u8> {
    let mut out = Vec::new();
    let start = super::begin(&mut out, super::Kind::Update);
    if family == Family::IPV4 {
        out.extend([0, 0, 0, 0]);
    } else {
        let [a, b] = family.afi.to_be_bytes();
        out.extend([0, 0, 0, 6, attribute::OPTIONAL, Code::MpUnreach as u8, 3, a, b, family.safi]);
    }
    super::finish(&mut out, start);
    out
}
