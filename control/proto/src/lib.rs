//! What every routing protocol shares: the Machine trait, timers, seeded randomness, key chains, interfaces, routes.
