//! `[[acl]]`, its rules, and policers: what packets must pass.

use std::collections::BTreeMap;

use millrace_api::{Acl, AclAction, AclRule, Fragments, Police, TcpFlags};
use millrace_net::{Prefix, Rate};
use toml::de::DeValue;

use super::problem::Problem;
use super::read::{Field, Reader, Table, nearest};
use super::reference;
use super::sections::PlacedInterface;

pub(super) const ACTIONS: &[(&str, AclAction)] =
    &[("accept", AclAction::Accept), ("drop", AclAction::Drop), ("reject", AclAction::Reject)];
pub(super) const FRAGMENTS: &[(&str, Fragments)] =
    &[("any", Fragments::Any), ("only", Fragments::Only), ("later", Fragments::Later), ("no", Fragments::No)];
pub(super) const PROTOCOLS: &[(&str, u8)] = &[
    ("icmp", ICMP),
    ("igmp", 2),
    ("ipip", 4),
    ("tcp", TCP),
    ("udp", 17),
    ("dccp", 33),
    ("gre", 47),
    ("esp", 50),
    ("ah", 51),
    ("ospf", 89),
    ("vrrp", 112),
    ("sctp", 132),
    ("udplite", 136),
];
pub(super) const ICMP: u8 = 1;
const TCP: u8 = 6;
/// Protocols whose header begins with a source and a destination port.
const WITH_PORTS: &[u8] = &[TCP, 17, 33, 132, 136];
pub(super) const FLAGS: &[(&str, u8)] =
    &[("fin", 1), ("syn", 2), ("rst", 4), ("psh", 8), ("ack", 16), ("urg", 32), ("ece", 64), ("cwr", 128)];
/// Rules a list can have; the engine's limit is higher, a message's is not.
const MAX_RULES: usize = 65_536;

/// A list with the place of its name.
pub(super) struct PlacedAcl<'d> {
    pub(super) value: Acl,
    name: Option<Field<'d>>,
}

pub(super) fn acl<'d>(reader: &mut Reader<'_>, table: &Table<'d>) -> PlacedAcl<'d> {
    let name = required(reader, table, "name");
    let text = name.as_ref().and_then(|field| {
        reader.parsed(field, |text| if is_name(text) { Ok(text.to_owned()) } else { Err("not a name") })
    });
    let table = match &text {
        Some(text) => table.clone().titled(text),
        None => table.clone(),
    };
    let default = table.get("default").and_then(|field| reader.choice(&field, ACTIONS));
    let mut rules = Vec::new();
    if let Some(field) = table.get("rule") {
        let tables = reader.tables(reference::ACL_RULE, field.value);
        if MAX_RULES < tables.len() {
            reader.reject(&field, format_args!("cannot be {} tables", tables.len()));
        }
        for (number, rule) in (1..).zip(&tables) {
            let title = format!("rule {number} of {}", text.as_deref().unwrap_or("this list"));
            rules.extend(self::rule(reader, &rule.clone().called(title)));
        }
    }
    let value = Acl { name: text.unwrap_or_default(), default: default.unwrap_or(AclAction::Drop), rules };
    PlacedAcl { value, name }
}

fn is_name(text: &str) -> bool {
    (1..=63).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
}

/// A key that must be there.
fn required<'d>(reader: &mut Reader<'_>, table: &Table<'d>, key: &'static str) -> Option<Field<'d>> {
    let field = table.get(key);
    if field.is_none() {
        let problem =
            reader.source.problem(table.span.clone(), format!("{}: {key} is missing", table.title()));
        reader.push(problem.key(table.path(key)).expected(format!("{key} = \"…\" in this table")));
    }
    field
}

fn rule(reader: &mut Reader<'_>, table: &Table<'_>) -> Option<AclRule> {
    let name = table.get("name").and_then(|field| reader.string(&field)).unwrap_or_default().to_owned();
    let action = required(reader, table, "action").and_then(|field| reader.choice(&field, ACTIONS));
    let prefixes = |reader: &mut Reader<'_>, key| several(reader, table, key, prefix);
    let (source, destination) = (prefixes(reader, "source"), prefixes(reader, "destination"));
    let protocol = table.get("protocol").and_then(|field| protocol(reader, &field));
    let icmp = protocol == Some(ICMP);
    let mut ranges = |ports: &'static str, icmp_key: &'static str, most: u16| {
        if let Some(field) = table.get(ports).filter(|_| !protocol.is_some_and(|p| WITH_PORTS.contains(&p))) {
            needs(reader, &field, "protocol = \"tcp\", \"udp\", \"sctp\", \"dccp\" or \"udplite\"");
        }
        if let Some(field) = table.get(icmp_key).filter(|_| !icmp) {
            needs(reader, &field, "protocol = \"icmp\"");
        }
        let (key, most) = if icmp { (icmp_key, most) } else { (ports, u16::MAX) };
        several(reader, table, key, |reader, item| range(reader, item, most))
    };
    let source_ports = ranges("source-port", "icmp-type", 255);
    let destination_ports = ranges("destination-port", "icmp-code", 255);
    let tcp_flags = table.get("tcp-flags").and_then(|field| {
        if protocol != Some(TCP) {
            needs(reader, &field, "protocol = \"tcp\"");
        }
        flags(reader, table)
    });
    let fragments = table.get("fragments").and_then(|field| reader.choice(&field, FRAGMENTS));
    let dscp = several(reader, table, "dscp", dscp);
    let police = table.get("police").and_then(|field| {
        if action.is_some_and(|action| action != AclAction::Accept) {
            needs(reader, &field, "action = \"accept\"");
        }
        police(reader, &field)
    });
    Some(AclRule {
        name,
        action: action?,
        source,
        destination,
        protocol,
        source_ports,
        destination_ports,
        tcp_flags,
        fragments: fragments.unwrap_or_default(),
        dscp,
        police,
    })
}

fn needs(reader: &mut Reader<'_>, field: &Field<'_>, what: &str) {
    let problem = reader.field_problem(field, format_args!("needs {what} beside it"));
    reader.push(problem);
}

/// The values of a key that takes one or a list.
fn several<'d, T>(
    reader: &mut Reader<'_>,
    table: &Table<'d>,
    key: &'static str,
    mut each: impl FnMut(&mut Reader<'_>, &Field<'d>) -> Option<T>,
) -> Vec<T> {
    let Some(field) = table.get(key) else { return Vec::new() };
    if field.value.get_ref().is_array() {
        if field.count() == Some(0) {
            let problem = reader.field_problem(&field, "cannot be empty: no packet would meet it");
            reader.push(problem.help("leave the key out where every value will do"));
        }
        let items = reader.list(&field, field.expected, each).unwrap_or_default();
        return items.into_iter().map(|(_, value)| value).collect();
    }
    each(reader, &field).into_iter().collect()
}

fn prefix(reader: &mut Reader<'_>, field: &Field<'_>) -> Option<Prefix> {
    reader.parsed(field, |text| {
        let host = text.parse().map(Prefix::host);
        host.or_else(|_| text.parse::<Prefix>().map_err(|error| error.to_string()))
    })
}

/// A protocol by its name or its number.
pub fn protocol_number(text: &str) -> Option<u8> {
    let named = PROTOCOLS.iter().find(|(name, _)| *name == text).map(|(_, number)| *number);
    named.or_else(|| text.parse().ok())
}

fn protocol(reader: &mut Reader<'_>, field: &Field<'_>) -> Option<u8> {
    if let DeValue::Integer(_) = field.value.get_ref() {
        reader.integer(field, 0..=255)
    } else {
        reader.choice(field, PROTOCOLS)
    }
}

/// A number, or two with a dash between them.
fn range(reader: &mut Reader<'_>, field: &Field<'_>, most: u16) -> Option<(u16, u16)> {
    if let DeValue::Integer(_) = field.value.get_ref() {
        return reader.integer::<u16>(field, 0..=u64::from(most)).map(|one| (one, one));
    }
    let (low, high) = reader.parsed(field, |text| {
        let (low, high) = text.split_once('-').unwrap_or((text, text));
        let number = |text: &str| text.parse::<u16>().ok().filter(|number| *number <= most);
        match (number(low), number(high)) {
            (Some(low), Some(high)) if high < low => Err(format!("{low} is above {high}")),
            (Some(low), Some(high)) => Ok((low, high)),
            _ => Err(format!("not a number from 0 to {most}, and no two with a dash between them")),
        }
    })?;
    Some((low, high))
}

fn flags(reader: &mut Reader<'_>, table: &Table<'_>) -> Option<TcpFlags> {
    let flags = several(reader, table, "tcp-flags", |reader, item| {
        let text = reader.string(item)?;
        let (set, name) = text.strip_prefix('!').map_or((true, text), |name| (false, name));
        match FLAGS.iter().find(|(known, _)| *known == name) {
            Some((_, bit)) => Some((*bit, set)),
            None => {
                reader.reject(item, format_args!("cannot be {text:?}"));
                None
            }
        }
    });
    let mut all = TcpFlags { mask: 0, value: 0 };
    for (bit, set) in flags {
        if all.mask & bit != 0
            && let Some(field) = table.get("tcp-flags")
        {
            reader.reject(&field, "names a flag twice");
        }
        all.mask |= bit;
        all.value |= if set { bit } else { 0 };
    }
    (all.mask != 0).then_some(all)
}

/// A number, or a name of RFC 2474 (cs0 to cs7), RFC 2597 (af11 to af43), RFC 3246 (ef).
fn dscp(reader: &mut Reader<'_>, field: &Field<'_>) -> Option<u8> {
    if let DeValue::Integer(_) = field.value.get_ref() {
        return reader.integer(field, 0..=63);
    }
    reader.parsed(field, |text| {
        let value = match text.as_bytes() {
            b"ef" => 46,
            [b'c', b's', class @ b'0'..=b'7'] => (class - b'0') * 8,
            [b'a', b'f', class @ b'1'..=b'4', drop @ b'1'..=b'3'] => (class - b'0') * 8 + (drop - b'0') * 2,
            _ => return Err("not a code point"),
        };
        Ok(value)
    })
}

/// Longest rate, in packets or bytes a second.
const MAX_RATE: u64 = 1_000_000_000_000;
/// Least burst in bytes: a policer that holds less than a packet lets none through.
const MIN_BURST_BYTES: u64 = 10_000;

/// `{ packets = …, burst = … }` or `{ bits = …, burst = … }`.
pub(super) fn police(reader: &mut Reader<'_>, field: &Field<'_>) -> Option<Police> {
    let table = reader.table(reference::POLICE, field.subject.clone(), field.value)?;
    let burst_field = table.get("burst");
    let burst = burst_field.as_ref().map(|field| reader.integer::<u64>(field, 1..=MAX_RATE));
    match (table.get("packets"), table.get("bits")) {
        (Some(packets), None) => {
            let per_second = reader.integer::<u64>(&packets, 1..=MAX_RATE)?;
            let burst = burst.unwrap_or(Some((per_second / 10).max(1)))?;
            Some(Police::Packets(Rate { per_second, burst }))
        }
        (None, Some(bits)) => {
            let per_second = reader.integer::<u64>(&bits, 8..=MAX_RATE)? / 8;
            let burst = burst.unwrap_or(Some((per_second / 10).max(65_536)))?;
            if let Some(field) = burst_field.filter(|_| burst < MIN_BURST_BYTES) {
                let what = format!(
                    "cannot be {burst} with bits: it is in bytes, and packets larger than it never pass"
                );
                let problem = reader.field_problem(&field, what);
                reader.push(problem.expected(format!("at least {MIN_BURST_BYTES}")));
            }
            Some(Police::Bytes(Rate { per_second, burst }))
        }
        (packets, _) => {
            let what = if packets.is_some() { "takes packets or bits, not both" } else { "says no rate" };
            let problem = reader.field_problem(field, what);
            reader.push(problem);
            None
        }
    }
}

/// Names are unique, and interfaces name lists that there are.
pub(super) fn check(reader: &mut Reader<'_>, acls: &[PlacedAcl<'_>], interfaces: &[PlacedInterface<'_>]) {
    let mut names: BTreeMap<&str, &Field<'_>> = BTreeMap::new();
    for acl in acls {
        let Some(field) = acl.name.as_ref().filter(|_| !acl.value.name.is_empty()) else { continue };
        match names.get(acl.value.name.as_str()) {
            Some(first) => {
                super::check::twice(reader, field, first, &format!("{:?} is taken", acl.value.name));
            }
            None => _ = names.insert(&acl.value.name, field),
        }
    }
    for (field, name) in interfaces.iter().flat_map(|interface| &interface.acls) {
        if names.contains_key(name.as_str()) {
            continue;
        }
        let problem =
            reader.field_problem(field, format_args!("cannot be {name:?}: there is no [[acl]] of this name"));
        reader.push(match nearest(name, names.keys().copied()) {
            Some(near) => problem.help(format!("did you mean \"{near}\"?")),
            None => Problem { expected: "the name of an [[acl]]".to_owned(), ..problem },
        });
    }
}
