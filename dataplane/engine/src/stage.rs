//! The stages of the packet path, in the order a packet meets them. Each file opens with its outcomes.

pub(crate) mod acl;
pub(crate) mod eth_input;
pub(crate) mod eth_output;
pub(crate) mod fib_lookup;
pub(crate) mod hold;
pub(crate) mod icmp_error;
pub(crate) mod ip_forward;
pub(crate) mod ip_fragment;
pub(crate) mod ip_input;
pub(crate) mod ip_options;
pub(crate) mod l4_checksum;
pub(crate) mod mss_clamp;
pub(crate) mod nat;
pub(crate) mod nat_wait;
pub(crate) mod urpf;
