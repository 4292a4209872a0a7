//! OSPF packets and LSAs as octets: decode, encode, nothing else. RFC 2328 appendix A and D, RFC 5709, RFC 5250.
//!
//! ```text
//!   0                   1                   2                   3
//!   0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//!  +---------------+---------------+-------------------------------+
//!  |  version (2)  |     type      |   length, without trailer     |  ┐
//!  |                          router id                            |  │
//!  |                           area id                             |  │ header, 24 octets
//!  |           checksum            |      authentication type      |  │
//!  |              authentication (8): password, or                 |  │
//!  |  zero (2), key id (1), length (1), sequence number (4)        |  ┘
//!  +---------------------------------------------------------------+
//!  |  hello │ database description │ request │ update │ ack        |
//!  +---------------------------------------------------------------+
//!  |  authentication code (16 to 64), only with type 2             |
//!  +---------------------------------------------------------------+
//! ```

mod body;
mod lsa;
mod packet;

use std::fmt;
use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

pub(crate) use body::network_of;
pub use body::{External, LinkKind, LsaBody, Network, RouterFlags, RouterLink, RouterLsa, Summary};
pub use lsa::{INITIAL_SEQUENCE, Lsa, LsaHeader, LsaKey, LsaType, MAX_AGE, MAX_SEQUENCE, Newer, fletcher};
pub use packet::{
    Authentication, Body, Description, Hello, Packet, PacketType, Protection, Update, encode, overhead,
};

/// IP protocol number.
pub const PROTOCOL: u8 = 89;
/// Every OSPF router of a link.
pub const ALL_ROUTERS: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 5);
/// The designated router and its backup.
pub const ALL_DESIGNATED: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 6);
/// A summary or external metric that says: out of reach (LSInfinity).
pub const INFINITY: u32 = 0x00ff_ffff;
/// A link metric that nothing is routed over as long as there is another way (RFC 6987).
pub const MAX_LINK_METRIC: u16 = 0xffff;
/// IP header without options.
pub(crate) const IP_HEADER_LEN: usize = 20;
pub(crate) const HEADER_LEN: usize = 24;
pub(crate) const LSA_HEADER_LEN: usize = 20;

/// The name of a router, unique in the routing domain. Written as an address; need not be one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RouterId(pub Ipv4Addr);

/// The name of an area; 0.0.0.0 is the backbone.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct AreaId(pub Ipv4Addr);

/// What a router, or the originator of an LSA, can do. RFC 2328 A.2.
#[derive(Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Options(pub u8);

/// Why octets are no packet or no LSA.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum DecodeError {
    #[error("shorter than its header, or than its length field says")]
    Truncated,
    #[error("version {0}; 2 was expected")]
    Version(u8),
    #[error("packet type {0}; 1 to 5 were expected")]
    Type(u8),
    #[error("a length that does not fit what it holds")]
    Length,
    #[error("wrong checksum")]
    Checksum,
    #[error("authentication type {0}; 0, 1 or 2 were expected")]
    AuthType(u16),
    #[error("the authentication code is cut short")]
    AuthLength,
    #[error("LSA type {0}, which is not known")]
    LsaType(u8),
    #[error("an LSA whose checksum is wrong")]
    LsaChecksum,
    #[error("an LSA whose contents do not fit its length, or make no sense")]
    LsaBody,
}

impl RouterId {
    pub const NONE: Self = Self(Ipv4Addr::UNSPECIFIED);
}

impl AreaId {
    pub const BACKBONE: Self = Self(Ipv4Addr::UNSPECIFIED);

    pub fn is_backbone(self) -> bool {
        self == Self::BACKBONE
    }
}

impl Options {
    /// Takes type 5 LSAs: the area is neither a stub nor an NSSA.
    pub const E: Self = Self(0x02);
    /// In hellos: the area is an NSSA. In type 7 LSAs: to be translated (RFC 3101).
    pub const NP: Self = Self(0x08);
    /// In database descriptions: takes opaque LSAs (RFC 5250).
    pub const O: Self = Self(0x40);

    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    pub const fn with(self, other: Self, wanted: bool) -> Self {
        if wanted { Self(self.0 | other.0) } else { Self(self.0 & !other.0) }
    }
}

impl fmt::Display for RouterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for RouterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for AreaId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for AreaId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#04x}", self.0)
    }
}
