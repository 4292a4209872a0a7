//! The keys of `[nat]` and of what stands under it.

use super::{Section, key};

pub(in crate::config) const NAT: Section = Section {
    name: "nat",
    repeated: false,
    help: "Address translation between interfaces with `nat = \"inside\"` and `nat = \"outside\"`. What goes from inside to outside gets an \
           address of a pool; what comes from outside needs a mapping. Changes keep the sessions that the new settings allow. Times are in \
           seconds and not under what the RFCs demand.",
    keys: &[
        key(
            "tcp-established",
            "seconds, at least 7440 (RFC 5382 REQ-5)",
            "7440",
            "An established connection without traffic.",
        ),
        key(
            "tcp-transitory",
            "seconds, at least 240 (RFC 5382 REQ-5)",
            "240",
            "A connection that opens, closes or was reset (RFC 7857 §2).",
        ),
        key(
            "udp",
            "seconds, at least 120 (RFC 4787 REQ-5)",
            "300",
            "A UDP session without traffic from inside.",
        ),
        key("icmp", "seconds, at least 60 (RFC 5508 REQ-1)", "60", "An ICMP query session."),
        key("other", "seconds, at least 60", "300", "Protocols without ports: GRE, ESP and the like."),
        key(
            "inbound-refresh",
            "true or false",
            "false",
            "Whether packets from outside keep UDP and ICMP sessions alive too (RFC 4787 REQ-6).",
        ),
        key(
            "port-quarantine",
            "seconds from 0 to 3600",
            "120",
            "How long a port rests after its last mapping (RFC 6888 REQ-8).",
        ),
        key(
            "max-sessions",
            "a number from 1024 to 67108864",
            "1048576",
            "Sessions in all. Over it flows are refused; live ones are never evicted. About 200 bytes each.",
        ),
        key("max-mappings", "a number from 1024 to 67108864", "1048576", "Mappings in all."),
        key(
            "sessions-per-subscriber",
            "a number from 1 to 67108864",
            "no quota",
            "Sessions of one inside address (RFC 6888 REQ-4).",
        ),
        key(
            "ports-per-subscriber",
            "a number from 1 to 196608",
            "no quota",
            "Outside ports of one inside address, all protocols together (RFC 6888 REQ-4).",
        ),
        key(
            "refuse-with",
            "\"prohibited\" or \"unreachable\"",
            "\"prohibited\"",
            "The answer to a flow that gets no mapping: ICMP 3/13 (RFC 5508 REQ-8) or 3/1.",
        ),
        key(
            "alg",
            "a list of \"ftp\" and \"tftp\"",
            "[\"ftp\", \"tftp\"]",
            "Application level gateways that are on: FTP over port 21, active and passive, and TFTP over port 69.",
        ),
    ],
};

pub(in crate::config) const POOL: Section = Section {
    name: "nat.pool",
    repeated: true,
    help: "Outside addresses. One of `addresses` and `interface`. Addresses on an outside interface's subnet are answered for by ARP.",
    keys: &[
        key(
            "name",
            "a name of 1 to 63 letters, digits, `-`, `_` and `.`",
            "required",
            "What rules and metrics call it.",
        ),
        key(
            "addresses",
            "a list of addresses, prefixes and ranges such as [\"203.0.113.8/29\", \"203.0.113.32-203.0.113.39\"]",
            "required unless `interface`",
            "Addresses that are NAT's alone. Every address of a prefix is used.",
        ),
        key(
            "interface",
            "the name of an interface with nat = \"outside\"",
            "required unless `addresses`",
            "The interface's address, shared with the host: a port with a mapping is NAT's, all others are the host's. NAT takes no port of the \
             host's ephemeral range (`net.ipv4.ip_local_port_range`), none the host listens on as the configuration is applied, none of `host-ports`.",
        ),
        key(
            "ports",
            "a range of ports such as \"1024-65535\"",
            "\"1024-65535\"",
            "Ports that are given out.",
        ),
        key(
            "host-ports",
            "a list of ports and ranges such as [\"8080\", \"9000-9010\"]",
            "[]",
            "With `interface`: ports that stay the host's, for what it will listen on later.",
        ),
        key(
            "filtering",
            "\"endpoint-independent\", \"address-dependent\" or \"address-and-port-dependent\", or one for each of { tcp, udp, icmp }",
            "\"endpoint-independent\"",
            "Who may send to a mapping (RFC 4787 §5): anybody, addresses that were sent to, endpoints that were sent to.",
        ),
        key(
            "block-size",
            "a power of two from 64 to 16384",
            "none: single ports",
            "Ports are given to a subscriber in blocks, and the log has a line a block (RFC 6888 REQ-14).",
        ),
        key("max-blocks", "a number from 1 to 1024", "8", "Blocks of one subscriber."),
        key("block-idle", "seconds from 0 to 86400", "120", "How long a block without a mapping is kept."),
        key(
            "deterministic",
            "a prefix such as \"100.64.0.0/22\"",
            "none",
            "Every inside address of the prefix has its ports by arithmetic, so that nothing need be logged (RFC 7422). Excludes `block-size`.",
        ),
    ],
};

/// The table form of `nat.pool.filtering`.
pub(in crate::config) const FILTERING: Section = Section {
    name: "nat.pool.filtering",
    repeated: false,
    help: "",
    keys: &[
        key("tcp", EACH_FILTERING, "\"endpoint-independent\"", ""),
        key("udp", EACH_FILTERING, "\"endpoint-independent\"", ""),
        key("icmp", EACH_FILTERING, "\"endpoint-independent\"", ""),
    ],
};

const EACH_FILTERING: &str =
    "\"endpoint-independent\", \"address-dependent\" or \"address-and-port-dependent\"";

pub(in crate::config) const SOURCE: Section = Section {
    name: "nat.source",
    repeated: true,
    help: "Who is translated: the first entry whose prefix holds the inside address, and whose `to`, if it has one, holds the destination, \
           decides. An inside address without an entry is refused at outside interfaces.",
    keys: &[
        key("from", "a prefix such as \"192.168.0.0/16\"", "required", "Inside addresses."),
        key("pool", "the name of a [[nat.pool]]", "required unless `exempt`", "Where they come out."),
        key("exempt", "true", "false", "They are routed as they are."),
        key(
            "to",
            "a prefix such as \"10.0.0.0/8\"",
            "all destinations",
            "With `exempt`: only on their way there (RFC 6888 REQ-6), those with a [[nat.static]] too.",
        ),
    ],
};

pub(in crate::config) const FORWARD: Section = Section {
    name: "nat.forward",
    repeated: true,
    help: "Port forwarding: an outside port, or a range, that always leads to an inside endpoint; from inside as well (hairpinning).",
    keys: &[
        key(
            "outside",
            "an endpoint such as \"203.0.113.8:8080\", \"203.0.113.8:8000-8009\" or \"eth0:8080\"",
            "required",
            "Address, or outside interface with the address it has, and port or range.",
        ),
        key("protocol", "\"tcp\" or \"udp\"", "required", ""),
        key(
            "inside",
            "an endpoint such as \"192.168.50.6:80\"",
            "required",
            "Of a range: where the first port leads; the others follow in step.",
        ),
    ],
};

pub(in crate::config) const ONE_TO_ONE: Section = Section {
    name: "nat.static",
    repeated: true,
    help: "One-to-one: an outside address that is an inside address, for every protocol and port.",
    keys: &[
        key("outside", "an address such as \"203.0.113.9\"", "required", ""),
        key("inside", "an address such as \"192.168.50.50\"", "required", ""),
    ],
};

pub(in crate::config) const LOG: Section = Section {
    name: "nat.log",
    repeated: false,
    help: "Who had which outside endpoint when: a line for a mapping made and removed, or for a port block where a pool gives out blocks. \
           Destinations are not logged (RFC 6888 REQ-12). Pools with `deterministic` need no log.",
    keys: &[
        key("file", "an absolute path such as \"/var/log/millrace/nat.jsonl\"", "none", "JSON lines."),
        key(
            "syslog",
            "an address and a port such as \"192.0.2.10:514\", or the path of a socket such as \"/dev/log\"",
            "none",
            "RFC 5424 messages, by UDP or to a local socket.",
        ),
        key("rate", "lines a second from 1 to 1000000", "10000", "What is over is left out and counted."),
    ],
};
