//! A reader over received bytes that cannot run past their end.

use std::net::Ipv4Addr;

/// More octets were wanted than there are.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the message ends too early")]
pub struct Truncated;

/// Reads integers in network byte order, front to back. A failed read takes nothing.
#[derive(Clone, Copy, Debug)]
pub struct Cursor<'b> {
    rest: &'b [u8],
}

impl<'b> Cursor<'b> {
    pub const fn new(bytes: &'b [u8]) -> Self {
        Self { rest: bytes }
    }

    /// The next `len` octets.
    pub fn take(&mut self, len: usize) -> Result<&'b [u8], Truncated> {
        let (taken, rest) = self.rest.split_at_checked(len).ok_or(Truncated)?;
        self.rest = rest;
        Ok(taken)
    }

    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], Truncated> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or(Truncated)?;
        self.rest = rest;
        Ok(*taken)
    }

    pub fn u8(&mut self) -> Result<u8, Truncated> {
        self.array().map(|[byte]| byte)
    }

    pub fn u16(&mut self) -> Result<u16, Truncated> {
        self.array().map(u16::from_be_bytes)
    }

    pub fn u32(&mut self) -> Result<u32, Truncated> {
        self.array().map(u32::from_be_bytes)
    }

    pub fn addr(&mut self) -> Result<Ipv4Addr, Truncated> {
        self.array::<4>().map(Ipv4Addr::from)
    }

    pub const fn remaining(&self) -> usize {
        self.rest.len()
    }

    /// What was not read.
    pub const fn rest(&self) -> &'b [u8] {
        self.rest
    }

    pub const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_stop_at_the_end() {
        let mut cursor = Cursor::new(&[1, 0, 2, 192, 0, 2, 1, 9]);
        assert_eq!(cursor.u8(), Ok(1));
        assert_eq!(cursor.u16(), Ok(2));
        assert_eq!(cursor.addr(), Ok(Ipv4Addr::new(192, 0, 2, 1)));
        assert_eq!(cursor.u16(), Err(Truncated));
        assert_eq!(cursor.remaining(), 1);
        assert_eq!(cursor.take(2), Err(Truncated));
        assert_eq!(cursor.rest(), [9]);
        assert_eq!(cursor.take(1), Ok(&[9][..]));
        assert!(cursor.is_empty());
    }
}
