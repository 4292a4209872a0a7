//! What the simulator asks of a router.

use millrace_proto::{Datagram, Instant, InterfaceEvent, RouteChange, Transmit};

/// What a router wants done.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Effect {
    Transmit(Transmit),
    /// Into the forwarding table.
    Route(RouteChange),
}

/// One or several machines behind one set of interfaces. The verbs are those of `millrace_proto::Machine`.
pub trait Router {
    fn interface(&mut self, now: Instant, event: InterfaceEvent);
    fn receive(&mut self, now: Instant, datagram: Datagram);
    fn timeout(&mut self, now: Instant);
    fn next_timeout(&self) -> Option<(Instant, &'static str)>;
    fn poll(&mut self) -> Option<Effect>;
}
