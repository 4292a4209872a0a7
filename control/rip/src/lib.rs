//! RIP version 2 (RFC 2453, RFC 4822) as a sans-IO machine.
