//! What can become of a packet: the one list that counters, metrics, the CLI and the docs derive from.

use millrace_net::PortId;

/// Defines an enum of counted things, each with the name users see and a line of help for operators.
macro_rules! list {
    ($(#[$doc:meta])* $list:ident { $($variant:ident = $name:literal: $help:literal,)* }) => {
        $(#[$doc])*
        #[repr(u8)]
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub enum $list { $(#[doc = $help] $variant,)* }

        impl $list {
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];
            pub const COUNT: usize = Self::ALL.len();

            /// The name users see, in kebab-case; a metric label.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// One line for operators.
            pub const fn help(self) -> &'static str {
                match self { $(Self::$variant => $help,)* }
            }

            /// Position in [`Self::ALL`].
            #[inline]
            pub const fn index(self) -> usize {
                self as usize
            }
        }
    };
}

/// What has been decided about one frame.
///
/// Each frame that arrives gets exactly one. A held one gets a second and last one when it leaves the hold queue, so at
/// any time received = tx + reply + kernel + drop + packets held. What one worker hands off gets its last verdict from
/// another, so with several workers that holds of their sums, hand-offs left out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// Forwarded out of this port, whole or in fragments.
    Tx(PortId),
    /// Not forwarded for this reason, and its sender told by ICMP.
    Reply(DropReason),
    /// Waits for a neighbour.
    Hold,
    /// The host's own.
    Kernel,
    /// Another worker has its NAT state, and decides.
    Handoff(u16),
    /// Not forwarded for this reason, silently.
    Drop(DropReason),
}

impl Verdict {
    #[inline]
    pub const fn kind(self) -> VerdictKind {
        match self {
            Self::Tx(_) => VerdictKind::Tx,
            Self::Reply(_) => VerdictKind::Reply,
            Self::Hold => VerdictKind::Hold,
            Self::Kernel => VerdictKind::Kernel,
            Self::Handoff(_) => VerdictKind::Handoff,
            Self::Drop(_) => VerdictKind::Drop,
        }
    }
}

list! {
    /// [`Verdict`] without its particulars: what is counted.
    VerdictKind {
        Tx = "tx": "forwarded, whole or in fragments",
        Reply = "reply": "not forwarded, and the sender told by ICMP",
        Hold = "hold": "held until a neighbour is resolved; counted again when it leaves the hold queue",
        Kernel = "kernel": "given to the host's own network stack",
        Handoff = "handoff": "given to the worker that has its NAT state; counted again there",
        Drop = "drop": "not forwarded, silently",
    }
}

list! {
    /// Why a packet was not forwarded. One variant = one counter, whether or not the sender was told.
    DropReason {
        IngressUnknown = "ingress-unknown": "arrived on an interface that has been taken out of service",
        EthTruncated = "eth-truncated": "the frame is shorter than an Ethernet header",
        EthNotForUs = "eth-not-for-us": "the destination hardware address is not the interface's",
        EthGroup = "eth-group": "a link-layer broadcast or multicast, which a router must not forward (RFC 1812 5.3.4)",
        EthTypeUnknown = "eth-type-unknown": "neither IPv4 nor a VLAN that is configured",
        IpTruncated = "ip-truncated": "the frame is shorter than an IPv4 header",
        IpBadVersion = "ip-bad-version": "the version field is not 4",
        IpBadHeaderLength = "ip-bad-header-length": "the header length is below 20 bytes or beyond the packet",
        IpBadTotalLength = "ip-bad-total-length": "the total length is below the header's",
        IpCutShort = "ip-cut-short": "the total length is beyond the frame: the packet has been truncated (answered by 12/0)",
        IpBadChecksum = "ip-bad-checksum": "the header checksum is wrong",
        IpBadOption = "ip-bad-option": "an IP option is malformed (answered by 12/0)",
        SourceRouted = "source-routed": "a source route option; refused by default (RFC 7126)",
        SourceRouteFailed = "source-route-failed": "a strict source route to an address that is not a neighbour (answered by 3/5)",
        MartianSource = "martian-source": "a source address no host can have (RFC 1812 5.3.7)",
        MartianDestination = "martian-destination": "a destination address that cannot be forwarded to (RFC 1812 5.3.7)",
        Urpf = "urpf": "the source is not routed back where the packet came from (RFC 3704)",
        AclDrop = "acl-drop": "a packet filter drops it; `show acl` tells the rules apart",
        AclReject = "acl-reject": "a packet filter rejects it (answered by 3/13)",
        TinyFragment = "tiny-fragment": "a fragment that hides or overwrites a TCP header, on an interface with a packet filter (RFC 1858)",
        Policed = "policed": "over the rate of a policer",
        Multicast = "multicast": "an IPv4 multicast destination; multicast is not routed",
        Broadcast = "broadcast": "the limited broadcast, or a directed one where these are not forwarded (RFC 2644)",
        TtlExceeded = "ttl-exceeded": "the time to live ran out (answered by 11/0)",
        NoRoute = "no-route": "no route to the destination (answered by 3/0)",
        Blackhole = "blackhole": "a blackhole route, silent by definition",
        Unreachable = "unreachable": "an unreachable route (answered by 3/1)",
        Prohibit = "prohibit": "a prohibit route (answered by 3/13)",
        EgressDown = "egress-down": "the outgoing interface is down or out of service (answered by 3/1)",
        NeighborFailed = "neighbor-failed": "the next hop does not answer (answered by 3/1)",
        HoldFull = "hold-full": "too many packets wait for neighbours already",
        TooBig = "too-big": "larger than the next hop's MTU and must not be fragmented (answered by 3/4)",
        FragmentFailed = "fragment-failed": "could not be fragmented: no free frames, or an MTU without room for data",
        NoHeadroom = "no-headroom": "the frame has no room left for the headers to be written",
        NotForwarded = "not-forwarded": "for the host itself, to which packets cannot be given from here",
        TxFull = "tx-full": "the transmit queue of the outgoing interface is full",
        NatOff = "nat-off": "from inside to outside while NAT has no configuration: nothing leaves untranslated",
        NatNoPool = "nat-no-pool": "from an inside address that no rule translates or exempts (answered by 3/13)",
        NatPoolExhausted = "nat-pool-exhausted": "no outside port is left in the pool (answered by 3/13)",
        NatSubscriberPorts = "nat-subscriber-ports": "the inside address has all the ports it may have (answered by 3/13)",
        NatSubscriberSessions = "nat-subscriber-sessions": "the inside address has all the sessions it may have (answered by 3/13)",
        NatTableFull = "nat-table-full": "the session or mapping table is full (answered by 3/13)",
        NatInboundFull = "nat-inbound-full": "from outside, and there is no room for the session",
        NatNoMapping = "nat-no-mapping": "from outside to an outside endpoint that nobody inside has",
        NatFiltered = "nat-filtered": "from an outside endpoint that the mapping's filter does not let in",
        NatNoSession = "nat-no-session": "a TCP segment without SYN that belongs to no connection",
        NatUnrelatedError = "nat-unrelated-error": "an ICMP error about a packet that no session has",
        NatMalformed = "nat-malformed": "cannot be translated: too short, or an ICMP message that is neither query nor error",
        NatFragment = "nat-fragment": "a fragment whose first fragment has not come, or not in time",
        NatSynUnanswered = "nat-syn-unanswered": "a connection from outside that nobody inside opened within six seconds (answered by 3/3)",
        NatGateway = "nat-gateway": "the beginning of an FTP command, which leaves at the head of the next segment",
        NatHandoff = "nat-handoff": "could not be given to the worker that has its NAT state",
        RxRingFull = "rx-ring-full": "never reached the worker: it did not empty its receive ring in time",
        NoBuffer = "no-buffer": "never reached the worker: the kernel found no free packet buffer to receive into",
        RxRefused = "rx-refused": "never reached the worker: the kernel could not give it to the socket",
        RxTooLarge = "rx-too-large": "a piece of a frame that is larger than a packet buffer",
        XdpTruncated = "xdp-truncated": "the XDP program found it shorter than its Ethernet, VLAN or IPv4 header",
        NoWorker = "no-worker": "no live worker on its receive queue, and the interface fails closed",
    }
}

list! {
    /// A part of a worker's round, as its time is measured.
    Stage {
        Receive = "receive": "taking frames from the receive rings",
        Parse = "parse": "reading headers, checking sources, asking for routes",
        LookUp = "look-up": "from destinations to next hops",
        Settle = "settle": "deciding, rewriting, answering, queueing",
        Transmit = "transmit": "transmit rings, system calls, completions, refilling",
    }
}

list! {
    /// An ICMP error, as counted by type/code when it is sent.
    IcmpMessage {
        NetUnreachable = "3/0": "network unreachable",
        HostUnreachable = "3/1": "host unreachable",
        FragmentationNeeded = "3/4": "fragmentation needed and DF set, with the next-hop MTU (RFC 1191)",
        SourceRouteFailed = "3/5": "source route failed",
        PortUnreachable = "3/3": "port unreachable: nobody answered a connection from outside within six seconds (RFC 5382)",
        Prohibited = "3/13": "communication administratively prohibited",
        RedirectHost = "5/1": "redirect for the host: another router of the subnet is nearer",
        TtlExceeded = "11/0": "time to live exceeded in transit",
        ParameterProblem = "12/0": "parameter problem, with a pointer to it",
    }
}

list! {
    /// Something counted that decides nothing about the packet's fate.
    Event {
        Fragmented = "fragmented": "packets forwarded in fragments",
        FragmentsSent = "fragments-sent": "fragments made",
        ChecksumCompleted = "checksum-completed": "TCP or UDP checksums completed that a local sender had left to hardware",
        Resolve = "resolve": "requests to resolve a neighbour",
        HeldReleased = "held-released": "packets that left the hold queue because their neighbour answered or was given up",
        IcmpForbidden = "icmp-forbidden": "errors not sent because of what they would be about (RFC 1812 4.3.2.7)",
        IcmpRateLimited = "icmp-rate-limited": "errors not sent because too many were (RFC 1812 4.3.2.8)",
        IcmpUnroutable = "icmp-unroutable": "errors not sent because there is no way back to the sender",
        MssClamped = "mss-clamped": "TCP SYNs whose maximum segment size was lowered to what fits the interface",
        NatWaiting = "nat-waiting": "fragments that came before their first one, and unsolicited SYNs, made to wait",
        OwnLost = "own-lost": "packets of the router's own that could not be sent: no neighbour, queue or room for them",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn names_are_unique_and_kebab_case_and_help_is_one_line() {
        fn check(list: &[(&'static str, &'static str)], numeric: bool) {
            let names: BTreeSet<_> = list.iter().map(|(name, _)| name).collect();
            assert_eq!(names.len(), list.len());
            for (name, help) in list {
                let allowed = |b: u8| {
                    b.is_ascii_lowercase() || b == b'-' || (numeric && (b == b'/' || b.is_ascii_digit()))
                };
                assert!(name.bytes().all(allowed), "{name}");
                assert!(!help.is_empty() && !help.contains('\n') && !help.ends_with('.'), "{name}: {help}");
            }
        }
        check(&DropReason::ALL.iter().map(|r| (r.name(), r.help())).collect::<Vec<_>>(), false);
        check(&Stage::ALL.iter().map(|r| (r.name(), r.help())).collect::<Vec<_>>(), false);
        check(&VerdictKind::ALL.iter().map(|r| (r.name(), r.help())).collect::<Vec<_>>(), false);
        check(&Event::ALL.iter().map(|r| (r.name(), r.help())).collect::<Vec<_>>(), false);
        check(&IcmpMessage::ALL.iter().map(|r| (r.name(), r.help())).collect::<Vec<_>>(), true);
    }

    #[test]
    fn indices_are_positions() {
        for (i, reason) in DropReason::ALL.iter().enumerate() {
            assert_eq!(reason.index(), i);
        }
    }
}
