//! A token bucket that several workers share: what is over the rate is refused, bursts up to a size are let through.

use core::sync::atomic::{AtomicU64, Ordering};

use millrace_net::{Instant, Meter, Rate};

/// What a policer counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unit {
    Packets,
    /// Of the IPv4 packet, headers included.
    Bytes,
}

/// The bucket. It is full at first. One atomic number, so the rate holds for all workers together.
#[derive(Debug)]
pub struct Policer {
    meter: Meter,
    unit: Unit,
    full_at: AtomicU64,
}

impl Policer {
    pub const fn new(rate: Rate, unit: Unit) -> Self {
        Self { meter: Meter::new(rate), unit, full_at: AtomicU64::new(0) }
    }

    /// Takes a packet of `bytes` if there is room for it; says whether there was. A refused packet takes nothing.
    #[inline]
    pub fn conforms(&self, now: Instant, bytes: u16) -> bool {
        let units = self.units(bytes);
        let take = |full_at| self.meter.take(full_at, now, units);
        self.full_at.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok()
    }

    /// What [`Self::conforms`] would say, without taking.
    pub fn would_conform(&self, now: Instant, bytes: u16) -> bool {
        self.meter.take(self.full_at.load(Ordering::Relaxed), now, self.units(bytes)).is_some()
    }

    const fn units(&self, bytes: u16) -> u16 {
        match self.unit {
            Unit::Packets => 1,
            Unit::Bytes => bytes,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_or_bytes_are_counted() {
        let now = Instant::from_secs(1);
        for (unit, passes) in [(Unit::Packets, 3), (Unit::Bytes, 2)] {
            let rate = match unit {
                Unit::Packets => Rate { per_second: 1, burst: 3 },
                Unit::Bytes => Rate { per_second: 1, burst: 3000 },
            };
            let policer = Policer::new(rate, unit);
            assert!(policer.would_conform(now, 1500));
            assert_eq!((0..10).filter(|_| policer.conforms(now, 1500)).count(), passes, "{unit:?}");
            assert!(!policer.would_conform(now, 1500));
        }
    }

    #[test]
    fn the_rate_holds_for_all_workers_together() {
        let policer = Policer::new(Rate { per_second: 1, burst: 1000 }, Unit::Packets);
        let now = Instant::from_secs(1);
        let passed: usize = std::thread::scope(|scope| {
            let workers: Vec<_> = (0..4)
                .map(|_| scope.spawn(|| (0..1000).filter(|_| policer.conforms(now, 64)).count()))
                .collect();
            workers.into_iter().map(|worker| worker.join().unwrap()).sum()
        });
        assert_eq!(passed, 1000);
    }
}
