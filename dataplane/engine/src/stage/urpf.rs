//! Whether a packet's source is where the packet came from. RFC 3704 §2.2, §2.4; RFC 1812 §5.3.8; RFC 5635.
//! Reads: source, port. Next: fib_lookup. Drops: urpf, silently.
//!
//! | route to the source | loose | strict |
//! |---|---|---|
//! | next hops | passes | passes where one of them is on the port |
//! | a connected network | passes | passes where it is the port's |
//! | the default route | as any other | as any other |
//! | none, blackhole, unreachable, prohibit | dropped | dropped |
//! | the router's own address | dropped | dropped |
//!
//! Dropping sources that are routed to a blackhole is how an attack is stopped by its sources (RFC 5635 §4).

use millrace_fib::{Group, Reader};

use crate::packet::Packet;
use crate::ports::Urpf;

/// Whether the packet may pass.
pub(crate) fn urpf(fib: &Reader<'_>, mode: Urpf, packet: &Packet) -> bool {
    if mode == Urpf::Off {
        return true;
    }
    let strict = mode == Urpf::Strict;
    match fib.group(fib.lookup(packet.src)) {
        Group::Forward(buckets) => {
            // Honest packets come by one of the first buckets; only spoofed ones have all of them read.
            let on_port = |slot| fib.adjacency(fib.bucket(buckets, slot)).port == packet.in_port;
            !strict || (0..buckets.len()).any(on_port)
        }
        Group::Glean(port) => !strict || port == packet.in_port,
        Group::None | Group::Local | Group::Blackhole | Group::Unreachable | Group::Prohibit => false,
    }
}
