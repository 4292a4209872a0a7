//! Checked configuration of sessions.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::num::NonZeroU8;

use serde::{Deserialize, Serialize};

use crate::wire::Micros;

/// How sessions behave. The most specific entry counts: of the neighbour, of the interface, the default.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Config {
    pub default: Params,
    /// By interface name.
    pub interfaces: BTreeMap<String, Params>,
    pub neighbors: BTreeMap<Ipv4Addr, Params>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Params {
    min_tx: Micros,
    min_rx: Micros,
    /// Packets in a row that may be lost.
    detect_mult: NonZeroU8,
    /// Waits for the other side to speak first (RFC 5880 §6.1).
    passive: bool,
    /// Held administratively down (RFC 5880 §6.8.16).
    shutdown: bool,
}

/// Why parameters cannot work.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ParamsError {
    #[error("an interval is 10 ms to 60 s, not {} us", .0.0)]
    Interval(Micros),
}

impl Params {
    /// The intervals between packets that we want to send and are able to receive.
    pub fn new(min_tx: Micros, min_rx: Micros, detect_mult: NonZeroU8) -> Result<Self, ParamsError> {
        for interval in [min_tx, min_rx] {
            if interval < Micros::from_millis(10) || Micros::from_millis(60_000) < interval {
                return Err(ParamsError::Interval(interval));
            }
        }
        Ok(Self { min_tx, min_rx, detect_mult, passive: false, shutdown: false })
    }

    #[must_use]
    pub const fn with_passive(self, passive: bool) -> Self {
        Self { passive, ..self }
    }

    #[must_use]
    pub const fn with_shutdown(self, shutdown: bool) -> Self {
        Self { shutdown, ..self }
    }

    pub const fn passive(&self) -> bool {
        self.passive
    }

    pub const fn shutdown(&self) -> bool {
        self.shutdown
    }

    pub const fn min_tx(&self) -> Micros {
        self.min_tx
    }

    pub const fn min_rx(&self) -> Micros {
        self.min_rx
    }

    pub const fn detect_mult(&self) -> NonZeroU8 {
        self.detect_mult
    }
}

impl Default for Params {
    /// 300 ms and three losses, as FRR.
    fn default() -> Self {
        let interval = Micros::from_millis(300);
        let three = NonZeroU8::MIN.saturating_add(2);
        Self { min_tx: interval, min_rx: interval, detect_mult: three, passive: false, shutdown: false }
    }
}

impl Config {
    /// What holds for a session with `neighbor` on the interface of this name.
    pub fn params(&self, interface: Option<&str>, neighbor: Ipv4Addr) -> Params {
        let by_interface = || interface.and_then(|name| self.interfaces.get(name));
        *self.neighbors.get(&neighbor).or_else(by_interface).unwrap_or(&self.default)
    }
}
