//! Ethernet II framing (RFC 894 for IPv4, RFC 826 for ARP).
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! |                      destination address                      |
//! |              …                |         source address        |
//! |                               …                               |
//! |          EtherType            |  payload …
//! ```

use core::ops::{Deref, DerefMut};

use super::{be, view};
use crate::Mac;

mod field {
    pub(super) const DST: usize = 0;
    pub(super) const SRC: usize = 6;
    pub(super) const ETHERTYPE: usize = 12;
}

/// What the payload of a frame or of a VLAN tag is. Values below 0x0600 are IEEE 802.3 lengths.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EtherType(pub u16);

impl EtherType {
    pub const IPV4: Self = Self(0x0800);
    pub const ARP: Self = Self(0x0806);
    pub const IPV6: Self = Self(0x86dd);
    /// IEEE 802.1Q customer tag.
    pub const VLAN: Self = Self(0x8100);
    /// IEEE 802.1ad service tag.
    pub const SERVICE_VLAN: Self = Self(0x88a8);

    /// Whether a VLAN tag follows.
    #[inline]
    pub const fn is_tag(self) -> bool {
        self.0 == Self::VLAN.0 || self.0 == Self::SERVICE_VLAN.0
    }
}

view! {
    /// The Ethernet header.
    Ethernet[14]
}

impl<T: Deref<Target = [u8; LEN]>> Ethernet<T> {
    #[inline]
    pub fn dst(&self) -> Mac {
        be!(self.0, mac @ field::DST)
    }

    #[inline]
    pub fn src(&self) -> Mac {
        be!(self.0, mac @ field::SRC)
    }

    #[inline]
    pub fn ethertype(&self) -> EtherType {
        EtherType(be!(self.0, u16 @ field::ETHERTYPE))
    }
}

impl<T: DerefMut<Target = [u8; LEN]>> Ethernet<T> {
    #[inline]
    pub fn set_dst(&mut self, mac: Mac) {
        be!(self.0, mac @ field::DST => mac);
    }

    #[inline]
    pub fn set_src(&mut self, mac: Mac) {
        be!(self.0, mac @ field::SRC => mac);
    }

    #[inline]
    pub fn set_ethertype(&mut self, ethertype: EtherType) {
        be!(self.0, u16 @ field::ETHERTYPE => ethertype.0);
    }
}
