//! Every key of the configuration: the one list that the reader knows keys by, that errors quote and that
//! `deploy/examples/CONFIG.md` is made from.

mod nat;

pub(super) use nat::{FILTERING, FORWARD, LOG, NAT, ONE_TO_ONE, POOL, SOURCE};

pub(super) use super::reference_bgp::{
    BGP, BGP_AGGREGATE, BGP_GROUP, BGP_NEIGHBOR, BGP_RANGE, BGP_REDISTRIBUTE,
};
pub(super) use super::reference_ospf::{
    OSPF, OSPF_AREA, OSPF_DEFAULT, OSPF_INTERFACE, OSPF_RANGE, OSPF_REDISTRIBUTE,
};
use super::reference_routing::POLICY_PARTS;
pub(super) use super::reference_routing::{
    KEY, KEY_CHAIN, POLICY, RIP, RIP_DEFAULT, RIP_INTERFACE, RIP_OFFSET, RIP_REDISTRIBUTE,
};

/// A table of the file.
#[derive(Clone, Copy, Debug)]
pub struct Section {
    /// As in the file, without brackets: `interface`.
    pub name: &'static str,
    /// Written `[[name]]`, any number of times.
    pub repeated: bool,
    pub help: &'static str,
    pub keys: &'static [Key],
}

#[derive(Clone, Copy, Debug)]
pub struct Key {
    pub name: &'static str,
    /// Completes "expected …".
    pub expected: &'static str,
    /// What holds where the key is absent.
    pub default: &'static str,
    pub help: &'static str,
}

pub(super) const fn key(
    name: &'static str,
    expected: &'static str,
    default: &'static str,
    help: &'static str,
) -> Key {
    Key { name, expected, default, help }
}

impl Section {
    /// The header as the file has it.
    pub fn header(&self) -> String {
        if self.repeated { format!("[[{}]]", self.name) } else { format!("[{}]", self.name) }
    }

    /// The key of this name.
    pub(super) fn find(&self, name: &str) -> Option<&'static Key> {
        self.keys.iter().find(|key| key.name == name)
    }
}

pub(super) const ROUTER: Section = Section {
    name: "router",
    repeated: false,
    help: "The router as a whole.",
    keys: &[
        key(
            "name",
            "a name of 1 to 63 letters, digits, `-`, `_` and `.`",
            "none",
            "Shown by `millrace show version` and in the metrics.",
        ),
        key(
            "router-id",
            "an IPv4 address such as \"10.255.0.1\"",
            "the highest address",
            "Identifies the router to routing protocols.",
        ),
        key(
            "asn",
            "an autonomous system number, 1 to 4294967294",
            "none",
            "The router's own AS; needed with `[bgp]`.",
        ),
    ],
};

pub(super) const DATAPLANE: Section = Section {
    name: "dataplane",
    repeated: false,
    help: "How packets are forwarded. Changes here take a restart of the dataplane unless a key says otherwise.",
    keys: &[
        key(
            "workers",
            "a list of different CPU ids such as [1, 2]",
            "one worker on the last CPU",
            "One pinned worker each.",
        ),
        key(
            "mode",
            "\"auto\", \"zero-copy\", \"copy\" or \"generic\"",
            "\"auto\"",
            "`auto`: native XDP, zero-copy where the driver can, else copy. `zero-copy`: refuses to start where the driver cannot. \
             `generic`: works on every driver, slowly. The mode in force is shown by `millrace show interfaces`.",
        ),
        key(
            "express",
            "\"auto\" or \"off\"",
            "\"auto\"",
            "Forwarding in the XDP program itself. This version has none: `auto` means off, `on` is refused.",
        ),
        key(
            "busy-poll",
            "true or false",
            "false",
            "Workers never sleep and run the driver themselves (`SO_PREFER_BUSY_POLL`): less latency, one CPU each at 100 %. \
             They then run as with `scheduling = \"nice\"` at most.",
        ),
        key(
            "scheduling",
            "\"realtime\", \"nice\" or \"normal\"",
            "\"realtime\"",
            "How workers compete for their CPU. `realtime`: SCHED_FIFO, so that a packet is not late because of another process; \
             where the kernel refuses it, `nice` with a warning. `nice`: preferred to other processes. `normal`: as any. What \
             they got is shown by `millrace show workers`.",
        ),
        key(
            "stage-times",
            "true or false",
            "false",
            "Workers measure the time they spend in each stage: `millrace show workers` and \
             `millrace_worker_stage_seconds_total`. Takes effect at once; costs five clock reads a burst.",
        ),
        key(
            "frames",
            "a power of two from 1024 to 4194304",
            "16384",
            "Packet buffers of 4 KiB, shared by all interfaces and queues.",
        ),
    ],
};

pub(super) const INTERFACE: Section = Section {
    name: "interface",
    repeated: true,
    help: "A port of the router. Only interfaces named here forward; the device may come and go while the router runs.",
    keys: &[
        key("name", "the name of a Linux interface such as \"eth0\"", "required", "The interface."),
        key(
            "addresses",
            "a list of addresses with their prefix length such as [\"192.0.2.2/30\"]",
            "those the kernel has",
            "Added to the kernel where missing.",
        ),
        key(
            "nat",
            "\"inside\" or \"outside\"",
            "none: plain routing",
            "The interface's side in address translation; needs `[nat]`.",
        ),
        key(
            "urpf",
            "\"off\", \"loose\" or \"strict\"",
            "\"off\"",
            "Reverse path check of sources (RFC 3704). `strict`: the way back to the source is this interface. \
             `loose`: there is a way back at all; a default route counts.",
        ),
        key(
            "on-failure",
            "\"kernel\" or \"drop\"",
            "\"drop\" with a `nat` role, else \"kernel\"",
            "While no worker is there: `kernel` lets the kernel forward with the mirrored routes, `drop` forwards nothing.",
        ),
        key(
            "queues",
            "\"all\" or a list of different queue numbers such as [0, 1]",
            "\"all\"",
            "Receive queues that are served.",
        ),
        key(
            "mss-clamp",
            "\"mtu\" or a number of bytes from 88 to 9000",
            "none",
            "Lowers the segment size that TCP SYNs through the interface announce: to what fits its MTU, or to this many bytes.",
        ),
        key(
            "acl-in",
            "the name of one of the [[acl]] entries",
            "none",
            "The packet filter for what arrives. What is addressed to the router itself goes to the host, whose own \
             filter (nftables) is in charge of it.",
        ),
        key(
            "acl-out",
            "the name of one of the [[acl]] entries",
            "none",
            "The packet filter for what leaves. With address translation it sees inside addresses on both ways, as nftables' \
             forward chain does. What the router says itself is not filtered.",
        ),
        key("police-in", "a rate such as { bits = 100000000 } or { packets = 10000 }", "none", POLICED_IN),
        key(
            "police-out",
            "a rate such as { bits = 100000000 } or { packets = 10000 }",
            "none",
            "As `police-in`, for what leaves.",
        ),
        key(
            "directed-broadcast",
            "true or false",
            "false",
            "Broadcasts to its subnets are forwarded onto its link (RFC 2644).",
        ),
        key(
            "redirects",
            "true or false",
            "false",
            "Hosts on its link are told of better routers there by ICMP (RFC 1812 5.2.7.2).",
        ),
        key(
            "proxy-arp",
            "true or false",
            "false",
            "The kernel answers ARP requests on its link for addresses behind the router (RFC 1027).",
        ),
    ],
};

const POLICED_IN: &str = "What arrives over this rate is dropped; packets the filter drops do not count. A token bucket for all workers \
                          together: `packets` or `bits` a second, and `burst`, in packets or bytes, by default a tenth of a second's.";

pub(super) const FORWARDING: Section = Section {
    name: "forwarding",
    repeated: false,
    help: "How packets are forwarded, whatever the interface. In force at once.",
    keys: &[
        key(
            "ecmp-hash",
            "\"l3\" or \"l3+l4\"",
            "\"l3+l4\"",
            "What chooses among next hops of equal cost: addresses, or addresses, protocol and ports. Fragments have no \
             ports that could be seen in all of them: they go by addresses and protocol.",
        ),
        key(
            "icmp-source",
            "\"outgoing\" or \"incoming\"",
            "\"outgoing\"",
            "The address ICMP errors come from: of the interface they leave by (RFC 1812 4.3.2.4), or of the one the packet \
             they are about came by, which shows the path in traceroute also where routing is asymmetric.",
        ),
        key(
            "source-routes",
            "true or false",
            "false",
            "Whether packets with source route options are forwarded (RFC 7126 says no).",
        ),
    ],
};

pub(super) const ACL: Section = Section {
    name: "acl",
    repeated: true,
    help: "A packet filter, named by interfaces: an ordered list, the first rule that matches decides. Compiled: its length hardly \
           matters. A TCP fragment that hides or overwrites the header is dropped whatever the rules say (RFC 1858).",
    keys: &[
        key("name", "a name of 1 to 63 letters, digits, `-`, `_` and `.`", "required", "The list."),
        key(
            "default",
            "\"accept\", \"drop\" or \"reject\"",
            "\"drop\"",
            "What happens to packets that no rule matches.",
        ),
        key("rule", "tables `[[acl.rule]]`", "none", "The rules, in order."),
    ],
};

pub(super) const ACL_RULE: Section = Section {
    name: "acl.rule",
    repeated: true,
    help: "A rule of the `[[acl]]` above it. A condition that is left out is met by every packet; all that are there must be met.",
    keys: &[
        key("name", "a text", "none", "Shown by `millrace show acl`."),
        key(
            "action",
            "\"accept\", \"drop\" or \"reject\"",
            "required",
            "`drop` is silent, `reject` is answered with ICMP 3/13.",
        ),
        key("source", PREFIXES, "any", "Source addresses."),
        key("destination", PREFIXES, "any", "Destination addresses."),
        key(
            "protocol",
            "\"icmp\", \"igmp\", \"ipip\", \"tcp\", \"udp\", \"dccp\", \"gre\", \"esp\", \"ah\", \"ospf\", \"vrrp\", \"sctp\", \"udplite\" or a \
             number from 0 to 255",
            "any",
            "IP protocol.",
        ),
        key(
            "source-port",
            PORTS,
            "any",
            "Needs a `protocol` with ports. Never met by a fragment that is not the first.",
        ),
        key("destination-port", PORTS, "any", "As `source-port`."),
        key("icmp-type", NUMBERS, "any", "Needs `protocol = \"icmp\"`."),
        key("icmp-code", NUMBERS, "any", "Needs `protocol = \"icmp\"`."),
        key(
            "tcp-flags",
            "flags that are set, or not with a `!`, such as [\"syn\", \"!ack\"]; of fin, syn, rst, psh, ack, urg, ece, cwr",
            "any",
            "Needs `protocol = \"tcp\"`.",
        ),
        key(
            "fragments",
            "\"any\", \"only\", \"later\" or \"no\"",
            "\"any\"",
            "`only`: any part of a fragmented datagram; `later`: not the first; `no`: whole datagrams.",
        ),
        key(
            "dscp",
            "code points such as \"ef\", \"af41\", \"cs1\" or 46, one or a list",
            "any",
            "Differentiated services code points (RFC 2474).",
        ),
        key("police", "a rate such as { bits = 100000000 } or { packets = 10000 }", "none", POLICE_HELP),
    ],
};

const PREFIXES: &str = "a prefix such as \"192.0.2.0/24\", an address, or a list of them";
const PORTS: &str = "a port such as 53, a range such as \"1024-65535\", or a list of them";
const NUMBERS: &str = "a number from 0 to 255, a range such as \"0-3\", or a list of them";
const POLICE_HELP: &str =
    "Accepted up to this rate, dropped above it: `packets` or `bits` a second, `burst` in packets or bytes.";

/// The table form of a rate.
pub(super) const POLICE: Section = Section {
    name: "police",
    repeated: false,
    help: "",
    keys: &[
        key("packets", "packets a second, 1 to 1000000000000", "one of the two", ""),
        key("bits", "bits a second, 8 to 1000000000000", "one of the two", ""),
        key("burst", "a number of packets, or of bytes with bits", "a tenth of a second's", ""),
    ],
};

pub(super) const STATIC: Section = Section {
    name: "static",
    repeated: true,
    help: "A static route: one of `prefix` and `prefixes-from`, and one of `via`, `interface` and `kind`.",
    keys: &[
        key(
            "prefix",
            "a prefix such as \"192.0.2.0/24\"",
            "required unless `prefixes-from`",
            "The destination.",
        ),
        key(
            "prefixes-from",
            "the path of a file with one prefix a line",
            "required unless `prefix`",
            "Destinations from a file, looked up from the directory of the configuration: one prefix a line; \
             what follows the first comma or blank is ignored, and so are empty lines and those that begin with `#`.",
        ),
        key(
            "via",
            "a list of 1 to 64 next-hop addresses such as [\"192.0.2.1\"] or [{ via = \"192.0.2.1\", weight = 2 }]",
            "one of the three",
            "Next hops. Several share the flows by weight (1 to 256, default 1). They need not be on a connected subnet.",
        ),
        key(
            "interface",
            "the name of one of the [[interface]] entries",
            "one of the three",
            "Destinations are directly on this interface's link.",
        ),
        key(
            "kind",
            "\"blackhole\", \"unreachable\" or \"prohibit\"",
            "one of the three",
            "Nothing is forwarded: in silence, with ICMP 3/1, or with ICMP 3/13.",
        ),
        key(
            "distance",
            "a number from 1 to 255",
            "1",
            "The lowest distance to a prefix wins: connected 0, eBGP 20, OSPF 110, RIP 120, iBGP 200.",
        ),
        key(
            "bfd",
            "true or false",
            "false",
            "With `via`: next hops on a connected subnet are watched by BFD and left out while their session is down. \
             A next hop whose session has never been up is used.",
        ),
    ],
};

/// The table form of one member of `static.via`.
pub(super) const VIA: Section = Section {
    name: "static.via",
    repeated: false,
    help: "",
    keys: &[
        key("via", "an address such as \"192.0.2.1\"", "required", ""),
        key("weight", "a number from 1 to 256", "1", ""),
    ],
};

const MIN_TX: Key = key(
    "min-tx",
    "milliseconds, 10 to 60000",
    "300",
    "Packets are sent this far apart, or as far as the neighbour asks for.",
);
const MIN_RX: Key =
    key("min-rx", "milliseconds, 10 to 60000", "300", "The neighbour is asked to send no faster than this.");
const MULTIPLIER: Key = key(
    "multiplier",
    "a number from 1 to 255",
    "3",
    "So many packets in a row may be lost before the session is down.",
);
const PASSIVE: Key = key("passive", "true or false", "false", "Waits for the neighbour to speak first.");
const SHUTDOWN: Key = key(
    "shutdown",
    "true or false",
    "false",
    "Holds sessions administratively down. Nobody takes that for a failure.",
);

pub(super) const BFD: Section = Section {
    name: "bfd",
    repeated: false,
    help: "Whether neighbours answer, within fractions of a second (RFC 5880, 5881). Sessions there are with the next hops of static \
           routes that have `bfd = true`, with neighbours of protocols that ask for it, and with each `[[bfd.neighbor]]`. \
           Until a session is up, packets are a second apart.",
    keys: &[MIN_TX, MIN_RX, MULTIPLIER, PASSIVE, SHUTDOWN],
};

pub(super) const BFD_INTERFACE: Section = Section {
    name: "bfd.interface",
    repeated: true,
    help: "Sessions of an interface. What is not said here is as in `[bfd]`.",
    keys: &[
        key("name", "the name of a Linux interface such as \"eth0\"", "required", "The interface."),
        MIN_TX,
        MIN_RX,
        MULTIPLIER,
        PASSIVE,
        SHUTDOWN,
    ],
};

pub(super) const BFD_NEIGHBOR: Section = Section {
    name: "bfd.neighbor",
    repeated: true,
    help: "The session with one neighbour on a connected subnet, which is watched for its own sake. What is not said here is as in `[bfd]`, whatever its interface says.",
    keys: &[
        key("address", "an address such as \"192.0.2.1\"", "required", "The neighbour."),
        MIN_TX,
        MIN_RX,
        MULTIPLIER,
        PASSIVE,
        SHUTDOWN,
    ],
};

pub(super) const HTTP: Section = Section {
    name: "http",
    repeated: false,
    help: "The API for reading and `/metrics` over TCP. Without this table nothing listens on TCP. There is no access control: \
           choose the address accordingly. Changes of state go through the control socket only.",
    keys: &[key(
        "listen",
        "an address and a port such as \"127.0.0.1:9179\"",
        "\"127.0.0.1:9179\"",
        "Where to listen.",
    )],
};

pub(super) const KERNEL: Section = Section {
    name: "kernel",
    repeated: false,
    help: "What the kernel is told.",
    keys: &[key(
        "mirror",
        "\"all\", \"igp\" or \"none\"",
        "\"all\"",
        "Routes that are also put into the kernel's main table (`proto millrace`), for the host's own traffic and for \
         `on-failure = \"kernel\"`. `igp`: all but BGP.",
    )],
};

/// Every section, in the order of the reference.
pub const SECTIONS: &[Section] = &[
    ROUTER,
    DATAPLANE,
    INTERFACE,
    FORWARDING,
    ACL,
    ACL_RULE,
    STATIC,
    KEY_CHAIN,
    KEY,
    POLICY,
    POLICY_PARTS[0],
    POLICY_PARTS[1],
    POLICY_PARTS[2],
    POLICY_PARTS[3],
    POLICY_PARTS[4],
    RIP,
    RIP_INTERFACE,
    RIP_REDISTRIBUTE,
    OSPF,
    OSPF_AREA,
    OSPF_INTERFACE,
    OSPF_REDISTRIBUTE,
    BFD,
    BFD_INTERFACE,
    BFD_NEIGHBOR,
    BGP,
    BGP_GROUP,
    BGP_NEIGHBOR,
    BGP_RANGE,
    BGP_AGGREGATE,
    BGP_REDISTRIBUTE,
    NAT,
    POOL,
    SOURCE,
    FORWARD,
    ONE_TO_ONE,
    LOG,
    HTTP,
    KERNEL,
];

/// Whether `name` is a section under the section `parent`: `nat.pool` under `nat`.
pub(super) fn is_section(parent: &str, name: &str) -> bool {
    SECTIONS.iter().any(|section| section.name.split_once('.') == Some((parent, name)))
}

/// The reference as a Markdown document.
pub fn markdown() -> String {
    let mut out = String::from(
        "# Configuration reference\n\n\
         One TOML file, `/etc/millrace/millrace.toml` by default. `millrace check FILE` says what is wrong with one, all at once;\n\
         `millrace apply FILE` puts one in force, and so does SIGHUP to `millrace run`. A file with an error changes nothing.\n\
         Unknown keys are errors. This page is made from `control/src/config/reference.rs`; a test compares them.\n",
    );
    for section in SECTIONS {
        out.push_str(&format!("\n## `{}`\n\n{}\n\n", section.header(), section.help));
        out.push_str("| key | value | default | |\n|---|---|---|---|\n");
        for key in section.keys {
            out.push_str(&format!(
                "| `{}` | {} | {} | {} |\n",
                key.name, key.expected, key.default, key.help
            ));
        }
    }
    out.push_str("\n## Not in this version\n\nRefused, so that no setting is silently without effect: `express = \"on\"`.\n");
    out
}
