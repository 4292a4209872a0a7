//! Prefixes on the wire: a length in bits and as many octets as it needs, behind a path identifier where that was agreed.
//! RFC 4271 §4.3, RFC 7911 §3.

use std::net::Ipv4Addr;

use millrace_net::Prefix;
use millrace_proto::Cursor;

use super::notification::Notification;

/// A checked run of IPv4 prefixes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Nlri<'b> {
    bytes: &'b [u8],
    add_path: bool,
}

impl<'b> Nlri<'b> {
    /// RFC 7606 §5.3: a length over 32 bits, or a prefix that is cut short, cannot be mended.
    pub fn new(bytes: &'b [u8], add_path: bool) -> Result<Self, Notification> {
        check(bytes, add_path, 32)?;
        Ok(Self { bytes, add_path })
    }

    pub const fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Path identifier (0 without add-path) and prefix. Bits behind the length count as zero.
    pub fn iter(&self) -> impl Iterator<Item = (u32, Prefix)> + use<'b> {
        let mut cursor = Cursor::new(self.bytes);
        let add_path = self.add_path;
        std::iter::from_fn(move || {
            let id = if add_path { cursor.u32().ok()? } else { 0 };
            let len = cursor.u8().ok()?;
            let mut octets = [0; 4];
            let given = cursor.take(usize::from(len.div_ceil(8))).ok()?;
            octets.get_mut(..given.len())?.copy_from_slice(given);
            Some((id, Prefix::truncated(Ipv4Addr::from(octets), len)))
        })
    }
}

/// Whether a run of prefixes of at most `longest` bits can be read.
pub(crate) fn check(bytes: &[u8], add_path: bool, longest: u8) -> Result<(), Notification> {
    let mut cursor = Cursor::new(bytes);
    let cut = |_| Notification::INVALID_NETWORK;
    while !cursor.is_empty() {
        if add_path {
            cursor.u32().map_err(cut)?;
        }
        let len = cursor.u8().map_err(cut)?;
        if longest < len {
            return Err(Notification::INVALID_NETWORK);
        }
        cursor.take(usize::from(len.div_ceil(8))).map_err(cut)?;
    }
    Ok(())
}

/// Octets `prefix` takes.
pub fn encoded_len(prefix: Prefix, add_path: bool) -> usize {
    1 + usize::from(prefix.len().div_ceil(8)) + if add_path { 4 } else { 0 }
}

/// With a path identifier where there is one.
pub fn encode(out: &mut Vec<u8>, id: Option<u32>, prefix: Prefix) {
    if let Some(id) = id {
        out.extend(id.to_be_bytes());
    }
    out.push(prefix.len());
    out.extend(prefix.addr().octets().into_iter().take(usize::from(prefix.len().div_ceil(8))));
}
