//! What a link does to frames.

use std::time::Duration;

use millrace_proto::{Instant, Rng};

/// How a segment treats each frame on its way to each receiver. Shares are of 1000.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Quality {
    pub loss: u16,
    pub duplication: u16,
    /// Frames that are held up so that later ones overtake them.
    pub reordering: u16,
    /// Shortest and longest time under way.
    pub delay: (Duration, Duration),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SegmentState {
    Up,
    /// Frames vanish, and the members' interfaces say so.
    Down,
    /// Frames vanish, and nobody is told.
    Silent,
}

/// How long a frame that is reordered is held up at most.
const HOLD_UP: Duration = Duration::from_millis(200);

impl Quality {
    /// Loses nothing; a millisecond or two.
    pub const GOOD: Self = Self {
        loss: 0,
        duplication: 0,
        reordering: 0,
        delay: (Duration::from_millis(1), Duration::from_millis(2)),
    };

    /// Loses `permille`, and repeats and reorders half as much.
    pub const fn bad(permille: u16) -> Self {
        let delay = (Duration::from_millis(1), Duration::from_millis(50));
        Self { loss: permille, duplication: permille / 2, reordering: permille / 2, delay }
    }

    /// When copies of a frame sent at `now` arrive: none, one or two.
    pub fn arrivals(&self, now: Instant, rng: &mut Rng) -> Vec<Instant> {
        if rng.chance(self.loss) {
            return Vec::new();
        }
        let copies = if rng.chance(self.duplication) { 2 } else { 1 };
        let (low, high) = self.delay;
        let mut arrivals = Vec::with_capacity(copies);
        for _ in 0..copies {
            let hold_up = if rng.chance(self.reordering) {
                rng.between(Duration::ZERO, HOLD_UP)
            } else {
                Duration::ZERO
            };
            arrivals.push(now + rng.between(low, high) + hold_up);
        }
        arrivals
    }
}
