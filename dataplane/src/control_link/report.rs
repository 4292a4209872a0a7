//! Answers to queries, in the words of `millrace_api::report`.

use std::net::Ipv4Addr;
use std::sync::atomic::Ordering;
use std::time::Duration;

use millrace_api::report::{
    AclHits, Captured, CapturedPacket, Counters, DeviceDrops, Fib, FibAnswer, FibRoute, FrameCensus,
    Interface, Neighbor, Nexthop, NexthopMember, QueueReport, RuleHits, SocketReport, StageTime, Worker,
    XdpStatistics,
};
use millrace_ebpf_abi::XdpOutcome;
use millrace_engine::{DropReason, Hits, IcmpMessage, PortCounters, Stage, VerdictKind};
use millrace_net::{Instant, Mac, PortId, Prefix};

use super::OnFailure;
use crate::clock;
use crate::crew::Member;
use crate::neighbors::Key;
use crate::netlink::Link;
use crate::router::{Queue, Router};
use crate::scheduling;
use crate::sysfs;
use crate::tables::{Group, GroupKey, Kind};
use crate::worker::tap::{Point, Taken};

/// Routes in one answer, at most.
const MAX_ROUTES: usize = 10_000;
/// Captured packets in one answer, at most: 2 MiB of the largest.
const MAX_CAPTURED: usize = 512;
/// How often frames are counted until the count adds up: while packets move, some are between two places.
const CENSUS_ATTEMPTS: usize = 100;

pub(super) fn interfaces(router: &Router) -> Vec<Interface> {
    router
        .ports
        .iter()
        .map(|(id, port)| {
            let traffic = traffic(&router.crew.members, id);
            let device = port.device.as_ref();
            let service = port.service.as_ref();
            let outcomes = router.xdp.outcomes(id);
            let generic = service.is_some_and(|service| service.attachment.mode_name() == "generic");
            Interface {
                name: port.config.name.clone(),
                ifindex: device.map_or(0, |device| device.ifindex),
                port: id.0,
                mac: device.and_then(|device| device.mac).unwrap_or(Mac::ZERO),
                mtu: device.map_or(0, |device| device.mtu),
                up: device.is_some_and(|device| device.admin_up && device.carrier),
                addresses: router.addresses(id),
                xdp: match (device, service) {
                    (None, _) => "absent".into(),
                    (Some(_), None) => "detached".into(),
                    (Some(_), Some(service)) => service.attachment.mode_name().into(),
                },
                on_failure: match port.config.on_failure {
                    OnFailure::Kernel => "kernel".into(),
                    OnFailure::Drop => "drop".into(),
                },
                queues: service.map_or_else(Vec::new, |service| {
                    let report = |queue: &Queue| QueueReport {
                        queue: queue.queue,
                        worker: u16::try_from(queue.worker).unwrap_or(u16::MAX),
                        mode: if generic { "generic" } else { queue.mode.name() }.into(),
                        xdp: statistics_of(queue),
                        socket: socket_of(queue),
                    };
                    service.queues.iter().map(report).collect()
                }),
                rx_packets: traffic.rx_packets,
                rx_bytes: traffic.rx_bytes,
                tx_packets: traffic.tx_packets,
                tx_bytes: traffic.tx_bytes,
                xdp_outcomes: named(&outcomes),
                device_drops: device.and_then(device_drops),
                problem: match device {
                    None => Some("there is no such device; it is taken into service when it appears".into()),
                    Some(_) => port.problem.clone(),
                },
            }
        })
        .collect()
}

fn traffic(members: &[Member], port: PortId) -> PortCounters {
    members.iter().map(|member| member.counters.port(port)).fold(PortCounters::default(), |sum, one| {
        PortCounters {
            rx_packets: sum.rx_packets + one.rx_packets,
            rx_bytes: sum.rx_bytes + one.rx_bytes,
            tx_packets: sum.tx_packets + one.tx_packets,
            tx_bytes: sum.tx_bytes + one.tx_bytes,
        }
    })
}

fn device_drops(device: &Link) -> Option<DeviceDrops> {
    Some(DeviceDrops {
        rx_dropped: sysfs::statistic(device, "rx_dropped")?,
        rx_missed: sysfs::statistic(device, "rx_missed_errors")?,
        rx_errors: sysfs::statistic(device, "rx_errors")?,
        tx_dropped: sysfs::statistic(device, "tx_dropped")?,
        tx_errors: sysfs::statistic(device, "tx_errors")?,
    })
}

fn socket_of(queue: &Queue) -> SocketReport {
    let gauges = queue.observer.gauges();
    SocketReport {
        tx_in_flight: gauges.tx(),
        tx_stuck: gauges.is_tx_stuck(),
        tx_stalls: gauges.tx_stalls(),
        tx_wakes: gauges.tx_wakes(),
        rx_wakes: gauges.rx_wakes(),
        wakes_failed: gauges.wakes_failed(),
        rx_fragments: gauges.rx_fragments(),
        rx_invalid: gauges.rx_invalid(),
    }
}

fn statistics_of(queue: &Queue) -> XdpStatistics {
    let counts = queue.observer.statistics().unwrap_or_default();
    XdpStatistics {
        rx_dropped: counts.rx_dropped,
        rx_invalid_descs: counts.rx_invalid_descs,
        tx_invalid_descs: counts.tx_invalid_descs,
        rx_ring_full: counts.rx_ring_full,
        rx_fill_ring_empty_descs: counts.rx_fill_ring_empty,
        tx_ring_empty_descs: counts.tx_ring_empty,
    }
}

fn named(outcomes: &[(XdpOutcome, u64)]) -> Vec<(String, u64)> {
    outcomes.iter().map(|(outcome, count)| (outcome.name().to_owned(), *count)).collect()
}

pub(super) fn counters(router: &Router) -> Counters {
    let members = &router.crew.members;
    let sum = |of: &dyn Fn(&Member) -> u64| members.iter().map(of).sum::<u64>();
    let mut xdp = vec![0; XdpOutcome::ALL.len()];
    for id in router.ports.numbers() {
        for ((_, count), total) in router.xdp.outcomes(id).into_iter().zip(&mut xdp) {
            *total += count;
        }
    }
    let of_xdp = |outcome: XdpOutcome| {
        XdpOutcome::ALL.iter().zip(&xdp).find(|(of, _)| **of == outcome).map_or(0, |(_, count)| *count)
    };
    let lost = router.lost();
    let drops = |reason: &DropReason| {
        let of_engine = sum(&|member| member.counters.dropped(*reason));
        // What the engine has not seen, and what it had counted as forwarded and could then not be sent.
        let of_others = [
            (DropReason::EgressDown, sum(&|member| member.page.read().abandoned)),
            (DropReason::TxFull, sum(&|member| member.page.read().overflowed)),
            (DropReason::RxRingFull, lost.ring_full),
            (DropReason::NoBuffer, lost.no_buffer),
            (DropReason::RxRefused, lost.refused),
            (DropReason::RxTooLarge, lost.too_large),
            (DropReason::XdpTruncated, of_xdp(XdpOutcome::Truncated)),
            (DropReason::NoWorker, of_xdp(XdpOutcome::NoWorkerDropped)),
        ];
        let of_others = of_others.iter().find(|(of, _)| of == reason).map_or(0, |(_, count)| *count);
        (reason.name().to_owned(), of_engine + of_others)
    };
    Counters {
        drops: DropReason::ALL.iter().map(drops).collect(),
        verdicts: VerdictKind::ALL
            .iter()
            .map(|kind| (kind.name().to_owned(), sum(&|member| member.counters.verdicts(*kind))))
            .collect(),
        icmp_sent: IcmpMessage::ALL
            .iter()
            .map(|message| (message.name().to_owned(), sum(&|member| member.counters.icmp_sent(*message))))
            .collect(),
        xdp: XdpOutcome::ALL
            .iter()
            .zip(&xdp)
            .map(|(outcome, count)| (outcome.name().to_owned(), *count))
            .collect(),
        frames: frames(router),
    }
}

/// Counts frames until every one is found, which is when no worker is between taking and giving one; a frame that is
/// lost is never found, so it shows in each attempt.
fn frames(router: &Router) -> FrameCensus {
    let mut best = frames_once(router);
    for _ in 1..CENSUS_ATTEMPTS {
        if best.lost == 0 {
            break;
        }
        std::hint::spin_loop();
        let again = frames_once(router);
        if again.lost.abs() < best.lost.abs() {
            best = again;
        }
    }
    best
}

fn frames_once(router: &Router) -> FrameCensus {
    let held = || {
        let members = router.crew.members.iter();
        let of_workers: u64 = members.map(|member| member.counters.held() + member.page.read().waiting).sum();
        of_workers + router.crew.in_handoff() as u64 + router.captures.waiting() as u64
    };
    let census = router.umem.census();
    let (total, held) = (u64::from(census.total), held());
    let free = u64::from(census.pool) + u64::from(census.cached);
    let fill = u64::from(census.fill_rings) + u64::from(census.quarantined);
    let tx = u64::from(census.tx_rings);
    FrameCensus {
        total,
        free,
        fill,
        tx,
        held,
        lost: total.cast_signed() - (free + fill + tx + held).cast_signed(),
    }
}

pub(super) fn workers(router: &Router) -> Vec<Worker> {
    let members = &router.crew.members;
    members
        .iter()
        .zip(0..)
        .map(|(member, worker)| {
            let counts = member.page.read();
            Worker {
                worker,
                cpu: member.cpu,
                busy_seconds: counts.busy.as_secs_f64(),
                idle_seconds: counts.idle.as_secs_f64(),
                bursts: counts.bursts.iter().sum(),
                packets: counts.packets,
                wakeups: counts.wakeups,
                burst_histogram: counts.bursts,
                frames_free: member.cached.load(Ordering::Relaxed).into(),
                frames_held: member.counters.held(),
                scheduling: scheduling::name(member.page.scheduling.get()).into(),
                stages: Stage::ALL
                    .iter()
                    .zip(counts.stages)
                    .map(|(stage, time)| StageTime {
                        stage: stage.name().into(),
                        seconds: time.as_secs_f64(),
                        packets: counts.measured,
                    })
                    .collect(),
            }
        })
        .collect()
}

pub(super) fn neighbors(router: &Router, now: Instant) -> Vec<Neighbor> {
    let row = |(key, entry): (&Key, &crate::neighbors::Entry)| Neighbor {
        interface: router.ports.name(key.0).to_owned(),
        address: key.1,
        mac: entry.state.mac(),
        state: entry.state.name().into(),
        used_seconds_ago: router.tables.last_used(*key).map(|used| now.as_secs().saturating_sub(used.into())),
    };
    router.tables.neighbors().iter().map(row).collect()
}

pub(super) fn acls(router: &Router) -> Vec<AclHits> {
    let hits = |hits: Hits| RuleHits { packets: hits.packets, bytes: hits.bytes, policed: hits.policed };
    let acl = |(name, rules, default, bytes): (&str, Vec<Hits>, Hits, usize)| AclHits {
        name: name.to_owned(),
        rules: rules.into_iter().map(hits).collect(),
        default: hits(default),
        compiled_bytes: bytes as u64,
    };
    router.filters.hits().map(acl).collect()
}

pub(super) fn nexthops(router: &Router) -> Vec<Nexthop> {
    router.tables.groups().map(|(key, group)| nexthop(router, key, group)).collect()
}

pub(super) fn nexthop(router: &Router, key: GroupKey, group: &Group) -> Nexthop {
    let kind = match group.kind {
        Kind::Forward(_) => "forward",
        Kind::Glean(_) => "glean",
        Kind::Local => "local",
        Kind::Blackhole => "blackhole",
        Kind::Unreachable => "unreachable",
        Kind::Prohibit => "prohibit",
    };
    let members = match &group.kind {
        Kind::Forward(members) => {
            members.iter().map(|(neighbor, weight)| member(router, group, *neighbor, *weight)).collect()
        }
        Kind::Glean(port) => vec![NexthopMember {
            interface: router.ports.name(*port).to_owned(),
            gateway: None,
            weight: 1,
            buckets: 1,
            mac: None,
            state: "connected".into(),
        }],
        Kind::Local | Kind::Blackhole | Kind::Unreachable | Kind::Prohibit => Vec::new(),
    };
    Nexthop { id: key.0, kind: kind.into(), members, routes: router.tables.routes_of(group) }
}

fn member(router: &Router, group: &Group, neighbor: Key, weight: u16) -> NexthopMember {
    let entry = router.tables.neighbors().get(neighbor);
    NexthopMember {
        interface: router.ports.name(neighbor.0).to_owned(),
        gateway: Some(neighbor.1),
        weight,
        buckets: u16::try_from(router.tables.buckets_of(group, neighbor)).unwrap_or(u16::MAX),
        mac: entry.and_then(|entry| entry.state.mac()),
        state: entry.map_or("incomplete", |entry| entry.state.name()).into(),
    }
}

pub(super) fn fib(router: &Router, address: Option<Ipv4Addr>) -> Fib {
    let stats = router.tables.stats();
    let answer = address.map(|address| {
        let route = router.tables.longest_match(address);
        let group = route.and_then(|(_, key)| Some((key, router.tables.group(key)?)));
        FibAnswer {
            address,
            prefix: route.map(|(prefix, _)| prefix),
            nexthop: group.map(|(key, group)| nexthop(router, key, group)),
        }
    });
    Fib {
        routes: stats.routes.into(),
        generation: router.tables.generation(),
        tbl8_used: stats.tbl8.used,
        tbl8_total: stats.tbl8.total,
        groups_used: stats.groups.used,
        groups_total: stats.groups.total,
        adjacencies_used: stats.adjacencies.used,
        adjacencies_total: stats.adjacencies.total,
        refused: stats.refused,
        answer,
    }
}

/// None: there is no such capture.
pub(super) fn captured(router: &mut Router, now: Instant, id: u64, max: u32) -> Option<Captured> {
    // Clocks differ by what they did when the host was started, and by who sets the time of day.
    let offset = clock::since_epoch().saturating_sub(Duration::from_nanos(now.as_nanos()));
    let max = usize::try_from(max).unwrap_or(usize::MAX).min(MAX_CAPTURED);
    let tap = router.captures.asked(now, id)?;
    let taken: Vec<_> = std::iter::from_fn(|| tap.next()).take(max).collect();
    let missed = tap.take_missed();
    let packet = |taken: Taken| CapturedPacket {
        time: u64::try_from((offset + Duration::from_nanos(taken.at.as_nanos())).as_nanos())
            .unwrap_or(u64::MAX),
        interface: taken.port.map(|port| router.ports.name(port).to_owned()),
        point: match taken.point {
            Point::Rx => "rx".into(),
            Point::Tx => "tx".into(),
            Point::Drop => "drop".into(),
            Point::Verdict => "verdict".into(),
        },
        reason: taken.reason.map(|reason| reason.name().to_owned()),
        verdict: taken.verdict.map(|verdict| verdict.name().to_owned()),
        trace: taken.trace,
        len: u32::try_from(taken.len).unwrap_or(u32::MAX),
        bytes: taken.frame.map_or_else(Vec::new, |frame| frame.data().to_vec()),
    };
    Some(Captured { packets: taken.into_iter().map(packet).collect(), missed })
}

pub(super) fn fib_routes(router: &Router, after: Option<Prefix>, limit: u32) -> Vec<FibRoute> {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX).min(MAX_ROUTES);
    let routes = router.tables.routes_after(after, limit);
    routes.into_iter().map(|(prefix, key)| FibRoute { prefix, nexthop: key.0 }).collect()
}
