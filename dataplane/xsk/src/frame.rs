//! One packet buffer, owned: the bytes of a frame with room before and after them.

use std::fmt;
use std::mem::ManuallyDrop;

use crate::umem::{Area, FrameIndex};
use crate::{FRAME_SIZE, HEADROOM};

/// [`HEADROOM`], in the type of an offset.
const START: u16 = 256;
const _: () = assert!(START as usize == HEADROOM);

/// A frame of the UMEM that is neither the kernel's nor in the pool. Dropping it returns it to the pool; giving it to
/// a [`crate::Cache`] is the fast way.
pub struct Frame {
    area: &'static Area,
    index: FrameIndex,
    /// First byte of the data; start + len ≤ FRAME_SIZE.
    start: u16,
    len: u16,
}

impl Frame {
    /// The frame `index` that the caller owns, empty, with the default headroom.
    pub(crate) fn empty(area: &'static Area, index: FrameIndex) -> Self {
        Self { area, index, start: START, len: 0 }
    }

    /// The frame `index` that the caller owns, with `len` bytes of data at `start`. None if they do not fit.
    pub(crate) fn with_data(
        area: &'static Area,
        index: FrameIndex,
        start: usize,
        len: usize,
    ) -> Option<Self> {
        if start.checked_add(len)? > FRAME_SIZE {
            return None;
        }
        Some(Self { area, index, start: u16::try_from(start).ok()?, len: u16::try_from(len).ok()? })
    }

    /// Gives the ownership up: the caller puts the index into the pool, a cache or a ring.
    pub(crate) fn into_index(self) -> FrameIndex {
        ManuallyDrop::new(self).index
    }

    pub(crate) fn area(&self) -> &'static Area {
        self.area
    }

    /// Byte offset of the data from the start of the UMEM.
    pub(crate) fn address(&self) -> u64 {
        self.index.address() + u64::from(self.start)
    }

    /// Bytes of data.
    #[inline]
    pub fn len(&self) -> usize {
        usize::from(self.len)
    }

    /// No data.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Free bytes before the data.
    #[inline]
    pub fn headroom(&self) -> usize {
        usize::from(self.start)
    }

    /// Free bytes after the data.
    #[inline]
    pub fn tailroom(&self) -> usize {
        FRAME_SIZE - self.headroom() - self.len()
    }

    /// The data.
    #[inline]
    pub fn data(&self) -> &[u8] {
        let bytes = self.area.bytes(self.index);
        // JUSTIFICATION: the UMEM is shared with the kernel, so the compiler cannot see who owns which frame.
        // SAFETY: bytes leads to FRAME_SIZE initialised bytes that live for ever and start + len ≤ FRAME_SIZE; the kernel
        // does not write them, because the frame is in none of its rings while a `Frame` exists; no `&mut` to them
        // exists, because this is the only `Frame` of that index and it is borrowed.
        unsafe { std::slice::from_raw_parts(bytes.as_ptr().wrapping_add(self.headroom()), self.len()) }
    }

    /// The data, writable.
    #[inline]
    pub fn data_mut(&mut self) -> &mut [u8] {
        let bytes = self.area.bytes(self.index);
        // JUSTIFICATION: the UMEM is shared with the kernel, so the compiler cannot see who owns which frame.
        // SAFETY: as in `data`; this is the only `Frame` of that index and it is borrowed mutably.
        unsafe { std::slice::from_raw_parts_mut(bytes.as_ptr().wrapping_add(self.headroom()), self.len()) }
    }

    /// Takes `count` bytes off the front. False, and nothing changes, if there are fewer.
    #[inline]
    pub fn pull_front(&mut self, count: usize) -> bool {
        match u16::try_from(count) {
            Ok(count) if count <= self.len => {
                self.start += count;
                self.len -= count;
                true
            }
            _ => false,
        }
    }

    /// Adds `count` bytes at the front, holding whatever the headroom held. False, and nothing changes, if there is
    /// less headroom.
    #[inline]
    pub fn push_front(&mut self, count: usize) -> bool {
        match u16::try_from(count) {
            Ok(count) if count <= self.start => {
                self.start -= count;
                self.len += count;
                true
            }
            _ => false,
        }
    }

    /// Cuts or extends the data at its end to `len` bytes; added bytes hold whatever was there. False, and nothing
    /// changes, if the frame has no room for them.
    #[inline]
    pub fn resize(&mut self, len: usize) -> bool {
        if len > FRAME_SIZE - self.headroom() {
            return false;
        }
        match u16::try_from(len) {
            Ok(len) => {
                self.len = len;
                true
            }
            Err(_) => false,
        }
    }
}

impl Drop for Frame {
    fn drop(&mut self) {
        self.area.release(self.index);
    }
}

impl fmt::Debug for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Frame")
            .field("index", &self.index)
            .field("headroom", &self.headroom())
            .field("len", &self.len())
            .finish()
    }
}

#[cfg(test)]
mod tests;
