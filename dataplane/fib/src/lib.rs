//! The forwarding table: DIR-24-8, next-hop groups, adjacencies, neighbours, over memory the caller gives.
