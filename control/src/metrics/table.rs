//! Names, types, labels and help of all metrics. `control/METRICS.md` is made from this, and a test compares them.

/// One metric family.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Metric {
    pub name: &'static str,
    pub kind: Kind,
    pub labels: &'static [&'static str],
    pub help: &'static str,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Only grows while the process that counts it lives; ends in `_total`.
    Counter,
    Gauge,
    Histogram,
}

impl Kind {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

const fn counter(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Metric {
    Metric { name, kind: Kind::Counter, labels, help }
}

const fn gauge(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Metric {
    Metric { name, kind: Kind::Gauge, labels, help }
}

const fn histogram(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Metric {
    Metric { name, kind: Kind::Histogram, labels, help }
}

const INTERFACE: &[&str] = &["interface"];
const QUEUE: &[&str] = &["interface", "queue"];
const ACL: &[&str] = &["acl", "rule"];
const WORKER: &[&str] = &["worker"];
const POOL: &[&str] = &["pool"];
const NEIGHBOR: &[&str] = &["interface", "neighbor"];
const PEER: &[&str] = &["peer"];
const PROCESS: &[&str] = &["process"];

/// All of them, in the order of the output. Values are bytes, seconds and packets, never multiples.
pub const METRICS: &[Metric] = &[
    // -- the processes
    gauge(
        "millrace_build_info",
        &["version", "router"],
        "Always 1; the version of the routing process and the router's name.",
    ),
    gauge("millrace_dataplane_up", &[], "1 while the dataplane is connected to the routing process."),
    counter(
        "millrace_dataplane_connects_total",
        &[],
        "Connections made to the dataplane since the routing process started.",
    ),
    gauge(
        "millrace_config_restart_pending",
        &[],
        "Settings that are not in force before the dataplane is restarted.",
    ),
    gauge("millrace_process_start_time_seconds", PROCESS, "When the process started, in seconds since 1970."),
    gauge("millrace_process_resident_memory_bytes", PROCESS, "Resident memory of the process."),
    counter("millrace_process_cpu_seconds_total", PROCESS, "User and system CPU time of the process."),
    // -- interfaces
    gauge("millrace_interface_up", INTERFACE, "1 while the interface is up and has carrier."),
    gauge("millrace_interface_in_service", INTERFACE, "1 while the dataplane forwards on the interface."),
    gauge("millrace_interface_mtu_bytes", INTERFACE, "MTU of the interface."),
    counter(
        "millrace_interface_rx_packets_total",
        INTERFACE,
        "Packets the workers received; those for the host itself are not among them.",
    ),
    counter("millrace_interface_rx_bytes_total", INTERFACE, "Bytes the workers received, with link headers."),
    counter("millrace_interface_tx_packets_total", INTERFACE, "Packets the workers sent."),
    counter("millrace_interface_tx_bytes_total", INTERFACE, "Bytes the workers sent, with link headers."),
    counter(
        "millrace_xdp_outcomes_total",
        &["interface", "outcome"],
        "Frames by what the XDP program decided.",
    ),
    gauge(
        "millrace_xsk_mode",
        &["interface", "queue", "mode"],
        "Always 1; the mode the queue's socket is bound in: zero-copy, copy or generic.",
    ),
    counter(
        "millrace_xsk_rx_dropped_total",
        QUEUE,
        "Frames the kernel dropped for other reasons than those below (XDP_STATISTICS).",
    ),
    counter(
        "millrace_xsk_rx_ring_full_total",
        QUEUE,
        "Frames dropped because the worker did not empty the receive ring in time.",
    ),
    counter(
        "millrace_xsk_fill_ring_empty_total",
        QUEUE,
        "Times the kernel found no free frame for reception.",
    ),
    counter("millrace_xsk_tx_ring_empty_total", QUEUE, "Times the kernel found nothing to send."),
    counter(
        "millrace_xsk_rx_invalid_descriptors_total",
        QUEUE,
        "Invalid descriptors in the fill ring; not 0 is a defect.",
    ),
    counter(
        "millrace_xsk_tx_invalid_descriptors_total",
        QUEUE,
        "Invalid descriptors in the transmit ring; not 0 is a defect.",
    ),
    gauge("millrace_xsk_tx_in_flight", QUEUE, "Frames handed to the kernel to send and not yet completed."),
    gauge(
        "millrace_xsk_tx_stuck",
        QUEUE,
        "1 while nothing has been sent for two seconds though frames wait.",
    ),
    counter("millrace_xsk_tx_stalls_total", QUEUE, "Times transmission got stuck."),
    counter(
        "millrace_xsk_wakes_total",
        &["interface", "queue", "ring"],
        "System calls made to wake the kernel: for the tx ring, or for the fill ring (rx).",
    ),
    counter("millrace_xsk_wakes_failed_total", QUEUE, "Of these, those that failed for good."),
    counter(
        "millrace_interface_device_drops_total",
        &["interface", "counter"],
        "The kernel's own counters of the device (rx_dropped, rx_missed, rx_errors, tx_dropped, tx_errors): lost before the XDP \
         program saw them, or after a worker had sent them.",
    ),
    // -- packets
    counter("millrace_verdicts_total", &["verdict"], "Packets by what was decided about them."),
    counter(
        "millrace_drops_total",
        &["reason"],
        "Packets that were not forwarded, by reason; `millrace show drops` explains each.",
    ),
    counter(
        "millrace_acl_packets_total",
        ACL,
        "Packets a rule of a packet filter matched, by its number; rule `default`: those no rule matched.",
    ),
    counter("millrace_acl_bytes_total", ACL, "Bytes of the IPv4 packets a rule matched."),
    counter("millrace_acl_policed_total", ACL, "Packets over the rate of a rule's policer."),
    counter("millrace_icmp_sent_total", &["type"], "ICMP errors sent, by type/code."),
    gauge(
        "millrace_frames",
        &["state"],
        "Packet buffers by where they are: free, fill (posted for reception), tx (being sent), held (waiting for a neighbour).",
    ),
    gauge("millrace_frames_configured", &[], "Packet buffers in all."),
    gauge(
        "millrace_frames_lost",
        &[],
        "Packet buffers that are nowhere: not 0 for long is a defect. Sampled while workers run, so a moment's few are none.",
    ),
    // -- workers
    counter("millrace_worker_busy_seconds_total", WORKER, "Time the worker processed packets."),
    counter("millrace_worker_idle_seconds_total", WORKER, "Time the worker waited for packets."),
    counter("millrace_worker_packets_total", WORKER, "Packets the worker received."),
    counter("millrace_worker_wakeups_total", WORKER, "System calls made to wake the kernel."),
    histogram("millrace_worker_burst_packets", WORKER, "Packets received at once."),
    gauge(
        "millrace_worker_frames",
        &["worker", "state"],
        "Packet buffers in the worker's hands: free (its cache) or held (waiting for a neighbour).",
    ),
    gauge(
        "millrace_worker_scheduling",
        &["worker", "scheduling"],
        "Always 1; how the worker competes for its CPU: realtime, nice or normal.",
    ),
    counter(
        "millrace_worker_stage_seconds_total",
        &["worker", "stage"],
        "Time spent in each stage, while `dataplane.stage-times` is on.",
    ),
    counter(
        "millrace_worker_stage_packets_total",
        &["worker", "stage"],
        "Packets that time was measured over.",
    ),
    // -- forwarding table
    gauge("millrace_fib_routes", &[], "Routes in the forwarding table."),
    gauge(
        "millrace_fib_generation",
        &["side"],
        "Last generation of changes: sent by control, in force in the dataplane.",
    ),
    gauge("millrace_fib_synced", &[], "1 while the dataplane has acknowledged everything."),
    gauge("millrace_fib_slots", &["table"], "Capacity of the forwarding table's parts."),
    gauge("millrace_fib_slots_used", &["table"], "Used part of that capacity."),
    gauge("millrace_fib_refused", &[], "Routes and next-hop groups the dataplane refuses at present."),
    counter("millrace_fib_refused_total", &[], "Operations the dataplane refused."),
    counter("millrace_fib_resyncs_total", &[], "Times everything was sent to the dataplane again."),
    counter("millrace_fib_swept_total", &[], "Left-over entries removed at the end of a resync."),
    counter(
        "millrace_fib_mismatch_total",
        &[],
        "Differences between routing and forwarding table that the audit found and repaired.",
    ),
    counter("millrace_fib_audit_rounds_total", &[], "Complete comparisons of the two tables."),
    // -- address translation: absent without [nat]
    gauge(
        "millrace_nat_sessions",
        POOL,
        "Sessions; those of forwards and one-to-one addresses are in the pool \"\".",
    ),
    gauge(
        "millrace_nat_mappings",
        POOL,
        "Mappings; those of forwards and one-to-one addresses are in the pool \"\".",
    ),
    gauge("millrace_nat_subscribers", &[], "Inside addresses that hold a port or a session."),
    gauge("millrace_nat_sessions_limit", &[], "Sessions that are possible."),
    gauge("millrace_nat_mappings_limit", &[], "Mappings that are possible."),
    gauge(
        "millrace_nat_pool_ports",
        POOL,
        "Outside ports of the pool for one protocol, all addresses together.",
    ),
    gauge(
        "millrace_nat_pool_ports_free",
        &["pool", "protocol"],
        "Outside ports of the pool that are neither taken nor resting: 0 is exhaustion.",
    ),
    counter("millrace_nat_sessions_created_total", &[], "Sessions made."),
    counter("millrace_nat_sessions_expired_total", &[], "Sessions ended by their timers."),
    counter("millrace_nat_mappings_created_total", &[], "Mappings made."),
    counter(
        "millrace_nat_refused_total",
        &["reason"],
        "New flows from inside that got no mapping or session, by reason; `pool-exhausted` is a pool without ports.",
    ),
    counter(
        "millrace_nat_denied_total",
        &["reason"],
        "Packets from outside that no mapping or filter lets in, by reason.",
    ),
    counter(
        "millrace_nat_log_lines_total",
        &["outcome"],
        "Log lines by what became of them: written, dropped (over the rate) or failed (a receiver did not take them).",
    ),
    gauge("millrace_nat_memory_bytes", &[], "Memory of sessions, mappings and their indexes."),
    // -- routing table
    gauge("millrace_rib_prefixes", &[], "Prefixes with at least one candidate."),
    gauge("millrace_rib_routes", &["protocol"], "Candidates by where they come from."),
    gauge("millrace_rib_nexthops", &["state"], "Next hops that are tracked: resolved or unresolved."),
    // -- BFD
    gauge("millrace_bfd_session_up", NEIGHBOR, "1 while the BFD session with the neighbour is up."),
    gauge(
        "millrace_bfd_detection_time_seconds",
        NEIGHBOR,
        "Silence after which the session is down; 0 until the neighbour was heard.",
    ),
    counter(
        "millrace_bfd_packets_total",
        &["interface", "neighbor", "direction"],
        "BFD control packets of the session, by direction: received or sent.",
    ),
    counter(
        "millrace_bfd_session_changes_total",
        &["interface", "neighbor", "to"],
        "Times the session came up or went down.",
    ),
    counter("millrace_bfd_bad_packets_total", &["reason"], "BFD packets that were ignored, by reason."),
    // -- RIP
    gauge("millrace_rip_routes", &[], "Destinations in RIP's table, those being forgotten among them."),
    gauge("millrace_rip_neighbor_routes", NEIGHBOR, "Destinations the neighbour tells of, used or not."),
    gauge("millrace_rip_neighbor_heard_seconds", NEIGHBOR, "How long ago the neighbour was heard."),
    counter(
        "millrace_rip_neighbor_bad_packets_total",
        NEIGHBOR,
        "Messages of the neighbour that were ignored.",
    ),
    counter(
        "millrace_rip_neighbor_bad_routes_total",
        NEIGHBOR,
        "Entries in messages of the neighbour that were ignored.",
    ),
    counter(
        "millrace_rip_messages_sent_total",
        &["interface", "kind"],
        "Messages sent: request, update (regular), triggered, or reply (to a request).",
    ),
    counter(
        "millrace_rip_messages_received_total",
        &["interface", "kind"],
        "Messages taken: request or response.",
    ),
    counter(
        "millrace_rip_bad_packets_total",
        &["interface", "reason"],
        "Messages that were ignored, by reason.",
    ),
    counter(
        "millrace_rip_bad_routes_total",
        &["interface", "reason"],
        "Entries that were ignored, by reason.",
    ),
    counter("millrace_rip_unprotected_total", INTERFACE, "Messages not sent because no key was valid."),
    counter("millrace_rip_unsent_total", &[], "Messages the kernel would not send."),
    // -- OSPF
    gauge("millrace_ospf_neighbors", &["interface", "state"], "Neighbours by state: 2-way, full and so on."),
    gauge("millrace_ospf_lsas", &["area", "type"], "LSAs in the database; area `as` has the external ones."),
    gauge(
        "millrace_ospf_oldest_lsa_age_seconds",
        &["area"],
        "Age of the oldest LSA of the area; at 3600 it is withdrawn.",
    ),
    counter(
        "millrace_ospf_packets_total",
        &["interface", "direction", "type"],
        "OSPF packets by direction (received or sent) and type.",
    ),
    counter(
        "millrace_ospf_bad_packets_total",
        &["interface", "reason"],
        "OSPF packets that were ignored, by reason.",
    ),
    counter("millrace_ospf_bad_lsas_total", &["interface", "reason"], "LSAs that were ignored, by reason."),
    counter("millrace_ospf_retransmissions_total", INTERFACE, "LSAs, requests and descriptions sent again."),
    counter(
        "millrace_ospf_spf_runs_total",
        &["kind"],
        "Calculations: full over whole areas, partial over summaries and external routes.",
    ),
    counter("millrace_ospf_unsent_total", &[], "OSPF packets the kernel did not take."),
    // -- kernel mirror
    gauge("millrace_kernel_routes", &[], "Routes mirrored into the kernel's main table."),
    gauge("millrace_kernel_routes_pending", &[], "Prefixes whose last change the kernel does not have yet."),
    gauge(
        "millrace_kernel_routes_foreign",
        &[],
        "Prefixes left alone because somebody else's route is there.",
    ),
    counter("millrace_kernel_errors_total", &[], "Changes the kernel refused."),
    // -- BGP; names are those of frr_exporter with another prefix, where it has them
    gauge("millrace_bgp_prefixes", &[], "Prefixes with a path, used or not."),
    gauge("millrace_bgp_attribute_sets", &[], "Different sets of attributes."),
    gauge("millrace_bgp_memory_bytes", &[], "What prefixes and attribute sets take, about."),
    gauge("millrace_bgp_peer_state", PEER, "1 while the session is established."),
    gauge("millrace_bgp_peer_uptime_seconds", PEER, "How long it is."),
    gauge("millrace_bgp_peer_prefixes_received", PEER, "Paths the neighbour has told."),
    gauge("millrace_bgp_peer_prefixes_accepted", PEER, "Of these, those the import policy takes."),
    gauge("millrace_bgp_peer_prefixes_advertised", PEER, "Prefixes the neighbour is told."),
    counter("millrace_bgp_peer_messages_received_total", PEER, "Messages of all kinds."),
    counter("millrace_bgp_peer_messages_sent_total", PEER, "Messages of all kinds."),
    counter("millrace_bgp_peer_flaps_total", PEER, "Sessions that ended."),
];

/// The reference as a Markdown document.
pub fn markdown() -> String {
    let mut out = String::from(
        "# Metrics\n\n\
         One endpoint, `/metrics`, on the control socket and on `[http] listen`. Base units, `_total` for counters.\n\
         What comes from the dataplane is absent while it is away (`millrace_dataplane_up` is 0 then).\n\
         This page is made from `control/src/metrics/table.rs`; a test compares them.\n\n\
         | metric | type | labels | |\n|---|---|---|---|\n",
    );
    for metric in METRICS {
        let labels: Vec<_> = metric.labels.iter().map(|label| format!("`{label}`")).collect();
        let row = format!(
            "| `{}` | {} | {} | {} |\n",
            metric.name,
            metric.kind.name(),
            labels.join(", "),
            metric.help
        );
        out.push_str(&row);
    }
    out
}
