//! The keys of `[bgp]` and of what stands under it: part of the list in [`super::reference`].

use super::reference::{Key, Section, key};

const POLICY: &str = "the name of a [[policy.rule-list]], or \"all\"";

pub(super) const BGP: Section = Section {
    name: "bgp",
    repeated: false,
    help: "BGP-4 (RFC 4271). Needs `asn` in `[router]`. A change resets a session only where it changes what the two ends have \
           agreed; policies are applied anew without that.",
    keys: &[
        key("networks", "a list of prefixes", "none", "Announced whether or not the routing table has them."),
        key("distance", "a number from 1 to 255", "20", "Of routes of external neighbours."),
        key("distance-internal", "a number from 1 to 255", "200", "Of routes of internal neighbours."),
        key("port", "a TCP port from 1 to 65535", "179", "Where neighbours are listened for."),
        key("cluster-id", "an IPv4 address", "the router id", "Of this route reflector (RFC 4456)."),
        key(
            "multipath",
            "a number from 1 to 64",
            "1",
            "Equal paths of external neighbours that share the load.",
        ),
        key("multipath-internal", "a number from 1 to 64", "1", "The same of internal neighbours."),
        key(
            "multipath-relax",
            "true or false",
            "false",
            "Paths of equal length share the load whatever ASes they pass.",
        ),
        key(
            "always-compare-med",
            "true or false",
            "false",
            "Compare the MEDs of different neighbour ASes, too.",
        ),
        key("missing-med-worst", "true or false", "false", "A missing MED is the worst, not 0."),
        key("ignore-as-path-length", "true or false", "false", "Do not prefer shorter paths."),
        key(
            "suppress-fib-pending",
            "true or false",
            "true",
            "Announce a route only after the forwarding table has it.",
        ),
        key("graceful-restart", "true or false", "true", "RFC 4724, for both sides."),
        key(
            "restart-time",
            "seconds from 1 to 4095",
            "120",
            "How long neighbours wait for this router's return.",
        ),
        key(
            "stale-time",
            "seconds from 1 to 86400",
            "360",
            "How long routes of a neighbour that restarts are kept.",
        ),
        key("graceful-shutdown", "true or false", "false", "Announce everything as about to go (RFC 8326)."),
        key("reject-as-sets", "true or false", "false", "Take no routes with sets in their path (RFC 9774)."),
        key(
            "confederation",
            "an AS number",
            "none",
            "What neighbours outside of the confederation see (RFC 5065).",
        ),
        key("confederation-members", "a list of AS numbers", "none", "The other ASes of the confederation."),
        key("group", "[[bgp.group]] tables", "none", "See below."),
        key("neighbor", "[[bgp.neighbor]] tables", "none", "See below."),
        key("range", "[[bgp.range]] tables", "none", "See below."),
        key("aggregate", "[[bgp.aggregate]] tables", "none", "See below."),
        key("redistribute", "[[bgp.redistribute]] tables", "none", "See below."),
    ],
};

/// What neighbours, groups and ranges have in common, behind keys of their own.
macro_rules! with_session_keys {
    ($($own:expr),* $(,)?) => {
        &[
            $($own,)*
            key("asn", "an AS number", "required", "Of the neighbour; \"internal\" is the router's own number."),
            key("description", "a string", "none", "For people."),
            key("local-as", "an AS number", "the router's", "What the neighbour takes this router for (RFC 7705)."),
            key("passive", "true or false", "false", "Wait for the neighbour to call."),
            key("local-address", "an IPv4 address", "the kernel's choice", "Our end of the connection."),
            key("port", "a TCP port from 1 to 65535", "179", "Where the neighbour listens."),
            key("multihop", "hops from 1 to 255", "none: it is next to us", "How far an external neighbour may be."),
            key("hold-time", "0, or seconds from 3 to 65535", "90", "Without a word for so long, the neighbour is down."),
            key("keepalive", "seconds from 1 to 21845", "a third of the hold time", "Between two signs of life."),
            key("connect-retry", "seconds from 1 to 3600", "15", "Between two calls."),
            key("delay-open", "seconds from 1 to 240", "none", "Let the neighbour speak first for so long."),
            key("advertisement-interval", "seconds from 0 to 600", "0", "Between two runs of updates."),
            key("import", POLICY, "internal: everything; external: nothing (RFC 8212)", "Judges what is received."),
            key("export", POLICY, "internal: everything; external: nothing (RFC 8212)", "Judges what is sent."),
            key(
                "require-policy",
                "true or false",
                "true",
                "External neighbours without a policy get and give nothing (RFC 8212).",
            ),
            key("shutdown", "true, false or words for the neighbour", "false", "Administratively down (RFC 9003)."),
            key("next-hop-self", "true or false", "false", "Tell internal neighbours to send by way of this router."),
            key("route-reflector-client", "true or false", "false", "RFC 4456."),
            key("route-server-client", "true or false", "false", "RFC 7947."),
            key("remove-private-as", "true or false", "false", "Take private ASes out of paths that are sent."),
            key("as-override", "true or false", "false", "Replace the neighbour's AS in paths that it is sent."),
            key("allow-as-in", "a number from 0 to 10", "0", "How often our own AS may stand in a path."),
            key("enforce-first-as", "true or false", "true", "Paths begin with the neighbour's AS."),
            key(
                "role",
                "\"provider\", \"customer\", \"peer\", \"route-server\" or \"route-server-client\"",
                "none",
                "What this router is to the neighbour (RFC 9234).",
            ),
            key("strict-role", "true or false", "false", "The neighbour has to say its role, too."),
            key("max-prefixes", "a number of prefixes", "no limit", "What a neighbour may send."),
            key("max-prefixes-warn", "percent from 1 to 100", "75", "When to warn."),
            key(
                "max-prefixes-action",
                "\"shutdown\", \"warn\" or \"restart\"",
                "\"shutdown\"",
                "What happens beyond the limit; `restart` tries again after five minutes.",
            ),
            key("weight", "a number", "0", "Before all other preferences."),
            key("add-path-receive", "true or false", "false", "Take several paths of a prefix (RFC 7911)."),
            key("default-originate", "true or false", "false", "Announce the default route to it."),
            key("extended-messages", "true or false", "true", "RFC 8654."),
            key("bfd", "true or false", "false", "Watch the neighbour with BFD."),
            key("four-octet-as", "true or false", "true", "False: speak as RFC 4271 does."),
        ]
    };
}

const GROUP_KEYS: &[Key] =
    with_session_keys![key("name", "a name of 1 to 63 characters", "required", "What neighbours call it.")];

const NEIGHBOR_KEYS: &[Key] = with_session_keys![
    key("address", "an IPv4 address", "required", "Of the neighbour."),
    key("group", "the name of a [[bgp.group]]", "none", "What holds where a key is absent here."),
];

const RANGE_KEYS: &[Key] = with_session_keys![
    key("prefix", "a prefix such as \"192.0.2.0/24\"", "required", "Who calls from there is taken."),
    key("limit", "a number from 1 to 10000", "100", "Neighbours at a time."),
    key("group", "the name of a [[bgp.group]]", "none", "What holds where a key is absent here."),
];

pub(super) const BGP_GROUP: Section = Section {
    name: "bgp.group",
    repeated: true,
    help: "What several neighbours have in common.",
    keys: GROUP_KEYS,
};

pub(super) const BGP_NEIGHBOR: Section =
    Section { name: "bgp.neighbor", repeated: true, help: "One neighbour.", keys: NEIGHBOR_KEYS };

pub(super) const BGP_RANGE: Section = Section {
    name: "bgp.range",
    repeated: true,
    help: "Neighbours that need not be named one by one.",
    keys: RANGE_KEYS,
};

pub(super) const BGP_AGGREGATE: Section = Section {
    name: "bgp.aggregate",
    repeated: true,
    help: "A prefix that is announced while there is anything in it.",
    keys: &[
        key("prefix", "a prefix such as \"10.8.0.0/16\"", "required", "The aggregate."),
        key("summary-only", "true or false", "false", "What is in it is not announced by itself."),
    ],
};

pub(super) const BGP_REDISTRIBUTE: Section = Section {
    name: "bgp.redistribute",
    repeated: true,
    help: "Best routes of another protocol that BGP announces.",
    keys: &[
        key(
            "protocol",
            "\"connected\", \"static\", \"rip\" or \"ospf\"",
            "required",
            "Where the routes come from.",
        ),
        key(
            "policy",
            "the name of a [[policy.rule-list]]",
            "everything",
            "Which of them, and with what changes.",
        ),
        key("metric", "a number", "the routes' own", "The MED, before the policy looks."),
        key("tag", "a number", "the routes' own", "Before the policy looks."),
    ],
};
