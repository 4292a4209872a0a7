//! Token buckets: so many units a second on average, so many at once. The arithmetic, without the memory.
//!
//! A bucket is one number, the time at which it will be full again (the "virtual scheduling" form of the generic cell
//! rate algorithm, ITU-T I.371 §6.2; the single rate of RFC 2697 with two colours). What passes moves that time on by
//! units/rate; what would move it further ahead than the burst takes to fill is refused and moves nothing. Who owns the
//! number, and whether it is atomic, is for the user to say: ICMP limits, policers of filters, and the XDP program's
//! guard of the host share this.

use crate::Instant;

/// What a bucket is filled with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Rate {
    /// Units (packets, or bytes) a second; 0 refuses everything.
    pub per_second: u64,
    /// Units the bucket holds: what may pass at once after a pause. At least 1.
    pub burst: u64,
}

/// A [`Rate`] made ready: taking from a bucket is a multiplication and a comparison.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Meter {
    /// Time a unit takes to refill, in 2^-12 [ticks](TICKS_PER_NANO).
    per_unit: u64,
    /// Time an empty bucket takes to fill, in ticks.
    depth: u64,
}

/// When a bucket is full again, in ticks. Zero is a full bucket.
pub type FullAt = u64;

/// Sixteenths of a nanosecond: a byte of 100 Gbit/s is not rounded away, and a clock fits for 36 years.
const TICKS_PER_NANO: u64 = 1 << TICK_BITS;
const TICK_BITS: u32 = 4;
const FRACTION_BITS: u32 = 12;
const SECOND: u64 = 1_000_000_000;

impl Meter {
    pub const fn new(rate: Rate) -> Self {
        if rate.per_second == 0 {
            return Self { per_unit: 1 << FRACTION_BITS, depth: 0 };
        }
        let per_unit = ((SECOND * TICKS_PER_NANO) << FRACTION_BITS) / rate.per_second;
        // A bucket that takes over nine years to fill is as good as bottomless.
        let depth = (rate.burst as u128 * per_unit as u128) >> FRACTION_BITS;
        #[expect(clippy::cast_possible_truncation, reason = "compared before")]
        let depth = if depth < 1 << 62 { depth as u64 } else { 1 << 62 };
        Self { per_unit, depth }
    }

    /// The bucket after `units` have been taken, or `None` where it has not so many. A clock that steps back gives
    /// nothing and takes nothing.
    #[inline(always)]
    pub const fn take(self, full_at: FullAt, now: Instant, units: u16) -> Option<FullAt> {
        let now = now.as_nanos() << TICK_BITS;
        let from = if full_at < now { now } else { full_at };
        // At most 2^46 for a unit, so 2^62 for as many as there can be.
        let full_at = from.saturating_add((units as u64 * self.per_unit) >> FRACTION_BITS);
        if full_at - now <= self.depth { Some(full_at) } else { None }
    }

    /// As two words of a map.
    pub const fn to_words(self) -> [u64; 2] {
        [self.per_unit, self.depth]
    }

    /// What [`Self::to_words`] made.
    #[inline(always)]
    pub const fn from_words([per_unit, depth]: [u64; 2]) -> Self {
        Self { per_unit, depth }
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use super::*;
    use core::time::Duration;
    use std::vec::Vec;

    /// What passes of packets of `units` at these milliseconds.
    fn passed(rate: Rate, units: u16, at: &[u64]) -> Vec<bool> {
        let (start, meter) = (Instant::from_secs(5), Meter::new(rate));
        let mut bucket = 0;
        at.iter()
            .map(|ms| match meter.take(bucket, start + Duration::from_millis(*ms), units) {
                Some(full_at) => {
                    bucket = full_at;
                    true
                }
                None => false,
            })
            .collect()
    }

    #[test]
    fn a_burst_passes_then_the_rate() {
        let rate = Rate { per_second: 10, burst: 3 };
        let at = [0, 0, 0, 0, 99, 100, 100, 300, 300, 300];
        assert_eq!(passed(rate, 1, &at), [true, true, true, false, false, true, false, true, true, false]);
    }

    #[test]
    fn units_are_what_is_counted() {
        let rate = Rate { per_second: 1000, burst: 1500 };
        assert_eq!(passed(rate, 1000, &[0, 0, 499, 500, 1500]), [true, false, false, true, true]);
        assert_eq!(passed(rate, 1501, &[0, 5000]), [false, false], "more than the bucket holds");
    }

    #[test]
    fn rate_zero_refuses_everything() {
        assert_eq!(passed(Rate { per_second: 0, burst: 100 }, 1, &[0, 9999]), [false, false]);
    }

    #[test]
    fn a_clock_that_steps_back_gives_nothing() {
        let meter = Meter::new(Rate { per_second: 1, burst: 1 });
        let bucket = meter.take(0, Instant::from_secs(5), 1).unwrap();
        assert_eq!(meter.take(bucket, Instant::from_secs(1), 1), None);
        assert_eq!(meter.take(bucket, Instant::from_nanos(5_999_999_999), 1), None);
        assert!(meter.take(bucket, Instant::from_secs(6), 1).is_some());
    }

    #[test]
    fn neither_slow_nor_fast_rates_are_rounded_away() {
        // (units a second, burst, one packet every so many ns, its units, for so long in ns)
        for (per_second, burst, every, units, span) in [
            (1, 1, 1_000, 1, 2 * SECOND - 1),
            (12_500_000_000, 10_000, 50, 1000, 10_000_000),
            (1_000_000, 10, 300, 1, 100_000_000),
        ] {
            let meter = Meter::new(Rate { per_second, burst });
            let (mut bucket, mut passed) = (0, 0u64);
            let mut now = 0;
            while now <= span {
                if let Some(full_at) = meter.take(bucket, Instant::from_nanos(now), units) {
                    bucket = full_at;
                    passed += u64::from(units);
                }
                now += every;
            }
            let expected = burst + per_second * span / SECOND;
            assert!(
                passed.abs_diff(expected) <= expected / 1000 + u64::from(units),
                "{passed} of {expected}"
            );
        }
    }

    #[test]
    fn a_meter_survives_its_words() {
        let meter = Meter::new(Rate { per_second: 7, burst: 9 });
        assert_eq!(Meter::from_words(meter.to_words()), meter);
    }
}
