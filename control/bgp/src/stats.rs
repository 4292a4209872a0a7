//! What is counted, and why routes are not used. One variant, one counter, one label in the metrics.

use serde::Serialize;

millrace_proto::reasons! {
    /// Why a route that a peer announced is not taken.
    BadRoute, BadRoutes {
        /// An external peer without an import policy (RFC 8212).
        NoPolicy = "no-policy",
        /// The import policy.
        Policy = "policy",
        /// Our own AS is in its path (RFC 4271 §9.1.2).
        AsLoop = "as-loop",
        /// We originated it, or our cluster has seen it (RFC 4456 §8).
        ReflectionLoop = "reflection-loop",
        /// The path does not begin with the peer's AS (RFC 4271 §6.3).
        FirstAs = "first-as",
        /// A next hop that is ours, or is no host (RFC 4271 §5.1.3, §6.3).
        NextHop = "next-hop",
        /// RFC 9234 §5: it came from where only customers' routes go.
        RouteLeak = "route-leak",
        /// RFC 9774
        AsSet = "as-set",
        /// The prefix is no unicast destination.
        Prefix = "prefix",
    }
}

/// Messages of a peer since the process started, by kind as in [`crate::wire::Kind::ALL`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct PeerStats {
    pub received: [u64; 5],
    pub sent: [u64; 5],
    /// Sessions that were established.
    pub established: u64,
    /// Sessions that ended.
    pub dropped: u64,
    /// Routes withdrawn because their attributes were malformed (RFC 7606).
    pub treated_as_withdraw: u64,
    /// Attributes discarded for the same reason.
    pub attributes_discarded: u64,
    pub bad_routes: BadRoutes,
}
