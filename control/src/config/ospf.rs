//! `[ospf]` with its areas, interfaces, and what it redistributes.

use std::collections::BTreeMap;
use std::fmt;
use std::net::Ipv4Addr;
use std::num::{NonZeroU8, NonZeroU16};
use std::time::Duration;

use millrace_net::Prefix;
use millrace_ospf::config::{
    AreaConfig, AreaKind, Authentication, Backoff, DefaultRoute, ExternalKind, ExternalMetric, NetworkType,
    Range, StubRouter, Translate,
};
use millrace_ospf::wire::{AreaId, RouterId};
use millrace_ospf::{Config as Machine, InterfaceConfig};
use millrace_policy as policy;
use millrace_proto::KeyChain;
use toml::Spanned;
use toml::de::DeValue;

use super::check;
use super::key_chain;
use super::model::Ospf;
use super::print::quoted;
use super::read::{Field, Reader, Table, nearest};
use super::redistribute;
use super::reference;
use super::rip::Around;
use super::sections::name_of;
use super::statics::prefix_error;

pub(super) const KINDS: &[(&str, ExternalKind)] = &[("e1", ExternalKind::Type1), ("e2", ExternalKind::Type2)];
const NETWORKS: &[(&str, NetworkType)] = &[
    ("broadcast", NetworkType::Broadcast),
    ("point-to-point", NetworkType::PointToPoint),
    ("non-broadcast", NetworkType::NonBroadcast),
    ("point-to-multipoint", NetworkType::PointToMultipoint),
];
const TRANSLATE: &[(&str, Translate)] =
    &[("candidate", Translate::Candidate), ("always", Translate::Always), ("never", Translate::Never)];
/// Whether packets carry passwords in clear.
const AUTHENTICATION: &[(&str, bool)] = &[("simple", true), ("cryptographic", false)];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Normal,
    Stub,
    Nssa,
}

const AREAS: &[(&str, Kind)] = &[("normal", Kind::Normal), ("stub", Kind::Stub), ("nssa", Kind::Nssa)];
/// Metrics of routes; one more is out of reach.
const COSTS: std::ops::RangeInclusive<u64> = 0..=0xff_fffe;

pub(super) fn ospf(
    reader: &mut Reader<'_>,
    value: &Spanned<DeValue<'_>>,
    router_id: Option<Ipv4Addr>,
    around: &Around<'_, '_>,
) -> Option<Ospf> {
    let table = reader.table(reference::OSPF, reference::OSPF.header(), value)?;
    let default = Machine::new();
    let own_id = table.get("router-id").and_then(|field| address(reader, &field));
    let distance = table.get("distance").and_then(|field| reader.integer::<u8>(&field, 1..=255));
    let max_paths = table.get("max-paths").and_then(|field| reader.integer::<u8>(&field, 1..=64));
    let max_lsas = table.get("max-lsas").and_then(|field| reader.integer::<usize>(&field, 100..=10_000_000));
    let default_metric =
        external_metric(reader, &table, "default-metric", "default-metric-type", default.default_metric);
    let default_route =
        table.get("default-route").and_then(|field| default_route(reader, &field, default_metric.kind));
    let stub_router = table.get("stub-router").and_then(|field| stub_router(reader, &field));
    let mut flag =
        |name, otherwise| table.get(name).and_then(|field| reader.boolean(&field)).unwrap_or(otherwise);
    let rfc1583_compatible = flag("rfc1583-compatible", default.rfc1583_compatible);
    let prefix_suppression = flag("prefix-suppression", default.prefix_suppression);
    let graceful_helper = flag("graceful-restart-helper", default.graceful_helper);
    let backoff = backoff(reader, &table);
    let mut interfaces = BTreeMap::new();
    if let Some(field) = table.get("interface") {
        for table in reader.tables(reference::OSPF_INTERFACE, field.value) {
            if let Some((name, field, config)) = interface(reader, table, around)
                && interfaces.insert(name, config).is_some()
            {
                reader.reject(&field, "stands in an earlier [[ospf.interface]] too");
            }
        }
    }
    let mut areas = BTreeMap::new();
    if let Some(field) = table.get("area") {
        for table in reader.tables(reference::OSPF_AREA, field.value) {
            if let Some((id, field, config)) = area(reader, table)
                && areas.insert(id, config).is_some()
            {
                reader.reject(&field, "stands in an earlier [[ospf.area]] too");
            }
        }
    }
    let redistribute = table.get("redistribute").map_or_else(Vec::new, |field| {
        let section = reference::OSPF_REDISTRIBUTE;
        redistribute::list(reader, &field, section, policy::Protocol::Ospf, COSTS, around.policies)
    });
    Some(Ospf {
        machine: Machine {
            router_id: own_id.or(router_id).map(RouterId),
            interfaces,
            areas,
            rfc1583_compatible,
            max_paths: max_paths.and_then(NonZeroU8::new).unwrap_or(default.max_paths),
            default_route,
            default_metric,
            stub_router: stub_router.unwrap_or_default(),
            backoff,
            throttle: default.throttle,
            max_lsas: max_lsas.unwrap_or(default.max_lsas),
            prefix_suppression,
            graceful_helper,
        },
        redistribute,
        distance: distance.unwrap_or(millrace_rib::Protocol::Ospf.distance()),
    })
}

fn address(reader: &mut Reader<'_>, field: &Field<'_>) -> Option<Ipv4Addr> {
    reader.parsed(field, |text| match text.parse::<Ipv4Addr>() {
        Ok(address) if !address.is_unspecified() => Ok(address),
        Ok(_) | Err(_) => Err("not a router id"),
    })
}

/// Written as an address or as a number.
fn area_id(reader: &mut Reader<'_>, field: &Field<'_>) -> Option<AreaId> {
    if field.value.get_ref().as_integer().is_some() {
        let number = reader.integer::<u32>(field, 0..=u64::from(u32::MAX))?;
        return Some(AreaId(Ipv4Addr::from_bits(number)));
    }
    reader.parsed(field, |text| {
        let number = || text.parse::<u32>().map(Ipv4Addr::from_bits);
        text.parse().or_else(|_| number()).map(AreaId).map_err(|_| "not an area")
    })
}

fn external_metric(
    reader: &mut Reader<'_>,
    table: &Table<'_>,
    metric: &'static str,
    kind: &'static str,
    otherwise: ExternalMetric,
) -> ExternalMetric {
    let cost = table.get(metric).and_then(|field| reader.integer::<u32>(&field, COSTS));
    let kind = table.get(kind).and_then(|field| reader.choice(&field, KINDS));
    ExternalMetric { kind: kind.unwrap_or(otherwise.kind), cost: cost.unwrap_or(otherwise.cost) }
}

/// `true`, or a table with metric, type and tag.
fn default_route(reader: &mut Reader<'_>, field: &Field<'_>, kind: ExternalKind) -> Option<DefaultRoute> {
    let otherwise = ExternalMetric { kind, cost: 1 };
    if !field.value.get_ref().is_table() {
        let on = reader.boolean(field)?;
        return on.then_some(DefaultRoute { metric: otherwise, tag: 0 });
    }
    let table = reader.table(reference::OSPF_DEFAULT, field.subject.clone(), field.value)?;
    let metric = external_metric(reader, &table, "metric", "metric-type", otherwise);
    let tag = table.get("tag").and_then(|field| reader.integer::<u32>(&field, 0..=u64::from(u32::MAX)));
    Some(DefaultRoute { metric, tag: tag.unwrap_or(0) })
}

/// A truth value, or the seconds after the start.
fn stub_router(reader: &mut Reader<'_>, field: &Field<'_>) -> Option<StubRouter> {
    if field.value.get_ref().as_integer().is_some() {
        let seconds = reader.integer::<u64>(field, 1..=86_400)?;
        return Some(StubRouter::OnStart(Duration::from_secs(seconds)));
    }
    Some(if reader.boolean(field)? { StubRouter::Always } else { StubRouter::Never })
}

fn backoff(reader: &mut Reader<'_>, table: &Table<'_>) -> Backoff {
    let default = Backoff::default();
    let mut millis = |name, otherwise: Duration| {
        let field = table.get(name);
        let millis = field.and_then(|field| reader.integer::<u64>(&field, 0..=60_000));
        millis.map_or(otherwise, Duration::from_millis)
    };
    Backoff {
        initial: millis("spf-initial-delay", default.initial),
        short: millis("spf-short-delay", default.short),
        long: millis("spf-long-delay", default.long),
        hold_down: millis("spf-hold-down", default.hold_down),
        time_to_learn: millis("spf-time-to-learn", default.time_to_learn),
    }
}

fn area<'d>(reader: &mut Reader<'_>, table: Table<'d>) -> Option<(AreaId, Field<'d>, AreaConfig)> {
    let id_field = reader.required(&table, "id")?;
    let id = area_id(reader, &id_field)?;
    let table = table.titled(&id.to_string());
    let default = AreaConfig::default();
    let kind_field = table.get("type");
    let kind = kind_field.as_ref().and_then(|field| reader.choice(field, AREAS)).unwrap_or(Kind::Normal);
    if let (Some(field), true) = (&kind_field, id.is_backbone() && kind != Kind::Normal) {
        reader.reject(field, "cannot be so: the backbone is a normal area (RFC 2328 §3.6)");
    }
    let summaries = table.get("summaries").and_then(|field| reader.boolean(&field)).unwrap_or(true);
    let translate =
        table.get("translate").and_then(|field| reader.choice(&field, TRANSLATE)).unwrap_or_default();
    let default_cost = table.get("default-cost").and_then(|field| reader.integer::<u32>(&field, COSTS));
    let ranges = table.get("ranges").map(|field| ranges(reader, &field)).unwrap_or_default();
    let links_field = table.get("virtual-links");
    let peers = links_field.as_ref().and_then(|field| {
        reader.list(field, "a router id such as \"10.0.0.1\"", |reader, item| address(reader, item))
    });
    let peers = peers.unwrap_or_default();
    if let (Some(field), true) =
        (&links_field, !peers.is_empty() && (id.is_backbone() || kind != Kind::Normal))
    {
        reader.reject(
            field,
            "cannot pass this area: a virtual link passes a normal area that is not the backbone",
        );
    }
    let virtual_links =
        peers.into_iter().map(|(_, peer)| (RouterId(peer), InterfaceConfig::new(id))).collect();
    let config = AreaConfig {
        kind: match kind {
            Kind::Normal => AreaKind::Normal,
            Kind::Stub => AreaKind::Stub { summaries },
            Kind::Nssa => AreaKind::Nssa { summaries, translate },
        },
        ranges,
        default_cost: default_cost.unwrap_or(default.default_cost),
        virtual_links,
    };
    Some((id, id_field, config))
}

fn ranges(reader: &mut Reader<'_>, field: &Field<'_>) -> Vec<Range> {
    const EXPECTED: &str = "a table such as { prefix = \"10.1.0.0/16\" }";
    let each = |reader: &mut Reader<'_>, item: &Field<'_>| {
        let table = reader.table(reference::OSPF_RANGE, item.subject.clone(), item.value)?;
        let prefix = reader.required(&table, "prefix")?;
        let prefix = reader
            .parsed(&prefix, |text| text.parse::<Prefix>().map_err(|error| prefix_error(text, error).0))?;
        let advertise = table.get("advertise").and_then(|field| reader.boolean(&field)).unwrap_or(true);
        let cost = table.get("cost").and_then(|field| reader.integer::<u32>(&field, COSTS));
        Some(Range { prefix, advertise, cost })
    };
    let all = reader.list(field, EXPECTED, each).unwrap_or_default();
    let mut ranges: Vec<Range> = Vec::new();
    for (item, range) in all {
        match ranges
            .iter()
            .find(|other| other.prefix.covers(range.prefix) || range.prefix.covers(other.prefix))
        {
            Some(other) => reader.reject(&item, format_args!("overlaps {}", other.prefix)),
            None => ranges.push(range),
        }
    }
    ranges
}

fn interface<'d>(
    reader: &mut Reader<'_>,
    table: Table<'d>,
    around: &Around<'_, '_>,
) -> Option<(String, Field<'d>, InterfaceConfig)> {
    let name_field = reader.required(&table, "name")?;
    let name = reader.string(&name_field)?.to_owned();
    let table = table.titled(&name);
    // The loopback only announces its networks: no packet is exchanged there.
    if name != "lo" && !around.interfaces.iter().any(|interface| interface.value.name == name) {
        let what = format_args!("cannot be {name:?}: there is no [[interface]] of this name");
        let problem = reader.field_problem(&name_field, what);
        let names = around.interfaces.iter().map(|interface| interface.value.name.as_str());
        reader.push(match nearest(&name, names) {
            Some(near) => problem.help(format!("did you mean \"{near}\"?")),
            None => problem.help("routes over an interface that does not forward would lead nowhere"),
        });
    }
    let area = reader.required(&table, "area")?;
    let default = InterfaceConfig::new(area_id(reader, &area)?);
    let network = table.get("network").and_then(|field| reader.choice(&field, NETWORKS));
    let cost = table.get("cost").and_then(|field| reader.integer::<u16>(&field, 0..=65_535));
    let priority = table.get("priority").and_then(|field| reader.integer::<u8>(&field, 0..=255));
    let hello = table.get("hello-interval").and_then(|field| reader.integer::<u16>(&field, 1..=65_535));
    let hello_interval = hello.and_then(NonZeroU16::new).unwrap_or(default.hello_interval);
    let dead_field = table.get("dead-interval");
    let dead = dead_field.as_ref().and_then(|field| reader.integer::<u32>(field, 2..=65_535));
    // Four hellos, as usual, where it is not said (RFC 2328 appendix C.3).
    let dead_interval = dead.unwrap_or_else(|| u32::from(hello_interval.get()) * 4);
    if let (Some(field), true) = (&dead_field, dead_interval <= hello_interval.get().into()) {
        let what = format_args!("cannot be {dead_interval}: `hello-interval` is {hello_interval}");
        reader.reject(field, what);
    }
    let retransmit =
        table.get("retransmit-interval").and_then(|field| reader.integer::<u64>(&field, 1..=3600));
    let delay = table.get("transmit-delay").and_then(|field| reader.integer::<u16>(&field, 1..=3600));
    let poll = table.get("poll-interval").and_then(|field| reader.integer::<u64>(&field, 1..=3600));
    let mut flag = |name| table.get(name).and_then(|field| reader.boolean(&field));
    let (passive, mtu_ignore, bfd) = (flag("passive"), flag("mtu-ignore"), flag("bfd"));
    let prefix_suppression = flag("prefix-suppression");
    let neighbors_field = table.get("neighbors");
    let neighbors = neighbors_field.as_ref().and_then(|field| {
        reader.list(field, "an address such as \"192.0.2.2\"", |reader, item| {
            reader.parsed(item, |text| match text.parse::<Ipv4Addr>() {
                Ok(address) => check::not_a_host(address).map_or(Ok(address), Err),
                Err(_) => Err("not an IPv4 address"),
            })
        })
    });
    let named = matches!(network, Some(NetworkType::NonBroadcast | NetworkType::PointToMultipoint));
    if let (Some(field), false) = (&neighbors_field, named) {
        let problem = reader.field_problem(field, "mean nothing here: neighbours are found by multicast");
        reader.push(problem.expected("network = \"non-broadcast\" or \"point-to-multipoint\" beside them"));
    }
    let config = InterfaceConfig {
        area: default.area,
        network,
        cost: cost.unwrap_or(if name == "lo" { 0 } else { default.cost }),
        priority: priority.unwrap_or(default.priority),
        hello_interval,
        dead_interval,
        retransmit_interval: retransmit.map_or(default.retransmit_interval, Duration::from_secs),
        transmit_delay: delay.unwrap_or(default.transmit_delay),
        passive: passive.unwrap_or(false),
        mtu_ignore: mtu_ignore.unwrap_or(false),
        authentication: authentication(reader, &table, around),
        neighbors: neighbors.unwrap_or_default().into_iter().map(|(_, address)| address).collect(),
        poll_interval: poll.map_or(default.poll_interval, Duration::from_secs),
        prefix_suppression,
        bfd: bfd.unwrap_or(false),
    };
    Some((name, name_field, config))
}

fn authentication(reader: &mut Reader<'_>, table: &Table<'_>, around: &Around<'_, '_>) -> Authentication {
    let kind = table.get("authentication");
    let simple = kind.as_ref().and_then(|field| reader.choice(field, AUTHENTICATION));
    let Some(field) = table.get("key-chain") else {
        // Fail closed: who asks for authentication must not run without.
        if let Some(kind) = kind {
            let problem = reader.field_problem(&kind, "needs a `key-chain`");
            reader.push(problem.expected("key-chain = \"…\" in this table"));
        }
        return Authentication::None;
    };
    let chain: Option<KeyChain> = key_chain::named(reader, &field, around.chains);
    match (chain, simple) {
        (Some(chain), Some(true)) => {
            if let Some(long) = chain.keys().iter().find(|key| 8 < key.secret.bytes().len()) {
                let what = format_args!("names a chain whose key {} is longer than 8 octets", long.id.0);
                let problem = reader.field_problem(&field, what);
                reader.push(problem.expected("passwords of 1 to 8 octets (RFC 2328 D.3)"));
            }
            Authentication::Simple(chain)
        }
        (Some(chain), Some(false) | None) => Authentication::Cryptographic(chain),
        (None, _) => Authentication::None,
    }
}

impl fmt::Display for Ospf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let machine = &self.machine;
        writeln!(f, "\n[ospf]\ndistance = {}", self.distance)?;
        match machine.router_id {
            Some(id) => writeln!(f, "router-id = \"{id}\"")?,
            None => writeln!(f, "# router-id: the highest address")?,
        }
        writeln!(f, "max-paths = {}\nmax-lsas = {}", machine.max_paths, machine.max_lsas)?;
        let ExternalMetric { kind, cost } = machine.default_metric;
        writeln!(f, "default-metric = {cost}\ndefault-metric-type = \"{}\"", name_of(KINDS, &kind))?;
        match machine.default_route {
            Some(DefaultRoute { metric, tag }) => writeln!(
                f,
                "default-route = {{ metric = {}, metric-type = \"{}\", tag = {tag} }}",
                metric.cost,
                name_of(KINDS, &metric.kind)
            )?,
            None => writeln!(f, "default-route = false")?,
        }
        match machine.stub_router {
            StubRouter::Never => writeln!(f, "stub-router = false")?,
            StubRouter::Always => writeln!(f, "stub-router = true")?,
            StubRouter::OnStart(time) => writeln!(f, "stub-router = {}", time.as_secs())?,
        }
        writeln!(f, "rfc1583-compatible = {}", machine.rfc1583_compatible)?;
        writeln!(f, "prefix-suppression = {}", machine.prefix_suppression)?;
        writeln!(f, "graceful-restart-helper = {}", machine.graceful_helper)?;
        let backoff = &machine.backoff;
        for (name, time) in [
            ("spf-initial-delay", backoff.initial),
            ("spf-short-delay", backoff.short),
            ("spf-long-delay", backoff.long),
            ("spf-hold-down", backoff.hold_down),
            ("spf-time-to-learn", backoff.time_to_learn),
        ] {
            writeln!(f, "{name} = {}", time.as_millis())?;
        }
        for (id, area) in &machine.areas {
            print_area(f, *id, area)?;
        }
        for (name, interface) in &machine.interfaces {
            print_interface(f, name, interface)?;
        }
        redistribute::print(f, "ospf", &self.redistribute)
    }
}

fn print_area(f: &mut fmt::Formatter<'_>, id: AreaId, area: &AreaConfig) -> fmt::Result {
    writeln!(f, "\n[[ospf.area]]\nid = \"{id}\"")?;
    let (kind, summaries, translate) = match area.kind {
        AreaKind::Normal => (Kind::Normal, true, Translate::Candidate),
        AreaKind::Stub { summaries } => (Kind::Stub, summaries, Translate::Candidate),
        AreaKind::Nssa { summaries, translate } => (Kind::Nssa, summaries, translate),
    };
    writeln!(f, "type = \"{}\"\nsummaries = {summaries}", name_of(AREAS, &kind))?;
    writeln!(f, "translate = \"{}\"\ndefault-cost = {}", name_of(TRANSLATE, &translate), area.default_cost)?;
    let range = |range: &Range| {
        let cost = range.cost.map_or_else(String::new, |cost| format!(", cost = {cost}"));
        format!("{{ prefix = \"{}\", advertise = {}{cost} }}", range.prefix, range.advertise)
    };
    writeln!(f, "ranges = [{}]", area.ranges.iter().map(range).collect::<Vec<_>>().join(", "))?;
    let peers: Vec<String> = area.virtual_links.keys().map(|peer| format!("\"{peer}\"")).collect();
    writeln!(f, "virtual-links = [{}]", peers.join(", "))
}

fn print_interface(f: &mut fmt::Formatter<'_>, name: &str, interface: &InterfaceConfig) -> fmt::Result {
    writeln!(f, "\n[[ospf.interface]]\nname = {}\narea = \"{}\"", quoted(name), interface.area)?;
    match &interface.network {
        Some(network) => writeln!(f, "network = \"{}\"", name_of(NETWORKS, network))?,
        None => writeln!(f, "# network: as the interface is")?,
    }
    writeln!(f, "cost = {}\npriority = {}", interface.cost, interface.priority)?;
    writeln!(f, "hello-interval = {}", interface.hello_interval)?;
    writeln!(f, "dead-interval = {}", interface.dead_interval)?;
    writeln!(f, "retransmit-interval = {}", interface.retransmit_interval.as_secs())?;
    writeln!(f, "transmit-delay = {}", interface.transmit_delay)?;
    writeln!(f, "passive = {}\nmtu-ignore = {}", interface.passive, interface.mtu_ignore)?;
    match &interface.authentication {
        Authentication::None => writeln!(f, "# authentication: none")?,
        Authentication::Simple(chain) => {
            writeln!(f, "authentication = \"simple\"\nkey-chain = {}", quoted(chain.name()))?;
        }
        Authentication::Cryptographic(chain) => {
            writeln!(f, "authentication = \"cryptographic\"\nkey-chain = {}", quoted(chain.name()))?;
        }
    }
    if interface.neighbors.is_empty() {
        writeln!(f, "# neighbors: found by multicast")?;
    } else {
        let neighbors: Vec<String> =
            interface.neighbors.iter().map(|address| format!("\"{address}\"")).collect();
        writeln!(f, "neighbors = [{}]", neighbors.join(", "))?;
    }
    writeln!(f, "poll-interval = {}", interface.poll_interval.as_secs())?;
    match interface.prefix_suppression {
        Some(suppressed) => writeln!(f, "prefix-suppression = {suppressed}")?,
        None => writeln!(f, "# prefix-suppression: as [ospf] has it")?,
    }
    writeln!(f, "bfd = {}", interface.bfd)
}
