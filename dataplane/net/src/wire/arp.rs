//! ARP for IPv4 over Ethernet (RFC 826).
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! |       hardware type (1)       |     protocol type (0x0800)    |
//! | hw length (6) | pr length (4) |           operation           |
//! |                    sender hardware address                    |
//! |              …                |    sender protocol address    |
//! |              …                |    target hardware address    |
//! |                               …                               |
//! |                    target protocol address                    |
//! ```

use core::net::Ipv4Addr;
use core::ops::{Deref, DerefMut};

use super::{be, view};
use crate::Mac;

mod field {
    pub(super) const HARDWARE: usize = 0;
    pub(super) const PROTOCOL: usize = 2;
    pub(super) const HARDWARE_LEN: usize = 4;
    pub(super) const PROTOCOL_LEN: usize = 5;
    pub(super) const OPERATION: usize = 6;
    pub(super) const SENDER_MAC: usize = 8;
    pub(super) const SENDER_IP: usize = 14;
    pub(super) const TARGET_MAC: usize = 18;
    pub(super) const TARGET_IP: usize = 24;
}

/// The operation field.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Operation(pub u16);

impl Operation {
    pub const REQUEST: Self = Self(1);
    pub const REPLY: Self = Self(2);
}

view! {
    /// An ARP packet of the Ethernet and IPv4 lengths.
    Arp[28]
}

impl<T: Deref<Target = [u8; LEN]>> Arp<T> {
    /// Whether types and lengths say Ethernet and IPv4; the other accessors mean nothing where they do not.
    #[inline]
    pub fn is_ethernet_ipv4(&self) -> bool {
        be!(self.0, u32 @ field::HARDWARE) == 0x0001_0800 && be!(self.0, u16 @ field::HARDWARE_LEN) == 0x0604
    }

    #[inline]
    pub fn operation(&self) -> Operation {
        Operation(be!(self.0, u16 @ field::OPERATION))
    }

    #[inline]
    pub fn sender_mac(&self) -> Mac {
        be!(self.0, mac @ field::SENDER_MAC)
    }

    #[inline]
    pub fn sender_ip(&self) -> Ipv4Addr {
        Ipv4Addr::from_bits(be!(self.0, u32 @ field::SENDER_IP))
    }

    #[inline]
    pub fn target_mac(&self) -> Mac {
        be!(self.0, mac @ field::TARGET_MAC)
    }

    #[inline]
    pub fn target_ip(&self) -> Ipv4Addr {
        Ipv4Addr::from_bits(be!(self.0, u32 @ field::TARGET_IP))
    }
}

impl<T: DerefMut<Target = [u8; LEN]>> Arp<T> {
    /// Writes every field.
    pub fn emit(&mut self, operation: Operation, sender: (Mac, Ipv4Addr), target: (Mac, Ipv4Addr)) {
        be!(self.0, u16 @ field::HARDWARE => 1);
        be!(self.0, u16 @ field::PROTOCOL => 0x0800);
        self.0[field::HARDWARE_LEN] = 6;
        self.0[field::PROTOCOL_LEN] = 4;
        be!(self.0, u16 @ field::OPERATION => operation.0);
        be!(self.0, mac @ field::SENDER_MAC => sender.0);
        be!(self.0, u32 @ field::SENDER_IP => sender.1.to_bits());
        be!(self.0, mac @ field::TARGET_MAC => target.0);
        be!(self.0, u32 @ field::TARGET_IP => target.1.to_bits());
    }
}
