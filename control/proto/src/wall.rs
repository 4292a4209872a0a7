//! The calendar, as machines see it: key lifetimes and sequence numbers need it, deadlines do not.

use millrace_net::Instant;
use serde::{Deserialize, Serialize};

/// Seconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
pub struct UnixTime(pub u64);

/// What the calendar said at one instant. The shell gives a fresh one at the start and after the clock was set.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct WallClock {
    pub at: Instant,
    pub unix: UnixTime,
}

impl WallClock {
    /// The calendar time at `now`, which is not before the reading.
    pub const fn unix(self, now: Instant) -> UnixTime {
        UnixTime(self.unix.0.saturating_add(now.since(self.at).as_secs()))
    }

    /// The instant at which the calendar will say `unix`; the instant of the reading where that is past.
    pub fn instant(self, unix: UnixTime) -> Instant {
        self.at + std::time::Duration::from_secs(unix.0.saturating_sub(self.unix.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readings_extend_forward() {
        let clock = WallClock { at: Instant::from_secs(100), unix: UnixTime(1_700_000_000) };
        assert_eq!(clock.unix(Instant::from_secs(130)), UnixTime(1_700_000_030));
        assert_eq!(clock.unix(Instant::from_secs(30)), UnixTime(1_700_000_000));
        assert_eq!(clock.instant(UnixTime(1_700_000_007)), Instant::from_secs(107));
        assert_eq!(clock.instant(UnixTime(5)), Instant::from_secs(100));
    }
}
