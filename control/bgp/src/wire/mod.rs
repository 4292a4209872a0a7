//! Messages on the wire: framing, and the codecs of the five kinds. RFC 4271 §4, RFC 7606, RFC 8654.
//!
//! ```text
//!    0                   1                   2                   3
//!   ┌───────────────────────────────────────────────────────────────┐
//!   │                   marker: 16 octets of ones                   │
//!   ├───────────────────────────────┬───────────────┬───────────────┤
//!   │     length, header and all    │     kind      │   body …
//!   └───────────────────────────────┴───────────────┘
//! ```
//!
//! Bytes from outside never panic; what is fatal is the [`Notification`] to answer with.

pub mod attribute;
pub mod capability;
pub mod nlri;
pub mod notification;
pub mod open;
pub mod refresh;
pub mod update;

pub use attribute::Code;
pub use capability::{Capabilities, Family, Role};
pub use notification::Notification;
pub use open::Open;
pub use refresh::Refresh;
pub use update::{Update, UpdateContext};

/// Octets of a header.
pub const HEADER: usize = 19;
/// RFC 4271 §4.1
pub const MAX_MESSAGE: usize = 4096;
/// RFC 8654 §4: of UPDATE, NOTIFICATION and ROUTE-REFRESH, where both sides can.
pub const MAX_EXTENDED: usize = 65535;
/// AS_TRANS, which stands for ASes that two octets cannot hold (RFC 6793 §9).
pub const AS_TRANS: u16 = 23456;

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub enum Kind {
    Open = 1,
    Update = 2,
    Notification = 3,
    Keepalive = 4,
    RouteRefresh = 5,
}

/// One message of a stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Frame<'b> {
    pub kind: Kind,
    pub body: &'b [u8],
}

impl Kind {
    pub const ALL: [Self; 5] =
        [Self::Open, Self::Update, Self::Notification, Self::Keepalive, Self::RouteRefresh];

    fn from_octet(octet: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| *kind as u8 == octet)
    }

    /// Octets of the shortest message of this kind. A ROUTE-REFRESH of another length has an error of its own.
    const fn shortest(self) -> usize {
        match self {
            Self::Open => 29,
            Self::Update => 23,
            Self::Notification => 21,
            Self::Keepalive | Self::RouteRefresh => HEADER,
        }
    }

    const fn longest(self, extended: bool) -> usize {
        match self {
            Self::Open => MAX_MESSAGE,
            Self::Keepalive => HEADER,
            Self::Update | Self::Notification | Self::RouteRefresh => {
                if extended {
                    MAX_EXTENDED
                } else {
                    MAX_MESSAGE
                }
            }
        }
    }
}

/// The first message of `stream`, and how many octets it takes; None while it is not complete. RFC 4271 §6.1.
pub fn frame(stream: &[u8], extended: bool) -> Result<Option<(Frame<'_>, usize)>, Notification> {
    let Some(header) = stream.first_chunk::<HEADER>() else {
        // A stream that cannot become a message is not waited for.
        return if stream.iter().take(16).all(|octet| *octet == 0xff) {
            Ok(None)
        } else {
            Err(Notification::NOT_SYNCHRONIZED)
        };
    };
    if header[..16] != [0xff; 16] {
        return Err(Notification::NOT_SYNCHRONIZED);
    }
    let [high, low, octet] = [header[16], header[17], header[18]];
    let len = usize::from(u16::from_be_bytes([high, low]));
    let Some(kind) = Kind::from_octet(octet) else {
        return Err(Notification::bad_type(octet));
    };
    if len < kind.shortest() || kind.longest(extended) < len {
        return Err(Notification::bad_length([high, low]));
    }
    Ok(stream.get(HEADER..len).map(|body| (Frame { kind, body }, len)))
}

/// Starts a message in `out`; [`finish`] writes its length.
pub fn begin(out: &mut Vec<u8>, kind: Kind) -> usize {
    let start = out.len();
    out.extend_from_slice(&[0xff; 16]);
    out.extend_from_slice(&[0, 0, kind as u8]);
    start
}

/// Ends the message that began at `start`.
pub fn finish(out: &mut [u8], start: usize) {
    let len = u16::try_from(out.len() - start).unwrap_or(u16::MAX);
    put_u16(out, start + 16, len);
}

/// Overwrites two octets; a place that is not there is left alone.
pub(crate) fn put_u16(out: &mut [u8], at: usize, value: u16) {
    if let Some(place) = out.get_mut(at..at + 2) {
        place.copy_from_slice(&value.to_be_bytes());
    }
}

/// A whole KEEPALIVE.
pub fn keepalive() -> Vec<u8> {
    let mut out = Vec::with_capacity(HEADER);
    let start = begin(&mut out, Kind::Keepalive);
    finish(&mut out, start);
    out
}
