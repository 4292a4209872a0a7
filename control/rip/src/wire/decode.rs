//! Octets to [`Packet`]. Every length is checked here, so that entries are read without looking back.

use std::net::Ipv4Addr;

use millrace_proto::{Cursor, KeyId};

use super::{
    AUTH_CRYPTOGRAPHIC, AUTH_PLAIN, Authentication, Command, DecodeError, ENTRY_LEN, Entry, FAMILY_AUTH,
    HEADER_LEN, TRAILER, TRAILER_HEADER_LEN, Version,
};

/// A message whose frame is in order. Its authentication is not verified.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Packet<'b> {
    pub command: Command,
    pub version: Version,
    pub authentication: Authentication<'b>,
    /// A whole number of entries, without the authentication entry.
    entries: &'b [u8],
}

impl<'b> Packet<'b> {
    pub fn decode(bytes: &'b [u8]) -> Result<Self, DecodeError> {
        let mut cursor = Cursor::new(bytes);
        let [command, version, zero @ ..] =
            cursor.array::<HEADER_LEN>().map_err(|_| DecodeError::Truncated)?;
        let command = match command {
            1 => Command::Request,
            2 => Command::Response,
            other => return Err(DecodeError::Command(other)),
        };
        let version = match version {
            0 => return Err(DecodeError::Version),
            1 => Version::V1,
            2.. => Version::V2,
        };
        let (authentication, entries) = match version {
            Version::V1 => (Authentication::None, cursor.rest()),
            Version::V2 => authentication(bytes, cursor.rest())?,
        };
        if !entries.len().is_multiple_of(ENTRY_LEN) {
            return Err(DecodeError::Length);
        }
        let packet = Self { command, version, authentication, entries };
        if version == Version::V1
            && (zero != [0, 0] || packet.entries().any(|entry| entry.uses_version_2_fields()))
        {
            return Err(DecodeError::MustBeZero);
        }
        Ok(packet)
    }

    pub fn entries(&self) -> impl ExactSizeIterator<Item = Entry> + use<'b> {
        let (entries, _) = self.entries.as_chunks::<ENTRY_LEN>();
        entries.iter().map(Entry::from_octets)
    }
}

impl Entry {
    fn from_octets(octets: &[u8; ENTRY_LEN]) -> Self {
        let [f0, f1, t0, t1, a0, a1, a2, a3, m0, m1, m2, m3, n0, n1, n2, n3, c0, c1, c2, c3] = *octets;
        Self {
            family: u16::from_be_bytes([f0, f1]),
            tag: u16::from_be_bytes([t0, t1]),
            address: Ipv4Addr::new(a0, a1, a2, a3),
            mask: Ipv4Addr::new(m0, m1, m2, m3),
            next_hop: Ipv4Addr::new(n0, n1, n2, n3),
            metric: u32::from_be_bytes([c0, c1, c2, c3]),
        }
    }

    fn uses_version_2_fields(&self) -> bool {
        self.tag != 0 || !self.mask.is_unspecified() || !self.next_hop.is_unspecified()
    }
}

/// Splits what follows the header into authentication and entries. RFC 2453 §4.1, RFC 4822 §2.1.
fn authentication<'b>(
    whole: &'b [u8],
    body: &'b [u8],
) -> Result<(Authentication<'b>, &'b [u8]), DecodeError> {
    let mut cursor = Cursor::new(body);
    if cursor.u16() != Ok(FAMILY_AUTH) {
        return Ok((Authentication::None, body));
    }
    let length = |_| DecodeError::Length;
    let kind = cursor.u16().map_err(length)?;
    let data: [u8; 16] = cursor.array().map_err(length)?;
    match kind {
        AUTH_PLAIN => Ok((Authentication::Plain(data), cursor.rest())),
        AUTH_CRYPTOGRAPHIC => cryptographic(whole, data),
        other => Err(DecodeError::AuthType(other)),
    }
}

fn cryptographic(whole: &[u8], data: [u8; 16]) -> Result<(Authentication<'_>, &[u8]), DecodeError> {
    let [len0, len1, key, auth_len, s0, s1, s2, s3, _zero @ ..] = data;
    let packet_len = usize::from(u16::from_be_bytes([len0, len1]));
    let (packet, trailer) = whole.split_at_checked(packet_len).ok_or(DecodeError::AuthLength)?;
    let (trailer_header, code) =
        trailer.split_at_checked(TRAILER_HEADER_LEN).ok_or(DecodeError::AuthLength)?;
    // Some count the trailer's header in the length, some do not (RFC 4822 can be read both ways); both are in use.
    let auth_len = usize::from(auth_len);
    if trailer_header != TRAILER || (auth_len != code.len() && auth_len != trailer.len()) || code.is_empty() {
        return Err(DecodeError::AuthLength);
    }
    let signed = whole.get(..packet_len + TRAILER_HEADER_LEN).ok_or(DecodeError::AuthLength)?;
    let entries = packet.get(HEADER_LEN + ENTRY_LEN..).ok_or(DecodeError::AuthLength)?;
    let sequence = u32::from_be_bytes([s0, s1, s2, s3]);
    Ok((Authentication::Cryptographic { key: KeyId(key), sequence, signed, code }, entries))
}
