//! `[nat]`: pools, who is translated, forwards, statics, timers, limits, the log. Values here; what needs two of them in
//! [`check`].

use std::net::{Ipv4Addr, SocketAddr};

use millrace_api::nat::{
    NatAddresses, NatAlgs, NatAllocation, NatConfig, NatFiltering, NatForward, NatLimits, NatLog, NatOutside,
    NatPerProtocol, NatPool, NatRefusal, NatSource, NatStatic, NatSyslog, NatTimers,
};
use millrace_net::Prefix;
use toml::Spanned;
use toml::de::DeValue;

use super::read::{Field, Reader, Table};
use super::{check as checks, reference, statics};

pub(super) mod check;
mod print;

pub(super) use print::nat as print;

/// The section with the places that cross checks point at; lists are as long as those of the value.
pub(super) struct PlacedNat<'d> {
    pub(super) value: NatConfig,
    table: Table<'d>,
    pools: Vec<PlacedPool<'d>>,
    sources: Vec<PlacedSource<'d>>,
    forwards: Vec<Field<'d>>,
    statics: Vec<[Field<'d>; 2]>,
}

struct PlacedPool<'d> {
    name: Field<'d>,
    addresses: Field<'d>,
    deterministic: Option<Field<'d>>,
}

struct PlacedSource<'d> {
    from: Field<'d>,
    pool: Option<Field<'d>>,
}

const FILTERING: &[(&str, NatFiltering)] = &[
    ("endpoint-independent", NatFiltering::EndpointIndependent),
    ("address-dependent", NatFiltering::AddressDependent),
    ("address-and-port-dependent", NatFiltering::AddressAndPortDependent),
];
const REFUSALS: &[(&str, NatRefusal)] =
    &[("prohibited", NatRefusal::Prohibited), ("unreachable", NatRefusal::Unreachable)];
const PROTOCOLS: &[(&str, u8)] = &[("tcp", 6), ("udp", 17)];

/// Most sessions, most mappings.
const MAX_STATE: u64 = 1 << 26;

pub(super) fn nat<'d>(reader: &mut Reader<'_>, value: &'d Spanned<DeValue<'d>>) -> Option<PlacedNat<'d>> {
    let table = reader.table(reference::NAT, reference::NAT.header(), value)?;
    let mut placed = PlacedNat {
        value: NatConfig {
            timers: timers(reader, &table),
            limits: limits(reader, &table),
            algs: table.get("alg").map_or_else(NatAlgs::default, |field| algs(reader, &field)),
            refuse_with: table
                .get("refuse-with")
                .and_then(|field| reader.choice(&field, REFUSALS))
                .unwrap_or_default(),
            log: log(reader, &table),
            ..NatConfig::default()
        },
        table: table.clone(),
        pools: Vec::new(),
        sources: Vec::new(),
        forwards: Vec::new(),
        statics: Vec::new(),
    };
    for table in tables(reader, &table, reference::POOL, "pool") {
        if let Some((value, place)) = pool(reader, table) {
            placed.value.pools.push(value);
            placed.pools.push(place);
        }
    }
    for table in tables(reader, &table, reference::SOURCE, "source") {
        if let Some((value, place)) = source(reader, &table) {
            placed.value.sources.push(value);
            placed.sources.push(place);
        }
    }
    for table in tables(reader, &table, reference::FORWARD, "forward") {
        if let Some((value, place)) = forward(reader, &table) {
            placed.value.forwards.push(value);
            placed.forwards.push(place);
        }
    }
    for table in tables(reader, &table, reference::ONE_TO_ONE, "static") {
        if let Some((value, place)) = one_to_one(reader, &table) {
            placed.value.statics.push(value);
            placed.statics.push(place);
        }
    }
    Some(placed)
}

fn tables<'d>(
    reader: &mut Reader<'_>,
    table: &Table<'d>,
    section: reference::Section,
    name: &str,
) -> Vec<Table<'d>> {
    table.under(name).map_or_else(Vec::new, |value| reader.tables(section, value))
}

fn timers(reader: &mut Reader<'_>, table: &Table<'_>) -> NatTimers {
    let default = NatTimers::default();
    let mut seconds = |name, least: u64, most: u64, default: u32| {
        table.get(name).and_then(|field| reader.integer::<u32>(&field, least..=most)).unwrap_or(default)
    };
    /// Half a year.
    const MOST: u64 = 180 * 86_400;
    let timers = NatTimers {
        tcp_established: seconds("tcp-established", 7440, MOST, default.tcp_established),
        tcp_transitory: seconds("tcp-transitory", 240, MOST, default.tcp_transitory),
        udp: seconds("udp", 120, MOST, default.udp),
        icmp: seconds("icmp", 60, MOST, default.icmp),
        other: seconds("other", 60, MOST, default.other),
        inbound_refresh: default.inbound_refresh,
        port_quarantine: seconds("port-quarantine", 0, 3600, default.port_quarantine),
    };
    let inbound_refresh = table.get("inbound-refresh").and_then(|field| reader.boolean(&field));
    NatTimers { inbound_refresh: inbound_refresh.unwrap_or_default(), ..timers }
}

fn limits(reader: &mut Reader<'_>, table: &Table<'_>) -> NatLimits {
    let default = NatLimits::default();
    let mut number = |name, bounds| table.get(name).and_then(|field| reader.integer::<u32>(&field, bounds));
    NatLimits {
        sessions: number("max-sessions", 1024..=MAX_STATE).unwrap_or(default.sessions),
        mappings: number("max-mappings", 1024..=MAX_STATE).unwrap_or(default.mappings),
        sessions_per_subscriber: number("sessions-per-subscriber", 1..=MAX_STATE),
        ports_per_subscriber: number("ports-per-subscriber", 1..=3 * 65_536),
    }
}

fn algs(reader: &mut Reader<'_>, field: &Field<'_>) -> NatAlgs {
    let names = reader.list(field, "\"ftp\" or \"tftp\"", |reader, item| {
        reader.choice(item, &[("ftp", "ftp"), ("tftp", "tftp")])
    });
    let names = names.unwrap_or_default();
    let has = |wanted| names.iter().any(|(_, name)| *name == wanted);
    NatAlgs { ftp: has("ftp"), tftp: has("tftp") }
}

fn log(reader: &mut Reader<'_>, nat: &Table<'_>) -> NatLog {
    let table =
        nat.under("log").and_then(|value| reader.table(reference::LOG, reference::LOG.header(), value));
    let Some(table) = table else { return NatLog::default() };
    let path = |text: &str| {
        if text.starts_with('/') { Ok(text.to_owned()) } else { Err("not an absolute path") }
    };
    let file = table.get("file").and_then(|field| reader.parsed(&field, path));
    let syslog = table.get("syslog").and_then(|field| {
        reader.parsed(&field, |text| match text.parse::<SocketAddr>() {
            Ok(address) if address.port() != 0 => Ok(NatSyslog::Udp(address)),
            Ok(_) => Err("the port cannot be 0"),
            Err(_) => path(text).map(NatSyslog::Path).map_err(|_| "neither a numeric endpoint nor a path"),
        })
    });
    let rate = table.get("rate").and_then(|field| reader.integer::<u32>(&field, 1..=1_000_000));
    if file.is_none() && syslog.is_none() && table.get("file").is_none() && table.get("syslog").is_none() {
        let problem = reader.source.problem(table.span.clone(), "[nat.log] logs nowhere".to_owned());
        reader.push(problem.key("nat.log").expected("`file`, `syslog` or both").warning());
    }
    NatLog { file, syslog, rate: rate.unwrap_or(NatLog::default().rate) }
}

/// A key that must be there.
fn required<'d>(reader: &mut Reader<'_>, table: &Table<'d>, name: &'static str) -> Option<Field<'d>> {
    let field = table.get(name);
    if field.is_none() {
        reader.missing(table, name);
    }
    field
}

fn pool<'d>(reader: &mut Reader<'_>, table: Table<'d>) -> Option<(NatPool, PlacedPool<'d>)> {
    let name_field = required(reader, &table, "name")?;
    let name = reader.parsed(&name_field, |text| {
        let fits = (1..=63).contains(&text.len());
        let plain = text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
        if fits && plain { Ok(text.to_owned()) } else { Err("not a name") }
    })?;
    let table = table.titled(&name);
    let (addresses_field, addresses) = match (table.get("addresses"), table.get("interface")) {
        (Some(field), None) => {
            let ranges = ranges(reader, &field)?;
            (field, NatAddresses::Ranges(ranges))
        }
        (None, Some(field)) => {
            let interface = reader.string(&field)?.to_owned();
            (field, NatAddresses::Interface(interface))
        }
        (Some(_), Some(second)) => {
            let problem = reader.field_problem(&second, "cannot stand beside addresses");
            reader.push(problem.expected("one of `addresses` and `interface`"));
            return None;
        }
        (None, None) => {
            reader.missing(&table, "addresses");
            return None;
        }
    };
    let ports = table.get("ports").and_then(|field| reader.parsed(&field, port_range));
    let host_ports = table.get("host-ports").and_then(|field| {
        if matches!(addresses, NatAddresses::Ranges(_)) {
            let problem = reader.field_problem(&field, "is only for a pool with `interface`");
            reader.push(problem.help("addresses of a pool are NAT's alone: the host has no ports there"));
        }
        let items = reader.list(
            &field,
            "a port such as \"8080\" or a range such as \"9000-9010\"",
            |reader, item| reader.parsed(item, port_range),
        )?;
        Some(items.into_iter().map(|(_, range)| range).collect())
    });
    let filtering = table.get("filtering").and_then(|field| filtering(reader, &field));
    let allocation = allocation(reader, &table);
    let value = NatPool {
        name,
        addresses,
        ports: ports.unwrap_or((1024, u16::MAX)),
        host_ports: host_ports.unwrap_or_default(),
        filtering: filtering.unwrap_or_default(),
        allocation,
    };
    let deterministic = table.get("deterministic");
    Some((value, PlacedPool { name: name_field, addresses: addresses_field, deterministic }))
}

fn allocation(reader: &mut Reader<'_>, table: &Table<'_>) -> NatAllocation {
    let size = table.get("block-size");
    let max = table.get("max-blocks").map(|field| (reader.integer::<u16>(&field, 1..=1024), field));
    let idle = table.get("block-idle").map(|field| (reader.integer::<u32>(&field, 0..=86_400), field));
    if let Some(field) = table.get("deterministic") {
        let others = size.iter().chain(max.iter().map(|(_, f)| f)).chain(idle.iter().map(|(_, f)| f));
        for other in others {
            reader.reject(other, "cannot stand beside deterministic");
        }
        let inside = prefix(reader, &field);
        return inside.map_or(NatAllocation::Random, |inside| NatAllocation::Deterministic { inside });
    }
    let Some(field) = size else {
        for other in max.iter().map(|(_, f)| f).chain(idle.iter().map(|(_, f)| f)) {
            let problem = reader.field_problem(other, "has no effect without block-size");
            reader.push(problem.help("add `block-size`, or remove the line"));
        }
        return NatAllocation::Random;
    };
    let size = reader.integer::<u16>(&field, 64..=16_384);
    let Some(size) = size else { return NatAllocation::Random };
    if !size.is_power_of_two() {
        reader.reject(&field, format_args!("cannot be {size}: not a power of two"));
    }
    NatAllocation::Blocks {
        size,
        max: max.and_then(|(max, _)| max).unwrap_or(8),
        idle_secs: idle.and_then(|(idle, _)| idle).unwrap_or(120),
    }
}

fn filtering(reader: &mut Reader<'_>, field: &Field<'_>) -> Option<NatPerProtocol<NatFiltering>> {
    if !field.value.get_ref().is_table() {
        let all = reader.choice(field, FILTERING)?;
        return Some(NatPerProtocol { tcp: all, udp: all, icmp: all });
    }
    let table = reader.table(reference::FILTERING, field.subject.clone(), field.value)?;
    let mut of =
        |name| table.get(name).and_then(|field| reader.choice(&field, FILTERING)).unwrap_or_default();
    Some(NatPerProtocol { tcp: of("tcp"), udp: of("udp"), icmp: of("icmp") })
}

fn source<'d>(reader: &mut Reader<'_>, table: &Table<'d>) -> Option<(NatSource, PlacedSource<'d>)> {
    let from_field = required(reader, table, "from")?;
    let from = prefix(reader, &from_field)?;
    let table = table.clone().titled(&from.to_string());
    let exempt = table.get("exempt").map(|field| (reader.boolean(&field), field));
    let to_field = table.get("to");
    let to = to_field.as_ref().map(|field| prefix(reader, field));
    let pool_field = table.get("pool");
    let pool = match (&pool_field, exempt) {
        (Some(field), None | Some((Some(false), _))) => Some(reader.string(field)?.to_owned()),
        (None, Some((Some(true), _))) => None,
        (_, Some((None, _))) => return None,
        (Some(field), Some((Some(true), _))) => {
            reader.reject(field, "cannot stand beside exempt = true");
            return None;
        }
        (None, _) => {
            reader.missing(&table, "pool");
            return None;
        }
    };
    if let (Some(field), Some(_)) = (&to_field, &pool) {
        let problem = reader.field_problem(field, "is only for an entry with exempt = true");
        reader.push(
            problem.expected("").help(
                "where an inside endpoint comes out does not depend on where it sends (RFC 4787 REQ-1)",
            ),
        );
        return None;
    }
    // A destination that cannot be read must not become all of them.
    let to = match to {
        Some(to) => Some(to?),
        None => None,
    };
    Some((NatSource { from, to, pool }, PlacedSource { from: from_field, pool: pool_field }))
}

fn forward<'d>(reader: &mut Reader<'_>, table: &Table<'d>) -> Option<(NatForward, Field<'d>)> {
    let outside_field = required(reader, table, "outside")?;
    let (outside, outside_ports) = reader.parsed(&outside_field, outside_endpoint)?;
    let table = table.clone().titled(outside_field.value.get_ref().as_str().unwrap_or_default());
    let protocol_field = required(reader, &table, "protocol")?;
    let protocol = reader.choice(&protocol_field, PROTOCOLS)?;
    let inside_field = required(reader, &table, "inside")?;
    let (inside, inside_ports) = reader.parsed(&inside_field, |text| {
        let (addr, ports) = text.rsplit_once(':').ok_or("the port is missing")?;
        Ok::<_, String>((host(addr)?, port_range(ports)?))
    })?;
    let count = outside_ports.1 - outside_ports.0;
    let inside_count = inside_ports.1 - inside_ports.0;
    if inside_count != 0 && inside_count != count {
        let what = format!("has {} ports, outside has {}", u32::from(inside_count) + 1, u32::from(count) + 1);
        let problem = reader.field_problem(&inside_field, what);
        reader.push(problem.help("the first port is enough: the others follow in step"));
    } else if inside_ports.0.checked_add(count).is_none() {
        reader.reject(
            &inside_field,
            format_args!("leads beyond port 65535: outside has {} ports", u32::from(count) + 1),
        );
    }
    let value = NatForward { protocol, outside, outside_ports, inside, inside_port: inside_ports.0 };
    Some((value, outside_field))
}

fn one_to_one<'d>(reader: &mut Reader<'_>, table: &Table<'d>) -> Option<(NatStatic, [Field<'d>; 2])> {
    let outside_field = required(reader, table, "outside")?;
    let outside = reader.parsed(&outside_field, host)?;
    let table = table.clone().titled(&outside.to_string());
    let inside_field = required(reader, &table, "inside")?;
    let inside = reader.parsed(&inside_field, host)?;
    Some((NatStatic { outside, inside }, [outside_field, inside_field]))
}

fn prefix(reader: &mut Reader<'_>, field: &Field<'_>) -> Option<Prefix> {
    let text = reader.string(field)?;
    match text.parse::<Prefix>() {
        Ok(prefix) => Some(prefix),
        Err(error) => {
            let (what, help) = statics::prefix_error(text, error);
            let problem = reader.field_problem(field, format_args!("cannot be {text:?}: {what}"));
            reader.push(match help {
                Some(help) => problem.help(help),
                None => problem,
            });
            None
        }
    }
}

fn host(text: &str) -> Result<Ipv4Addr, String> {
    let addr: Ipv4Addr = text.parse().map_err(|_| format!("{text:?} is not an IPv4 address"))?;
    checks::not_a_host(addr).map_or(Ok(addr), |what| Err(what.to_owned()))
}

/// `8080` or `8000-8009`; never port 0.
fn port_range(text: &str) -> Result<(u16, u16), String> {
    let port = |text: &str| {
        text.parse::<u16>()
            .ok()
            .filter(|port| *port != 0)
            .ok_or_else(|| format!("{text:?} is not a port from 1 to 65535"))
    };
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (port(first)?, port(last)?);
    if last < first { Err(format!("{first} is after {last}")) } else { Ok((first, last)) }
}

fn outside_endpoint(text: &str) -> Result<(NatOutside, (u16, u16)), String> {
    let (host_text, ports) = text.rsplit_once(':').ok_or("the port is missing")?;
    let ports = port_range(ports)?;
    if host_text.bytes().all(|b| b.is_ascii_digit() || b == b'.') {
        return Ok((NatOutside::Address(host(host_text)?), ports));
    }
    Ok((NatOutside::Interface(host_text.to_owned()), ports))
}

/// Outside addresses of all pools together. Each takes 24 KiB a worker.
const MAX_ADDRESSES: u32 = 4096;

fn ranges(reader: &mut Reader<'_>, field: &Field<'_>) -> Option<Vec<(Ipv4Addr, Ipv4Addr)>> {
    let expected =
        "an address, a prefix such as \"203.0.113.8/29\" or a range such as \"203.0.113.8-203.0.113.15\"";
    let items = reader.list(field, expected, |reader, item| reader.parsed(item, range))?;
    if field.count() == Some(0) {
        reader.reject(field, "cannot be empty");
        return None;
    }
    let mut sorted: Vec<_> = items.iter().map(|(item, range)| (*range, item)).collect();
    sorted.sort_by_key(|(range, _)| *range);
    for pair in sorted.windows(2) {
        if let [(before, _), (after, item)] = pair
            && after.0 <= before.1
        {
            reader.reject(item, format_args!("overlaps {}", print::range(*before)));
        }
    }
    Some(items.into_iter().map(|(_, range)| range).collect())
}

fn range(text: &str) -> Result<(Ipv4Addr, Ipv4Addr), String> {
    let (first, last) = if text.contains('/') {
        let prefix: Prefix = text.parse().map_err(|error| statics::prefix_error(text, error).0)?;
        (prefix.addr(), prefix.last())
    } else {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        (host(first.trim())?, host(last.trim())?)
    };
    if let Some(what) = checks::not_a_host(first).or_else(|| checks::not_a_host(last)) {
        return Err(what.to_owned());
    }
    if last < first {
        return Err(format!("{first} is after {last}"));
    }
    if MAX_ADDRESSES <= last.to_bits() - first.to_bits() {
        return Err(format!("more than {MAX_ADDRESSES} addresses"));
    }
    Ok((first, last))
}

#[cfg(test)]
mod tests;
