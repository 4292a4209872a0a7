//! How many messages the router originates. RFC 1812 §4.3.2.8.

use millrace_net::bucket::FullAt;
use millrace_net::{Instant, Meter, Rate};

use crate::outcome::IcmpMessage;
use crate::stage::fib_lookup::mix;

/// Buckets by destination; destinations whose hashes meet share one. A power of two.
const DESTINATIONS: usize = 4096;

/// One bucket for each kind of message, and for each destination.
///
/// A flood of one kind leaves the others their rate, and one receiver cannot use up everybody's. Buckets of
/// destinations are not keyed by address: a spray of forged sources can empty them but not push anybody out.
#[derive(Debug)]
pub(crate) struct Limiter {
    per_message: Meter,
    per_destination: Meter,
    seed: u64,
    messages: [Bucket; IcmpMessage::COUNT],
    destinations: Box<[Bucket]>,
}

/// One token bucket of one worker.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bucket {
    full_at: FullAt,
}

impl Limiter {
    pub(crate) fn new(per_message: Rate, per_destination: Rate, seed: u64) -> Self {
        Self {
            per_message: Meter::new(per_message),
            per_destination: Meter::new(per_destination),
            seed,
            messages: [Bucket::FULL; IcmpMessage::COUNT],
            destinations: vec![Bucket::FULL; DESTINATIONS].into_boxed_slice(),
        }
    }

    /// Takes a token of the destination and, if there is one, of the kind.
    pub(crate) fn allow(&mut self, now: Instant, message: IcmpMessage, dst: u32) -> bool {
        let slot = mix(self.seed, u64::from(dst)) >> (u64::BITS - DESTINATIONS.trailing_zeros());
        let Some(destination) = usize::try_from(slot).ok().and_then(|slot| self.destinations.get_mut(slot))
        else {
            return false;
        };
        destination.take(now, self.per_destination)
            && self.messages[message.index()].take(now, self.per_message)
    }
}

impl Bucket {
    pub(crate) const FULL: Self = Self { full_at: 0 };

    /// Takes a token, if there is one.
    pub(crate) fn take(&mut self, now: Instant, meter: Meter) -> bool {
        let taken = meter.take(self.full_at, now, 1);
        self.full_at = taken.unwrap_or(self.full_at);
        taken.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::time::Duration;

    fn allowed(limiter: &mut Limiter, now: Instant, message: IcmpMessage, dst: u32, tries: u32) -> usize {
        (0..tries).filter(|_| limiter.allow(now, message, dst)).count()
    }

    const PLENTY: Rate = Rate { per_second: 1_000_000, burst: 1_000_000 };

    #[test]
    fn burst_then_rate() {
        let mut limiter = Limiter::new(Rate { per_second: 10, burst: 5 }, PLENTY, 1);
        let now = Instant::from_secs(100);
        assert_eq!(allowed(&mut limiter, now, IcmpMessage::TtlExceeded, 1, 20), 5);
        assert_eq!(
            allowed(&mut limiter, now + Duration::from_millis(99), IcmpMessage::TtlExceeded, 1, 20),
            0
        );
        assert_eq!(
            allowed(&mut limiter, now + Duration::from_millis(100), IcmpMessage::TtlExceeded, 1, 20),
            1
        );
        assert_eq!(
            allowed(&mut limiter, now + Duration::from_millis(350), IcmpMessage::TtlExceeded, 1, 20),
            2
        );
        assert_eq!(allowed(&mut limiter, now + Duration::from_secs(60), IcmpMessage::TtlExceeded, 1, 20), 5);
    }

    #[test]
    fn kinds_and_destinations_have_their_own() {
        let mut limiter =
            Limiter::new(Rate { per_second: 10, burst: 5 }, Rate { per_second: 1, burst: 2 }, 1);
        let now = Instant::from_secs(1);
        assert_eq!(allowed(&mut limiter, now, IcmpMessage::TtlExceeded, 1, 20), 2);
        assert_eq!(allowed(&mut limiter, now, IcmpMessage::TtlExceeded, 2, 20), 2);
        assert_eq!(
            allowed(&mut limiter, now, IcmpMessage::TtlExceeded, 3, 20),
            1,
            "the kind's burst ends here"
        );
        assert_eq!(allowed(&mut limiter, now, IcmpMessage::NetUnreachable, 4, 20), 2);
    }

    #[test]
    fn rate_zero_is_silence() {
        let mut limiter = Limiter::new(Rate { per_second: 0, burst: 5 }, PLENTY, 1);
        assert_eq!(allowed(&mut limiter, Instant::from_secs(9), IcmpMessage::TtlExceeded, 1, 20), 0);
    }
}
