//! A worker's counters: one allocation, written by one thread, read by any.

use core::sync::atomic::{AtomicU64, Ordering};

use millrace_net::PortId;

use crate::outcome::{DropReason, Event, IcmpMessage, VerdictKind};

/// Every counter of one engine.
///
/// Only the thread that runs the engine writes, so adding is a relaxed load and a relaxed store, as cheap as a plain
/// integer; readers stop nobody and see each counter whole, though not all of them at one instant.
#[repr(align(64))]
#[derive(Debug)]
pub struct CounterPage {
    verdicts: [AtomicU64; VerdictKind::COUNT],
    drops: [AtomicU64; DropReason::COUNT],
    icmp_sent: [AtomicU64; IcmpMessage::COUNT],
    events: [AtomicU64; Event::COUNT],
    held: AtomicU64,
    ports: [PortRow; PortId::MAX],
}

#[derive(Debug)]
struct PortRow {
    rx_packets: AtomicU64,
    rx_bytes: AtomicU64,
    tx_packets: AtomicU64,
    tx_bytes: AtomicU64,
}

/// Traffic of one port through one engine.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct PortCounters {
    pub rx_packets: u64,
    /// Of whole frames as received, without the check sequence.
    pub rx_bytes: u64,
    /// Frames queued for transmission, fragments and ICMP errors among them.
    pub tx_packets: u64,
    pub tx_bytes: u64,
}

impl CounterPage {
    #[expect(clippy::declare_interior_mutable_const, reason = "an initialiser, copied into each element")]
    pub const fn new() -> Self {
        const ZERO: AtomicU64 = AtomicU64::new(0);
        Self {
            verdicts: [ZERO; VerdictKind::COUNT],
            drops: [ZERO; DropReason::COUNT],
            icmp_sent: [ZERO; IcmpMessage::COUNT],
            events: [ZERO; Event::COUNT],
            held: ZERO,
            ports: [const { PortRow { rx_packets: ZERO, rx_bytes: ZERO, tx_packets: ZERO, tx_bytes: ZERO } };
                PortId::MAX],
        }
    }

    /// Packets not forwarded for this reason.
    pub fn dropped(&self, reason: DropReason) -> u64 {
        read(&self.drops[reason.index()])
    }

    pub fn verdicts(&self, kind: VerdictKind) -> u64 {
        read(&self.verdicts[kind.index()])
    }

    /// ICMP errors sent.
    pub fn icmp_sent(&self, message: IcmpMessage) -> u64 {
        read(&self.icmp_sent[message.index()])
    }

    pub fn events(&self, event: Event) -> u64 {
        read(&self.events[event.index()])
    }

    /// Frames in the hold queue at this moment.
    pub fn held(&self) -> u64 {
        read(&self.held)
    }

    /// Zeros for a port number out of range.
    pub fn port(&self, port: PortId) -> PortCounters {
        self.ports.get(port.index()).map_or(PortCounters::default(), |row| PortCounters {
            rx_packets: read(&row.rx_packets),
            rx_bytes: read(&row.rx_bytes),
            tx_packets: read(&row.tx_packets),
            tx_bytes: read(&row.tx_bytes),
        })
    }

    #[inline]
    pub(crate) fn add_verdict(&self, kind: VerdictKind, n: u64) {
        add(&self.verdicts[kind.index()], n);
    }

    #[inline]
    pub(crate) fn add_drop(&self, reason: DropReason) {
        add(&self.drops[reason.index()], 1);
    }

    #[inline]
    pub(crate) fn add_icmp_sent(&self, message: IcmpMessage) {
        add(&self.icmp_sent[message.index()], 1);
    }

    #[inline]
    pub(crate) fn add_event(&self, event: Event, n: u64) {
        add(&self.events[event.index()], n);
    }

    #[inline]
    pub(crate) fn set_held(&self, frames: usize) {
        self.held.store(frames as u64, Ordering::Relaxed);
    }
}

/// Counts frames of one port in a row, so that a run of them costs the page one addition.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Run {
    pub(crate) port: PortId,
    packets: u64,
    bytes: u64,
}

impl Run {
    pub(crate) const EMPTY: Self = Self { port: PortId(0), packets: 0, bytes: 0 };

    #[inline(always)]
    pub(crate) fn add(&mut self, bytes: usize) {
        self.packets += 1;
        self.bytes += bytes as u64;
    }

    /// Ends the run as received frames, and begins one of `port`.
    pub(crate) fn received(&mut self, page: &CounterPage, port: PortId) {
        if let Some(row) = page.ports.get(self.port.index()) {
            add(&row.rx_packets, self.packets);
            add(&row.rx_bytes, self.bytes);
        }
        *self = Self { port, ..Self::EMPTY };
    }

    /// Ends the run as sent frames, and begins one of `port`.
    pub(crate) fn sent(&mut self, page: &CounterPage, port: PortId) {
        if let Some(row) = page.ports.get(self.port.index()) {
            add(&row.tx_packets, self.packets);
            add(&row.tx_bytes, self.bytes);
        }
        *self = Self { port, ..Self::EMPTY };
    }
}

impl Default for CounterPage {
    fn default() -> Self {
        Self::new()
    }
}

#[inline]
fn add(counter: &AtomicU64, n: u64) {
    counter.store(counter.load(Ordering::Relaxed).wrapping_add(n), Ordering::Relaxed);
}

fn read(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_counter_is_its_own() {
        let page = CounterPage::new();
        page.add_drop(DropReason::NoRoute);
        page.add_drop(DropReason::NoRoute);
        page.add_verdict(VerdictKind::Tx, 3);
        let mut run = Run { port: PortId(1), ..Run::EMPTY };
        run.add(64);
        run.add(64);
        run.received(&page, PortId(255));
        run.add(60);
        run.sent(&page, PortId(256));
        run.add(60);
        run.sent(&page, PortId(0));
        page.set_held(4);
        for reason in DropReason::ALL {
            assert_eq!(page.dropped(*reason), if *reason == DropReason::NoRoute { 2 } else { 0 });
        }
        assert_eq!(
            (page.verdicts(VerdictKind::Tx), page.verdicts(VerdictKind::Drop), page.held()),
            (3, 0, 4)
        );
        assert_eq!(
            page.port(PortId(1)),
            PortCounters { rx_packets: 2, rx_bytes: 128, ..PortCounters::default() }
        );
        assert_eq!(
            page.port(PortId(255)),
            PortCounters { tx_packets: 1, tx_bytes: 60, ..PortCounters::default() }
        );
        assert_eq!(page.port(PortId(256)), PortCounters::default());
    }
}
