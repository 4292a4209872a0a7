//! Packet filters: a subset of the language of pcap-filter(7), parsed once and evaluated on Ethernet frames.
//!
//! ```text
//!   filter  = not { ("and" | "&&" | "or" | "||") not } ;      both bind alike, from left to right
//!   not     = ("not" | "!") not | "(" filter ")" | test ;
//!   test    = "ip" | "arp" | "icmp" | "tcp" | "udp" | "vlan" [ID]
//!           | ["ip"] "proto" NUMBER
//!           | [protocol] [direction] ["host"] ADDR  | [protocol] [direction] "net" PREFIX
//!           | [protocol] [direction] "port" PORT    | [protocol] [direction] "portrange" PORT-PORT
//!           | "ether" [direction] "host" MAC        | ("less" | "greater") BYTES ;
//!   direction = "src" | "dst" | "src" "or" "dst" ;  protocol = "ip" | "tcp" | "udp" | "icmp"
//! ```
//! As in pcap-filter, `host` and `port` without a direction mean either, and a VLAN tag does not hide what is inside:
//! unlike there, `vlan` moves no offset. No port is seen in fragments but the first.
//!
//! Not implemented: byte offsets (`ip[8] < 2`), IPv6, names of hosts, `gateway`, `broadcast`, MPLS and the rest.
//! There is no maintained filter compiler in Rust, and libpcap is C.
#![forbid(unsafe_code)]

mod facts;
mod parse;

use std::net::Ipv4Addr;
use std::str::FromStr;

use millrace_net::{Mac, Prefix};

use facts::Facts;
pub use parse::FilterError;

/// A filter that can be asked about frames.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Filter {
    text: String,
    /// None: everything passes.
    test: Option<Test>,
}

/// What is asked of a frame.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Test {
    Or(Box<(Test, Test)>),
    And(Box<(Test, Test)>),
    Not(Box<Test>),
    Ip,
    Arp,
    Protocol(u8),
    /// Tagged; with this id, if there is one.
    Vlan(Option<u16>),
    Net(Side, Prefix),
    /// First and last.
    Ports(Side, u16, u16),
    Ether(Side, Mac),
    /// Frames of at least so many bytes.
    Longer(usize),
    Shorter(usize),
}

/// Which end of the packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Side {
    Source,
    Destination,
    Either,
}

impl Side {
    fn any<T>(self, source: Option<T>, destination: Option<T>, test: impl Fn(T) -> bool) -> bool {
        match self {
            Self::Source => source.is_some_and(test),
            Self::Destination => destination.is_some_and(test),
            Self::Either => source.is_some_and(&test) || destination.is_some_and(test),
        }
    }
}

impl Filter {
    /// As it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether the frame, from its Ethernet header on, is one that is wanted. Bytes that are not there match nothing.
    pub fn matches(&self, frame: &[u8]) -> bool {
        self.test.as_ref().is_none_or(|test| test.holds(&Facts::of(frame)))
    }
}

impl FromStr for Filter {
    type Err = FilterError;

    fn from_str(text: &str) -> Result<Self, FilterError> {
        Ok(Self { text: text.trim().to_owned(), test: parse::parse(text)? })
    }
}

impl Test {
    fn holds(&self, facts: &Facts) -> bool {
        match self {
            Self::Or(both) => both.0.holds(facts) || both.1.holds(facts),
            Self::And(both) => both.0.holds(facts) && both.1.holds(facts),
            Self::Not(test) => !test.holds(facts),
            Self::Ip => facts.ip.is_some(),
            Self::Arp => facts.arp,
            Self::Protocol(protocol) => facts.ip.as_ref().is_some_and(|ip| ip.protocol == *protocol),
            Self::Vlan(id) => facts.vlan.is_some_and(|vlan| id.is_none_or(|id| id == vlan)),
            Self::Net(side, prefix) => {
                let within = |address: Ipv4Addr| prefix.contains(address);
                let end = |of: fn(&facts::Ip) -> Ipv4Addr| facts.ip.as_ref().map(of);
                side.any(end(|ip| ip.source), end(|ip| ip.destination), within)
            }
            Self::Ports(side, first, last) => {
                let within = |port: u16| (*first..=*last).contains(&port);
                let ports = facts.ip.as_ref().and_then(|ip| ip.ports);
                side.any(ports.map(|(source, _)| source), ports.map(|(_, destination)| destination), within)
            }
            Self::Ether(side, mac) => {
                let ends = facts.ether;
                side.any(ends.map(|(source, _)| source), ends.map(|(_, destination)| destination), |end| {
                    end == *mac
                })
            }
            Self::Longer(bytes) => *bytes <= facts.len,
            Self::Shorter(bytes) => facts.len <= *bytes,
        }
    }
}

#[cfg(test)]
mod tests;
