//! The sections of the file, each read into its part of [`Config`]. Routes are in [`super::statics`].

use std::net::{Ipv4Addr, SocketAddr};

use millrace_api as api;
use millrace_net::PortId;
use toml::Spanned;
use toml::de::DeTable;

use super::filters;
use super::model::{
    Config, Dataplane, Forwarding, Http, Interface, InterfaceAddress, Kernel, Mirror, Router,
};
use super::nat;
use super::problem::{Problem, Source};
use super::read::{Field, Reader, Table};
use super::reference;
use super::statics;
use super::{bfd, check};

/// An interface with the places that cross checks point at.
pub(super) struct PlacedInterface<'d> {
    pub(super) value: Interface,
    pub(super) name: Option<Field<'d>>,
    pub(super) nat: Option<Field<'d>>,
    pub(super) addresses: Vec<(Field<'d>, InterfaceAddress)>,
    /// The packet filters it names.
    pub(super) acls: Vec<(Field<'d>, String)>,
}

/// Everything the text says, and everything that is wrong with it. The config is complete only if nothing is.
pub(super) fn config(source: &Source<'_>) -> (Config, Vec<Problem>) {
    let (document, errors) = DeTable::parse_recoverable(source.text);
    let mut reader = Reader::new(source);
    if !errors.is_empty() {
        // What follows a syntax error is guesswork: nothing is said about it.
        reader.problems = errors.iter().map(|error| syntax(source, error)).collect();
        return (Config::default(), reader.problems);
    }
    let config = document_config(&mut reader, document.get_ref());
    (config, reader.problems)
}

fn syntax(source: &Source<'_>, error: &toml::de::Error) -> Problem {
    let (what, expected) = error.message().split_once(", expected ").unwrap_or((error.message(), ""));
    let span = error.span().unwrap_or_default();
    let word = source.text.get(span.clone()).unwrap_or_default();
    let expected = match what {
        "string values must be quoted" if !word.is_empty() => format!("\"{word}\""),
        _ => expected.to_owned(),
    };
    source.problem(span, format!("TOML syntax: {what}")).expected(expected)
}

fn document_config<'d>(reader: &mut Reader<'_>, document: &'d DeTable<'d>) -> Config {
    for (name, _) in document.iter() {
        let known = reference::SECTIONS.iter().map(|section| section.name).filter(|name| !name.contains('.'));
        if !known.clone().any(|known| known == name.get_ref()) {
            reader.unknown_key("", "", name, known);
        }
    }
    let mut config = Config::default();
    if let Some(table) = section(reader, document, reference::ROUTER) {
        config.router = router(reader, &table);
    }
    if let Some(table) = section(reader, document, reference::DATAPLANE) {
        config.dataplane = dataplane(reader, &table);
    }
    let interfaces: Vec<_> = sections(reader, document, reference::INTERFACE)
        .iter()
        .map(|table| interface(reader, table))
        .collect();
    if let Some(table) = section(reader, document, reference::FORWARDING) {
        config.forwarding = forwarding(reader, &table);
    }
    let acls: Vec<_> =
        sections(reader, document, reference::ACL).iter().map(|table| filters::acl(reader, table)).collect();
    let statics: Vec<_> = sections(reader, document, reference::STATIC)
        .iter()
        .filter_map(|table| statics::static_route(reader, table))
        .collect();
    let nat = document.get(reference::NAT.name).and_then(|value| nat::nat(reader, value));
    if let Some(table) = section(reader, document, reference::BFD) {
        config.bfd = bfd::bfd(reader, &table);
    }
    if let Some(table) = section(reader, document, reference::HTTP) {
        config.http = http(reader, &table);
    }
    if let Some(table) = section(reader, document, reference::KERNEL) {
        config.kernel = kernel(reader, &table);
    }
    if let Some(value) = document.get(reference::KEY_CHAIN.name) {
        config.key_chains = super::key_chain::key_chains(reader, value);
    }
    if let Some(value) = document.get(reference::POLICY.name) {
        config.policy = super::policy::policy(reader, value);
    }
    if let Some(value) = document.get(reference::RIP.name) {
        let around = super::rip::Around {
            policies: &config.policy.policies,
            chains: &config.key_chains,
            interfaces: &interfaces,
        };
        config.rip = super::rip::rip(reader, value, &around);
    }
    if let Some(value) = document.get(reference::BGP.name) {
        config.bgp = super::bgp::bgp(reader, value, &config.router, &config.policy.policies);
    }
    if let Some(value) = document.get(reference::OSPF.name) {
        let around = super::rip::Around {
            policies: &config.policy.policies,
            chains: &config.key_chains,
            interfaces: &interfaces,
        };
        config.ospf = super::ospf::ospf(reader, value, config.router.router_id, &around);
    }
    check::interfaces(reader, &interfaces);
    filters::check(reader, &acls, &interfaces);
    check::statics(reader, &statics, &interfaces);
    nat::check::nat(reader, nat.as_ref(), &interfaces);
    check::mirror(reader, &config.kernel, &interfaces, document.get("kernel").map(Spanned::span));
    config.nat = nat.map(|placed| placed.value);
    config.interfaces = interfaces.into_iter().map(|interface| interface.value).collect();
    config.acls = acls.into_iter().map(|placed| placed.value).collect();
    config.statics = statics.into_iter().map(|placed| placed.value).collect();
    config
}

fn section<'d>(
    reader: &mut Reader<'_>,
    document: &'d DeTable<'d>,
    section: reference::Section,
) -> Option<Table<'d>> {
    reader.table(section, section.header(), document.get(section.name)?)
}

fn sections<'d>(
    reader: &mut Reader<'_>,
    document: &'d DeTable<'d>,
    section: reference::Section,
) -> Vec<Table<'d>> {
    document.get(section.name).map_or_else(Vec::new, |value| reader.tables(section, value))
}

fn router(reader: &mut Reader<'_>, table: &Table<'_>) -> Router {
    let name = table.get("name").and_then(|field| {
        reader.parsed(&field, |text| {
            let fits = (1..=63).contains(&text.len());
            let plain = text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
            if fits && plain { Ok(text.to_owned()) } else { Err("not a name") }
        })
    });
    let router_id = table.get("router-id").and_then(|field| {
        reader.parsed(&field, |text| match text.parse::<Ipv4Addr>() {
            Ok(id) if id.is_unspecified() => Err("0.0.0.0 identifies no router"),
            Ok(id) => Ok(id),
            Err(_) => Err("not an IPv4 address"),
        })
    });
    let asn = table.get("asn").and_then(|field| {
        let asn = reader.integer::<u32>(&field, 1..=4_294_967_294)?;
        // RFC 6793 §9 and RFC 7300 §2.
        let reserved = match asn {
            23456 => "AS_TRANS stands for others (RFC 6793)",
            65535 => "it is reserved (RFC 7300)",
            _ => return Some(asn),
        };
        reader.reject(&field, format_args!("cannot be {asn}: {reserved}"));
        None
    });
    Router { name, router_id, asn }
}

fn dataplane(reader: &mut Reader<'_>, table: &Table<'_>) -> Dataplane {
    let default = Dataplane::default();
    let workers = table.get("workers").and_then(|field| {
        let workers = reader
            .list(&field, "a CPU id", |reader, item| reader.integer::<u16>(item, 0..=u64::from(u16::MAX)))?;
        let workers = different(reader, workers);
        if field.count() == Some(0) {
            let problem = reader.field_problem(&field, "cannot be empty: nothing would forward");
            reader.push(problem.help("leave `workers` out for one worker on the last CPU"));
        }
        Some(workers)
    });
    let mode = table.get("mode").and_then(|field| reader.choice(&field, MODES));
    let express = table.get("express").and_then(|field| {
        let express = reader.choice(&field, EXPRESS)?;
        if express == api::Express::On {
            let what = "cannot be \"on\": this version of Millrace does not have the express path yet";
            let problem = reader.field_problem(&field, what);
            reader.push(problem.help("\"auto\" uses it where it is built and suits the interface"));
        }
        Some(express)
    });
    let busy_poll = table.get("busy-poll").and_then(|field| reader.boolean(&field));
    let scheduling = table.get("scheduling").and_then(|field| reader.choice(&field, SCHEDULING));
    let stage_times = table.get("stage-times").and_then(|field| reader.boolean(&field));
    let frames = table.get("frames").and_then(|field| {
        let frames = reader.integer::<u32>(&field, 1024..=4_194_304)?;
        if !frames.is_power_of_two() {
            let (below, above) = (frames.next_power_of_two() / 2, frames.next_power_of_two());
            let problem =
                reader.field_problem(&field, format_args!("cannot be {frames}: not a power of two"));
            reader.push(problem.help(format!("the nearest are {below} and {above}")));
        }
        Some(frames)
    });
    Dataplane {
        workers: workers.unwrap_or(default.workers),
        mode: mode.unwrap_or(default.mode),
        express: express.unwrap_or(default.express),
        busy_poll: busy_poll.unwrap_or(default.busy_poll),
        scheduling: scheduling.unwrap_or(default.scheduling),
        stage_times: stage_times.unwrap_or(default.stage_times),
        frames: frames.unwrap_or(default.frames),
    }
}

pub(super) const MODES: &[(&str, api::Mode)] = &[
    ("auto", api::Mode::Auto),
    ("zero-copy", api::Mode::ZeroCopy),
    ("copy", api::Mode::Copy),
    ("generic", api::Mode::Generic),
];
pub(super) const EXPRESS: &[(&str, api::Express)] =
    &[("auto", api::Express::Auto), ("on", api::Express::On), ("off", api::Express::Off)];
pub(super) const SCHEDULING: &[(&str, api::Scheduling)] = &[
    ("realtime", api::Scheduling::Realtime),
    ("nice", api::Scheduling::Nice),
    ("normal", api::Scheduling::Normal),
];
pub(super) const NAT_ROLES: &[(&str, api::NatRole)] =
    &[("inside", api::NatRole::Inside), ("outside", api::NatRole::Outside)];
pub(super) const URPF: &[(&str, api::Urpf)] =
    &[("off", api::Urpf::Off), ("loose", api::Urpf::Loose), ("strict", api::Urpf::Strict)];
pub(super) const ON_FAILURE: &[(&str, api::OnFailure)] =
    &[("kernel", api::OnFailure::Kernel), ("drop", api::OnFailure::Drop)];
pub(super) const ECMP_HASHES: &[(&str, api::FlowHash)] =
    &[("l3", api::FlowHash::L3), ("l3+l4", api::FlowHash::L3L4)];
pub(super) const ICMP_SOURCES: &[(&str, api::IcmpSource)] =
    &[("outgoing", api::IcmpSource::Outgoing), ("incoming", api::IcmpSource::Incoming)];
pub(super) const MIRRORS: &[(&str, Mirror)] =
    &[("all", Mirror::All), ("igp", Mirror::Igp), ("none", Mirror::None)];

fn forwarding(reader: &mut Reader<'_>, table: &Table<'_>) -> Forwarding {
    let default = Forwarding::default();
    let ecmp_hash = table.get("ecmp-hash").and_then(|field| reader.choice(&field, ECMP_HASHES));
    let icmp_source = table.get("icmp-source").and_then(|field| reader.choice(&field, ICMP_SOURCES));
    let source_routes = table.get("source-routes").and_then(|field| reader.boolean(&field));
    Forwarding {
        ecmp_hash: ecmp_hash.unwrap_or(default.ecmp_hash),
        icmp_source: icmp_source.unwrap_or(default.icmp_source),
        source_routes: source_routes.unwrap_or(default.source_routes),
    }
}

/// The values of a list without repetitions, which are reported.
fn different<T: Copy + PartialEq + std::fmt::Display>(
    reader: &mut Reader<'_>,
    items: Vec<(Field<'_>, T)>,
) -> Vec<T> {
    let mut seen = Vec::new();
    for (field, value) in items {
        if seen.contains(&value) {
            let problem = reader.field_problem(&field, format_args!("names {value} twice"));
            reader.push(problem.expected("each of them once"));
        } else {
            seen.push(value);
        }
    }
    seen
}

fn interface<'d>(reader: &mut Reader<'_>, table: &Table<'d>) -> PlacedInterface<'d> {
    let name_field = table.get("name");
    let name = match &name_field {
        None => {
            let problem =
                reader.source.problem(table.span.clone(), format!("{}: name is missing", table.title()));
            reader.push(problem.key("interface.name").expected("name = \"…\" in this table"));
            None
        }
        Some(field) => reader.parsed(field, |text| device_name(text).map(str::to_owned)),
    };
    let table = match &name {
        Some(name) => table.clone().titled(name),
        None => table.clone(),
    };
    let addresses = table
        .get("addresses")
        .and_then(|field| reader.list(&field, ADDRESS, |reader, item| reader.parsed(item, interface_address)))
        .unwrap_or_default();
    let nat_field = table.get("nat");
    let nat = nat_field.as_ref().and_then(|field| reader.choice(field, NAT_ROLES));
    let urpf = table.get("urpf").and_then(|field| reader.choice(&field, URPF));
    let on_failure = table.get("on-failure").and_then(|field| reader.choice(&field, ON_FAILURE));
    let queues = table.get("queues").and_then(|field| queues(reader, &field));
    let mss_clamp = table.get("mss-clamp").and_then(|field| mss_clamp(reader, &field));
    let mut acls = Vec::new();
    let mut list = |reader: &mut Reader<'_>, key| {
        let field = table.get(key)?;
        let name = reader.string(&field)?.to_owned();
        acls.push((field, name.clone()));
        Some(name)
    };
    let (acl_in, acl_out) = (list(reader, "acl-in"), list(reader, "acl-out"));
    let police =
        |reader: &mut Reader<'_>, key| table.get(key).and_then(|field| filters::police(reader, &field));
    let guard = api::Guard {
        acl_in,
        acl_out,
        police_in: police(reader, "police-in"),
        police_out: police(reader, "police-out"),
    };
    let switch = |reader: &mut Reader<'_>, key| {
        table.get(key).and_then(|field| reader.boolean(&field)).unwrap_or_default()
    };
    let switches = api::Switches {
        directed_broadcast: switch(reader, "directed-broadcast"),
        redirects: switch(reader, "redirects"),
        proxy_arp: switch(reader, "proxy-arp"),
    };
    // Fail closed: a port that should translate must never route private addresses as they are.
    let default_on_failure = if nat.is_some() { api::OnFailure::Drop } else { api::OnFailure::Kernel };
    PlacedInterface {
        value: Interface {
            name: name.unwrap_or_default(),
            addresses: addresses.iter().map(|(_, address)| *address).collect(),
            nat,
            urpf: urpf.unwrap_or_default(),
            on_failure: on_failure.unwrap_or(default_on_failure),
            queues: queues.unwrap_or_default(),
            mss_clamp,
            guard,
            switches,
        },
        name: name_field,
        nat: nat_field,
        addresses,
        acls,
    }
}

/// A name the kernel accepts (`dev_valid_name`), of a device that can carry transit traffic.
fn device_name(text: &str) -> Result<&str, &'static str> {
    if text == "lo" {
        return Err("the loopback carries no transit traffic");
    }
    if text.is_empty() || matches!(text, "." | "..") {
        return Err("not the name of an interface");
    }
    if 15 < text.len() {
        return Err("interface names have at most 15 bytes");
    }
    if text.chars().any(|c| c == '/' || c == ':' || c.is_whitespace() || c.is_control()) {
        return Err("interface names have no blanks, `/` or `:`");
    }
    Ok(text)
}

const ADDRESS: &str = "an address with its prefix length such as \"192.0.2.2/30\"";

/// Why a text is not an address of an interface.
fn interface_address(text: &str) -> Result<InterfaceAddress, String> {
    let Some((addr, len)) = text.split_once('/') else {
        return Err(match text.parse::<Ipv4Addr>() {
            Ok(addr) => format!("the prefix length is missing, as in \"{addr}/24\""),
            Err(_) => "not an address with a prefix length".to_owned(),
        });
    };
    let addr: Ipv4Addr = addr.parse().map_err(|_| "not an address with a prefix length".to_owned())?;
    let digits = !len.is_empty() && len.bytes().all(|b| b.is_ascii_digit());
    let len = len.parse::<u8>().ok().filter(|len| digits && (1..=32).contains(len));
    let Some(len) = len else { return Err("a prefix length is 1 to 32 here".to_owned()) };
    let address = InterfaceAddress { addr, len };
    if let Some(what) = check::not_a_host(addr) {
        return Err(what.to_owned());
    }
    // RFC 3021: a /31 has neither.
    if len < 31 && addr == address.subnet().addr() {
        return Err(format!("{addr} is the network's address, not a host's"));
    }
    if len < 31 && addr == address.subnet().last() {
        return Err(format!("{addr} is the broadcast address of {}", address.subnet()));
    }
    Ok(address)
}

/// Receive queues an interface can have.
const MAX_QUEUES: u64 = 64;

fn queues(reader: &mut Reader<'_>, field: &Field<'_>) -> Option<api::Queues> {
    if field.value.get_ref().is_array() {
        let queues = reader.list(field, "a queue number from 0 to 63", |reader, item| {
            reader.integer::<u32>(item, 0..=MAX_QUEUES - 1)
        })?;
        let queues = different(reader, queues);
        if field.count() == Some(0) {
            reader.reject(field, "cannot be empty: the interface would receive nothing");
        }
        return Some(api::Queues::Only(queues));
    }
    reader.choice(field, &[("all", ())])?;
    Some(api::Queues::All)
}

/// Bytes or the word.
fn mss_clamp(reader: &mut Reader<'_>, field: &Field<'_>) -> Option<api::MssClamp> {
    if field.value.get_ref().is_str() {
        return reader.choice(field, &[("mtu", api::MssClamp::Mtu)]);
    }
    // A segment of less than 88 bytes is refused by Linux (tcp_min_snd_mss and its relatives).
    reader.integer::<u16>(field, 88..=9000).map(api::MssClamp::Bytes)
}

/// Interfaces a dataplane can have.
pub(super) const MAX_INTERFACES: usize = PortId::MAX;

fn http(reader: &mut Reader<'_>, table: &Table<'_>) -> Option<Http> {
    let Some(field) = table.get("listen") else {
        return Some(Http { listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 9179)) });
    };
    let listen = reader.parsed(&field, |text| match text.parse::<SocketAddr>() {
        Ok(listen) if listen.port() == 0 => Err("the port cannot be 0".to_owned()),
        Ok(listen) => Ok(listen),
        Err(_) if text.parse::<std::net::IpAddr>().is_ok() => {
            Err(format!("the port is missing, as in \"{text}:9179\""))
        }
        Err(_) if text.starts_with(':') => Err(format!("the address is missing, as in \"127.0.0.1{text}\"")),
        Err(_) => Err("not a numeric address and a port".to_owned()),
    });
    listen.map(|listen| Http { listen })
}

fn kernel(reader: &mut Reader<'_>, table: &Table<'_>) -> Kernel {
    let mirror = table.get("mirror").and_then(|field| reader.choice(&field, MIRRORS));
    Kernel { mirror: mirror.unwrap_or_default() }
}

/// As the file has it.
pub fn on_failure_name(on_failure: api::OnFailure) -> &'static str {
    name_of(ON_FAILURE, &on_failure)
}

/// The name a choice has in the file.
pub(super) fn name_of<T: PartialEq>(choices: &[(&'static str, T)], value: &T) -> &'static str {
    choices.iter().find(|(_, choice)| choice == value).map_or("", |(name, _)| name)
}
