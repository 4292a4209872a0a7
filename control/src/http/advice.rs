//! Drop reasons in an operator's words: what each means and what to do about it.
//!
//! The names are those of the engine's list; a test holds the two together.

use super::view::Drop;

struct Advice {
    reason: &'static str,
    help: &'static str,
    advice: &'static str,
}

const fn row(reason: &'static str, help: &'static str, advice: &'static str) -> Advice {
    Advice { reason, help, advice }
}

/// Nothing to be done here.
const SENDER: &str =
    "the sender is at fault; nothing to do here unless the count keeps growing: capture with tcpdump there";

const DROPS: &[Advice] = &[
    row(
        "ingress-unknown",
        "arrived on an interface that has been taken out of service",
        "normal for a moment after a configuration change",
    ),
    row("eth-truncated", "shorter than an Ethernet header", SENDER),
    row(
        "eth-not-for-us",
        "sent to another station's hardware address",
        "a switch floods, or somebody has an old ARP entry; harmless unless it is much",
    ),
    row(
        "eth-group",
        "link-layer broadcast or multicast with an IP unicast destination: never forwarded (RFC 1812 5.3.4)",
        SENDER,
    ),
    row(
        "eth-type-unknown",
        "neither IPv4 nor a configured VLAN",
        "configure the VLAN as an interface of its own, or keep its traffic off this port",
    ),
    row("ip-truncated", "shorter than an IPv4 header", SENDER),
    row("ip-bad-version", "the IP version is not 4", SENDER),
    row("ip-bad-header-length", "the IP header length is below 20 bytes or beyond the packet", SENDER),
    row("ip-bad-total-length", "the IP total length is below the header's", SENDER),
    row(
        "ip-cut-short",
        "the IP total length is beyond the frame: truncated on the way; the sender was told (ICMP 12/0)",
        "an MTU mismatch or a bad cable or driver on the way here; compare MTUs along the link",
    ),
    row(
        "ip-bad-checksum",
        "the IP header checksum is wrong",
        "a bad cable, port or driver on the way here: look at error counters with `ip -s link`",
    ),
    row("ip-bad-option", "an IP option is malformed", SENDER),
    row(
        "source-routed",
        "a source route option: refused for security (RFC 7126)",
        "nothing to do: nobody needs source routing",
    ),
    row(
        "source-route-failed",
        "a strict source route to an address that is not a neighbour; the sender was told (ICMP 3/5)",
        SENDER,
    ),
    row(
        "martian-source",
        "a source address no host can have, such as 127.0.0.0/8 or 0.0.0.0/8",
        "a misconfigured or spoofing host behind this interface: capture with tcpdump to find it",
    ),
    row("martian-destination", "a destination address that cannot be forwarded to", SENDER),
    row(
        "multicast",
        "an IPv4 multicast destination",
        "Millrace does not route multicast; hosts on the same link are not affected",
    ),
    row(
        "urpf",
        "the source is not routed back where the packet came from (RFC 3704)",
        "spoofed sources, or a way back that differs: see `millrace show routes SOURCE`; with asymmetric routing use urpf = \"loose\"",
    ),
    row(
        "acl-drop",
        "a packet filter drops it",
        "intended by an [[acl]]: `millrace show acl` says which rule, `millrace explain SRC DST` why",
    ),
    row(
        "acl-reject",
        "a packet filter rejects it; the sender was told (ICMP 3/13)",
        "intended by an [[acl]]: `millrace show acl` says which rule, `millrace explain SRC DST` why",
    ),
    row(
        "tiny-fragment",
        "a fragment made to slip a TCP header past a packet filter (RFC 1858)",
        "an attack or a broken sender; nothing to do here",
    ),
    row(
        "policed",
        "over the rate of a policer",
        "intended by `police` of a rule or `police-in`, `police-out` of an interface; raise the rate if it is too low",
    ),
    row(
        "broadcast",
        "a broadcast, which routers do not forward (RFC 2644)",
        "normal: use a DHCP relay or the like where a broadcast must cross the router",
    ),
    row(
        "ttl-exceeded",
        "the time to live ran out; the sender was told (ICMP 11/0)",
        "traceroute does this; much of it is a routing loop: follow one destination with `millrace show routes ADDR` on each router",
    ),
    row(
        "no-route",
        "no route to the destination; the sender was told (ICMP 3/0)",
        "see `millrace show routes ADDR`; add a route, or a default route",
    ),
    row(
        "blackhole",
        "a blackhole route, silent by definition",
        "intended by a [[static]] with kind = \"blackhole\": see `millrace show routes`",
    ),
    row(
        "unreachable",
        "an unreachable route; the sender was told (ICMP 3/1)",
        "intended by a [[static]] with kind = \"unreachable\": see `millrace show routes`",
    ),
    row(
        "prohibit",
        "a prohibit route; the sender was told (ICMP 3/13)",
        "intended by a [[static]] with kind = \"prohibit\": see `millrace show routes`",
    ),
    row(
        "egress-down",
        "the outgoing interface is down or out of service",
        "see `millrace show interfaces`; check the cable and `ip link`",
    ),
    row(
        "neighbor-failed",
        "the next hop does not answer ARP; the sender was told (ICMP 3/1)",
        "see `millrace show neighbors`; check that the next hop is up and on this link",
    ),
    row(
        "hold-full",
        "too many packets wait for neighbours to be resolved",
        "hosts that are not there are being scanned, or a next hop does not answer: see `millrace show neighbors`",
    ),
    row(
        "too-big",
        "larger than the next link's MTU with DF set; the sender was told (ICMP 3/4)",
        "normal path MTU discovery; if connections hang, somebody filters ICMP on the way back",
    ),
    row(
        "fragment-failed",
        "could not be fragmented: no free frames, or a tiny MTU",
        "raise `dataplane.frames`; check the MTU of the outgoing interface",
    ),
    row("no-headroom", "no room in the frame for the headers", "report this: it is a defect"),
    row(
        "not-forwarded",
        "for the router itself, but not delivered to it by the XDP program",
        "normal for a moment after an address change",
    ),
    row(
        "tx-full",
        "the transmit queue was full",
        "the outgoing link is slower than the traffic; more queues and workers, or a faster link",
    ),
    row(
        "rx-ring-full",
        "never reached the worker: it did not empty its receive ring in time",
        "the worker is overloaded or does not get its CPU: see `millrace show workers`; more queues and workers",
    ),
    row(
        "no-buffer",
        "never reached the worker: the kernel found no free packet buffer",
        "raise `dataplane.frames`; if `millrace show counters` shows free buffers, the worker does not get its CPU",
    ),
    row(
        "rx-refused",
        "never reached the worker: the kernel could not give it to the socket",
        "larger than a packet buffer: compare `ip link` MTUs with `millrace show interfaces`",
    ),
    row(
        "rx-too-large",
        "a piece of a frame that is larger than a packet buffer",
        "lower the sender's MTU, or switch LRO off: `ethtool -K IF lro off`",
    ),
    row("xdp-truncated", "shorter than its Ethernet, VLAN or IPv4 header", SENDER),
    row(
        "no-worker",
        "no live worker on its receive queue, and the interface fails closed",
        "normal while the dataplane starts; else see `millrace show interfaces` and the `queues` of the interface",
    ),
    row(
        "nat-off",
        "from inside to outside while address translation has no configuration: nothing leaves untranslated",
        "write `[nat]` with a pool and a source rule, or take `nat = …` off the interfaces",
    ),
    row(
        "nat-no-pool",
        "from an inside address that no rule translates or exempts; the sender was told (ICMP 3/13)",
        "add a `[[nat.source]]` that covers the address, with a pool or `exempt = true`",
    ),
    row(
        "nat-pool-exhausted",
        "no outside port is left in the pool; the sender was told (ICMP 3/13)",
        "more addresses in the pool; `millrace show nat pools` and `show nat subscribers` say who has the ports",
    ),
    row(
        "nat-subscriber-ports",
        "the inside address has all the ports it may have; the sender was told (ICMP 3/13)",
        "`millrace show nat subscribers` shows it: an infected or very busy host, or a quota that is too small",
    ),
    row(
        "nat-subscriber-sessions",
        "the inside address has all the sessions it may have; the sender was told (ICMP 3/13)",
        "`millrace show nat subscribers` shows it: an infected or very busy host, or a quota that is too small",
    ),
    row(
        "nat-table-full",
        "the table of sessions or mappings is full; the sender was told (ICMP 3/13)",
        "a flood, or a limit in `[nat]` that is too small: `millrace show nat stats`",
    ),
    row(
        "nat-inbound-full",
        "from outside, and there was no room for the session",
        "a flood from outside, or a limit in `[nat]` that is too small: `millrace show nat stats`",
    ),
    row(
        "nat-no-mapping",
        "from outside to an outside endpoint that nobody inside has",
        "scans from the Internet look like this; for a server inside write a `[[nat.forward]]`",
    ),
    row(
        "nat-filtered",
        "from an outside endpoint that the mapping's filter does not let in",
        "as `filtering` of the pool says; `endpoint-independent` lets anybody answer",
    ),
    row(
        "nat-no-session",
        "a TCP segment that is no SYN and belongs to no connection",
        "normal after a restart or a time-out; if it grows, the TCP time-out is shorter than the idle time of a client",
    ),
    row(
        "nat-unrelated-error",
        "an ICMP error about a packet that no session has",
        "late or forged errors; nothing to do",
    ),
    row(
        "nat-malformed",
        "cannot be translated: too short, or an ICMP message that is neither query nor error",
        SENDER,
    ),
    row(
        "nat-fragment",
        "a fragment whose first fragment has not come, or not in time",
        "fragments are lost or forged: look at the path's MTU, and at `mss-clamp`",
    ),
    row(
        "nat-syn-unanswered",
        "a connection from outside that nobody inside opened within six seconds; the sender was told (ICMP 3/3)",
        "for a server inside write a `[[nat.forward]]`",
    ),
    row(
        "nat-gateway",
        "the beginning of an FTP command, which leaves at the head of the next segment",
        "nothing: the sender's TCP sends on",
    ),
    row(
        "nat-handoff",
        "could not be given to the worker that has its state",
        "that worker is overloaded: see `millrace show workers`",
    ),
];

/// What the counter of one reason says.
pub(super) fn drop(reason: String, packets: u64) -> Drop {
    let row = DROPS.iter().find(|row| row.reason == reason);
    Drop {
        packets,
        help: row.map_or("", |row| row.help).to_owned(),
        advice: row.map_or("", |row| row.advice).to_owned(),
        reason,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use millrace_engine::outcome::DropReason;
    use std::collections::BTreeSet;

    #[test]
    fn every_reason_has_its_advice() {
        let here: BTreeSet<_> = DROPS.iter().map(|row| row.reason).collect();
        let engine: BTreeSet<_> = DropReason::ALL.iter().map(|reason| reason.name()).collect();
        assert_eq!(here.difference(&engine).collect::<Vec<_>>(), [&""; 0], "not in the engine");
        assert_eq!(engine.difference(&here).collect::<Vec<_>>(), [&""; 0], "without advice");
        assert_eq!(here.len(), DROPS.len());
        assert!(DROPS.iter().all(|row| !row.help.is_empty() && !row.advice.is_empty()));
    }
}
