//! RIP's samples for `/metrics`.

use millrace_rip::Rip;

use super::RipHost;
use crate::protocols::host::{Sample, Seen};

pub(super) fn samples(host: &RipHost, machine: &Rip, seen: &Seen<'_>) -> Vec<Sample> {
    let mut samples = vec![
        Sample::count("millrace_rip_routes", &[], machine.route_count() as u64),
        Sample::count("millrace_rip_unsent_total", &[], host.unsent),
    ];
    for interface in machine.interfaces(seen.now) {
        let (name, stats) = (interface.name.as_str(), interface.stats);
        let mut count = |metric, label, value| samples.push(Sample::count(metric, &[name, label], value));
        for (kind, value) in [
            ("request", stats.requests_sent),
            ("update", stats.updates_sent),
            ("triggered", stats.triggered_sent),
            ("reply", stats.replies_sent),
        ] {
            count("millrace_rip_messages_sent_total", kind, value);
        }
        for (kind, value) in [("request", stats.requests_received), ("response", stats.responses_received)] {
            count("millrace_rip_messages_received_total", kind, value);
        }
        for (reason, value) in stats.bad_packets.iter() {
            count("millrace_rip_bad_packets_total", reason.name(), value);
        }
        for (reason, value) in stats.bad_routes.iter() {
            count("millrace_rip_bad_routes_total", reason.name(), value);
        }
        samples.push(Sample::count("millrace_rip_unprotected_total", &[name], stats.unsendable));
    }
    for neighbor in machine.neighbors(seen.now) {
        let (interface, address) = (seen.name(neighbor.interface), neighbor.address.to_string());
        let mut count = |metric, value| samples.push(Sample::count(metric, &[&interface, &address], value));
        count("millrace_rip_neighbor_routes", neighbor.routes as u64);
        count("millrace_rip_neighbor_bad_packets_total", neighbor.bad_packets);
        count("millrace_rip_neighbor_bad_routes_total", neighbor.bad_routes);
        samples.push(Sample {
            metric: "millrace_rip_neighbor_heard_seconds",
            labels: vec![interface, address],
            value: neighbor.heard.as_secs_f64(),
        });
    }
    samples
}
