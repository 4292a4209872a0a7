//! `/metrics`: every value Millrace exports, in one table, rendered in the Prometheus text format.

mod families;
mod process;
mod table;

pub use families::{Scrape, render};
pub use process::Process;
pub use table::{Kind, METRICS, Metric, markdown};

#[cfg(test)]
mod tests;
