//! A VLAN tag, IEEE 802.1Q §9.6: what follows a tag EtherType.
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! | PCP |D|        VLAN id        |          EtherType            |
//! ```

use core::ops::{Deref, DerefMut};

use super::ethernet::EtherType;
use super::{be, view};

mod field {
    pub(super) const TCI: usize = 0;
    pub(super) const ETHERTYPE: usize = 2;
    pub(super) const ID_MASK: u16 = 0x0fff;
}

view! {
    /// One tag: its control information and the EtherType of what follows.
    Vlan[4]
}

impl<T: Deref<Target = [u8; LEN]>> Vlan<T> {
    /// Tag control information: priority, drop eligibility and VLAN id together.
    #[inline]
    pub fn tci(&self) -> u16 {
        be!(self.0, u16 @ field::TCI)
    }

    /// The VLAN id; 0 is a priority tag without a VLAN.
    #[inline]
    pub fn id(&self) -> u16 {
        self.tci() & field::ID_MASK
    }

    #[inline]
    pub fn priority(&self) -> u8 {
        self.0[field::TCI] >> 5
    }

    #[inline]
    pub fn ethertype(&self) -> EtherType {
        EtherType(be!(self.0, u16 @ field::ETHERTYPE))
    }
}

impl<T: DerefMut<Target = [u8; LEN]>> Vlan<T> {
    #[inline]
    pub fn set_tci(&mut self, tci: u16) {
        be!(self.0, u16 @ field::TCI => tci);
    }

    #[inline]
    pub fn set_ethertype(&mut self, ethertype: EtherType) {
        be!(self.0, u16 @ field::ETHERTYPE => ethertype.0);
    }
}
