//! The routing process, and the millrace command.
#![forbid(unsafe_code)]

pub mod bfd;
pub mod cli;
pub mod clock;
pub mod config;
pub mod fib_client;
pub mod http;
pub mod kernel_mirror;
pub mod links;
pub mod metrics;
pub mod protocols;
pub mod record;
pub mod runtime;
