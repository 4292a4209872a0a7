//! Checks that need more than one value: duplicates, references between sections, contradictions.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::ops::Range;

use millrace_api as api;
use millrace_net::Prefix;

use super::model::{Kernel, Mirror, StaticTarget};
use super::read::{Field, Reader, nearest};
use super::sections::{MAX_INTERFACES, PlacedInterface};
use super::statics::PlacedStatic;

/// Why no host can have the address; none if one can.
pub(super) fn not_a_host(addr: Ipv4Addr) -> Option<&'static str> {
    match addr.octets()[0] {
        0 => Some("0.0.0.0/8 is no host's address"),
        127 => Some("a loopback address is only valid inside a host"),
        224..=239 => Some("it is a multicast address"),
        255 if addr.is_broadcast() => Some("it is the broadcast address"),
        _ => None,
    }
}

/// Names and addresses are unique.
pub(super) fn interfaces(reader: &mut Reader<'_>, interfaces: &[PlacedInterface<'_>]) {
    let mut names: BTreeMap<&str, &Field<'_>> = BTreeMap::new();
    let mut addresses: BTreeMap<Ipv4Addr, &Field<'_>> = BTreeMap::new();
    for interface in interfaces {
        if let Some(field) = interface.name.as_ref().filter(|_| !interface.value.name.is_empty()) {
            match names.get(interface.value.name.as_str()) {
                Some(first) => twice(reader, field, first, &format!("{:?} is taken", interface.value.name)),
                None => _ = names.insert(&interface.value.name, field),
            }
        }
        for (field, address) in &interface.addresses {
            match addresses.get(&address.addr) {
                Some(first) => twice(reader, field, first, &format!("names {} a second time", address.addr)),
                None => _ = addresses.insert(address.addr, field),
            }
        }
    }
    if let Some(first) = interfaces.get(MAX_INTERFACES).and_then(|interface| interface.name.as_ref()) {
        let what = format!("is one too many: there are {} [[interface]] entries", interfaces.len());
        let problem = reader.field_problem(first, what);
        reader.push(problem.expected(format!("at most {MAX_INTERFACES}")));
    }
}

/// The later of two places that exclude each other.
pub(super) fn twice(reader: &mut Reader<'_>, field: &Field<'_>, first: &Field<'_>, what: &str) {
    let line = reader.source.line(first.span().start);
    let problem = reader.field_problem(field, what);
    reader.push(problem.expected("each of them once").help(format!("the first is in line {line}")));
}

/// Next hops are others' addresses, interfaces exist, and no prefix has two targets at one distance.
pub(super) fn statics(
    reader: &mut Reader<'_>,
    statics: &[PlacedStatic<'_>],
    interfaces: &[PlacedInterface<'_>],
) {
    for route in statics {
        for (field, via) in &route.vias {
            let owner =
                interfaces.iter().find(|i| i.value.addresses.iter().any(|address| address.addr == via.addr));
            if let Some(owner) = owner {
                let what = format!(
                    "cannot be {}: it is this router's own address on {}",
                    via.addr, owner.value.name
                );
                reader.reject(field, what);
            }
        }
        let (StaticTarget::Interface(name), Some(field)) = (&route.value.target, &route.interface) else {
            continue;
        };
        if !interfaces.iter().any(|interface| interface.value.name == *name) {
            let what = format!("cannot be {name:?}: there is no [[interface]] of this name");
            let problem = reader.field_problem(field, what);
            let names = interfaces.iter().map(|interface| interface.value.name.as_str());
            reader.push(match nearest(name, names) {
                Some(near) => problem.help(format!("did you mean \"{near}\"?")),
                None => problem,
            });
        }
    }
    duplicates(reader, statics);
}

/// One message for each pair of entries that share a prefix and a distance.
fn duplicates(reader: &mut Reader<'_>, statics: &[PlacedStatic<'_>]) {
    // Single prefixes are found by key; the few files are compared with everything before and after them.
    let mut single: BTreeMap<(u8, Prefix), usize> = BTreeMap::new();
    let files: Vec<_> = (0..statics.len()).filter(|&i| statics[i].value.file.is_some()).collect();
    let mut pairs = Vec::new();
    for (i, route) in statics.iter().enumerate() {
        let (distance, prefixes) = (route.value.distance, &route.value.prefixes);
        if route.value.file.is_none() {
            for &prefix in prefixes.iter() {
                match single.get(&(distance, prefix)) {
                    Some(&first) => pairs.push((first, i, prefix)),
                    None => _ = single.insert((distance, prefix), i),
                }
            }
        }
        for &file in files.iter().filter(|&&file| file != i && statics[file].value.distance == distance) {
            // Two files meet once, from the later one.
            if route.value.file.is_none() || file < i {
                let shared = first_shared(prefixes, &statics[file].value.prefixes);
                pairs.extend(shared.map(|prefix| (file.min(i), file.max(i), prefix)));
            }
        }
    }
    for (first, second, prefix) in pairs {
        let line = reader.source.line(statics[first].destination.span().start);
        let what = format!("gives {prefix} a second target at distance {}", statics[second].value.distance);
        let problem = reader.field_problem(&statics[second].destination, what);
        let problem = problem.expected("one target for each prefix and distance");
        reader.push(problem.help(format!(
            "the first is in line {line}; several next hops belong into one `via` list, a back-up route gets a higher `distance`"
        )));
    }
}

/// The first prefix that two sorted lists share.
fn first_shared(a: &[Prefix], b: &[Prefix]) -> Option<Prefix> {
    let (mut few, mut many) = if a.len() < b.len() { (a, b) } else { (b, a) };
    while let (Some((first, rest)), false) = (few.split_first(), many.is_empty()) {
        // Short lists jump ahead in long ones; lists of equal length step side by side.
        let skip = if few.len() < many.len() / 16 {
            many.partition_point(|prefix| prefix < first)
        } else {
            many.iter().take_while(|&prefix| prefix < first).count()
        };
        many = &many[skip..];
        if many.first() == Some(first) {
            return Some(*first);
        }
        few = rest;
    }
    None
}

/// Where nothing is mirrored, the kernel has nothing to forward with.
pub(super) fn mirror(
    reader: &mut Reader<'_>,
    kernel: &Kernel,
    interfaces: &[PlacedInterface<'_>],
    span: Option<Range<usize>>,
) {
    let (Mirror::None, Some(span)) = (kernel.mirror, span) else { return };
    let Some(open) = interfaces.iter().find(|i| i.value.on_failure == api::OnFailure::Kernel) else { return };
    let message = format!(
        "[kernel]: mirror = \"none\" leaves the kernel without routes, but \"{}\" has on-failure = \"kernel\"",
        open.value.name
    );
    let problem = reader.source.problem(span, message).key("kernel.mirror");
    reader.push(
        problem.warning().help("while no worker is there, only what the kernel knows by itself is forwarded"),
    );
}
