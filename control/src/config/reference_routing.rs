//! The keys of routing protocols, policies and key chains: part of the list in [`super::reference`].

use super::reference::{Section, key};

pub(super) const KEY_CHAIN: Section = Section {
    name: "key-chain",
    repeated: true,
    help: "Keys that authenticate messages, by name. Several keys with overlapping lifetimes are exchanged without losing a message.",
    keys: &[
        key(
            "name",
            "a name of 1 to 63 letters, digits, `-`, `_` and `.`",
            "required",
            "What protocols call it.",
        ),
        key(
            "fail-secure",
            "true or false",
            "false",
            "When the last key has run out: `true` stops the traffic, `false` goes on with that key and says so (RFC 4822 §5.1).",
        ),
        key("key", "one or several [[key-chain.key]] tables", "required", "The keys."),
    ],
};

pub(super) const KEY: Section = Section {
    name: "key-chain.key",
    repeated: true,
    help: "One key of the chain above it.",
    keys: &[
        key("id", "a number from 0 to 255", "required", "Names the key in messages."),
        key(
            "algorithm",
            "\"keyed-md5\", \"hmac-sha1\", \"hmac-sha256\", \"hmac-sha384\" or \"hmac-sha512\"",
            "\"keyed-md5\"",
            "Of no matter where passwords are sent in clear.",
        ),
        key(
            "secret",
            "a string of at least 1 octet",
            "required unless `secret-hex`",
            "The key; at most 16 octets for `keyed-md5`.",
        ),
        key(
            "secret-hex",
            "an even number of hexadecimal digits",
            "required unless `secret`",
            "The key where it is no text.",
        ),
        key("send-from", TIME, "always", "From when the key protects what is sent."),
        key("send-until", TIME, "for ever", "Until when."),
        key("accept-from", TIME, "always", "From when messages with this key are taken."),
        key("accept-until", TIME, "for ever", "Until when."),
    ],
};

const TIME: &str = "a moment such as 2026-11-22T17:45:00Z";

pub(super) const POLICY: Section = Section {
    name: "policy",
    repeated: false,
    help: "Which routes pass, and what is changed on the way. Everything has a name that other sections use. \
           `millrace policy test NAME ROUTE` says what a rule list does to a route, and which rule fired.",
    keys: &[
        key("prefix-list", "[[policy.prefix-list]] tables", "none", "See below."),
        key("as-path-set", "[[policy.as-path-set]] tables", "none", "See below."),
        key("community-set", "[[policy.community-set]] tables", "none", "See below."),
        key("rule-list", "[[policy.rule-list]] tables", "none", "See below."),
    ],
};

/// What `millrace-policy` reads; here for the reference.
pub(super) const POLICY_PARTS: &[Section] = &[
    Section {
        name: "policy.prefix-list",
        repeated: true,
        help: "Prefixes. The first entry that matches decides; what none matches is not in the list.",
        keys: &[
            key("name", "a name", "required", "What rules call it."),
            key(
                "entries",
                "a list of \"192.0.2.0/24\" or { prefix = \"10.0.0.0/8\", ge = 16, le = 24, action = \"deny\" }",
                "required",
                "A prefix alone matches itself; `ge` and `le` match what is inside it with a length in that range; `action` is \
                 `permit` (the default) or `deny`.",
            ),
        ],
    },
    Section {
        name: "policy.as-path-set",
        repeated: true,
        help: "AS paths.",
        keys: &[
            key("name", "a name", "required", "What rules call it."),
            key(
                "patterns",
                "a list of AS numbers with `*` for any sequence and `?` for any one, such as [\"* 65005 *\"]",
                "required",
                "A path is in the set if a pattern matches all of it.",
            ),
        ],
    },
    Section {
        name: "policy.community-set",
        repeated: true,
        help: "BGP communities.",
        keys: &[
            key("name", "a name", "required", "What rules call it."),
            key(
                "communities",
                "a list such as [\"65001:*\", \"no-export\"]",
                "required",
                "Communities and patterns.",
            ),
            key("match", "\"any\" or \"all\"", "\"any\"", "Whether one of them is enough."),
        ],
    },
    Section {
        name: "policy.rule-list",
        repeated: true,
        help: "Rules, looked at from the top: a rule fires when all its conditions hold; then its changes are made, and it decides \
               or lets the next one look.",
        keys: &[
            key("name", "a name", "required", "What protocols call it."),
            key(
                "default",
                "\"accept\" or \"reject\"",
                "\"reject\"",
                "What becomes of routes no rule decides about.",
            ),
            key("rule", "[[policy.rule-list.rule]] tables", "none", "The rules."),
        ],
    },
    Section {
        name: "policy.rule-list.rule",
        repeated: true,
        help: "One rule of the list above it. All conditions must hold.",
        keys: &[
            key("name", "a name", "its number", "For `policy test`."),
            key("prefix-list", "the name of a prefix list", "any", "Condition: the destination is in it."),
            key("as-path-set", "the name of an AS path set", "any", "Condition: the AS path is in it."),
            key(
                "community-set",
                "the name of a community set",
                "any",
                "Condition: the communities match it.",
            ),
            key("next-hop", "the name of a prefix list", "any", "Condition: the next hop is in it."),
            key("protocol", "a protocol or a list of them", "any", "Condition: where the route comes from."),
            key("neighbor", "an address or a list of them", "any", "Condition: who said it."),
            key("tag", "a number or a range such as \"5-10\"", "any", "Condition."),
            key("metric", "a number or a range", "any", "Condition."),
            key("preference", "a number or a range", "any", "Condition: BGP's local preference."),
            key("as-path-length", "a number or a range", "any", "Condition."),
            key("origin", "\"igp\", \"egp\" or \"incomplete\"", "any", "Condition."),
            key("action", "\"accept\" or \"reject\"", "the next rule looks", "What the rule decides."),
            key(
                "set",
                "a table of metric, preference (numbers, or \"+5\", \"-5\"), tag, distance, next-hop (\"self\" or an address), origin, \
                 prepend = { as = \"own\", times = 2 }, communities, communities-add, communities-remove",
                "nothing",
                "Changes.",
            ),
        ],
    },
];

pub(super) const RIP: Section = Section {
    name: "rip",
    repeated: false,
    help: "RIP version 2 (RFC 2453). It runs on the interfaces that have a [[rip.interface]]; `[rip]` alone runs on none.",
    keys: &[
        key("distance", "a number from 1 to 255", "120", "Administrative distance of RIP's routes."),
        key("default-metric", METRIC, "1", "Of redistributed routes that come without one."),
        key(
            "default-route",
            "true, false or a table such as { metric = 1, tag = 0 }",
            "false",
            "Announces 0.0.0.0/0, whatever the routing table holds.",
        ),
        key("max-paths", "a number from 1 to 64", "1", "Next hops of one route (ECMP)."),
        key(
            "max-routes",
            "a number from 1 to 10000000",
            "100000",
            "Destinations kept; more are refused and counted.",
        ),
        key("update", SECONDS, "30", "Seconds between regular updates, less or more a sixth."),
        key(
            "timeout",
            "a number of seconds from 1 to 86400, more than 7/6 of `update`",
            "180",
            "A route not heard of for so long is gone.",
        ),
        key(
            "garbage",
            "a number of seconds from 1 to 86400",
            "120",
            "A route that is gone is announced as such for so long.",
        ),
        key("interface", "[[rip.interface]] tables", "none", "Where RIP runs."),
        key(
            "redistribute",
            "[[rip.redistribute]] tables",
            "none",
            "Routes of other protocols that are announced.",
        ),
    ],
};

const METRIC: &str = "a number from 1 to 15";
const SECONDS: &str = "a number of seconds from 1 to 3600";

/// The table form of `rip.default-route`.
pub(super) const RIP_DEFAULT: Section = Section {
    name: "rip.default-route",
    repeated: false,
    help: "",
    keys: &[key("metric", METRIC, "1", ""), key("tag", "a number from 0 to 65535", "0", "")],
};

pub(super) const RIP_INTERFACE: Section = Section {
    name: "rip.interface",
    repeated: true,
    help: "An interface RIP runs on: its networks are announced, and messages are exchanged on it. All of it can change while RIP runs.",
    keys: &[
        key(
            "name",
            "the name of one of the [[interface]] entries, or \"lo\"",
            "required",
            "Of the loopback the networks are announced.",
        ),
        key("cost", METRIC, "1", "Added to the metric of what is received."),
        key(
            "split-horizon",
            "\"off\", \"simple\" or \"poisoned-reverse\"",
            "\"poisoned-reverse\"",
            "What is told back to where it was learned: everything, nothing, or that it is out of reach (RFC 2453 §3.4.3).",
        ),
        key("passive", "true or false", "false", "Listen only. Unicast `neighbors` are still sent to."),
        key(
            "mode",
            "\"multicast\" or \"broadcast\"",
            "\"multicast\"",
            "Where updates go: 224.0.0.9, or the subnet's broadcast address.",
        ),
        key(
            "neighbors",
            "a list of addresses such as [\"192.0.2.2\"]",
            "none",
            "Sent to one by one, besides `mode`.",
        ),
        key(
            "key-chain",
            "the name of a [[key-chain]]",
            "none: no authentication",
            "Messages are authenticated with its keys.",
        ),
        key(
            "authentication",
            "\"cryptographic\" or \"plain\"",
            "\"cryptographic\" with a `key-chain`",
            "`cryptographic`: RFC 4822 with the keys' algorithms. `plain`: passwords in clear (RFC 2453 §4.1).",
        ),
        key(
            "receive-version-1",
            "true or false",
            "false",
            "Take messages of version 1 too; never with authentication.",
        ),
        key(
            "ttl-security",
            "\"off\", \"send-only\" or \"on\"",
            "\"off\"",
            "GTSM (RFC 5082): `on` sends with TTL 255 and takes nothing else.",
        ),
        key("update", SECONDS, "as [rip]", "As in [rip], for this interface."),
        key(
            "timeout",
            "a number of seconds from 1 to 86400, more than 7/6 of `update`",
            "as [rip]",
            "As in [rip], for routes learned here.",
        ),
        key(
            "garbage",
            "a number of seconds from 1 to 86400",
            "as [rip]",
            "As in [rip], for routes learned here.",
        ),
        key(
            "offset-in",
            "a list of tables such as [{ within = [\"10.0.0.0/8\"], add = 2 }]",
            "none",
            "Added to the metric of what is received; the first match counts, and no `within` matches everything.",
        ),
        key(
            "offset-out",
            "a list of tables such as [{ within = [\"10.0.0.0/8\"], add = 2 }]",
            "none",
            "Added to the metric of what is sent.",
        ),
        key("import", "the name of a [[policy.rule-list]]", "everything", "Judges what is received."),
        key("export", "the name of a [[policy.rule-list]]", "everything", "Judges what is sent."),
        key("bfd", "true or false", "false", "Watch the neighbours with BFD."),
    ],
};

/// A member of `offset-in` and `offset-out`.
pub(super) const RIP_OFFSET: Section = Section {
    name: "rip.interface.offset",
    repeated: false,
    help: "",
    keys: &[
        key("within", "a list of prefixes", "everything", ""),
        key("add", "a number from 0 to 16", "required", ""),
    ],
};

pub(super) const RIP_REDISTRIBUTE: Section = Section {
    name: "rip.redistribute",
    repeated: true,
    help: "Best routes of another protocol that RIP announces.",
    keys: &[
        key(
            "protocol",
            "\"connected\", \"static\", \"ospf\" or \"bgp\"",
            "required",
            "Where the routes come from.",
        ),
        key(
            "policy",
            "the name of a [[policy.rule-list]]",
            "everything",
            "Which of them, and with what changes.",
        ),
        key("metric", METRIC, "`default-metric`", "Of the routes, before the policy looks."),
        key("tag", "a number from 0 to 65535", "the routes' own", "Of the routes, before the policy looks."),
    ],
};
