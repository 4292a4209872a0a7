//! TCP sequence numbers of a direction in which a text was replaced by one of another length.

/// What has been added to the stream so far, and since where. One for each direction.
///
/// The stream is edited in order. Segments from before the last edit may come again, so the sum before it is kept too.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Shift {
    /// Sequence number after the last edited segment, as its sender counts.
    end: u32,
    before: i32,
    after: i32,
    edited: bool,
}

impl Shift {
    /// A segment that ends before `end` (as the sender counts) has become `delta` bytes longer. The same segment again
    /// changes nothing.
    pub fn edit(&mut self, end: u32, delta: i32) {
        if self.edited && !is_before(self.end, end) {
            return;
        }
        *self = Self { end, before: self.after, after: self.after.wrapping_add(delta), edited: true };
    }

    /// Whether numbers differ on the two sides.
    pub const fn is_neutral(&self) -> bool {
        self.before == 0 && self.after == 0
    }

    /// The number the receiver counts for the sender's `seq`.
    pub const fn seq(&self, seq: u32) -> u32 {
        let delta = if self.edited && is_before(seq, self.end) { self.before } else { self.after };
        seq.wrapping_add_signed(delta)
    }

    /// The number the sender counts for the receiver's acknowledgment `ack`.
    pub const fn ack(&self, ack: u32) -> u32 {
        let late = ack.wrapping_add_signed(self.after.wrapping_neg());
        if self.edited && is_before(late, self.end) {
            let early = ack.wrapping_add_signed(self.before.wrapping_neg());
            // An acknowledgment inside the edited text: nothing of what follows it.
            if is_before(self.end, early) { self.end } else { early }
        } else {
            late
        }
    }
}

/// RFC 9293 §3.4: on a circle of 2^32.
const fn is_before(a: u32, b: u32) -> bool {
    (a.wrapping_sub(b).cast_signed()) < 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_before_and_after_an_edit() {
        let mut shift = Shift::default();
        assert!(shift.is_neutral());
        shift.edit(1020, 3);
        // (sender's seq, receiver's)
        for (sent, seen) in [(1000, 1000), (1019, 1019), (1020, 1023), (2000, 2003)] {
            assert_eq!(shift.seq(sent), seen);
        }
        for (acked, back) in [(1000, 1000), (1019, 1019), (1023, 1020), (2003, 2000), (1021, 1020)] {
            assert_eq!(shift.ack(acked), back, "{acked}");
        }
    }

    #[test]
    fn a_repeated_segment_is_edited_once_and_edits_add_up() {
        let mut shift = Shift::default();
        shift.edit(1020, 3);
        shift.edit(1020, 3);
        assert_eq!(shift.seq(1020), 1023);
        shift.edit(1100, -5);
        shift.edit(1020, 3);
        // The second edited segment is 1080 to 1100.
        for (sent, seen) in [(1020, 1023), (1079, 1082), (1100, 1098), (1200, 1198)] {
            assert_eq!(shift.seq(sent), seen);
            assert_eq!(shift.ack(seen), sent);
        }
    }

    #[test]
    fn numbers_wrap_around() {
        let mut shift = Shift::default();
        shift.edit(5, 4);
        assert_eq!(shift.seq(u32::MAX - 2), u32::MAX - 2);
        assert_eq!(shift.seq(5), 9);
        assert_eq!(shift.ack(9), 5);
        assert_eq!(shift.ack(u32::MAX), u32::MAX);
    }
}
