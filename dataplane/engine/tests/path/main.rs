//! The packet path, seen from outside: tables of what goes in, what comes out, and every counter that moves.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod acl;
mod broadcast;
mod eth_input;
mod explain;
mod fib_lookup;
mod hold;
mod icmp_error;
mod ip_forward;
mod ip_fragment;
mod ip_input;
mod ip_options;
mod l4_checksum;
mod mss_clamp;
mod nat;
mod nat_fragments;
mod nat_gateway;
mod properties;
mod redirect;
mod rig;
mod urpf;
