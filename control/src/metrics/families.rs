//! One scrape: what runtime and dataplane report, as metric families in the order of the table.

use std::collections::BTreeMap;
use std::sync::Arc;

use millrace_api::{nat, report};
use prometheus::TextEncoder;
use prometheus::proto;

use super::process::Process;
use super::table::{Kind, METRICS, Metric};
use crate::config::Config;
use crate::http::view;
use crate::protocols::host::Sample;
use crate::runtime::handle::{Status, SyncState};

/// Everything one answer is made from. What comes from the dataplane is absent while it is away.
#[derive(Clone, Debug)]
pub struct Scrape {
    pub version: &'static str,
    pub config: Arc<Config>,
    pub status: Status,
    pub interfaces: Option<Vec<report::Interface>>,
    pub counters: Option<report::Counters>,
    pub acls: Option<Vec<report::AclHits>>,
    pub workers: Option<Vec<report::Worker>>,
    pub fib: Option<report::Fib>,
    /// Absent too where nothing is translated.
    pub nat: Option<nat::NatStats>,
    pub nat_pools: Vec<nat::NatPoolReport>,
    pub process: Option<Process>,
    /// Of the routing protocols that run.
    pub protocols: Vec<Sample>,
    pub bfd: view::Bfd,
}

/// The text format, version 0.0.4.
pub fn render(scrape: &Scrape) -> String {
    let mut families = Families::default();
    families.processes(scrape);
    families.interfaces(scrape);
    families.packets(scrape);
    families.acls(scrape);
    families.workers(scrape);
    families.fib(scrape);
    families.nat(scrape);
    families.rib(scrape);
    for Sample { metric, labels, value } in &scrape.protocols {
        let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
        families.set(metric, &labels, *value);
    }
    families.bfd(scrape);
    TextEncoder::new().encode_to_string(&families.finish()).unwrap_or_default()
}

/// Samples by metric name.
#[derive(Default)]
struct Families {
    samples: BTreeMap<&'static str, Vec<proto::Metric>>,
}

impl Families {
    /// Adds a sample; the values are those of the metric's labels, in the table's order.
    fn set(&mut self, name: &str, labels: &[&str], value: f64) {
        let Some(metric) = METRICS.iter().find(|metric| metric.name == name) else {
            debug_assert!(false, "{name} is not in the table");
            return;
        };
        let mut sample = proto::Metric::from_label(pairs(metric, labels));
        match metric.kind {
            Kind::Counter => {
                let mut counter = proto::Counter::default();
                counter.set_value(value);
                sample.set_counter(counter);
            }
            Kind::Gauge => {
                let mut gauge = proto::Gauge::default();
                gauge.set_value(value);
                sample.set_gauge(gauge);
            }
            Kind::Histogram => debug_assert!(false, "{name} is a histogram"),
        }
        self.samples.entry(metric.name).or_default().push(sample);
    }

    fn count(&mut self, name: &str, labels: &[&str], value: u64) {
        self.set(name, labels, float(value));
    }

    /// Adds a histogram of values up to and including each bound; the last number is of those beyond.
    fn distribution(&mut self, name: &str, labels: &[&str], bounds: &[u32], counts: &[u64], sum: u64) {
        let Some(metric) = METRICS.iter().find(|metric| metric.name == name) else {
            debug_assert!(false, "{name} is not in the table");
            return;
        };
        let mut total = 0;
        let mut buckets = Vec::new();
        for (i, count) in counts.iter().enumerate() {
            total += count;
            let Some(&bound) = bounds.get(i) else { continue };
            let mut bucket = proto::Bucket::default();
            bucket.set_upper_bound(f64::from(bound));
            bucket.set_cumulative_count(total);
            buckets.push(bucket);
        }
        let mut histogram = proto::Histogram::default();
        histogram.set_bucket(buckets);
        histogram.set_sample_count(total);
        histogram.set_sample_sum(float(sum));
        let mut sample = proto::Metric::from_label(pairs(metric, labels));
        sample.set_histogram(histogram);
        self.samples.entry(metric.name).or_default().push(sample);
    }

    /// The families that have samples, in the table's order.
    fn finish(mut self) -> Vec<proto::MetricFamily> {
        let mut families = Vec::new();
        for metric in METRICS {
            let Some(samples) = self.samples.remove(metric.name) else { continue };
            let mut family = proto::MetricFamily::default();
            family.set_name(metric.name.to_owned());
            family.set_help(metric.help.to_owned());
            family.set_field_type(match metric.kind {
                Kind::Counter => proto::MetricType::COUNTER,
                Kind::Gauge => proto::MetricType::GAUGE,
                Kind::Histogram => proto::MetricType::HISTOGRAM,
            });
            family.set_metric(samples);
            families.push(family);
        }
        families
    }

    fn processes(&mut self, scrape: &Scrape) {
        let dataplane = &scrape.status.dataplane;
        let router = scrape.config.router.name.as_deref().unwrap_or_default();
        self.set("millrace_build_info", &[scrape.version, router], 1.0);
        self.set("millrace_dataplane_up", &[], f64::from(u8::from(dataplane.connected)));
        self.count("millrace_dataplane_connects_total", &[], dataplane.connects);
        self.set("millrace_config_restart_pending", &[], dataplane.restart.len() as f64);
        let other = dataplane.pid.filter(|_| dataplane.connected).and_then(Process::of);
        for (name, process) in [("control", scrape.process), ("dataplane", other)] {
            let Some(process) = process else { continue };
            self.set("millrace_process_start_time_seconds", &[name], process.start_time_seconds);
            self.count("millrace_process_resident_memory_bytes", &[name], process.resident_bytes);
            self.set("millrace_process_cpu_seconds_total", &[name], process.cpu_seconds);
        }
    }

    fn interfaces(&mut self, scrape: &Scrape) {
        for interface in scrape.interfaces.iter().flatten() {
            let name = interface.name.as_str();
            self.set("millrace_interface_up", &[name], f64::from(u8::from(interface.up)));
            let in_service = u8::from(interface.problem.is_none());
            self.set("millrace_interface_in_service", &[name], f64::from(in_service));
            self.set("millrace_interface_mtu_bytes", &[name], f64::from(interface.mtu));
            self.count("millrace_interface_rx_packets_total", &[name], interface.rx_packets);
            self.count("millrace_interface_rx_bytes_total", &[name], interface.rx_bytes);
            self.count("millrace_interface_tx_packets_total", &[name], interface.tx_packets);
            self.count("millrace_interface_tx_bytes_total", &[name], interface.tx_bytes);
            for (outcome, count) in &interface.xdp_outcomes {
                self.count("millrace_xdp_outcomes_total", &[name, outcome], *count);
            }
            for queue in &interface.queues {
                let number = queue.queue.to_string();
                self.set("millrace_xsk_mode", &[name, &number, &queue.mode], 1.0);
                let labels = [name, number.as_str()];
                let xdp = &queue.xdp;
                self.count("millrace_xsk_rx_dropped_total", &labels, xdp.rx_dropped);
                self.count("millrace_xsk_rx_ring_full_total", &labels, xdp.rx_ring_full);
                self.count("millrace_xsk_fill_ring_empty_total", &labels, xdp.rx_fill_ring_empty_descs);
                self.count("millrace_xsk_tx_ring_empty_total", &labels, xdp.tx_ring_empty_descs);
                self.count("millrace_xsk_rx_invalid_descriptors_total", &labels, xdp.rx_invalid_descs);
                self.count("millrace_xsk_tx_invalid_descriptors_total", &labels, xdp.tx_invalid_descs);
                let socket = &queue.socket;
                self.set("millrace_xsk_tx_in_flight", &labels, f64::from(socket.tx_in_flight));
                self.set("millrace_xsk_tx_stuck", &labels, f64::from(u8::from(socket.tx_stuck)));
                self.count("millrace_xsk_tx_stalls_total", &labels, socket.tx_stalls);
                for (ring, wakes) in [("tx", socket.tx_wakes), ("rx", socket.rx_wakes)] {
                    self.count("millrace_xsk_wakes_total", &[name, &number, ring], wakes);
                }
                self.count("millrace_xsk_wakes_failed_total", &labels, socket.wakes_failed);
            }
            let Some(drops) = &interface.device_drops else { continue };
            for (counter, count) in [
                ("rx_dropped", drops.rx_dropped),
                ("rx_missed", drops.rx_missed),
                ("rx_errors", drops.rx_errors),
                ("tx_dropped", drops.tx_dropped),
                ("tx_errors", drops.tx_errors),
            ] {
                self.count("millrace_interface_device_drops_total", &[name, counter], count);
            }
        }
    }

    fn packets(&mut self, scrape: &Scrape) {
        let Some(counters) = &scrape.counters else { return };
        let named = [
            ("millrace_verdicts_total", &counters.verdicts),
            ("millrace_drops_total", &counters.drops),
            ("millrace_icmp_sent_total", &counters.icmp_sent),
        ];
        for (metric, counts) in named {
            for (name, count) in counts {
                self.count(metric, &[name], *count);
            }
        }
        let frames = &counters.frames;
        for (state, count) in
            [("free", frames.free), ("fill", frames.fill), ("tx", frames.tx), ("held", frames.held)]
        {
            self.count("millrace_frames", &[state], count);
        }
        self.count("millrace_frames_configured", &[], frames.total);
        self.set("millrace_frames_lost", &[], frames.lost as f64);
    }

    fn acls(&mut self, scrape: &Scrape) {
        for acl in scrape.acls.iter().flatten() {
            let rules = (1..).zip(&acl.rules).map(|(number, hits): (u32, _)| (number.to_string(), hits));
            for (rule, hits) in rules.chain([("default".to_owned(), &acl.default)]) {
                let labels = [acl.name.as_str(), rule.as_str()];
                self.count("millrace_acl_packets_total", &labels, hits.packets);
                self.count("millrace_acl_bytes_total", &labels, hits.bytes);
                self.count("millrace_acl_policed_total", &labels, hits.policed);
            }
        }
    }

    fn workers(&mut self, scrape: &Scrape) {
        for worker in scrape.workers.iter().flatten() {
            let number = worker.worker.to_string();
            let labels = [number.as_str()];
            self.set("millrace_worker_busy_seconds_total", &labels, worker.busy_seconds);
            self.set("millrace_worker_idle_seconds_total", &labels, worker.idle_seconds);
            self.count("millrace_worker_packets_total", &labels, worker.packets);
            self.count("millrace_worker_wakeups_total", &labels, worker.wakeups);
            // Bursts of 1, 2-3, 4-7, … packets: the bounds are the greatest sizes of each.
            let bounds = [1, 3, 7, 15, 31, 63];
            let counts = &worker.burst_histogram;
            self.distribution("millrace_worker_burst_packets", &labels, &bounds, counts, worker.packets);
            self.count("millrace_worker_frames", &[&number, "free"], worker.frames_free);
            self.count("millrace_worker_frames", &[&number, "held"], worker.frames_held);
            self.set("millrace_worker_scheduling", &[&number, &worker.scheduling], 1.0);
            for stage in &worker.stages {
                let labels = [number.as_str(), stage.stage.as_str()];
                self.set("millrace_worker_stage_seconds_total", &labels, stage.seconds);
                self.count("millrace_worker_stage_packets_total", &labels, stage.packets);
            }
        }
    }

    fn fib(&mut self, scrape: &Scrape) {
        let (status, audit) = (&scrape.status.fib, &scrape.status.audit);
        self.count("millrace_fib_generation", &["control"], status.generation_sent);
        self.set("millrace_fib_synced", &[], f64::from(u8::from(status.state == SyncState::Synced)));
        self.count("millrace_fib_refused", &[], status.refused);
        self.count("millrace_fib_refused_total", &[], status.refused_total);
        self.count("millrace_fib_resyncs_total", &[], status.resyncs_total);
        self.count("millrace_fib_swept_total", &[], status.swept_total);
        self.count("millrace_fib_mismatch_total", &[], audit.mismatches_total);
        self.count("millrace_fib_audit_rounds_total", &[], audit.rounds_total);
        let Some(fib) = &scrape.fib else { return };
        self.count("millrace_fib_routes", &[], fib.routes);
        self.count("millrace_fib_generation", &["dataplane"], fib.generation);
        for (table, used, all) in [
            ("tbl8", fib.tbl8_used, fib.tbl8_total),
            ("groups", fib.groups_used, fib.groups_total),
            ("adjacencies", fib.adjacencies_used, fib.adjacencies_total),
        ] {
            self.set("millrace_fib_slots", &[table], f64::from(all));
            self.set("millrace_fib_slots_used", &[table], f64::from(used));
        }
    }

    fn nat(&mut self, scrape: &Scrape) {
        let Some(stats) = &scrape.nat else { return };
        let mut in_pools = (0, 0);
        for pool in &scrape.nat_pools {
            let name = pool.name.as_str();
            self.count("millrace_nat_sessions", &[name], pool.sessions);
            self.count("millrace_nat_mappings", &[name], pool.mappings);
            self.count("millrace_nat_pool_ports", &[name], pool.ports_total);
            for (protocol, free) in [("tcp", pool.free.tcp), ("udp", pool.free.udp), ("icmp", pool.free.icmp)]
            {
                self.count("millrace_nat_pool_ports_free", &[name, protocol], free);
            }
            in_pools = (in_pools.0 + pool.sessions, in_pools.1 + pool.mappings);
        }
        self.count("millrace_nat_sessions", &[""], stats.sessions.saturating_sub(in_pools.0));
        self.count("millrace_nat_mappings", &[""], stats.mappings.saturating_sub(in_pools.1));
        self.count("millrace_nat_subscribers", &[], stats.subscribers);
        self.count("millrace_nat_sessions_limit", &[], stats.sessions_limit);
        self.count("millrace_nat_mappings_limit", &[], stats.mappings_limit);
        self.count("millrace_nat_sessions_created_total", &[], stats.sessions_created);
        self.count("millrace_nat_sessions_expired_total", &[], stats.sessions_expired);
        self.count("millrace_nat_mappings_created_total", &[], stats.mappings_created);
        for (reason, count) in &stats.refused {
            self.count("millrace_nat_refused_total", &[reason], *count);
        }
        for (reason, count) in &stats.denied {
            self.count("millrace_nat_denied_total", &[reason], *count);
        }
        for (outcome, count) in
            [("written", stats.log_written), ("dropped", stats.log_dropped), ("failed", stats.log_failed)]
        {
            self.count("millrace_nat_log_lines_total", &[outcome], count);
        }
        self.count("millrace_nat_memory_bytes", &[], stats.memory_bytes);
    }

    fn rib(&mut self, scrape: &Scrape) {
        let (rib, mirror) = (&scrape.status.rib, &scrape.status.mirror);
        self.count("millrace_rib_prefixes", &[], rib.prefixes);
        for protocol in &rib.protocols {
            self.count("millrace_rib_routes", &[protocol.protocol.name()], protocol.candidates);
        }
        self.count("millrace_rib_nexthops", &["resolved"], rib.nexthops_resolved);
        let unresolved = rib.nexthops.saturating_sub(rib.nexthops_resolved);
        self.count("millrace_rib_nexthops", &["unresolved"], unresolved);
        self.count("millrace_kernel_routes", &[], mirror.routes);
        self.count("millrace_kernel_routes_pending", &[], mirror.pending);
        self.count("millrace_kernel_routes_foreign", &[], mirror.foreign);
        self.count("millrace_kernel_errors_total", &[], mirror.errors_total);
    }
}

impl Families {
    fn bfd(&mut self, scrape: &Scrape) {
        for session in &scrape.bfd.sessions {
            let neighbor = session.neighbor.to_string();
            let labels = [session.interface.as_str(), neighbor.as_str()];
            self.set("millrace_bfd_session_up", &labels, f64::from(u8::from(session.state == "up")));
            self.set("millrace_bfd_detection_time_seconds", &labels, session.detection_time_ms / 1000.0);
            for (direction, packets) in [("received", session.received), ("sent", session.sent)] {
                self.count("millrace_bfd_packets_total", &[labels[0], labels[1], direction], packets);
            }
            for (to, times) in [("down", session.downs), ("up", session.ups)] {
                self.count("millrace_bfd_session_changes_total", &[labels[0], labels[1], to], times);
            }
        }
        for (reason, packets) in &scrape.bfd.bad_packets.0 {
            self.count("millrace_bfd_bad_packets_total", &[reason], *packets);
        }
    }
}

/// Exact up to 2⁵³, which is all the text format can say.
fn float(value: u64) -> f64 {
    value as f64
}

fn pairs(metric: &Metric, values: &[&str]) -> Vec<proto::LabelPair> {
    debug_assert_eq!(metric.labels.len(), values.len(), "labels of {}", metric.name);
    let pair = |(name, value): (&&str, &&str)| {
        let mut pair = proto::LabelPair::default();
        pair.set_name((*name).to_owned());
        pair.set_value((*value).to_owned());
        pair
    };
    metric.labels.iter().zip(values).map(pair).collect()
}
