//! Pools, sessions, mappings and sums as the API shows them, gathered from the shards a page at a time.

use millrace_api::nat as api;
use millrace_api::{NatQuestion, ReplyBody};
use millrace_engine::DropReason;
use millrace_nat::{Cursor, Endpoint, MappingKind, MappingView, Nat, SessionView, SubscriberView, TcpState};
use millrace_net::Prefix;

use super::Service;
use super::plan::range_name;
use crate::crew::Crew;

/// Records a worker looks at between two bursts: some 50 µs.
const RECORDS: usize = 2048;
/// Elements of a page at most.
const MAX_PAGE: u32 = 8192;
/// Subscribers that are told of at most.
const MAX_TOP: u32 = 1000;

pub(crate) fn protocol_name(protocol: u8) -> String {
    match protocol {
        1 => "icmp".to_owned(),
        6 => "tcp".to_owned(),
        17 => "udp".to_owned(),
        other => other.to_string(),
    }
}

fn holds(prefix: Option<Prefix>, addr: u32) -> bool {
    prefix.is_none_or(|prefix| addr & prefix.mask() == prefix.bits())
}

fn is(wanted: Option<u16>, port: u16) -> bool {
    wanted.is_none_or(|wanted| wanted == port)
}

fn mapping_fits(filter: &api::NatFilter, protocol: u8, inside: Endpoint, outside: Endpoint) -> bool {
    filter.protocol.is_none_or(|wanted| wanted == protocol)
        && holds(filter.inside, inside.addr)
        && is(filter.inside_port, inside.port)
        && holds(filter.outside, outside.addr)
        && is(filter.outside_port, outside.port)
}

fn session_fits(filter: &api::NatFilter, view: &SessionView) -> bool {
    mapping_fits(filter, view.protocol, view.inside, view.outside)
        && holds(filter.remote, view.remote.addr)
        && is(filter.remote_port, view.remote.port)
}

/// The page that begins at `from`: workers in turn, each from its first record to its last. `page` has a shard show the
/// records behind a position.
fn pages<T: Send + 'static>(
    crew: &Crew,
    from: api::NatCursor,
    limit: u32,
    page: impl Fn(u16, &Nat, u32, &mut Vec<T>) -> Option<u32> + Clone + Send + 'static,
) -> (Vec<T>, Option<api::NatCursor>) {
    let limit = limit.min(MAX_PAGE) as usize;
    let mut found = Vec::new();
    let mut at = from;
    while found.len() < limit && usize::from(at.worker) < crew.len() {
        let look = page.clone();
        let answer = crew.visit_nat(at.worker.into(), move |_, nat| {
            let mut found = Vec::new();
            let next = nat.and_then(|nat| look(at.worker, nat, at.position, &mut found));
            (found, next)
        });
        let Some((more, next)) = answer else { return (found, None) };
        found.extend(more);
        at = match next {
            Some(position) => api::NatCursor { position, ..at },
            None => api::NatCursor { worker: at.worker + 1, position: 0 },
        };
    }
    (found, (usize::from(at.worker) < crew.len()).then_some(at))
}

fn cursor(position: u32) -> Cursor {
    Cursor::from_position(position)
}

pub(crate) fn sessions(
    crew: &Crew,
    filter: api::NatFilter,
    from: api::NatCursor,
    limit: u32,
) -> api::NatSessions {
    let (sessions, next) = pages(crew, from, limit, move |worker, nat, position, found| {
        let next = nat.sessions_page(cursor(position), RECORDS, |view| {
            if session_fits(&filter, view) {
                found.push(session(worker, view));
            }
        });
        next.map(Cursor::position)
    });
    api::NatSessions { sessions, next }
}

fn session(worker: u16, view: &SessionView) -> api::NatSession {
    api::NatSession {
        protocol: protocol_name(view.protocol),
        inside: view.inside.to_string(),
        outside: view.outside.to_string(),
        remote: view.remote.to_string(),
        state: view.tcp.map_or("none", state_name).to_owned(),
        worker,
        age_seconds: view.age,
        expires_seconds: view.expires_in,
    }
}

fn state_name(state: TcpState) -> &'static str {
    state.name()
}

pub(crate) fn mappings(
    service: &Service,
    crew: &Crew,
    filter: api::NatFilter,
    from: api::NatCursor,
    limit: u32,
) -> api::NatMappings {
    let names: Vec<String> = service.plan.config.pools.iter().map(|pool| pool.name.clone()).collect();
    let (mappings, next) = pages(crew, from, limit, move |worker, nat, position, found| {
        let next = nat.mappings_page(cursor(position), RECORDS, |view| {
            if mapping_fits(&filter, view.protocol, view.inside, view.outside) {
                found.push(mapping(worker, view, &names));
            }
        });
        next.map(Cursor::position)
    });
    api::NatMappings { mappings, next }
}

fn mapping(worker: u16, view: &MappingView, names: &[String]) -> api::NatMapping {
    let origin = match view.kind {
        MappingKind::Pool(pool) => names.get(usize::from(pool)).map_or("", String::as_str),
        MappingKind::Forward => "forward",
        MappingKind::OneToOne => "static",
    };
    api::NatMapping {
        protocol: protocol_name(view.protocol),
        inside: view.inside.to_string(),
        outside: view.outside.to_string(),
        origin: origin.to_owned(),
        sessions: view.sessions,
        worker,
        age_seconds: view.age,
    }
}

pub(crate) fn subscribers(crew: &Crew, limit: u32) -> Vec<api::NatSubscriber> {
    let limit = limit.min(MAX_TOP) as usize;
    let mut top: Vec<api::NatSubscriber> = Vec::new();
    let mut from = api::NatCursor::default();
    loop {
        let (more, next) =
            pages(crew, from, MAX_PAGE, |_, nat, position, found: &mut Vec<SubscriberView>| {
                let next = nat.subscribers_page(cursor(position), RECORDS, |view| found.push(*view));
                next.map(Cursor::position)
            });
        top.extend(more.iter().map(|view| api::NatSubscriber {
            inside: view.addr,
            sessions: view.sessions,
            ports: view.ports,
            blocks: u32::try_from(view.blocks).unwrap_or(u32::MAX),
        }));
        top.sort_by_key(|view| (std::cmp::Reverse((view.sessions, view.ports)), view.inside));
        top.truncate(limit);
        match next {
            Some(next) => from = next,
            None => return top,
        }
    }
}

/// A pool's numbers of one shard: mappings, sessions, ports, free ports.
type PoolNumbers = (u64, u64, u64, [u64; 3]);

pub(crate) fn pools(service: &Service, crew: &Crew) -> Vec<api::NatPoolReport> {
    let Some(wanted) = &service.wanted else { return Vec::new() };
    let mut sums: Vec<PoolNumbers> = vec![(0, 0, 0, [0; 3]); wanted.pools.len()];
    for worker in 0..crew.len() {
        let numbers = crew.visit_nat(worker, |_, nat| {
            let view = |nat: &Nat| {
                let numbers = nat.pools().map(|pool| {
                    let free = [pool.free.tcp, pool.free.udp, pool.free.icmp];
                    (pool.mappings, pool.sessions, pool.size, free)
                });
                numbers.collect::<Vec<PoolNumbers>>()
            };
            nat.map(|nat| view(nat))
        });
        for (sum, more) in sums.iter_mut().zip(numbers.flatten().unwrap_or_default()) {
            sum.0 += more.0;
            sum.1 += more.1;
            sum.2 += more.2;
            sum.3.iter_mut().zip(more.3).for_each(|(sum, more)| *sum += more);
        }
    }
    let planned = service.plan.config.pools.iter().zip(&service.plan.problems);
    let rows = wanted.pools.iter().zip(planned).zip(sums);
    rows.map(|((pool, (planned, problem)), (mappings, sessions, ports_total, [tcp, udp, icmp]))| {
        api::NatPoolReport {
            name: pool.name.clone(),
            addresses: planned.addresses.clone(),
            ports: range_name(&planned.ports),
            shared_with: match &pool.addresses {
                api::NatAddresses::Interface(name) => Some(name.clone()),
                api::NatAddresses::Ranges(_) => None,
            },
            allocation: match pool.allocation {
                api::NatAllocation::Random => "random",
                api::NatAllocation::Blocks { .. } => "blocks",
                api::NatAllocation::Deterministic { .. } => "deterministic",
            }
            .to_owned(),
            filtering: pool.filtering,
            mappings,
            sessions,
            ports_total,
            free: api::NatPerProtocol { tcp, udp, icmp },
            problem: problem.clone(),
        }
    })
    .collect()
}

/// Reasons a new flow from inside is refused for.
const REFUSED: [DropReason; 5] = [
    DropReason::NatNoPool,
    DropReason::NatPoolExhausted,
    DropReason::NatSubscriberPorts,
    DropReason::NatSubscriberSessions,
    DropReason::NatTableFull,
];
/// Reasons a packet is dropped for that nothing lets in, or out.
const DENIED: [DropReason; 9] = [
    DropReason::NatOff,
    DropReason::NatInboundFull,
    DropReason::NatNoMapping,
    DropReason::NatFiltered,
    DropReason::NatNoSession,
    DropReason::NatUnrelatedError,
    DropReason::NatMalformed,
    DropReason::NatFragment,
    DropReason::NatHandoff,
];

pub(crate) fn stats(service: &Service, crew: &Crew) -> api::NatStats {
    let mut stats = api::NatStats { configured: service.wanted.is_some(), ..api::NatStats::default() };
    for worker in 0..crew.len() {
        let look = crew.visit_nat(worker, |_, nat| nat.map(|nat| (nat.totals(), nat.bytes())));
        let Some((totals, bytes)) = look.flatten() else { continue };
        stats.sessions += totals.sessions;
        stats.mappings += totals.mappings;
        stats.subscribers += totals.subscribers;
        stats.sessions_created += totals.sessions_created;
        stats.mappings_created += totals.mappings_created;
        stats.sessions_expired += totals.sessions_expired;
        stats.memory_bytes += bytes as u64;
    }
    if let Some(wanted) = &service.wanted {
        stats.sessions_limit = wanted.limits.sessions.into();
        stats.mappings_limit = wanted.limits.mappings.into();
    }
    let count = |reason: &DropReason| {
        let count = crew.members.iter().map(|member| member.counters.dropped(*reason)).sum();
        let name = reason.name();
        (name.strip_prefix("nat-").unwrap_or(name).to_owned(), count)
    };
    stats.refused = REFUSED.iter().map(count).collect();
    stats.denied = DENIED.iter().map(count).collect();
    let log = service.log.counts();
    (stats.log_written, stats.log_dropped, stats.log_failed) = (log.written, log.dropped, log.failed);
    stats.restored = service.restored();
    stats
}

/// Every shard knows the arithmetic of all.
pub(crate) fn deterministic(crew: &Crew, question: NatQuestion) -> ReplyBody {
    let answer = crew.visit_nat(0, move |_, nat| {
        let nat = nat?;
        let inside = match question {
            NatQuestion::Inside(inside) => inside.to_bits(),
            NatQuestion::Outside(outside, port) => nat.deterministic_inside(Endpoint::new(outside, port))?,
        };
        let (outside, range) = nat.deterministic(inside)?;
        Some(api::NatDeterministic {
            inside: inside.into(),
            outside: outside.into(),
            first_port: *range.start(),
            last_port: *range.end(),
        })
    });
    ReplyBody::NatDeterministic(answer.flatten())
}

pub(crate) fn clear(crew: &Crew, filter: &api::NatFilter) -> ReplyBody {
    let mut sessions = 0;
    for worker in 0..crew.len() {
        let mut from = Some(Cursor::default());
        while let Some(at) = from {
            let filter = filter.clone();
            let ended = crew.visit_nat(worker, move |now, nat| {
                nat.map_or((0, None), |nat| nat.clear(now, at, RECORDS, |view| session_fits(&filter, view)))
            });
            let (ended, next) = ended.unwrap_or((0, None));
            sessions += ended as u64;
            from = next;
        }
    }
    ReplyBody::NatCleared { sessions }
}
