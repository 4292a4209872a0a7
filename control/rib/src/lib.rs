//! The routing table: candidates by distance, recursive resolution, next-hop groups, deltas. Pure.
