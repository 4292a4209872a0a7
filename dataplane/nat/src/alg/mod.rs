//! Application-level gateways: protocols that speak of addresses and ports in their payload.
//!
//! Only those that RFC 5382 REQ-6 and RFC 4787 REQ-10 leave on by default: FTP (RFC 959, RFC 2428) and TFTP (RFC 1350).
//! A gateway reads the payload of packets that go out through NAT, and says what is to stand there instead and whom to
//! expect ([`Nat::expect`](crate::Nat::expect)). TCP numbers after a text of another length are kept right by [`Shift`].

pub mod ftp;

mod control;
mod sequence;

pub use control::Outgoing;
pub(crate) use control::{Control, Controls};
pub use sequence::Shift;

/// UDP port of a TFTP server: its answer comes from another one (RFC 1350 §4).
pub const TFTP: u16 = 69;
