//! The table is well-formed, the document is made from it, and a scrape says what it was given.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::Arc;

use millrace_api::{nat, report};

use super::*;
use crate::config::Config;
use crate::http::view;
use crate::protocols::ROWS;
use crate::protocols::host::Sample;
use crate::runtime::handle;

/// The rules of `promtool check metrics` that a table can break.
#[test]
fn names_follow_the_conventions() {
    let mut seen = BTreeSet::new();
    for metric in METRICS {
        let name = metric.name;
        assert!(seen.insert(name), "{name} twice");
        let plain = |b: u8| b.is_ascii_lowercase() || b == b'_' || b.is_ascii_digit();
        assert!(name.starts_with("millrace_") && name.bytes().all(plain), "{name}");
        assert_eq!(metric.kind == Kind::Counter, name.ends_with("_total"), "{name}: _total is for counters");
        for suffix in ["_count", "_sum", "_bucket", "_info_total"] {
            assert!(!name.ends_with(suffix), "{name}: {suffix} is reserved");
        }
        for unit in
            ["_ms", "_milliseconds", "_kb", "_percent", "_minutes", "_gauge", "_counter", "_histogram"]
        {
            assert!(!name.contains(unit), "{name}: not a base unit, or the type in the name");
        }
        assert!(metric.help.ends_with('.') && !metric.help.contains('\n'), "{name}: help is a sentence");
        let labels: BTreeSet<_> = metric.labels.iter().collect();
        assert_eq!(labels.len(), metric.labels.len(), "{name}");
        for label in metric.labels {
            assert!(label.bytes().all(plain) && !["le", "quantile"].contains(label), "{name}: {label}");
        }
    }
}

#[test]
fn the_document_is_the_one_in_the_tree() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("METRICS.md");
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    if std::env::var_os("MILLRACE_WRITE_DOCS").is_some() {
        std::fs::write(&path, markdown()).unwrap();
    } else {
        assert!(
            written == markdown(),
            "{} is out of date: run the tests with MILLRACE_WRITE_DOCS=1",
            path.display()
        );
    }
}

/// One sample of each metric that protocols bring.
fn protocol_samples() -> Vec<Sample> {
    let brought =
        |metric: &&Metric| ROWS.iter().any(|row| metric.name.starts_with(&format!("millrace_{}_", row.name)));
    let sample = |(metric, n): (&Metric, u64)| Sample::count(metric.name, metric.labels, n);
    METRICS.iter().filter(brought).zip(1000..).map(sample).collect()
}

/// Every number different, so that a mix-up shows.
fn scrape() -> Scrape {
    let named = |names: &[&str], from: u64| {
        names.iter().zip(from..).map(|(name, count)| ((*name).to_owned(), count)).collect::<Vec<_>>()
    };
    let socket = report::SocketReport {
        tx_in_flight: 111,
        tx_stuck: true,
        tx_stalls: 112,
        tx_wakes: 113,
        rx_wakes: 114,
        wakes_failed: 115,
        rx_fragments: 0,
        rx_invalid: 0,
    };
    let xdp = report::XdpStatistics {
        rx_dropped: 21,
        rx_invalid_descs: 22,
        tx_invalid_descs: 23,
        rx_ring_full: 24,
        rx_fill_ring_empty_descs: 25,
        tx_ring_empty_descs: 26,
    };
    let interface = report::Interface {
        name: "eth0".to_owned(),
        ifindex: 4,
        port: 0,
        mac: "02:00:00:00:00:01".parse().unwrap(),
        mtu: 1500,
        up: true,
        addresses: Vec::new(),
        xdp: "native".to_owned(),
        on_failure: "kernel".to_owned(),
        queues: vec![report::QueueReport { queue: 3, worker: 0, mode: "copy".to_owned(), xdp, socket }],
        rx_packets: 11,
        rx_bytes: 12,
        tx_packets: 13,
        tx_bytes: 14,
        xdp_outcomes: named(&["redirected", "local"], 15),
        device_drops: Some(report::DeviceDrops {
            rx_dropped: 101,
            rx_missed: 102,
            rx_errors: 103,
            tx_dropped: 104,
            tx_errors: 105,
        }),
        problem: None,
    };
    let counters = report::Counters {
        drops: named(&["no-route", "ttl-exceeded"], 31),
        verdicts: named(&["tx", "drop"], 33),
        icmp_sent: named(&["3/0", "11/0"], 35),
        xdp: Vec::new(),
        frames: report::FrameCensus { total: 100, free: 41, fill: 42, tx: 43, held: 44, lost: -70 },
    };
    let hits = |from| report::RuleHits { packets: from, bytes: from + 1, policed: from + 2 };
    let acl = report::AclHits {
        name: "wan".to_owned(),
        rules: vec![hits(101)],
        default: hits(104),
        compiled_bytes: 107,
    };
    let worker = report::Worker {
        worker: 0,
        cpu: 1,
        busy_seconds: 1.5,
        idle_seconds: 2.25,
        bursts: 28,
        packets: 52,
        wakeups: 53,
        burst_histogram: [1, 2, 3, 4, 5, 6, 7],
        frames_free: 54,
        frames_held: 55,
        scheduling: "realtime".to_owned(),
        stages: vec![report::StageTime { stage: "parse".to_owned(), seconds: 0.25, packets: 56 }],
    };
    let fib = report::Fib {
        routes: 61,
        generation: 62,
        tbl8_used: 63,
        tbl8_total: 64,
        groups_used: 65,
        groups_total: 66,
        adjacencies_used: 67,
        adjacencies_total: 68,
        refused: 69,
        answer: None,
    };
    let mut status = handle::Status::default();
    status.dataplane.connected = true;
    status.dataplane.connects = 71;
    status.dataplane.restart = vec!["dataplane.mode".to_owned()];
    status.fib.state = handle::SyncState::Synced;
    status.fib.generation_sent = 72;
    status.fib.refused = 73;
    status.fib.refused_total = 74;
    status.fib.resyncs_total = 75;
    status.fib.swept_total = 76;
    status.audit.mismatches_total = 77;
    status.audit.rounds_total = 78;
    status.rib.prefixes = 81;
    status.rib.protocols =
        vec![handle::ProtocolStatus { protocol: millrace_rib::Protocol::Static, candidates: 82 }];
    status.rib.nexthops = 90;
    status.rib.nexthops_resolved = 83;
    status.mirror.routes = 84;
    status.mirror.pending = 85;
    status.mirror.foreign = 86;
    status.mirror.errors_total = 87;
    let mut config = Config::default();
    config.router.name = Some("edge\"1".to_owned());
    Scrape {
        version: "9.9.9",
        config: Arc::new(config),
        status,
        interfaces: Some(vec![interface]),
        counters: Some(counters),
        acls: Some(vec![acl]),
        workers: Some(vec![worker]),
        fib: Some(fib),
        nat: Some(nat::NatStats {
            configured: true,
            sessions: 103,
            mappings: 104,
            subscribers: 105,
            sessions_limit: 106,
            mappings_limit: 107,
            sessions_created: 108,
            mappings_created: 109,
            sessions_expired: 110,
            refused: named(&["pool-exhausted", "subscriber-ports"], 111),
            denied: named(&["no-mapping"], 113),
            log_written: 114,
            log_dropped: 115,
            log_failed: 116,
            restored: None,
            memory_bytes: 117,
        }),
        nat_pools: vec![nat::NatPoolReport {
            name: "wan".to_owned(),
            addresses: vec![],
            ports: String::new(),
            shared_with: None,
            allocation: String::new(),
            filtering: Default::default(),
            mappings: 4,
            sessions: 3,
            ports_total: 118,
            free: nat::NatPerProtocol { tcp: 119, udp: 120, icmp: 121 },
            problem: None,
        }],
        bfd: view::Bfd {
            sessions: vec![view::BfdSession {
                neighbor: Ipv4Addr::new(192, 0, 2, 1),
                interface: "eth0".to_owned(),
                local: Ipv4Addr::new(192, 0, 2, 2),
                state: "up".to_owned(),
                state_seconds: 94,
                diagnostic: "none".to_owned(),
                clients: vec!["static".to_owned()],
                discriminator: 1,
                remote_discriminator: 2,
                remote_state: "up".to_owned(),
                remote_diagnostic: "none".to_owned(),
                send_interval_ms: 50.0,
                detection_time_ms: 150.0,
                multiplier: 3,
                remote_multiplier: 3,
                sent: 95,
                received: 96,
                ups: 97,
                downs: 98,
            }],
            bad_packets: view::Counts(vec![("ttl".to_owned(), 99)]),
            problem: None,
        },
        process: Some(Process { start_time_seconds: 91.5, resident_bytes: 92, cpu_seconds: 93.25 }),
        protocols: protocol_samples(),
    }
}

#[test]
fn a_scrape_has_every_metric_with_its_value() {
    let text = render(&scrape());
    for metric in METRICS {
        let kind = format!("# TYPE {} {}\n", metric.name, metric.kind.name());
        assert!(text.contains(&kind), "{} has no sample", metric.name);
    }
    let samples: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
    insta::assert_snapshot!(samples.join("\n"));
}

#[test]
fn without_a_dataplane_its_metrics_are_absent() {
    let away = Scrape {
        status: handle::Status::default(),
        interfaces: None,
        counters: None,
        acls: None,
        workers: None,
        fib: None,
        nat: None,
        ..scrape()
    };
    let text = render(&away);
    assert!(text.contains("millrace_dataplane_up 0\n"));
    for absent in ["millrace_drops_total", "millrace_fib_routes", "millrace_interface_up", "millrace_worker_"]
    {
        assert!(!text.contains(absent), "{absent}");
    }
}

/// Rules and dashboards name only what exists.
#[test]
fn deployed_files_name_only_metrics_that_exist() {
    let deploy = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy");
    let mut checked = 0;
    for folder in ["prometheus", "grafana"] {
        for entry in std::fs::read_dir(deploy.join(folder)).into_iter().flatten().flatten() {
            let Ok(text) = std::fs::read_to_string(entry.path()) else { continue };
            for word in text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_')) {
                let base =
                    ["_bucket", "_sum", "_count"].iter().find_map(|s| word.strip_suffix(s)).unwrap_or(word);
                if word.starts_with("millrace_") {
                    let known = METRICS.iter().any(|metric| metric.name == word || metric.name == base);
                    assert!(known, "{}: {word}", entry.path().display());
                    checked += 1;
                }
            }
        }
    }
    assert!(0 < checked);
}
