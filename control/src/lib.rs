//! The routing process, and the millrace command.
#![forbid(unsafe_code)]

pub mod cli;
pub mod config;
pub mod http;
pub mod metrics;
pub mod runtime;
