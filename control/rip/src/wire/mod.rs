//! RIP messages as octets: decode, encode, nothing else. RFC 2453 §3.6, §4; RFC 4822 §2.
//!
//! ```text
//!   0                   1                   2                   3
//!   0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//!  +---------------+---------------+-------------------------------+
//!  |  command (1)  |  version (1)  |       must be zero (2)        |
//!  +---------------+---------------+-------------------------------+
//!  | address family (2)            |        route tag (2)          |  ┐
//!  |                         IP address (4)                        |  │ one entry; 1 to 25 of them,
//!  |                         subnet mask (4)                       |  │ the first may be authentication
//!  |                         next hop (4)                          |  │ (family 0xffff)
//!  |                         metric (4)                            |  ┘
//!  +---------------------------------------------------------------+
//!  |            0xffff             |            0x0001             |  ┐ only with cryptographic
//!  |                   authentication data (16 to 64)              |  ┘ authentication
//!  +---------------------------------------------------------------+
//! ```

mod decode;
mod encode;
mod error;

use std::net::Ipv4Addr;

use millrace_proto::KeyId;
use serde::{Deserialize, Serialize};

pub use decode::Packet;
pub use encode::{Protection, capacity, encode};
pub use error::DecodeError;

/// UDP port of every RIP process.
pub const PORT: u16 = 520;
/// All RIP-2 routers of a link.
pub const GROUP: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 9);
/// The metric of what cannot be reached.
pub const INFINITY: u8 = 16;

pub(crate) const HEADER_LEN: usize = 4;
pub(crate) const ENTRY_LEN: usize = 20;
pub(crate) const TRAILER_HEADER_LEN: usize = 4;
/// Octets of a message; what is longer FRR refuses.
pub(crate) const MAX_LEN: usize = 512;
/// Entries of a message that is sent, authentication included. Longer messages are accepted.
pub(crate) const MAX_ENTRIES: usize = 25;

pub(crate) const FAMILY_WHOLE_TABLE: u16 = 0;
pub(crate) const FAMILY_IPV4: u16 = 2;
pub(crate) const FAMILY_AUTH: u16 = 0xffff;
pub(crate) const AUTH_PLAIN: u16 = 2;
pub(crate) const AUTH_CRYPTOGRAPHIC: u16 = 3;
/// First two words of the authentication trailer.
pub(crate) const TRAILER: [u8; TRAILER_HEADER_LEN] = [0xff, 0xff, 0x00, 0x01];

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Command {
    Request,
    Response,
}

/// Versions over 2 are read as 2 (RFC 2453 §4.6).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Version {
    V1,
    V2,
}

/// One entry as it stands in a message; whether it makes sense is for the machine to say.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Entry {
    pub family: u16,
    pub tag: u16,
    pub address: Ipv4Addr,
    pub mask: Ipv4Addr,
    pub next_hop: Ipv4Addr,
    pub metric: u32,
}

/// What a message says of its authenticity.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Authentication<'b> {
    None,
    /// RFC 2453 §4.1
    Plain([u8; 16]),
    /// RFC 4822 §2.1
    Cryptographic {
        key: KeyId,
        sequence: u32,
        /// Everything in front of the code, trailer header included.
        signed: &'b [u8],
        code: &'b [u8],
    },
}

impl Entry {
    /// Asks for the whole table when it is the only entry of a request (RFC 2453 §3.9.1).
    pub const WHOLE_TABLE: Self = Self {
        family: FAMILY_WHOLE_TABLE,
        tag: 0,
        address: Ipv4Addr::UNSPECIFIED,
        mask: Ipv4Addr::UNSPECIFIED,
        next_hop: Ipv4Addr::UNSPECIFIED,
        metric: INFINITY as u32,
    };

    /// Whether a request with this one entry asks for the whole table.
    pub const fn asks_for_everything(&self) -> bool {
        self.family == FAMILY_WHOLE_TABLE && self.metric == INFINITY as u32
    }
}
