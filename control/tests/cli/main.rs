//! The `millrace` command as a user meets it: the built program, real sockets, stand-ins for everything behind them.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod exits;
mod fake;
mod shows;
mod supervisor;
