//! The watchdog of one transmit queue: frames are with the kernel, and none comes back.

/// What a look showed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Turn {
    Same,
    /// Nothing has been completed between two looks, nor the two before.
    Stuck,
    /// It was stuck, and is not any more.
    Moving,
}

/// Looked through once a second.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct TxWatch {
    completed: u64,
    /// Looks in a row that found frames in flight and nothing completed since the one before.
    still: u32,
}

impl TxWatch {
    /// Seconds without a completion that make a queue stuck.
    const PATIENCE: u32 = 2;

    /// `in_flight` frames are with the kernel, `completed` came back since the socket was opened.
    pub(super) fn look(&mut self, in_flight: u32, completed: u64) -> Turn {
        let was_stuck = Self::PATIENCE <= self.still;
        let stands_still = 0 < in_flight && completed == self.completed;
        self.still = if stands_still { self.still.saturating_add(1) } else { 0 };
        self.completed = completed;
        match (was_stuck, Self::PATIENCE <= self.still) {
            (false, true) => Turn::Stuck,
            (true, false) => Turn::Moving,
            (false, false) | (true, true) => Turn::Same,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_is_stuck_when_nothing_comes_back_for_two_looks() {
        let mut watch = TxWatch::default();
        for (at, (in_flight, completed, turn)) in [
            (0, 0, Turn::Same),
            (5, 0, Turn::Same),   // given this second
            (5, 0, Turn::Stuck),  // and not sent in the next
            (900, 0, Turn::Same), // told once
            (899, 1, Turn::Moving),
            (899, 1, Turn::Same),
            (899, 2, Turn::Same), // slow is not stuck
            (899, 2, Turn::Same),
            (0, 2, Turn::Same), // taken back otherwise
            (1, 2, Turn::Same),
            (1, 2, Turn::Stuck),
            (0, 2, Turn::Moving),
        ]
        .into_iter()
        .enumerate()
        {
            assert_eq!(watch.look(in_flight, completed), turn, "look {at}");
        }
    }
}
