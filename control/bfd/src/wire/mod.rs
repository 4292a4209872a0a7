//! BFD Control packets as octets. RFC 5880 §4.1.
//!
//! ```text
//!   0                   1                   2                   3
//!   0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//!  +-----+---------+---+-+-+-+-+-+-+---------------+---------------+
//!  |Vers |  Diag   |Sta|P|F|C|A|D|M|  Detect Mult  |    Length     |
//!  +-----+---------+---+-+-+-+-+-+-+---------------+---------------+
//!  |                       My Discriminator                        |
//!  |                      Your Discriminator                       |
//!  |                    Desired Min TX Interval                    |  microseconds
//!  |                   Required Min RX Interval                    |
//!  |                 Required Min Echo RX Interval                 |
//!  +---------------------------------------------------------------+
//!  |      Authentication Section (optional; refused here)          |
//!  +---------------------------------------------------------------+
//! ```

mod decode;
mod error;

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{Diagnostic, State};

pub use error::DecodeError;

/// UDP port of single-hop control packets (RFC 5881 §4).
pub const PORT: u16 = 3784;
/// Source ports are these (RFC 5881 §4).
pub const SOURCE_PORTS: std::ops::RangeInclusive<u16> = 49152..=65535;

pub(crate) const LEN: u8 = 24;
pub(crate) const VERSION: u8 = 1;

pub(crate) const POLL: u8 = 0x20;
pub(crate) const FINAL: u8 = 0x10;
pub(crate) const INDEPENDENT: u8 = 0x08;
pub(crate) const AUTHENTICATED: u8 = 0x04;
pub(crate) const DEMAND: u8 = 0x02;
pub(crate) const MULTIPOINT: u8 = 0x01;

/// Microseconds, as all intervals of the protocol.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct Micros(pub u32);

/// One control packet, without authentication.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Packet {
    pub diagnostic: Diagnostic,
    pub state: State,
    pub poll: bool,
    pub finale: bool,
    /// The sender's BFD survives its control plane.
    pub control_plane_independent: bool,
    pub demand: bool,
    /// Not 0.
    pub detect_mult: u8,
    /// Not 0.
    pub my_discriminator: u32,
    /// 0 while it is not known.
    pub your_discriminator: u32,
    pub desired_min_tx: Micros,
    pub required_min_rx: Micros,
    pub required_min_echo_rx: Micros,
}

impl Micros {
    pub const ZERO: Self = Self(0);
    pub const SECOND: Self = Self(1_000_000);

    pub const fn from_millis(millis: u32) -> Self {
        Self(millis.saturating_mul(1000))
    }

    pub const fn duration(self) -> Duration {
        Duration::from_micros(self.0 as u64)
    }
}

impl Packet {
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(LEN.into());
        out.push(VERSION << 5 | self.diagnostic.code());
        let flag = |set: bool, bit: u8| if set { bit } else { 0 };
        out.push(
            self.state.bits() << 6
                | flag(self.poll, POLL)
                | flag(self.finale, FINAL)
                | flag(self.control_plane_independent, INDEPENDENT)
                | flag(self.demand, DEMAND),
        );
        out.extend([self.detect_mult, LEN]);
        for word in [
            self.my_discriminator,
            self.your_discriminator,
            self.desired_min_tx.0,
            self.required_min_rx.0,
            self.required_min_echo_rx.0,
        ] {
            out.extend(word.to_be_bytes());
        }
        out
    }
}
