//! Views over wire bytes, one protocol a file.
//!
//! `new_checked` proves that the fixed part of a header is there by turning the slice into an array of that length;
//! accessors then index the array at constants, so they are infallible, and nothing here can panic, in the XDP program
//! no more than in the engine. Each `field` module is the header's diagram. What varies in length (options, payload)
//! stays with the caller's slice.

pub mod arp;
pub mod ethernet;
pub mod icmp;
pub mod ipv4;
pub mod tcp;
pub mod udp;
pub mod vlan;

/// The bytes end before the header does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Truncated;

impl core::fmt::Display for Truncated {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("the bytes end before the header does")
    }
}

impl core::error::Error for Truncated {}

/// Defines a view: a header of constant length over `&[u8; LEN]` or `&mut [u8; LEN]`.
macro_rules! view {
    ($(#[$doc:meta])* $name:ident[$len:expr]) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub struct $name<T>(T);

        /// Length of the fixed header in bytes.
        pub const LEN: usize = $len;

        impl<'a> $name<&'a [u8; LEN]> {
            /// A view of the first [`LEN`] bytes.
            #[inline]
            pub const fn new_checked(bytes: &'a [u8]) -> Result<Self, $crate::wire::Truncated> {
                match bytes.first_chunk() {
                    Some(header) => Ok(Self(header)),
                    None => Err($crate::wire::Truncated),
                }
            }

            /// The header and the bytes behind it.
            #[inline]
            pub const fn split(bytes: &'a [u8]) -> Result<(Self, &'a [u8]), $crate::wire::Truncated> {
                match bytes.split_first_chunk() {
                    Some((header, rest)) => Ok((Self(header), rest)),
                    None => Err($crate::wire::Truncated),
                }
            }
        }

        impl<'a> $name<&'a mut [u8; LEN]> {
            /// A writable view of the first [`LEN`] bytes.
            #[inline]
            pub const fn new_checked_mut(bytes: &'a mut [u8]) -> Result<Self, $crate::wire::Truncated> {
                match bytes.first_chunk_mut() {
                    Some(header) => Ok(Self(header)),
                    None => Err($crate::wire::Truncated),
                }
            }

            /// The writable header and the bytes behind it.
            #[inline]
            pub const fn split_mut(
                bytes: &'a mut [u8],
            ) -> Result<(Self, &'a mut [u8]), $crate::wire::Truncated> {
                match bytes.split_first_chunk_mut() {
                    Some((header, rest)) => Ok((Self(header), rest)),
                    None => Err($crate::wire::Truncated),
                }
            }
        }

        impl<T> $name<T> {
            /// A view of bytes already known to be a header's length.
            #[inline]
            pub const fn new(header: T) -> Self {
                Self(header)
            }
        }
    };
}
use view;

/// Reads and writes multi-byte fields of an array at a constant offset.
macro_rules! be {
    ($bytes:expr, u16 @ $at:expr) => {
        u16::from_be_bytes([$bytes[$at], $bytes[$at + 1]])
    };
    ($bytes:expr, u32 @ $at:expr) => {
        u32::from_be_bytes([$bytes[$at], $bytes[$at + 1], $bytes[$at + 2], $bytes[$at + 3]])
    };
    ($bytes:expr, u16 @ $at:expr => $value:expr) => {{
        let octets = u16::to_be_bytes($value);
        $bytes[$at] = octets[0];
        $bytes[$at + 1] = octets[1];
    }};
    ($bytes:expr, u32 @ $at:expr => $value:expr) => {{
        let octets = u32::to_be_bytes($value);
        $bytes[$at] = octets[0];
        $bytes[$at + 1] = octets[1];
        $bytes[$at + 2] = octets[2];
        $bytes[$at + 3] = octets[3];
    }};
    ($bytes:expr, mac @ $at:expr) => {
        $crate::Mac([
            $bytes[$at],
            $bytes[$at + 1],
            $bytes[$at + 2],
            $bytes[$at + 3],
            $bytes[$at + 4],
            $bytes[$at + 5],
        ])
    };
    ($bytes:expr, mac @ $at:expr => $value:expr) => {{
        let octets = $value.0;
        $bytes[$at] = octets[0];
        $bytes[$at + 1] = octets[1];
        $bytes[$at + 2] = octets[2];
        $bytes[$at + 3] = octets[3];
        $bytes[$at + 4] = octets[4];
        $bytes[$at + 5] = octets[5];
    }};
}
use be;

#[cfg(test)]
mod tests;
