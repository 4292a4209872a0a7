//! How long the routes wait to be calculated after an event: RFC 8405.
//!
//! ```text
//!            first event: INITIAL           more events: SHORT          learning is over: LONG
//!   quiet ───────────────────────▶ short wait ──────────────────▶ long wait
//!     ▲                                │  hold-down without event │
//!     └────────────────────────────────┴──────────────────────────┘
//! ```

use millrace_proto::Instant;

use crate::config::Backoff;

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct State {
    /// The first event of the time that is not quiet.
    first: Option<Instant>,
    last: Option<Instant>,
}

impl State {
    /// An event at `now`: how long to wait, if nothing waits already.
    pub(crate) fn event(&mut self, now: Instant, config: &Backoff) -> std::time::Duration {
        let quiet = self.last.is_none_or(|last| config.hold_down <= now.since(last));
        self.last = Some(now);
        if quiet {
            self.first = Some(now);
            return config.initial;
        }
        let learning = self.first.is_some_and(|first| now.since(first) < config.time_to_learn);
        if learning { config.short } else { config.long }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn waits_grow_and_shrink() {
        let config = Backoff {
            initial: Duration::from_millis(10),
            short: Duration::from_millis(100),
            long: Duration::from_secs(1),
            hold_down: Duration::from_secs(10),
            time_to_learn: Duration::from_secs(1),
        };
        let mut state = State::default();
        // (milliseconds since the start, wait in milliseconds)
        for (at, wait) in
            [(0, 10), (500, 100), (999, 100), (1000, 1000), (10_000, 1000), (20_000, 10), (20_500, 100)]
        {
            let now = Instant::from_nanos(at * 1_000_000);
            assert_eq!(state.event(now, &config), Duration::from_millis(wait), "at {at} ms");
        }
    }
}
