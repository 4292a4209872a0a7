//! Metrics and costs. RFC 2453 §3.5: 1 to 15, and 16 for what cannot be reached.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::wire;

/// 1 to 16.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub struct Metric(u8);

/// What crossing a network adds: 1 to 15.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub struct Cost(u8);

/// Not a metric, or not a cost.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("expected {expected}, not {value}")]
pub struct OutOfRange {
    value: u8,
    expected: &'static str,
}

impl Metric {
    pub const MIN: Self = Self(1);
    pub const INFINITY: Self = Self(wire::INFINITY);

    pub const fn new(value: u8) -> Option<Self> {
        if 1 <= value && value <= wire::INFINITY { Some(Self(value)) } else { None }
    }

    pub const fn get(self) -> u8 {
        self.0
    }

    pub const fn is_infinite(self) -> bool {
        self.0 == wire::INFINITY
    }

    /// RFC 2453 §3.9.2: stops at infinity.
    #[must_use]
    pub const fn plus(self, more: u8) -> Self {
        let sum = self.0.saturating_add(more);
        if sum < wire::INFINITY { Self(sum) } else { Self::INFINITY }
    }
}

impl Cost {
    pub const ONE: Self = Self(1);

    pub const fn new(value: u8) -> Option<Self> {
        if 1 <= value && value < wire::INFINITY { Some(Self(value)) } else { None }
    }

    pub const fn get(self) -> u8 {
        self.0
    }
}

impl From<Cost> for Metric {
    fn from(cost: Cost) -> Self {
        Self(cost.0)
    }
}

impl From<Metric> for u8 {
    fn from(metric: Metric) -> Self {
        metric.0
    }
}

impl From<Cost> for u8 {
    fn from(cost: Cost) -> Self {
        cost.0
    }
}

impl TryFrom<u8> for Metric {
    type Error = OutOfRange;

    fn try_from(value: u8) -> Result<Self, OutOfRange> {
        Self::new(value).ok_or(OutOfRange { value, expected: "a metric of 1 to 16" })
    }
}

impl TryFrom<u8> for Cost {
    type Error = OutOfRange;

    fn try_from(value: u8) -> Result<Self, OutOfRange> {
        Self::new(value).ok_or(OutOfRange { value, expected: "a cost of 1 to 15" })
    }
}

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_stop_at_infinity() {
        for (metric, more, sum) in
            [(1, 1, 2), (14, 1, 15), (15, 1, 16), (16, 0, 16), (16, 255, 16), (1, 0, 1)]
        {
            assert_eq!(
                Metric::new(metric).unwrap().plus(more),
                Metric::new(sum).unwrap(),
                "{metric} + {more}"
            );
        }
        assert_eq!((Metric::new(0), Metric::new(17), Cost::new(0), Cost::new(16)), (None, None, None, None));
    }
}
