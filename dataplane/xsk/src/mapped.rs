//! The memory of a BPF array as atomics: what user space writes, the XDP program reads, with no system call.

use std::ops::Deref;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr::{NonNull, null_mut};
use std::sync::atomic::AtomicU64;

use rustix::io::Errno;
use rustix::mm::{MapFlags, ProtFlags};

use crate::error::MapError;

/// A `BPF_MAP_TYPE_ARRAY` of u64 values with `BPF_F_MMAPABLE`, mapped for the life of the process.
#[derive(Clone, Copy, Debug)]
pub struct MappedWords(&'static [AtomicU64]);

impl MappedWords {
    /// Maps the first `words` values of the array `map`. The memory stays when the map's descriptor is closed.
    pub fn map(map: BorrowedFd<'_>, words: usize) -> Result<Self, MapError> {
        // A BPF array cannot shrink under its mapping; a file could.
        let target = std::fs::read_link(format!("/proc/self/fd/{}", map.as_raw_fd()));
        if !target.is_ok_and(|target| target.as_os_str() == "anon_inode:bpf-map") {
            return Err(MapError::NotAMap);
        }
        let bytes = words
            .checked_mul(size_of::<AtomicU64>())
            .filter(|bytes| 0 < *bytes && *bytes <= isize::MAX as usize);
        let bytes = bytes.ok_or(MapError::Size { words })?;
        // JUSTIFICATION: the memory is the kernel's; there is no safe mapping of it.
        // SAFETY: a null hint lets the kernel choose an unused range, so no existing object is replaced.
        let base = unsafe {
            rustix::mm::mmap(null_mut(), bytes, ProtFlags::READ | ProtFlags::WRITE, MapFlags::SHARED, map, 0)
        }
        .map_err(|errno| MapError::Mmap { words, errno })?;
        let base =
            NonNull::new(base.cast::<AtomicU64>()).ok_or(MapError::Mmap { words, errno: Errno::NOMEM })?;
        // JUSTIFICATION: the memory is shared with BPF programs and other processes.
        // SAFETY: mmap returned page-aligned memory of `words` u64 (the kernel refuses a range beyond the array) that is
        // never unmapped; every byte pattern is a valid AtomicU64, and other sides access it by aligned 64-bit words.
        let words = unsafe { std::slice::from_raw_parts(base.as_ptr(), words) };
        Ok(Self(words))
    }

    /// The words, for the life of the process.
    pub fn words(&self) -> &'static [AtomicU64] {
        self.0
    }
}

impl Deref for MappedWords {
    type Target = [AtomicU64];

    fn deref(&self) -> &[AtomicU64] {
        self.0
    }
}
