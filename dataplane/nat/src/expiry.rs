//! A timer wheel with one slot a second, threaded through the session records themselves.
//!
//! A session lies in the slot of the second at which it was last known to run out. Traffic does not move it: when its slot
//! comes up, the owner works out the true deadline and either ends the session or puts it back. So a packet costs a store
//! and a session is touched by the wheel about once in its time-out.

/// Slots: more seconds than the longest time-out needs; a longer one is looked at once a round.
const SLOTS: u32 = 8192;
/// No session.
pub(crate) const NIL: u32 = u32::MAX;

/// The wheel's part of a record.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Link {
    pub(crate) prev: u32,
    pub(crate) next: u32,
}

impl Link {
    pub(crate) const NONE: Self = Self { prev: NIL, next: NIL };
}

/// Where the links are.
pub(crate) trait Links {
    fn link(&mut self, id: u32) -> &mut Link;
}

#[derive(Debug)]
pub(crate) struct Wheel {
    heads: Box<[u32]>,
    /// The second whose slot comes up next.
    next: u32,
}

impl Wheel {
    /// A wheel whose first slot is the one of `now_secs`.
    pub(crate) fn new(now_secs: u32) -> Self {
        Self { heads: vec![NIL; SLOTS as usize].into(), next: now_secs }
    }

    /// The second whose slot comes up next.
    pub(crate) const fn next_secs(&self) -> u32 {
        self.next
    }

    /// Puts `id` into the slot of `deadline_secs`, or the next one if that has passed. Gives the slot, for
    /// [`Wheel::remove`].
    pub(crate) fn insert(&mut self, links: &mut impl Links, id: u32, deadline_secs: u32) -> u16 {
        let ahead = deadline_secs.saturating_sub(self.next).min(SLOTS - 1);
        let slot = self.next.wrapping_add(ahead) % SLOTS;
        let head = self.heads[slot as usize];
        *links.link(id) = Link { prev: NIL, next: head };
        if head != NIL {
            links.link(head).prev = id;
        }
        self.heads[slot as usize] = id;
        // SLOTS is 8192, so a slot fits.
        u16::try_from(slot).unwrap_or(u16::MAX)
    }

    pub(crate) fn remove(&mut self, links: &mut impl Links, id: u32, slot: u16) {
        let Link { prev, next } = *links.link(id);
        if prev == NIL {
            self.heads[slot as usize] = next;
        } else {
            links.link(prev).next = next;
        }
        if next != NIL {
            links.link(next).prev = prev;
        }
        *links.link(id) = Link::NONE;
    }

    /// Takes one session whose second has come, if there is one.
    pub(crate) fn pop_due(&mut self, links: &mut impl Links, now_secs: u32) -> Option<u32> {
        while self.next <= now_secs {
            let slot = self.next % SLOTS;
            let id = self.heads[slot as usize];
            if id != NIL {
                self.remove(links, id, u16::try_from(slot).unwrap_or(u16::MAX));
                return Some(id);
            }
            self.next += 1;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Records(Vec<Link>);

    impl Links for Records {
        fn link(&mut self, id: u32) -> &mut Link {
            &mut self.0[id as usize]
        }
    }

    fn drain(wheel: &mut Wheel, records: &mut Records, now: u32) -> Vec<u32> {
        let mut due: Vec<u32> = core::iter::from_fn(|| wheel.pop_due(records, now)).collect();
        due.sort_unstable();
        due
    }

    #[test]
    fn sessions_come_up_in_their_second_and_not_before() {
        let mut records = Records(vec![Link::NONE; 6]);
        let mut wheel = Wheel::new(1000);
        let slots: Vec<u16> = [1005, 1005, 1006, 900, 1000 + 8191, 1005]
            .into_iter()
            .zip(0..)
            .map(|(deadline, id)| wheel.insert(&mut records, id, deadline))
            .collect();
        wheel.remove(&mut records, 1, slots[1]);
        assert_eq!(drain(&mut wheel, &mut records, 1000), [3]);
        assert_eq!(drain(&mut wheel, &mut records, 1004), []);
        assert_eq!(drain(&mut wheel, &mut records, 1005), [0, 5]);
        assert_eq!(drain(&mut wheel, &mut records, 9000), [2]);
        assert_eq!(drain(&mut wheel, &mut records, 9190), []);
        assert_eq!(drain(&mut wheel, &mut records, 9191), [4]);
    }

    #[test]
    fn a_deadline_beyond_a_round_comes_up_within_one() {
        let mut records = Records(vec![Link::NONE; 1]);
        let mut wheel = Wheel::new(0);
        wheel.insert(&mut records, 0, 1_000_000);
        assert_eq!(drain(&mut wheel, &mut records, 8190), []);
        assert_eq!(drain(&mut wheel, &mut records, 8191), [0]);
    }
}
