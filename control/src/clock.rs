//! The one place of the routing process that reads clocks for its protocols and its routing table.

use std::time::SystemTime;

use millrace_net::Instant;
use millrace_proto::{UnixTime, WallClock};

/// The time since the process began to route. Copies agree.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    started: tokio::time::Instant,
}

impl Clock {
    pub fn start() -> Self {
        Self { started: tokio::time::Instant::now() }
    }

    pub fn now(self) -> Instant {
        Instant::ZERO + self.started.elapsed()
    }

    /// The moment tokio's timers know `at` as.
    pub fn moment(self, at: Instant) -> tokio::time::Instant {
        self.started + at.since(Instant::ZERO)
    }

    /// What the calendar says.
    #[expect(clippy::disallowed_methods, reason = "the shell owns the clock")]
    pub fn wall(self) -> WallClock {
        let unix = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        WallClock { at: self.now(), unix: UnixTime(unix.as_secs()) }
    }
}
