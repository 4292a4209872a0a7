//! What needs more than one value of `[nat]`, or the interfaces too: names that exist, addresses that are nobody else's,
//! rules that can be reached.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use millrace_api as api;
use millrace_api::nat::{NatAddresses, NatAllocation, NatConfig, NatOutside, NatPool};

use super::{MAX_ADDRESSES, PlacedNat, print};
use crate::config::read::{Field, Reader, nearest};
use crate::config::sections::PlacedInterface;

pub(in crate::config) fn nat(
    reader: &mut Reader<'_>,
    nat: Option<&PlacedNat<'_>>,
    interfaces: &[PlacedInterface<'_>],
) {
    let Some(placed) = nat else {
        // Fail closed: a port that should translate must never route private addresses as they are.
        for field in interfaces.iter().filter_map(|interface| interface.nat.as_ref()) {
            let problem = reader.field_problem(field, "needs a [nat] section that says how to translate");
            reader.push(problem.help(
                "without `nat` the interface would route untranslated; remove the line only if that is meant",
            ));
        }
        return;
    };
    roles(reader, placed, interfaces);
    pools(reader, placed, interfaces);
    sources(reader, placed);
    forwards(reader, placed, interfaces);
    statics(reader, placed, interfaces);
}

fn has_role(interface: &PlacedInterface<'_>, role: api::NatRole) -> bool {
    interface.value.nat == Some(role)
}

fn roles(reader: &mut Reader<'_>, placed: &PlacedNat<'_>, interfaces: &[PlacedInterface<'_>]) {
    let mut warn = |message: &str, help: &str| {
        let problem = reader.source.problem(placed.table.span.clone(), message.to_owned());
        reader.push(problem.key("nat").warning().help(help));
    };
    for (role, name) in [(api::NatRole::Outside, "outside"), (api::NatRole::Inside, "inside")] {
        if !interfaces.iter().any(|interface| has_role(interface, role)) {
            warn(
                &format!("[nat]: no interface has nat = \"{name}\": nothing is translated"),
                "give one of the [[interface]] entries the role",
            );
        }
    }
    let NatConfig { sources, forwards, statics, .. } = &placed.value;
    if sources.is_empty() && forwards.is_empty() && statics.is_empty() {
        warn(
            "[nat]: there is no [[nat.source]], [[nat.forward]] or [[nat.static]]: every flow to outside is refused",
            "say who is translated: [[nat.source]] with `from` and `pool`",
        );
    }
}

/// The name of an outside interface, or what is wrong with it.
fn outside_interface(
    reader: &mut Reader<'_>,
    field: &Field<'_>,
    name: &str,
    interfaces: &[PlacedInterface<'_>],
) {
    let Some(found) = interfaces.iter().find(|interface| interface.value.name == name) else {
        let what = format!("names the interface {name:?}: there is no [[interface]] of this name");
        let problem = reader.field_problem(field, what);
        let names = interfaces.iter().map(|interface| interface.value.name.as_str());
        reader.push(match nearest(name, names) {
            Some(near) => problem.help(format!("did you mean \"{near}\"?")),
            None => problem,
        });
        return;
    };
    if !has_role(found, api::NatRole::Outside) {
        let problem =
            reader.field_problem(field, format_args!("names {name:?}, which is not an outside interface"));
        reader.push(problem.help(format!("give [[interface]] {name:?} nat = \"outside\"")));
    }
}

/// The interface of the file that has this address.
fn owner<'i>(interfaces: &'i [PlacedInterface<'_>], addr: Ipv4Addr) -> Option<&'i str> {
    let owner = interfaces.iter().find(|i| i.value.addresses.iter().any(|address| address.addr == addr));
    owner.map(|interface| interface.value.name.as_str())
}

fn pools(reader: &mut Reader<'_>, placed: &PlacedNat<'_>, interfaces: &[PlacedInterface<'_>]) {
    let mut names: BTreeMap<&str, usize> = BTreeMap::new();
    let mut taken: Vec<((Ipv4Addr, Ipv4Addr), &str)> = Vec::new();
    let mut shared: BTreeMap<&str, &str> = BTreeMap::new();
    let mut count = 0u32;
    for (pool, place) in placed.value.pools.iter().zip(&placed.pools) {
        if let Some(line) = names.insert(&pool.name, reader.source.line(place.name.span().start)) {
            let problem = reader.field_problem(&place.name, format_args!("{:?} is taken", pool.name));
            reader.push(problem.expected("each name once").help(format!("the first is in line {line}")));
        }
        match &pool.addresses {
            NatAddresses::Interface(name) => {
                outside_interface(reader, &place.addresses, name, interfaces);
                if let Some(other) = shared.insert(name, &pool.name) {
                    reader.reject(
                        &place.addresses,
                        format_args!("cannot be {name:?}: the pool {other:?} has its address"),
                    );
                }
                count = count.saturating_add(1);
            }
            NatAddresses::Ranges(ranges) => {
                for &(first, last) in ranges {
                    count = count.saturating_add(last.to_bits() - first.to_bits() + 1);
                    let clash = taken
                        .iter()
                        .find(|((other_first, other_last), _)| *other_first <= last && first <= *other_last);
                    if let Some((other, name)) = clash {
                        let (ours, theirs) = (print::range((first, last)), print::range(*other));
                        reader.reject(
                            &place.addresses,
                            format_args!("has {ours}, which overlaps {theirs} of the pool {name:?}"),
                        );
                    }
                    let own = interfaces
                        .iter()
                        .flat_map(|i| i.value.addresses.iter().map(|a| (a.addr, &i.value.name)));
                    for (addr, name) in own.filter(|(addr, _)| first <= *addr && *addr <= last) {
                        let problem = reader.field_problem(
                            &place.addresses,
                            format_args!("has {addr}, the router's own address on {name}"),
                        );
                        reader.push(
                            problem.help(format!("to share it with the host write interface = \"{name}\"")),
                        );
                    }
                }
                taken.extend(ranges.iter().map(|range| (*range, pool.name.as_str())));
            }
        }
        deterministic(reader, pool, place.deterministic.as_ref());
    }
    if let Some(place) = placed.pools.last().filter(|_| MAX_ADDRESSES < count) {
        reader.reject(
            &place.addresses,
            format_args!(
                "is too much: the pools have {count} addresses in all, {MAX_ADDRESSES} are possible"
            ),
        );
    }
}

/// RFC 7422: everybody gets at least 64 ports, whatever is done.
fn deterministic(reader: &mut Reader<'_>, pool: &NatPool, field: Option<&Field<'_>>) {
    let (NatAllocation::Deterministic { inside }, Some(field)) = (&pool.allocation, field) else { return };
    const LEAST: u64 = 64;
    let addresses = match &pool.addresses {
        NatAddresses::Interface(name) => {
            let what = format!("is not possible on {name:?}: the host's ports would be somebody's");
            let problem = reader.field_problem(field, what);
            reader.push(problem.help("use `addresses` that are NAT's alone"));
            return;
        }
        NatAddresses::Ranges(ranges) => {
            ranges.iter().map(|(first, last)| u64::from(last.to_bits() - first.to_bits()) + 1).sum::<u64>()
        }
    };
    let subscribers = 1u64 << (32 - inside.len());
    let each = subscribers.div_ceil(addresses.max(1));
    let (first, last) = (u64::from(pool.ports.0), u64::from(pool.ports.1));
    let blocks = (last + 1).saturating_sub(first.next_multiple_of(LEAST)) / LEAST;
    if blocks < each {
        let what = format!(
            "has {subscribers} addresses: {addresses} outside leave each of them fewer than {LEAST} ports"
        );
        let problem = reader.field_problem(field, what);
        reader.push(
            problem.help(format!("with these ports an outside address serves {blocks} inside addresses")),
        );
    }
}

fn sources(reader: &mut Reader<'_>, placed: &PlacedNat<'_>) {
    for (i, (source, place)) in placed.value.sources.iter().zip(&placed.sources).enumerate() {
        if let (Some(pool), Some(field)) = (&source.pool, &place.pool)
            && !placed.value.pools.iter().any(|known| known.name == *pool)
        {
            let problem = reader.field_problem(
                field,
                format_args!("cannot be {pool:?}: there is no [[nat.pool]] of this name"),
            );
            let names = placed.value.pools.iter().map(|known| known.name.as_str());
            reader.push(match nearest(pool, names) {
                Some(near) => problem.help(format!("did you mean \"{near}\"?")),
                None => problem,
            });
        }
        let covers = |earlier: &&api::nat::NatSource| {
            let to = match (earlier.to, source.to) {
                (None, _) => true,
                (Some(earlier), Some(to)) => earlier.covers(to),
                (Some(earlier), None) => earlier.len() == 0,
            };
            to && earlier.from.covers(source.from)
        };
        if let Some(earlier) = placed.value.sources[..i].iter().find(covers) {
            let problem = reader.field_problem(
                &place.from,
                format_args!("is never reached: {} before it decides", earlier.from),
            );
            reader.push(
                problem.warning().expected("").help(
                    "the first entry whose prefixes hold the packet decides; put the longer prefix first",
                ),
            );
        }
    }
}

fn forwards(reader: &mut Reader<'_>, placed: &PlacedNat<'_>, interfaces: &[PlacedInterface<'_>]) {
    for (i, (forward, field)) in placed.value.forwards.iter().zip(&placed.forwards).enumerate() {
        match &forward.outside {
            NatOutside::Interface(name) => outside_interface(reader, field, name, interfaces),
            NatOutside::Address(addr) => {
                if let Some(name) = owner(interfaces, *addr) {
                    let problem = reader.field_problem(
                        field,
                        format_args!("names {addr}, the router's own address on {name}"),
                    );
                    reader.push(problem.help(format!("to share it with the host write \"{name}:PORT\"")));
                }
                if let Some(pair) = placed.value.statics.iter().find(|pair| pair.outside == *addr) {
                    reader.reject(
                        field,
                        format_args!("cannot name {addr}: all of it is {}'s by [[nat.static]]", pair.inside),
                    );
                }
            }
        }
        let (first, last) = forward.outside_ports;
        let clash = placed.value.forwards[..i].iter().position(|other| {
            (other.protocol, &other.outside) == (forward.protocol, &forward.outside)
                && other.outside_ports.0 <= last
                && first <= other.outside_ports.1
        });
        if let Some(other) = clash {
            let line = reader.source.line(placed.forwards[other].span().start);
            let problem = reader.field_problem(field, "has ports that lead elsewhere already");
            reader.push(
                problem
                    .expected("each port once for a protocol")
                    .help(format!("the first is in line {line}")),
            );
        }
    }
}

fn statics(reader: &mut Reader<'_>, placed: &PlacedNat<'_>, interfaces: &[PlacedInterface<'_>]) {
    for (i, (pair, [outside, inside])) in placed.value.statics.iter().zip(&placed.statics).enumerate() {
        let earlier = &placed.value.statics[..i];
        if earlier.iter().any(|other| other.outside == pair.outside) {
            reader.reject(outside, format_args!("{} is taken by another [[nat.static]]", pair.outside));
        }
        if earlier.iter().any(|other| other.inside == pair.inside) {
            reader.reject(inside, format_args!("{} has another outside address already", pair.inside));
        }
        if let Some(name) = owner(interfaces, pair.outside) {
            reader.reject(
                outside,
                format_args!("cannot be {}: it is the router's own address on {name}", pair.outside),
            );
        }
    }
}
