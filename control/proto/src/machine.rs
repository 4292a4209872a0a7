//! The one shape of a protocol: four verbs and no world.

use millrace_net::Instant;

/// A protocol without IO. After every `handle_*` call the caller drains [`Machine::poll_output`] to `None` and asks
/// [`Machine::poll_timeout`] again.
///
/// `now` never runs backwards between calls; a machine that is called late handles everything that has fallen due.
pub trait Machine {
    /// What the shell tells the machine. Serialisable wherever recording is wanted ([`crate::record`]).
    type Input;
    /// What the machine asks of the shell.
    type Output;

    fn handle_input(&mut self, now: Instant, input: Self::Input);

    /// Does everything that is due at `now`; calling it early does nothing.
    fn handle_timeout(&mut self, now: Instant);

    /// The next thing to carry out, in order.
    fn poll_output(&mut self) -> Option<Self::Output>;

    /// When [`Machine::handle_timeout`] has something to do next, and what for (a few words, for logs and traces).
    fn poll_timeout(&self) -> Option<(Instant, &'static str)>;
}
