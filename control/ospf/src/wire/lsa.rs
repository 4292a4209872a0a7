//! LSA headers, which LSA of two is newer, and the checksum. RFC 2328 §12.1, §13.1, A.4.1.

use std::fmt;
use std::net::Ipv4Addr;
use std::sync::Arc;

use millrace_proto::Cursor;
use serde::{Deserialize, Serialize};

use super::{DecodeError, LSA_HEADER_LEN, LsaBody, Options, RouterId};

/// Seconds; an LSA of this age is being withdrawn.
pub const MAX_AGE: u16 = 3600;
/// Two ages further apart than this differ (RFC 2328 appendix B).
const MAX_AGE_DIFF: u16 = 900;
pub const INITIAL_SEQUENCE: i32 = -0x7fff_ffff;
pub const MAX_SEQUENCE: i32 = 0x7fff_ffff;
/// Where the checksum stands, counted from behind the age.
const CHECKSUM_AT: usize = 14;

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[repr(u8)]
pub enum LsaType {
    Router = 1,
    Network = 2,
    /// A network of another area.
    Summary = 3,
    /// A boundary router of another area.
    AsbrSummary = 4,
    External = 5,
    /// External, within an NSSA (RFC 3101).
    Nssa = 7,
    OpaqueLink = 9,
    OpaqueArea = 10,
    OpaqueAs = 11,
}

/// What names an LSA, whatever its age.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct LsaKey {
    pub kind: LsaType,
    pub id: Ipv4Addr,
    /// Who originated it.
    pub router: RouterId,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LsaHeader {
    /// Seconds, 0 to [`MAX_AGE`]; the DoNotAge bit (RFC 1793) is taken off.
    pub age: u16,
    pub options: Options,
    pub key: LsaKey,
    pub sequence: i32,
    pub checksum: u16,
    /// Octets, this header among them.
    pub len: u16,
}

/// A whole LSA whose checksum is right. Cloning is cheap.
#[derive(Clone, Debug)]
pub struct Lsa {
    /// With the age it had when it came.
    pub header: LsaHeader,
    pub body: Arc<LsaBody>,
    octets: Arc<[u8]>,
}

/// The outcome of comparing an instance with another.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Newer {
    This,
    Other,
    Same,
}

impl LsaType {
    pub const ALL: [Self; 9] = [
        Self::Router,
        Self::Network,
        Self::Summary,
        Self::AsbrSummary,
        Self::External,
        Self::Nssa,
        Self::OpaqueLink,
        Self::OpaqueArea,
        Self::OpaqueAs,
    ];

    pub fn from_octet(octet: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| *kind as u8 == octet)
    }

    /// In commands, metrics and the API.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Router => "router",
            Self::Network => "network",
            Self::Summary => "summary",
            Self::AsbrSummary => "asbr-summary",
            Self::External => "external",
            Self::Nssa => "nssa-external",
            Self::OpaqueLink => "opaque-link",
            Self::OpaqueArea => "opaque-area",
            Self::OpaqueAs => "opaque-as",
        }
    }

    /// Flooded through the whole routing domain.
    pub const fn is_as_wide(self) -> bool {
        matches!(self, Self::External | Self::OpaqueAs)
    }
}

impl LsaHeader {
    pub(super) fn decode(cursor: &mut Cursor<'_>) -> Result<Self, DecodeError> {
        let mut octets = Cursor::new(cursor.take(LSA_HEADER_LEN).map_err(|_| DecodeError::Truncated)?);
        let mut fields = || {
            Ok::<_, millrace_proto::Truncated>((
                octets.u16()?,
                octets.u8()?,
                octets.u8()?,
                octets.addr()?,
                octets.addr()?,
                octets.u32()?,
                octets.u16()?,
                octets.u16()?,
            ))
        };
        let (age, options, kind, id, router, sequence, checksum, len) =
            fields().map_err(|_| DecodeError::Truncated)?;
        let kind = LsaType::from_octet(kind).ok_or(DecodeError::LsaType(kind))?;
        Ok(Self {
            age: (age & 0x7fff).min(MAX_AGE),
            options: Options(options),
            key: LsaKey { kind, id, router: RouterId(router) },
            sequence: sequence.cast_signed(),
            checksum,
            len,
        })
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.extend(self.age.to_be_bytes());
        out.extend([self.options.0, self.key.kind as u8]);
        out.extend(self.key.id.octets());
        out.extend(self.key.router.0.octets());
        out.extend(self.sequence.to_be_bytes());
        out.extend(self.checksum.to_be_bytes());
        out.extend(self.len.to_be_bytes());
    }

    /// Which of two instances of one LSA is newer. RFC 2328 §13.1.
    pub fn compare(&self, other: &Self) -> Newer {
        use std::cmp::Ordering::{Equal, Greater, Less};
        let order = self
            .sequence
            .cmp(&other.sequence)
            .then(self.checksum.cmp(&other.checksum))
            .then((self.age == MAX_AGE).cmp(&(other.age == MAX_AGE)));
        let order = match order {
            Equal if MAX_AGE_DIFF < self.age.abs_diff(other.age) => other.age.cmp(&self.age),
            Equal | Less | Greater => order,
        };
        match order {
            Greater => Newer::This,
            Less => Newer::Other,
            Equal => Newer::Same,
        }
    }
}

impl Lsa {
    /// The next LSA of an update. The inner result is about this LSA alone: those behind it can still be read.
    pub(super) fn decode(cursor: &mut Cursor<'_>) -> Result<Result<Self, DecodeError>, DecodeError> {
        let whole = cursor.rest();
        let len = whole
            .get(LSA_HEADER_LEN - 2..LSA_HEADER_LEN)
            .and_then(|octets| Some(usize::from(u16::from_be_bytes(*octets.first_chunk()?))))
            .ok_or(DecodeError::Truncated)?;
        if len < LSA_HEADER_LEN {
            return Err(DecodeError::Length);
        }
        let octets = cursor.take(len).map_err(|_| DecodeError::Truncated)?;
        Ok(Self::from_octets(octets))
    }

    /// A whole LSA. Its checksum and its contents are verified.
    pub fn from_octets(octets: &[u8]) -> Result<Self, DecodeError> {
        let mut cursor = Cursor::new(octets);
        // RFC 2328 §13 (1), (2): the checksum first, then the type.
        if octets.len() < LSA_HEADER_LEN || !checksum_is_right(octets) {
            return Err(DecodeError::LsaChecksum);
        }
        let header = LsaHeader::decode(&mut cursor)?;
        if usize::from(header.len) != octets.len() {
            return Err(DecodeError::Length);
        }
        let body = LsaBody::decode(header.key.kind, cursor.rest())?;
        Ok(Self { header, body: Arc::new(body), octets: octets.into() })
    }

    /// An LSA of this router's own, of age 0.
    ///
    /// `body` fits 64 KiB: a router LSA of 5,000 links does.
    pub fn new(key: LsaKey, options: Options, sequence: i32, body: LsaBody) -> Self {
        let mut octets = Vec::with_capacity(64);
        let header = LsaHeader { age: 0, options, key, sequence, checksum: 0, len: 0 };
        header.encode(&mut octets);
        body.encode(&mut octets);
        octets.truncate(usize::from(u16::MAX));
        let len = u16::try_from(octets.len()).unwrap_or(u16::MAX);
        if let Some(field) = octets.get_mut(LSA_HEADER_LEN - 2..LSA_HEADER_LEN) {
            field.copy_from_slice(&len.to_be_bytes());
        }
        let checksum = fletcher(octets.get(2..).unwrap_or_default(), CHECKSUM_AT);
        if let Some(field) = octets.get_mut(2 + CHECKSUM_AT..4 + CHECKSUM_AT) {
            field.copy_from_slice(&checksum.to_be_bytes());
        }
        Self { header: LsaHeader { checksum, len, ..header }, body: Arc::new(body), octets: octets.into() }
    }

    /// The same LSA with another age: that is not part of the checksum.
    pub fn with_age(&self, age: u16) -> Self {
        let mut aged = self.clone();
        aged.header.age = age;
        aged
    }

    pub const fn key(&self) -> LsaKey {
        self.header.key
    }

    /// Whether nothing but age, sequence number and checksum differ. RFC 2328 §13.2.
    pub fn says_the_same(&self, other: &Self) -> bool {
        self.header.options == other.header.options
            && (self.header.age == MAX_AGE) == (other.header.age == MAX_AGE)
            && self.contents() == other.contents()
    }

    fn contents(&self) -> &[u8] {
        self.octets.get(LSA_HEADER_LEN..).unwrap_or_default()
    }

    /// Octets of the whole LSA.
    pub fn len(&self) -> usize {
        self.octets.len()
    }

    pub fn is_empty(&self) -> bool {
        self.octets.is_empty()
    }

    /// With the age of the header, not the one it was received with.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend(self.header.age.to_be_bytes());
        out.extend(self.octets.get(2..).unwrap_or_default());
    }
}

impl PartialEq for Lsa {
    fn eq(&self, other: &Self) -> bool {
        self.header == other.header && self.contents() == other.contents()
    }
}

impl Eq for Lsa {}

impl fmt::Display for LsaKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} of {}", self.kind.name(), self.id, self.router)
    }
}

impl fmt::Debug for LsaKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The checksum of RFC 905 annex B over `octets`, whose own two octets at `at` count as zero.
pub fn fletcher(octets: &[u8], at: usize) -> u16 {
    let (mut c0, mut c1) = (0u64, 0u64);
    for (i, octet) in octets.iter().enumerate() {
        if i != at && i != at + 1 {
            c0 += u64::from(*octet);
        }
        c1 += c0;
    }
    let (c0, c1) = (c0 % 255, c1 % 255);
    let behind = octets.len().saturating_sub(at + 1) as u64 % 255;
    let x = (behind * c0 + 255 - c1) % 255;
    let y = (2 * 255 - c0 - x) % 255;
    let nonzero = |value: u64| u8::try_from(if value == 0 { 255 } else { value }).unwrap_or(255);
    u16::from_be_bytes([nonzero(x), nonzero(y)])
}

/// Both running sums over everything but the age are zero, and there is a checksum at all.
fn checksum_is_right(octets: &[u8]) -> bool {
    let covered = octets.get(2..).unwrap_or_default();
    let (mut c0, mut c1) = (0u64, 0u64);
    for octet in covered {
        c0 += u64::from(*octet);
        c1 += c0;
    }
    let present = covered.get(CHECKSUM_AT..CHECKSUM_AT + 2).is_some_and(|field| field != [0, 0]);
    present && c0 % 255 == 0 && c1 % 255 == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn which_instance_is_newer() {
        let base = LsaHeader {
            age: 100,
            options: Options::E,
            key: LsaKey { kind: LsaType::Router, id: Ipv4Addr::LOCALHOST, router: RouterId::NONE },
            sequence: 5,
            checksum: 1000,
            len: 36,
        };
        let with = |sequence, checksum, age| LsaHeader { sequence, checksum, age, ..base };
        for (a, b, expected) in [
            (with(6, 1, 3599), with(5, 2, 0), Newer::This),
            (with(INITIAL_SEQUENCE, 9, 0), with(MAX_SEQUENCE, 1, 0), Newer::Other),
            (with(5, 1001, 200), with(5, 1000, 100), Newer::This),
            (with(5, 1000, MAX_AGE), with(5, 1000, 1), Newer::This),
            (with(5, 1000, 100), with(5, 1000, 1000), Newer::Same),
            (with(5, 1000, 100), with(5, 1000, 1001), Newer::This),
            (with(5, 1000, 1001), with(5, 1000, 100), Newer::Other),
        ] {
            assert_eq!(a.compare(&b), expected, "{a:?} {b:?}");
            let reverse = match expected {
                Newer::This => Newer::Other,
                Newer::Other => Newer::This,
                Newer::Same => Newer::Same,
            };
            assert_eq!(b.compare(&a), reverse);
        }
    }
}
