//! The one place of the dataplane that reads a clock.

use std::time::Duration;

use millrace_net::Instant;
use rustix::time::{ClockId, clock_gettime};

/// The kernel's monotonic clock. A vDSO call: some 25 ns.
#[inline]
pub(crate) fn now() -> Instant {
    let time = clock_gettime(ClockId::Monotonic);
    let secs = u64::try_from(time.tv_sec).unwrap_or(0);
    let nanos = u64::try_from(time.tv_nsec).unwrap_or(0);
    Instant::from_nanos(secs.saturating_mul(1_000_000_000).saturating_add(nanos))
}

/// How long 1970 is ago. It jumps when somebody sets the clock.
pub(crate) fn since_epoch() -> Duration {
    let time = clock_gettime(ClockId::Realtime);
    let secs = u64::try_from(time.tv_sec).unwrap_or(0);
    Duration::from_secs(secs) + Duration::from_nanos(u64::try_from(time.tv_nsec).unwrap_or(0))
}

/// How long midnight UT is ago. Unlike [`now`] it jumps when somebody sets the clock.
pub(crate) fn since_midnight() -> Duration {
    const DAY: u64 = 24 * 60 * 60;
    let time = clock_gettime(ClockId::Realtime);
    let secs = u64::try_from(time.tv_sec).unwrap_or(0);
    Duration::from_secs(secs % DAY) + Duration::from_nanos(u64::try_from(time.tv_nsec).unwrap_or(0))
}

/// Days since 1970 and seconds of the day, UT.
pub(crate) fn calendar() -> (u64, u64) {
    const DAY: u64 = 24 * 60 * 60;
    let secs = u64::try_from(clock_gettime(ClockId::Realtime).tv_sec).unwrap_or(0);
    (secs / DAY, secs % DAY)
}
