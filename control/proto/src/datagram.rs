//! UDP and raw-IP payloads with the addresses that matter to a protocol.

use std::net::SocketAddrV4;

use serde::{Deserialize, Serialize};

use crate::IfIndex;

/// One received datagram.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Datagram {
    /// The interface it came in on.
    pub interface: IfIndex,
    /// Ports are 0 for protocols that have none (OSPF).
    pub source: SocketAddrV4,
    pub destination: SocketAddrV4,
    /// Of the IP header as received; None where the shell cannot tell.
    pub ttl: Option<u8>,
    pub payload: Vec<u8>,
}

/// One datagram to send.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Transmit {
    /// Leaves here, whatever the routing table says.
    pub interface: IfIndex,
    pub source: SocketAddrV4,
    pub destination: SocketAddrV4,
    /// For the IP header.
    pub ttl: u8,
    pub payload: Vec<u8>,
}
