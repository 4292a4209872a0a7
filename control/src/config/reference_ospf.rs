//! The keys of OSPF: part of the list in [`super::reference`].

use super::reference::{Section, key};

const COST: &str = "a number from 0 to 16777214";
const KIND: &str = "\"e1\" or \"e2\"";
const FLAG: &str = "true or false";
const MILLIS: &str = "a number of milliseconds from 0 to 60000";
const TAG: &str = "a number from 0 to 4294967295";

pub(super) const OSPF: Section = Section {
    name: "ospf",
    repeated: false,
    help: "OSPF version 2 (RFC 2328). It runs on the interfaces that have an [[ospf.interface]]; `[ospf]` alone runs on none.",
    keys: &[
        key(
            "router-id",
            "a router id such as \"10.0.0.1\"",
            "that of [router], else the highest address",
            "Names this router in the routing domain. Changing it starts OSPF again.",
        ),
        key("distance", "a number from 1 to 255", "110", "Administrative distance of OSPF's routes."),
        key("max-paths", "a number from 1 to 64", "16", "Next hops of one route (ECMP)."),
        key(
            "max-lsas",
            "a number from 100 to 10000000",
            "500000",
            "LSAs kept; more of others are refused, counted and reported.",
        ),
        key("default-metric", COST, "20", "Of redistributed routes that come without one."),
        key(
            "default-metric-type",
            KIND,
            "\"e2\"",
            "Of redistributed routes: `e1` adds the way to this router, `e2` does not.",
        ),
        key(
            "default-route",
            "true, false or a table such as { metric = 1, metric-type = \"e2\", tag = 0 }",
            "false",
            "Announces 0.0.0.0/0, whatever the routing table holds.",
        ),
        key(
            "stub-router",
            "true, false or a number of seconds after the start from 1 to 86400",
            "false",
            "Asks others to route around this router (RFC 6987).",
        ),
        key(
            "rfc1583-compatible",
            FLAG,
            "true",
            "How routes of several boundary routers are compared (RFC 2328 §16.4.1).",
        ),
        key(
            "prefix-suppression",
            FLAG,
            "false",
            "Leaves networks that only join routers out of the LSAs (RFC 6860).",
        ),
        key(
            "graceful-restart-helper",
            FLAG,
            "true",
            "Neighbours that restart keep their routes meanwhile (RFC 3623).",
        ),
        key(
            "spf-initial-delay",
            MILLIS,
            "20",
            "From the first change in a quiet network to the routes (RFC 8405).",
        ),
        key("spf-short-delay", MILLIS, "100", "The same while a failure is being learned."),
        key("spf-long-delay", MILLIS, "1000", "The same in an unstable network."),
        key("spf-hold-down", MILLIS, "5000", "Without a change for so long the network is quiet."),
        key("spf-time-to-learn", MILLIS, "500", "How long a failure is being learned."),
        key(
            "area",
            "[[ospf.area]] tables",
            "none",
            "Areas that are not normal, or have ranges or virtual links.",
        ),
        key("interface", "[[ospf.interface]] tables", "none", "Where OSPF runs."),
        key(
            "redistribute",
            "[[ospf.redistribute]] tables",
            "none",
            "Routes of other protocols that are announced.",
        ),
    ],
};

/// The table form of `ospf.default-route`.
pub(super) const OSPF_DEFAULT: Section = Section {
    name: "ospf.default-route",
    repeated: false,
    help: "",
    keys: &[
        key("metric", COST, "1", ""),
        key("metric-type", KIND, "`default-metric-type`", ""),
        key("tag", TAG, "0", ""),
    ],
};

pub(super) const OSPF_AREA: Section = Section {
    name: "ospf.area",
    repeated: true,
    help: "An area with settings of its own. Areas that only interfaces name are normal ones.",
    keys: &[
        key("id", "an area such as 1 or \"0.0.0.1\"", "required", "0 is the backbone."),
        key(
            "type",
            "\"normal\", \"stub\" or \"nssa\"",
            "\"normal\"",
            "All routers of an area have to agree on it.",
        ),
        key(
            "summaries",
            FLAG,
            "true",
            "`false` makes a stub area totally stubby: it is told a default route and nothing else.",
        ),
        key(
            "translate",
            "\"candidate\", \"always\" or \"never\"",
            "\"candidate\"",
            "Of an NSSA: whether this router tells the other areas of its external routes.",
        ),
        key("default-cost", COST, "1", "Of the default route into a stub area or NSSA."),
        key(
            "ranges",
            "a list of tables such as { prefix = \"10.1.0.0/16\" }, with `advertise = false` or a `cost` where wanted",
            "none",
            "Networks of the area that other areas are told of as one, or not at all.",
        ),
        key(
            "virtual-links",
            "a list of router ids such as [\"10.0.0.1\"]",
            "none",
            "Border routers to which the backbone is led through this area.",
        ),
    ],
};

/// A member of `ospf.area.ranges`.
pub(super) const OSPF_RANGE: Section = Section {
    name: "ospf.area.ranges",
    repeated: false,
    help: "",
    keys: &[
        key("prefix", "a prefix such as \"10.1.0.0/16\"", "required", ""),
        key("advertise", FLAG, "true", ""),
        key("cost", COST, "the highest of what it holds", ""),
    ],
};

pub(super) const OSPF_INTERFACE: Section = Section {
    name: "ospf.interface",
    repeated: true,
    help: "An interface OSPF runs on. All of it can change while OSPF runs; what neighbours have to agree on ends adjacencies.",
    keys: &[
        key(
            "name",
            "the name of one of the [[interface]] entries, or \"lo\"",
            "required",
            "Of `lo` only the addresses are announced.",
        ),
        key("area", "an area such as 1 or \"0.0.0.1\"", "required", "0 is the backbone."),
        key(
            "network",
            "\"broadcast\", \"point-to-point\", \"non-broadcast\" or \"point-to-multipoint\"",
            "as the interface is",
            "What kind of network neighbours are met on.",
        ),
        key("cost", "a number from 0 to 65535", "10; 0 for `lo`", "Of sending here."),
        key("priority", "a number from 0 to 255", "1", "To become the designated router; 0: never."),
        key(
            "hello-interval",
            "a number of seconds from 1 to 65535",
            "10",
            "Between hellos; neighbours have to agree.",
        ),
        key(
            "dead-interval",
            "a number of seconds from 2 to 65535, more than `hello-interval`",
            "4 × `hello-interval`",
            "A neighbour that is silent for so long is gone; neighbours have to agree.",
        ),
        key(
            "retransmit-interval",
            "a number of seconds from 1 to 3600",
            "5",
            "Until what is not acknowledged is sent again.",
        ),
        key(
            "transmit-delay",
            "a number of seconds from 1 to 3600",
            "1",
            "Added to the age of LSAs that are sent here.",
        ),
        key("passive", FLAG, "false", "Announces the networks, and exchanges nothing."),
        key("mtu-ignore", FLAG, "false", "Takes neighbours whose MTU is larger."),
        key(
            "authentication",
            "\"simple\" or \"cryptographic\"",
            "\"cryptographic\" with `key-chain`, else none",
            "`simple` sends passwords in clear.",
        ),
        key("key-chain", "the name of a [[key-chain]]", "none", "Authenticates what is exchanged."),
        key(
            "neighbors",
            "a list of addresses such as [\"192.0.2.2\"]",
            "found by multicast",
            "Who is there, on a non-broadcast or point-to-multipoint network.",
        ),
        key(
            "poll-interval",
            "a number of seconds from 1 to 3600",
            "120",
            "Between hellos to silent neighbours of a non-broadcast network.",
        ),
        key("prefix-suppression", FLAG, "as [ospf] has it", "Leaves the network out of the LSAs (RFC 6860)."),
        key("bfd", FLAG, "false", "Watches neighbours by BFD."),
    ],
};

pub(super) const OSPF_REDISTRIBUTE: Section = Section {
    name: "ospf.redistribute",
    repeated: true,
    help: "Best routes of another protocol that OSPF announces.",
    keys: &[
        key(
            "protocol",
            "\"connected\", \"static\", \"rip\" or \"bgp\"",
            "required",
            "Where the routes come from.",
        ),
        key(
            "policy",
            "the name of a [[policy.rule-list]]",
            "everything",
            "Which of them, and with what changes.",
        ),
        key("metric", COST, "`default-metric`", "Of the routes, before the policy looks."),
        key("metric-type", KIND, "`default-metric-type`", "Of the routes."),
        key("tag", TAG, "the routes' own", "Of the routes, before the policy looks."),
    ],
};
