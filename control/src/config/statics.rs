//! `[[static]]`: one prefix or a file of them, and where they lead.

use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::Arc;

use millrace_net::{Prefix, PrefixError};

use super::check;
use super::model::{StaticRoute, StaticTarget, StaticVia};
use super::prefix_file;
use super::read::{Field, Reader, Table};
use super::reference;

/// A route with the places that cross checks point at.
pub(super) struct PlacedStatic<'d> {
    pub(super) value: StaticRoute,
    /// The `prefix` or `prefixes-from`.
    pub(super) destination: Field<'d>,
    /// The members of `via`.
    pub(super) vias: Vec<(Field<'d>, StaticVia)>,
    pub(super) interface: Option<Field<'d>>,
}

const MEMBER: &str = "an address such as \"192.0.2.1\", or { via = \"192.0.2.1\", weight = 2 }";
/// Next hops a route can have.
const MAX_MEMBERS: usize = 64;

pub(super) fn static_route<'d>(reader: &mut Reader<'_>, table: &Table<'d>) -> Option<PlacedStatic<'d>> {
    let destination = one_of(reader, table, ["prefix", "prefixes-from"]);
    // Errors of the rest of the table call it by its destination.
    let title = destination.as_ref().and_then(|field| field.value.get_ref().as_str());
    let table = title.map_or_else(|| table.clone(), |title| table.clone().titled(title));
    let prefixes = destination.as_ref().and_then(|field| prefixes(reader, field));
    let target_field = one_of(reader, &table, ["via", "interface", "kind"]);
    let target = target_field.as_ref().and_then(|field| target(reader, field));
    let distance = table.get("distance").map(|field| reader.integer::<u8>(&field, 1..=255));
    let bfd_field = table.get("bfd");
    let bfd = bfd_field.as_ref().map(|field| reader.boolean(field));
    let (prefixes, file) = prefixes?;
    let (target, vias) = target?;
    if let (Some(field), Some(Some(true)), true) = (&bfd_field, bfd, vias.is_empty()) {
        let problem = reader.field_problem(field, "cannot be true here: there is no next hop to watch");
        reader.push(problem.expected("`bfd` beside `via`"));
    }
    Some(PlacedStatic {
        interface: target_field.filter(|_| matches!(target, StaticTarget::Interface(_))),
        value: StaticRoute {
            prefixes,
            file,
            target,
            distance: distance.unwrap_or(Some(1))?,
            bfd: bfd.unwrap_or(Some(false))?,
        },
        destination: destination?,
        vias,
    })
}

/// The one key of several that a table must have.
fn one_of<'d, const N: usize>(
    reader: &mut Reader<'_>,
    table: &Table<'d>,
    names: [&'static str; N],
) -> Option<Field<'d>> {
    let mut fields = names.iter().filter_map(|name| table.get(name));
    let Some(first) = fields.next() else {
        let wanted = super::read::list(names.into_iter());
        let problem =
            reader.source.problem(table.span.clone(), format!("{}: {wanted} is missing", table.title()));
        reader.push(
            problem.key(format!("static.{}", names[0])).expected(format!("one of {wanted} in this table")),
        );
        return None;
    };
    for other in fields {
        let name = |field: &Field<'_>| field.path.rsplit('.').next().unwrap_or_default().to_owned();
        let problem = reader.field_problem(&other, format_args!("cannot stand beside {}", name(&first)));
        reader.push(problem.expected(format!("one of {}", super::read::list(names.into_iter()))));
    }
    Some(first)
}

type Destinations = (Arc<[Prefix]>, Option<std::path::PathBuf>);

fn prefixes(reader: &mut Reader<'_>, field: &Field<'_>) -> Option<Destinations> {
    if field.path == "static.prefix" {
        let text = reader.string(field)?;
        return match text.parse::<Prefix>().map_err(|error| prefix_error(text, error)).and_then(destination) {
            Ok(prefix) => Some((Arc::from([prefix]), None)),
            Err((what, help)) => {
                let problem = reader.field_problem(field, format_args!("cannot be {text:?}: {what}"));
                reader.push(match help {
                    Some(help) => problem.help(help),
                    None => problem,
                });
                None
            }
        };
    }
    let name = reader.string(field)?;
    if name.is_empty() {
        reader.reject(field, "cannot be empty");
        return None;
    }
    let path = reader.source.path.parent().unwrap_or(Path::new("")).join(name);
    match prefix_file::read(&path) {
        Ok(prefixes) => {
            if prefixes.is_empty() {
                let problem = reader
                    .field_problem(field, format_args!("names {}, which holds no prefix", path.display()));
                reader.push(problem.warning());
            }
            // Absolute, so that the configuration means the same wherever it is written down.
            Some((prefixes.into(), Some(std::path::absolute(&path).unwrap_or(path))))
        }
        Err(prefix_file::Error::Unreadable(error)) => {
            let what = format_args!("names {}, which cannot be read: {error}", path.display());
            let problem = reader.field_problem(field, what);
            reader.push(
                problem.help("relative paths are looked up from the directory of the configuration file"),
            );
            None
        }
        Err(prefix_file::Error::Lines(problems)) => {
            reader.problems.extend(problems);
            None
        }
    }
}

/// What is wrong, and what was perhaps meant.
pub(super) type Wrong = (String, Option<String>);

pub(super) fn prefix_error(text: &str, error: PrefixError) -> Wrong {
    match error {
        PrefixError::HostBits(prefix) => {
            ("bits beyond the prefix length are set".to_owned(), Some(format!("did you mean {prefix}?")))
        }
        PrefixError::Length(len) => (format!("a prefix length is 0 to 32, not {len}"), None),
        PrefixError::Syntax => {
            let help =
                text.parse::<Ipv4Addr>().ok().map(|addr| format!("for the single address write {addr}/32"));
            let help =
                help.or_else(|| text.contains(':').then(|| "this version routes IPv4 only".to_owned()));
            ("not a prefix".to_owned(), help)
        }
    }
}

/// A prefix that can be the destination of a unicast route.
pub(super) fn destination(prefix: Prefix) -> Result<Prefix, Wrong> {
    let octet = prefix.addr().octets()[0];
    match octet {
        127 if 8 <= prefix.len() => {
            Err(("the loopback network is never routed (RFC 1122 §3.2.1.3)".to_owned(), None))
        }
        224..=239 if 4 <= prefix.len() => Err(("multicast is not routed by Millrace".to_owned(), None)),
        _ => Ok(prefix),
    }
}

type Target<'d> = (StaticTarget, Vec<(Field<'d>, StaticVia)>);

fn target<'d>(reader: &mut Reader<'_>, field: &Field<'d>) -> Option<Target<'d>> {
    match field.path.as_str() {
        "static.via" => {
            let vias = vias(reader, field)?;
            Some((StaticTarget::Via(vias.iter().map(|(_, via)| *via).collect()), vias))
        }
        "static.interface" => Some((StaticTarget::Interface(reader.string(field)?.to_owned()), Vec::new())),
        _ => {
            let kinds = [("blackhole", 0), ("unreachable", 1), ("prohibit", 2)];
            let target = match reader.choice(field, &kinds)? {
                0 => StaticTarget::Blackhole,
                1 => StaticTarget::Unreachable,
                _ => StaticTarget::Prohibit,
            };
            Some((target, Vec::new()))
        }
    }
}

fn vias<'d>(reader: &mut Reader<'_>, field: &Field<'d>) -> Option<Vec<(Field<'d>, StaticVia)>> {
    if field.value.get_ref().is_str() {
        // One next hop may stand without its brackets.
        return Some(vec![(field.clone(), via(reader, field)?)]);
    }
    let count = field.count();
    let members = reader.list(field, MEMBER, via)?;
    if count == Some(0) {
        let problem = reader.field_problem(field, "cannot be empty");
        reader.push(problem.help("to discard packets use kind = \"blackhole\""));
        return None;
    }
    if let Some(count) = count.filter(|&count| MAX_MEMBERS < count) {
        reader.reject(field, format_args!("cannot have {count} members"));
        return None;
    }
    for (i, (item, via)) in members.iter().enumerate() {
        if members[..i].iter().any(|(_, earlier)| earlier.addr == via.addr) {
            let problem = reader.field_problem(item, format_args!("names {} twice", via.addr));
            reader.push(
                problem.help(format!("for a larger share write {{ via = \"{}\", weight = 2 }}", via.addr)),
            );
        }
    }
    Some(members)
}

fn via(reader: &mut Reader<'_>, item: &Field<'_>) -> Option<StaticVia> {
    if !item.value.get_ref().is_table() {
        return Some(StaticVia { addr: gateway(reader, item)?, weight: 1 });
    }
    let table = reader.table(reference::VIA, item.subject.clone(), item.value)?;
    let weight = table.get("weight").map(|field| reader.integer::<u16>(&field, 1..=256));
    let Some(field) = table.get("via") else {
        let problem = reader.source.problem(item.span(), format!("{}: the address is missing", item.subject));
        reader.push(
            problem
                .key("static.via.via")
                .value(reader.text(item.span()))
                .expected("{ via = \"…\", weight = … }"),
        );
        return None;
    };
    Some(StaticVia { addr: gateway(reader, &field)?, weight: weight.unwrap_or(Some(1))? })
}

fn gateway(reader: &mut Reader<'_>, field: &Field<'_>) -> Option<Ipv4Addr> {
    reader.parsed(field, |text| match text.parse::<Ipv4Addr>() {
        Ok(addr) => check::not_a_host(addr).map_or(Ok(addr), |what| Err(what.to_owned())),
        Err(_) if text.contains('/') => Err("a next hop is an address without prefix length".to_owned()),
        Err(_) if text.contains(':') => Err("this version routes IPv4 only".to_owned()),
        Err(_) => Err("not an IPv4 address".to_owned()),
    })
}
