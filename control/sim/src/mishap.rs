//! What befalls a network by chance, and its end.

use millrace_proto::Rng;

use crate::{Network, Router, SegmentState};

impl<R: Router> Network<R> {
    /// Cuts, silences or mends a link, or kills or starts a router. The seed decides.
    pub fn flap(&mut self, rng: &mut Rng) {
        let draw = |rng: &mut Rng, bound: usize| usize::try_from(rng.below(bound as u64)).expect("small");
        if rng.chance(200) {
            let r = draw(rng, self.topology().routers);
            if self.is_running(r) { self.crash(r) } else { self.start(r) }
        } else {
            let s = draw(rng, self.topology().segments.len());
            let state = match self.segment_state(s) {
                SegmentState::Up if rng.chance(300) => SegmentState::Silent,
                SegmentState::Up => SegmentState::Down,
                SegmentState::Down | SegmentState::Silent => SegmentState::Up,
            };
            self.set_segment(s, state);
        }
    }

    /// Every link is up and every router runs.
    pub fn mend(&mut self) {
        for s in 0..self.topology().segments.len() {
            self.set_segment(s, SegmentState::Up);
        }
        for r in 0..self.topology().routers {
            if !self.is_running(r) {
                self.start(r);
            }
        }
    }
}
