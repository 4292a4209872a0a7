//! The `millrace` command as a user meets it: the built program, real sockets, stand-ins for everything behind them.

mod exits;
mod fake;
mod shows;
mod supervisor;
