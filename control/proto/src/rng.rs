//! Seeded randomness: SplitMix64 (Steele, Lea, Flood 2014).
//!
//! Protocols need it for jitter and for discriminators, never for secrets. It is written here because a recording
//! must replay to the same outputs with any later version of the router: `rand` does not promise the same values
//! across its versions, and these are ten lines.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Equal seeds give equal sequences, on every machine and in every version.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Rng(u64);

impl Rng {
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub const fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub const fn next_u32(&mut self) -> u32 {
        (self.next_u64() >> 32) as u32
    }

    /// A number below `bound`; 0 where `bound` is 0. The bias is under `bound` in 2^64.
    pub const fn below(&mut self, bound: u64) -> u64 {
        ((self.next_u64() as u128 * bound as u128) >> 64) as u64
    }

    /// True in `permille` of 1000 draws.
    pub const fn chance(&mut self, permille: u16) -> bool {
        self.below(1000) < permille as u64
    }

    /// A duration from `low` to `high`, both included, to the nanosecond. `low` where `high` is below it.
    pub fn between(&mut self, low: Duration, high: Duration) -> Duration {
        let span = u64::try_from(high.saturating_sub(low).as_nanos()).unwrap_or(u64::MAX - 1);
        low + Duration::from_nanos(self.below(span.saturating_add(1)))
    }

    /// `base` changed by up to `spread` either way, never below zero.
    pub fn around(&mut self, base: Duration, spread: Duration) -> Duration {
        self.between(base.saturating_sub(spread), base + spread)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sequence_is_the_published_one() {
        // The reference implementation's first values for the seed 1234567 (prng.di.unimi.it/splitmix64.c).
        let mut rng = Rng::new(1_234_567);
        let first: Vec<u64> = (0..3).map(|_| rng.next_u64()).collect();
        assert_eq!(first, [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]);
    }

    #[test]
    fn draws_stay_in_range_and_reach_its_ends() {
        let mut rng = Rng::new(1);
        let (low, high) = (Duration::from_nanos(10), Duration::from_nanos(13));
        let drawn: std::collections::BTreeSet<u128> =
            (0..1000).map(|_| rng.between(low, high).as_nanos()).collect();
        assert_eq!(drawn, (10..=13).collect());
        assert_eq!(rng.below(0), 0);
        assert_eq!(rng.between(high, low), high);
        assert!(rng.around(Duration::from_secs(1), Duration::from_secs(9)) <= Duration::from_secs(10));
        let hits = (0..10_000).filter(|_| rng.chance(200)).count();
        assert!((1_800..2_200).contains(&hits), "{hits} of 10000 at 20 %");
    }
}
