//! Where routes come from, and how far each source is trusted.

use core::fmt;

use serde::{Deserialize, Serialize};

/// The source of a candidate. In the order in which ties of distance are broken.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[repr(u8)]
pub enum Protocol {
    /// The router's own addresses.
    Local,
    /// The subnets of the router's interfaces.
    Connected,
    Static,
    Ebgp,
    Ospf,
    Rip,
    Ibgp,
}

impl Protocol {
    pub const ALL: [Self; 7] =
        [Self::Local, Self::Connected, Self::Static, Self::Ebgp, Self::Ospf, Self::Rip, Self::Ibgp];

    /// Administrative distance unless the route says otherwise; the lowest wins.
    pub const fn distance(self) -> u8 {
        match self {
            Self::Local | Self::Connected => 0,
            Self::Static => 1,
            Self::Ebgp => 20,
            Self::Ospf => 110,
            Self::Rip => 120,
            Self::Ibgp => 200,
        }
    }

    /// The letter in front of a route in `show routes`, as other routers print it.
    pub const fn code(self) -> char {
        match self {
            Self::Local => 'L',
            Self::Connected => 'C',
            Self::Static => 'S',
            Self::Ebgp | Self::Ibgp => 'B',
            Self::Ospf => 'O',
            Self::Rip => 'R',
        }
    }

    pub const fn name(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Connected => "connected",
            Self::Static => "static",
            Self::Ebgp => "ebgp",
            Self::Ospf => "ospf",
            Self::Rip => "rip",
            Self::Ibgp => "ibgp",
        }
    }

    /// Position in [`Protocol::ALL`].
    pub const fn index(self) -> usize {
        self as usize
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_is_in_order() {
        for (i, protocol) in Protocol::ALL.into_iter().enumerate() {
            assert_eq!(protocol.index(), i);
        }
    }
}
