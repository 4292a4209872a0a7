//! BGP communities, their names, and sets of patterns over them. RFC 1997, RFC 4360, RFC 8092.

use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Of any kind. Ordered by kind, then by value.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Community {
    /// RFC 1997: `65001:100`.
    Standard(u32),
    /// RFC 4360, as the eight octets stand: `rt:65001:100`, `ro:65001:100`, `ext:0x…`.
    Extended(u64),
    /// RFC 8092: `65001:1:2`.
    Large(u32, u32, u32),
}

/// Well-known communities: RFC 1997, 3765, 7999, 8326.
const NAMES: &[(&str, u32)] = &[
    ("graceful-shutdown", 0xffff_0000),
    ("accept-own", 0xffff_0001),
    ("blackhole", 0xffff_029a),
    ("no-export", 0xffff_ff01),
    ("no-advertise", 0xffff_ff02),
    ("no-export-subconfed", 0xffff_ff03),
    ("no-peer", 0xffff_ff04),
];

/// Extended communities with a name for their type: two octets of type and subtype (RFC 4360 §4, §5).
const EXTENDED: &[(&str, u8)] = &[("rt", 0x02), ("ro", 0x03)];

/// A set of patterns.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct CommunitySet {
    patterns: Vec<CommunityPattern>,
    /// Every pattern must be met, by whichever community; otherwise one of them.
    all: bool,
}

/// A community, or a family of them: `65001:*`, `65001:1:*`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum CommunityPattern {
    Exactly(Community),
    Standard([Part; 2]),
    Large([Part; 3]),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Part {
    Any,
    Number(u32),
}

/// Text that is no community.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{0:?} is no community such as 65001:100, 65001:1:2, rt:65001:100 or no-export")]
pub struct CommunityError(String);

impl FromStr for Community {
    type Err = CommunityError;

    fn from_str(text: &str) -> Result<Self, CommunityError> {
        if let Some((_, value)) = NAMES.iter().find(|(name, _)| *name == text) {
            return Ok(Self::Standard(*value));
        }
        let parts: Vec<&str> = text.split(':').collect();
        let community = match parts[..] {
            ["ext", octets] => octets.strip_prefix("0x").and_then(hexadecimal).map(Self::Extended),
            [high, low] => standard(high, low),
            [first, second, third] => match EXTENDED.iter().find(|(name, _)| *name == first) {
                Some((_, subtype)) => extended(*subtype, second, third),
                None => large([first, second, third]),
            },
            _ => None,
        };
        community.ok_or_else(|| CommunityError(text.to_owned()))
    }
}

impl fmt::Display for Community {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Standard(value) => match NAMES.iter().find(|(_, named)| *named == value) {
                Some((name, _)) => f.write_str(name),
                None => write!(f, "{}:{}", value >> 16, value & 0xffff),
            },
            Self::Large(global, one, two) => write!(f, "{global}:{one}:{two}"),
            Self::Extended(value) => {
                let [kind, subtype, a, b, c, d, e, g] = value.to_be_bytes();
                let name = EXTENDED.iter().find(|(_, named)| *named == subtype).map(|(name, _)| name);
                match (name, kind) {
                    (Some(name), TWO_OCTET_AS) => {
                        write!(
                            f,
                            "{name}:{}:{}",
                            u16::from_be_bytes([a, b]),
                            u32::from_be_bytes([c, d, e, g])
                        )
                    }
                    (Some(name), ADDRESS) => {
                        write!(f, "{name}:{}:{}", Ipv4Addr::new(a, b, c, d), u16::from_be_bytes([e, g]))
                    }
                    // A small number here would read as the two-octet form.
                    (Some(name), FOUR_OCTET_AS) if (a, b) != (0, 0) => {
                        write!(
                            f,
                            "{name}:{}:{}",
                            u32::from_be_bytes([a, b, c, d]),
                            u16::from_be_bytes([e, g])
                        )
                    }
                    _ => write!(f, "ext:0x{value:016x}"),
                }
            }
        }
    }
}

/// Types of extended communities that name who defined them (RFC 4360 §3, RFC 5668).
const TWO_OCTET_AS: u8 = 0x00;
const ADDRESS: u8 = 0x01;
const FOUR_OCTET_AS: u8 = 0x02;

fn standard(high: &str, low: &str) -> Option<Community> {
    let half = |text| u16::try_from(decimal(text)?).ok().map(u32::from);
    Some(Community::Standard(half(high)? << 16 | half(low)?))
}

fn large(parts: [&str; 3]) -> Option<Community> {
    let [global, one, two] = parts.map(decimal);
    Some(Community::Large(global?, one?, two?))
}

fn extended(subtype: u8, administrator: &str, number: &str) -> Option<Community> {
    let number = decimal(number)?;
    let short = u16::try_from(number).map(u16::to_be_bytes);
    let (kind, value) = if let Ok(address) = administrator.parse::<Ipv4Addr>() {
        (ADDRESS, join(address.octets(), short.ok()?))
    } else {
        let asn = decimal(administrator)?;
        match u16::try_from(asn) {
            Ok(asn) => {
                let ([a, b], [c, d, e, g]) = (asn.to_be_bytes(), number.to_be_bytes());
                (TWO_OCTET_AS, [a, b, c, d, e, g])
            }
            Err(_) => (FOUR_OCTET_AS, join(asn.to_be_bytes(), short.ok()?)),
        }
    };
    let [a, b, c, d, e, g] = value;
    Some(Community::Extended(u64::from_be_bytes([kind, subtype, a, b, c, d, e, g])))
}

fn join([a, b, c, d]: [u8; 4], [e, g]: [u8; 2]) -> [u8; 6] {
    [a, b, c, d, e, g]
}

/// Digits only: `parse` would take a sign.
fn decimal(text: &str) -> Option<u32> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

fn hexadecimal(text: &str) -> Option<u64> {
    (text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit()))
        .then(|| u64::from_str_radix(text, 16).ok())?
}

impl CommunitySet {
    pub fn new(patterns: Vec<CommunityPattern>, all: bool) -> Self {
        Self { patterns, all }
    }

    /// Whether a route with these is in the set.
    pub fn matches(&self, communities: &[Community]) -> bool {
        let met =
            |pattern: &CommunityPattern| communities.iter().any(|community| pattern.matches(*community));
        if self.all { self.patterns.iter().all(met) } else { self.patterns.iter().any(met) }
    }

    /// Whether any pattern covers this one.
    pub fn covers(&self, community: Community) -> bool {
        self.patterns.iter().any(|pattern| pattern.matches(community))
    }
}

impl CommunityPattern {
    pub fn matches(&self, community: Community) -> bool {
        match (self, community) {
            (Self::Exactly(exactly), community) => *exactly == community,
            (Self::Standard([high, low]), Community::Standard(value)) => {
                high.matches(value >> 16) && low.matches(value & 0xffff)
            }
            (Self::Large([global, one, two]), Community::Large(g, o, t)) => {
                global.matches(g) && one.matches(o) && two.matches(t)
            }
            (Self::Standard(_), Community::Extended(_) | Community::Large(..))
            | (Self::Large(_), Community::Standard(_) | Community::Extended(_)) => false,
        }
    }
}

impl Part {
    fn parse(text: &str, most: u32) -> Option<Self> {
        if text == "*" {
            return Some(Self::Any);
        }
        decimal(text).filter(|number| *number <= most).map(Self::Number)
    }

    fn matches(self, number: u32) -> bool {
        match self {
            Self::Any => true,
            Self::Number(own) => own == number,
        }
    }
}

impl FromStr for CommunityPattern {
    type Err = CommunityError;

    fn from_str(text: &str) -> Result<Self, CommunityError> {
        if !text.contains('*') {
            return text.parse().map(Self::Exactly);
        }
        let parts: Vec<&str> = text.split(':').collect();
        let part = |at: usize, most| parts.get(at).and_then(|text| Part::parse(text, most));
        let half = u32::from(u16::MAX);
        let pattern = match parts.len() {
            2 => part(0, half).zip(part(1, half)).map(|(high, low)| Self::Standard([high, low])),
            3 => match [part(0, u32::MAX), part(1, u32::MAX), part(2, u32::MAX)] {
                [Some(global), Some(one), Some(two)] => Some(Self::Large([global, one, two])),
                _ => None,
            },
            _ => None,
        };
        pattern.ok_or_else(|| CommunityError(text.to_owned()))
    }
}

impl fmt::Display for CommunityPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exactly(community) => community.fmt(f),
            Self::Standard([high, low]) => write!(f, "{high}:{low}"),
            Self::Large([global, one, two]) => write!(f, "{global}:{one}:{two}"),
        }
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("*"),
            Self::Number(number) => number.fmt(f),
        }
    }
}

impl TryFrom<String> for Community {
    type Error = CommunityError;

    fn try_from(text: String) -> Result<Self, CommunityError> {
        text.parse()
    }
}

impl From<Community> for String {
    fn from(community: Community) -> Self {
        community.to_string()
    }
}

impl TryFrom<String> for CommunityPattern {
    type Error = CommunityError;

    fn try_from(text: String) -> Result<Self, CommunityError> {
        text.parse()
    }
}

impl From<CommunityPattern> for String {
    fn from(pattern: CommunityPattern) -> Self {
        pattern.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn text_forms() {
        for (text, value) in [
            ("65001:100", Community::Standard(65001 << 16 | 100)),
            ("no-export", Community::Standard(0xffff_ff01)),
            ("65001:1:2", Community::Large(65001, 1, 2)),
            ("rt:65001:100", Community::Extended(0x0002_fde9_0000_0064)),
            ("rt:4200000000:100", Community::Extended(0x0202_fa56_ea00_0064)),
            ("ro:10.0.0.1:7", Community::Extended(0x0103_0a00_0001_0007)),
            ("ext:0x0123456789abcdef", Community::Extended(0x0123_4567_89ab_cdef)),
        ] {
            assert_eq!(text.parse(), Ok(value));
            assert_eq!(value.to_string(), text);
        }
        assert_eq!("65535:65281".parse::<Community>().unwrap().to_string(), "no-export");
        for bad in [
            "",
            "1",
            "65536:1",
            "1:65536",
            "1:2:3:4",
            "rt:1",
            "+1:2",
            "1:-2",
            "ext:0x1",
            "no-such",
            "rt:4200000000:70000",
        ] {
            assert!(bad.parse::<Community>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn patterns_and_sets() {
        let community = |text: &str| text.parse::<Community>().unwrap();
        for (pattern, matching, not) in [
            ("65001:*", "65001:7", "65002:7"),
            ("*:666", "1:666", "1:667"),
            ("65001:1:*", "65001:1:9", "65001:2:9"),
            ("no-export", "65535:65281", "no-advertise"),
            ("65001:*", "65001:0", "65001:1:2"),
        ] {
            let pattern: CommunityPattern = pattern.parse().unwrap();
            assert!(pattern.matches(community(matching)) && !pattern.matches(community(not)), "{pattern}");
        }
        for bad in ["*", "70000:*", "1:*:x", "*:*:*:*"] {
            assert!(bad.parse::<CommunityPattern>().is_err(), "{bad}");
        }
        let patterns = || ["65001:*", "no-export"].map(|text| text.parse().unwrap()).to_vec();
        let (any, all) = (CommunitySet::new(patterns(), false), CommunitySet::new(patterns(), true));
        let one = [community("65001:5")];
        let both = [community("65001:5"), community("no-export")];
        assert!(any.matches(&one) && !all.matches(&one) && all.matches(&both) && !any.matches(&[]));
    }

    proptest! {
        #[test]
        fn text_round_trips(value: u64, kind in 0u8..4, other: u32) {
            let [high, low] = [value >> 32, value & 0xffff_ffff].map(|half| u32::try_from(half).unwrap());
            let community = match kind {
                0 => Community::Standard(low),
                1 => Community::Large(high, low, other),
                2 => Community::Extended(value),
                // Those with a name for their type are rare among all.
                _ => Community::Extended(value & 0x03ff_ffff_ffff_ffff & !0x00fc_0000_0000_0000),
            };
            prop_assert_eq!(community.to_string().parse::<Community>(), Ok(community));
        }

        #[test]
        fn any_text_is_answered(text in "[0-9a-z:*+x-]{0,24}") {
            let _ = (text.parse::<Community>(), text.parse::<CommunityPattern>());
        }
    }
}
