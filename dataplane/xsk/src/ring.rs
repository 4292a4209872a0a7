//! One half of a ring shared with the kernel: a [`Producer`] for fill and tx, a [`Consumer`] for rx and completion.
//!
//! ```text
//!            cursors count for ever and wrap at 2^32; slot of cursor c is c & (size - 1)
//!   slots   ──┬────┬────┬────┬────┬────┬────┬──
//!             │    │ ## │ ## │ ## │    │    │
//!           ──┴────┴────┴────┴────┴────┴────┴──
//!                  ▲ consumer cursor   ▲ producer cursor        produced, not yet consumed: ##
//! ```
//! A batch costs one load of the other side's cursor (none if the copy we have is enough) and one store of our own.
//! The closure that supplies or takes an item is called only when a slot is certain, so no item is lost between the
//! caller and a full ring.

use std::marker::PhantomData;
use std::mem::size_of;
use std::os::fd::BorrowedFd;
use std::ptr::{NonNull, null_mut};
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::io::Errno;
use rustix::mm::{MapFlags, ProtFlags};
use rustix::net::xdp::{XdpRingFlags, XdpRingOffset};

/// What a slot may hold: plain bytes that are valid whatever the kernel wrote.
pub(crate) trait Item: Copy {}

/// A UMEM address, in the fill and completion rings.
impl Item for u64 {}

/// `struct xdp_desc`, in the rx and tx rings.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Descriptor {
    /// Byte offset from the start of the UMEM.
    pub(crate) addr: u64,
    /// Bytes of the frame.
    pub(crate) len: u32,
    pub(crate) options: u32,
}

impl Item for Descriptor {}

/// `XDP_PKT_CONTD`: the frame goes on in the next descriptor.
pub(crate) const MORE_FRAGMENTS: u32 = 1;

/// A mapping that is undone when dropped.
#[derive(Debug)]
struct Mapping {
    base: NonNull<u8>,
    len: usize,
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // JUSTIFICATION: rustix cannot know that nothing refers to the range any more.
        // SAFETY: base and len are what mmap returned; the only pointers into the range are in the `Ring` that owns
        // this mapping, which is being dropped.
        let unmapped = unsafe { rustix::mm::munmap(self.base.as_ptr().cast(), self.len) };
        debug_assert!(unmapped.is_ok(), "munmap of a ring: {unmapped:?}");
    }
}

/// The shared memory of one ring.
#[derive(Debug)]
struct Ring<T> {
    producer: NonNull<AtomicU32>,
    consumer: NonNull<AtomicU32>,
    flags: NonNull<AtomicU32>,
    slots: NonNull<T>,
    mask: u32,
    /// Keeps the four pointers valid.
    _mapping: Mapping,
    _items: PhantomData<T>,
}

// JUSTIFICATION: raw pointers are not Send; the ring is used by the worker thread, opened by the clerk's.
// SAFETY: the pointers lead into a mapping that this value owns and that belongs to no thread; the cursors are atomics,
// and the slots are reached only through `&mut Producer` / `&mut Consumer`, of which one exists for each mapping.
unsafe impl<T: Item> Send for Ring<T> {}

impl<T: Item> Ring<T> {
    /// Maps the ring of `entries` slots (a power of two) that `fd` offers at `page_offset`.
    fn map(
        fd: BorrowedFd<'_>,
        page_offset: u64,
        layout: &XdpRingOffset,
        entries: u32,
    ) -> Result<Self, Errno> {
        let flags = layout.flags.ok_or(Errno::OPNOTSUPP)?;
        if !entries.is_power_of_two() {
            return Err(Errno::INVAL);
        }
        let words = [layout.producer, layout.consumer, flags];
        let slots_len = u64::from(entries) * size_of::<T>() as u64;
        let len = words
            .iter()
            .map(|word| word.checked_add(size_of::<AtomicU32>() as u64))
            .chain([layout.desc.checked_add(slots_len)])
            .try_fold(0, |longest: u64, end| end.map(|end| longest.max(end)))
            .ok_or(Errno::OVERFLOW)?;
        let misaligned = words.iter().any(|word| !word.is_multiple_of(4))
            || !layout.desc.is_multiple_of(align_of::<T>() as u64);
        if misaligned {
            return Err(Errno::INVAL);
        }
        let to_offset = |offset: u64| usize::try_from(offset).map_err(|_| Errno::OVERFLOW);
        let len = to_offset(len)?;

        // JUSTIFICATION: the ring is memory that the kernel shares; there is no safe mapping of it.
        // SAFETY: a null hint lets the kernel choose an unused range, so no existing object is replaced.
        let base = unsafe {
            rustix::mm::mmap(
                null_mut(),
                len,
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::SHARED | MapFlags::POPULATE,
                fd,
                page_offset,
            )
        }?;
        let base = NonNull::new(base.cast::<u8>()).ok_or(Errno::NOMEM)?;
        let mapping = Mapping { base, len };
        let at = |offset: u64| -> Result<NonNull<u8>, Errno> {
            let offset = to_offset(offset)?;
            // JUSTIFICATION: the kernel tells where in the mapping its words are.
            // SAFETY: offset + size of what is there ≤ len was established above, so this stays inside the mapping.
            Ok(unsafe { base.add(offset) })
        };
        Ok(Self {
            producer: at(layout.producer)?.cast(),
            consumer: at(layout.consumer)?.cast(),
            flags: at(flags)?.cast(),
            slots: at(layout.desc)?.cast(),
            mask: entries - 1,
            _mapping: mapping,
            _items: PhantomData,
        })
    }

    fn size(&self) -> u32 {
        self.mask + 1
    }

    fn producer(&self) -> &AtomicU32 {
        // JUSTIFICATION: the cursor is in shared memory.
        // SAFETY: aligned and inside the mapping (checked in `map`), which lives as long as self; every access is atomic.
        unsafe { self.producer.as_ref() }
    }

    fn consumer(&self) -> &AtomicU32 {
        // JUSTIFICATION: the cursor is in shared memory.
        // SAFETY: aligned and inside the mapping (checked in `map`), which lives as long as self; every access is atomic.
        unsafe { self.consumer.as_ref() }
    }

    fn needs_wakeup(&self) -> bool {
        // JUSTIFICATION: the flags are in shared memory.
        // SAFETY: aligned and inside the mapping (checked in `map`), which lives as long as self; every access is atomic.
        let flags = unsafe { self.flags.as_ref() };
        flags.load(Ordering::Relaxed) & XdpRingFlags::XDP_RING_NEED_WAKEUP.bits() != 0
    }

    fn slot(&self, cursor: u32) -> NonNull<T> {
        let index = (cursor & self.mask) as usize;
        // JUSTIFICATION: the slots are in shared memory.
        // SAFETY: index < size, and `map` established that size slots fit in the mapping.
        unsafe { self.slots.add(index) }
    }
}

/// The writing half of a ring: fill or tx.
#[derive(Debug)]
pub(crate) struct Producer<T> {
    ring: Ring<T>,
    /// Our cursor: the next slot to write.
    head: u32,
    /// The kernel's cursor as we last saw it.
    tail: u32,
}

impl<T: Item> Producer<T> {
    /// Maps a ring that nothing else in this process writes.
    pub(crate) fn map(
        fd: BorrowedFd<'_>,
        page_offset: u64,
        layout: &XdpRingOffset,
        entries: u32,
    ) -> Result<Self, Errno> {
        let ring = Ring::map(fd, page_offset, layout, entries)?;
        let head = ring.producer().load(Ordering::Relaxed);
        let tail = ring.consumer().load(Ordering::Acquire);
        Ok(Self { ring, head, tail })
    }

    fn free_as_seen(&self) -> u32 {
        // A tail ahead of our head would be the kernel's mistake; it reads as a ring without room.
        self.ring.size().saturating_sub(self.head.wrapping_sub(self.tail))
    }

    /// Slots that can be written; looks at the kernel's cursor only if the last look shows fewer than `wanted`.
    pub(crate) fn free(&mut self, wanted: u32) -> u32 {
        if self.free_as_seen() < wanted {
            // Acquire: the kernel has read the slots before it moved its cursor past them.
            self.tail = self.ring.consumer().load(Ordering::Acquire);
        }
        self.free_as_seen()
    }

    /// Writes items until there are no more, `max` are written, or the ring is full; publishes them together.
    /// `next` is called only when there is room for what it returns.
    pub(crate) fn produce(&mut self, max: u32, mut next: impl FnMut() -> Option<T>) -> u32 {
        let room = self.free(max).min(max);
        let mut written = 0;
        while written < room {
            let Some(item) = next() else { break };
            let slot = self.ring.slot(self.head.wrapping_add(written));
            // JUSTIFICATION: the slot is in shared memory.
            // SAFETY: slot is aligned and inside the mapping; it lies between the producer cursor and the consumer
            // cursor + size, where the kernel does not look until the store below.
            unsafe { slot.write(item) };
            written += 1;
        }
        if written > 0 {
            self.head = self.head.wrapping_add(written);
            // Release: the items, and the frames they name, are written before the kernel sees the cursor.
            self.ring.producer().store(self.head, Ordering::Release);
        }
        written
    }

    /// Items written that the kernel has not taken yet.
    pub(crate) fn pending(&self) -> u32 {
        self.head.wrapping_sub(self.ring.consumer().load(Ordering::Acquire)).min(self.ring.size())
    }

    /// The kernel sleeps and must be called before it looks at this ring.
    pub(crate) fn needs_wakeup(&self) -> bool {
        self.ring.needs_wakeup()
    }
}

/// The reading half of a ring: rx or completion.
#[derive(Debug)]
pub(crate) struct Consumer<T> {
    ring: Ring<T>,
    /// The kernel's cursor as we last saw it.
    head: u32,
    /// Our cursor: the next slot to read.
    tail: u32,
}

impl<T: Item> Consumer<T> {
    /// Maps a ring that nothing else in this process reads.
    pub(crate) fn map(
        fd: BorrowedFd<'_>,
        page_offset: u64,
        layout: &XdpRingOffset,
        entries: u32,
    ) -> Result<Self, Errno> {
        let ring = Ring::map(fd, page_offset, layout, entries)?;
        let tail = ring.consumer().load(Ordering::Relaxed);
        let head = ring.producer().load(Ordering::Acquire);
        Ok(Self { ring, head, tail })
    }

    fn available_as_seen(&self) -> u32 {
        self.head.wrapping_sub(self.tail).min(self.ring.size())
    }

    /// Gives up to `max` items to `each`, then lets the kernel have their slots again.
    pub(crate) fn consume(&mut self, max: u32, mut each: impl FnMut(T)) -> u32 {
        if self.available_as_seen() < max {
            // Acquire: the kernel has written the items before it moved its cursor past them.
            self.head = self.ring.producer().load(Ordering::Acquire);
        }
        let count = self.available_as_seen().min(max);
        for offset in 0..count {
            let slot = self.ring.slot(self.tail.wrapping_add(offset));
            // JUSTIFICATION: the slot is in shared memory.
            // SAFETY: slot is aligned and inside the mapping; it lies between the consumer and the producer cursor,
            // where the kernel does not write; any bytes are a valid T (trait `Item`).
            let item = unsafe { slot.read() };
            each(item);
        }
        if count > 0 {
            self.tail = self.tail.wrapping_add(count);
            // Release: the slots are read before the kernel may write them again.
            self.ring.consumer().store(self.tail, Ordering::Release);
        }
        count
    }

    /// Items that wait to be read.
    pub(crate) fn available(&self) -> u32 {
        self.ring.producer().load(Ordering::Acquire).wrapping_sub(self.tail).min(self.ring.size())
    }
}

#[cfg(test)]
pub(crate) mod tests;
