//! Frames on their way from one worker to another: a bounded queue into each worker, and the bell beside it.
//!
//! A worker without a queue on the outgoing interface gives the frame to one that has one; a worker whose NAT shard does
//! not have a packet's state gives it to the one whose shard does.

use millrace_engine::Leg;
use millrace_net::PortId;
use millrace_xsk::Frame;

use crossbeam::queue::ArrayQueue;

use crate::bell::Bell;

/// Frames that may be under way to one worker. When it is behind by more, the sender drops (and counts).
const CAPACITY: usize = 1024;

/// What is to be done with a frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Purpose {
    /// Everything is decided: it is to leave by the port it comes with.
    Send,
    /// It arrived on the port it comes with, and this worker's NAT shard decides.
    Decide(Leg),
}

/// What others give to one worker.
#[derive(Debug)]
pub(crate) struct Inbox {
    frames: ArrayQueue<(PortId, Frame, Purpose)>,
    pub(crate) bell: Bell,
}

impl Inbox {
    pub(crate) fn new() -> std::io::Result<Self> {
        Ok(Self { frames: ArrayQueue::new(CAPACITY), bell: Bell::new()? })
    }

    /// Leaves a frame; gives it back where the inbox is full. The sender rings when its burst is done.
    #[inline]
    pub(crate) fn leave(&self, port: PortId, frame: Frame, purpose: Purpose) -> Result<(), Frame> {
        self.frames.push((port, frame, purpose)).map_err(|(_, frame, _)| frame)
    }

    #[inline]
    pub(crate) fn take(&self) -> Option<(PortId, Frame, Purpose)> {
        self.frames.pop()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// Frames under way at this moment.
    pub(crate) fn len(&self) -> usize {
        self.frames.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use millrace_xsk::{Cache, Umem, UmemConfig};

    #[test]
    fn a_full_inbox_gives_frames_back_and_loses_none() {
        let umem = Umem::new(UmemConfig { frames: 2048 }).unwrap();
        let mut cache = Cache::new(&umem);
        let inbox = Inbox::new().unwrap();
        let refused = (0..CAPACITY + 3)
            .filter_map(|_| cache.take())
            .filter_map(|frame| inbox.leave(PortId(1), frame, Purpose::Send).err())
            .count();
        assert_eq!((refused, inbox.len()), (3, CAPACITY));
        while let Some((port, frame, _)) = inbox.take() {
            assert_eq!(port, PortId(1));
            cache.put(frame);
        }
        drop(cache);
        assert_eq!(umem.census().pool, 2048);
    }
}
