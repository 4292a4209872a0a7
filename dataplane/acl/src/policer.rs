//! A token bucket: what is over the rate is refused, bursts up to a size are let through (RFC 2697's single rate, two
//! colours).

use core::time::Duration;

use millrace_net::Instant;

/// What a bucket is filled with, a second.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rate {
    /// Units (packets, or bytes) a second; not 0.
    pub per_second: u64,
    /// Units the bucket holds: what may pass at once after a pause.
    pub burst: u64,
}

/// The bucket. It is full at first.
#[derive(Clone, Debug)]
pub struct Policer {
    rate: Rate,
    /// Billionths of a unit, so that slow rates fill without rounding away.
    level: u128,
    filled: Instant,
}

const SCALE: u128 = 1_000_000_000;

impl Policer {
    pub fn new(rate: Rate, now: Instant) -> Self {
        Self { rate, level: u128::from(rate.burst) * SCALE, filled: now }
    }

    /// Takes `units` if they are there; says whether they were. A refused packet takes nothing.
    #[inline]
    pub fn conforms(&mut self, now: Instant, units: u64) -> bool {
        self.fill(now);
        let need = u128::from(units) * SCALE;
        let conforms = need <= self.level;
        if conforms {
            self.level -= need;
        }
        conforms
    }

    /// Changes the rate and keeps what is in the bucket, up to the new burst.
    pub fn set_rate(&mut self, now: Instant, rate: Rate) {
        self.fill(now);
        self.rate = rate;
        self.level = self.level.min(u128::from(rate.burst) * SCALE);
    }

    fn fill(&mut self, now: Instant) {
        let passed: Duration = now.since(self.filled);
        self.filled = self.filled.max(now);
        let gained = passed.as_nanos().saturating_mul(self.rate.per_second.into());
        self.level = self.level.saturating_add(gained).min(u128::from(self.rate.burst) * SCALE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_then_the_rate() {
        let start = Instant::from_secs(5);
        let mut policer = Policer::new(Rate { per_second: 10, burst: 3 }, start);
        let passed: Vec<bool> = [0, 0, 0, 0, 99, 100, 100, 300]
            .into_iter()
            .map(|ms| policer.conforms(start + Duration::from_millis(ms), 1))
            .collect();
        assert_eq!(passed, [true, true, true, false, false, true, false, true]);
    }

    #[test]
    fn a_clock_that_steps_back_gives_nothing_and_takes_nothing() {
        let start = Instant::from_secs(5);
        let mut policer = Policer::new(Rate { per_second: 1, burst: 1 }, start);
        assert!(policer.conforms(start, 1));
        assert!(!policer.conforms(Instant::from_secs(1), 1));
        assert!(!policer.conforms(start + Duration::from_millis(999), 1));
        assert!(policer.conforms(start + Duration::from_secs(1), 1));
    }

    #[test]
    fn slow_rates_are_not_rounded_away() {
        let start = Instant::ZERO;
        let mut policer = Policer::new(Rate { per_second: 1, burst: 1 }, start);
        assert!(policer.conforms(start, 1));
        let passed =
            (1..=2_000_000u64).filter(|us| policer.conforms(Instant::from_nanos(us * 1_000), 1)).count();
        assert_eq!(passed, 2);
    }

    #[test]
    fn a_new_rate_keeps_the_level_up_to_its_burst() {
        let start = Instant::ZERO;
        let mut policer = Policer::new(Rate { per_second: 1, burst: 100 }, start);
        policer.set_rate(start, Rate { per_second: 1, burst: 2 });
        assert!(policer.conforms(start, 2));
        assert!(!policer.conforms(start, 1));
    }
}
