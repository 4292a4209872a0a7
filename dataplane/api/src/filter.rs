//! Packet filters and policers, as the configuration file has them.

use millrace_net::{Prefix, Rate};
use serde::{Deserialize, Serialize};

/// An ordered list: the first rule that matches decides.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Acl {
    /// Unique among lists.
    pub name: String,
    /// What happens to packets that no rule matches.
    pub default: AclAction,
    pub rules: Vec<AclRule>,
}

/// One line of a list. A condition that is empty is met by every packet.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct AclRule {
    /// For people; empty where the file gives none.
    pub name: String,
    pub action: AclAction,
    pub source: Vec<Prefix>,
    pub destination: Vec<Prefix>,
    /// IP protocol number.
    pub protocol: Option<u8>,
    /// Both ends included, ascending. With protocol 1: ICMP types.
    pub source_ports: Vec<(u16, u16)>,
    /// With protocol 1: ICMP codes.
    pub destination_ports: Vec<(u16, u16)>,
    pub tcp_flags: Option<TcpFlags>,
    pub fragments: Fragments,
    /// 0 to 63.
    pub dscp: Vec<u8>,
    /// What is over the rate is dropped; with action accept only.
    pub police: Option<Police>,
}

/// Met by a TCP segment whose flags under `mask` equal `value`. Bits as in the header: FIN 1, SYN 2, RST 4, PSH 8, ACK 16,
/// URG 32, ECE 64, CWR 128.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct TcpFlags {
    pub mask: u8,
    pub value: u8,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AclAction {
    Accept,
    /// Without a word.
    Drop,
    /// Answered with ICMP 3/13.
    Reject,
}

impl AclAction {
    /// As in the configuration file.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Accept => "accept",
            Self::Drop => "drop",
            Self::Reject => "reject",
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fragments {
    #[default]
    Any,
    /// First or later.
    Only,
    Later,
    /// Unfragmented datagrams only.
    No,
}

/// A token bucket for all workers together.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Police {
    /// In packets.
    Packets(Rate),
    /// In bytes of IPv4 packets, headers included.
    Bytes(Rate),
}
