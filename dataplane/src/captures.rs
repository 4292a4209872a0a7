//! The capture under way, as the clerk sees it: one at a time, alive as long as somebody asks for what it has taken.

use std::sync::Arc;
use std::time::Duration;

use millrace_filter::Filter;
use millrace_net::{Instant, PortId};

use crate::control_link::CaptureOrder;
use crate::worker::tap::{Order, Points, Tap, Tapped};

/// Whoever asks for nothing for so long is gone.
const LEASE: Duration = Duration::from_secs(3);

#[derive(Debug, Default)]
pub(crate) struct Captures {
    current: Option<Capture>,
    /// Number of the last one.
    last: u64,
}

#[derive(Debug)]
struct Capture {
    id: u64,
    tap: Arc<Tap>,
    asked: Instant,
}

impl Captures {
    /// `port` is that of the order's interface.
    pub(crate) fn start(
        &mut self,
        now: Instant,
        order: &CaptureOrder,
        port: Option<PortId>,
        frames: u32,
    ) -> Result<u64, String> {
        self.expire(now);
        if self.current.is_some() {
            return Err(format!(
                "another capture is running; it ends {} seconds after its reader does",
                LEASE.as_secs()
            ));
        }
        let filter: Filter =
            order.filter.parse().map_err(|error: millrace_filter::FilterError| error.to_string())?;
        let points = Points { rx: order.rx, tx: order.tx, drop: order.drop };
        let snap = usize::try_from(order.snap).unwrap_or(usize::MAX);
        let order = Order { filter, port, points, snap, trace: order.trace };
        self.last += 1;
        tracing::info!(capture = self.last, filter = order.filter.text(), "a capture begins");
        self.current = Some(Capture { id: self.last, tap: Arc::new(Tap::new(order, frames)), asked: now });
        Ok(self.last)
    }

    /// The tap of this capture, whose reader lives.
    pub(crate) fn asked(&mut self, now: Instant, id: u64) -> Option<Arc<Tap>> {
        let capture = self.current.as_mut().filter(|capture| capture.id == id)?;
        capture.asked = now;
        Some(Arc::clone(&capture.tap))
    }

    /// True if it was there: then it has ended.
    pub(crate) fn stop(&mut self, id: u64) -> bool {
        let ended = self.current.take_if(|capture| capture.id == id).is_some();
        if ended {
            tracing::info!(capture = id, "the capture has ended");
        }
        ended
    }

    /// True if there was one that nobody reads: then it has ended.
    pub(crate) fn expire(&mut self, now: Instant) -> bool {
        let gone = self.current.take_if(|capture| LEASE <= now - capture.asked);
        if let Some(capture) = &gone {
            tracing::info!(capture = capture.id, "the capture has ended");
        }
        gone.is_some()
    }

    pub(crate) fn tapped(&self) -> Tapped {
        Tapped(self.current.as_ref().map(|capture| Arc::clone(&capture.tap)))
    }

    /// Frames that wait to be fetched.
    pub(crate) fn waiting(&self) -> usize {
        self.current.as_ref().map_or(0, |capture| capture.tap.waiting())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_capture_lives_as_long_as_somebody_asks() {
        let order = CaptureOrder {
            filter: "udp".into(),
            interface: None,
            rx: true,
            tx: false,
            drop: false,
            snap: 64,
            trace: false,
        };
        let at = |seconds: u64| Instant::from_nanos(seconds * 1_000_000_000);
        let mut captures = Captures::default();
        let wrong = CaptureOrder { filter: "udpp".into(), ..order.clone() };
        assert!(captures.start(at(0), &wrong, None, 1024).unwrap_err().contains("\"udpp\""));
        assert_eq!(captures.start(at(0), &order, None, 1024), Ok(1));
        assert!(captures.start(at(2), &order, None, 1024).unwrap_err().contains("another capture"));
        assert!(captures.asked(at(2), 1).is_some() && captures.asked(at(2), 2).is_none());
        assert!(!captures.expire(at(4)));
        assert!(captures.tapped().0.is_some());
        assert!(captures.expire(at(5)) && !captures.expire(at(5)));
        assert!(captures.tapped() == Tapped::default() && captures.asked(at(5), 1).is_none());
        assert_eq!(captures.start(at(5), &order, None, 1024), Ok(2));
        assert!(captures.stop(2) && !captures.stop(2));
        assert_eq!(captures.start(at(5), &order, None, 1024), Ok(3));
        // The next may begin as soon as the lease is over, tick or not.
        assert_eq!(captures.start(at(8), &order, None, 1024), Ok(4));
    }
}
