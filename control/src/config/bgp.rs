//! `[bgp]` with its groups, neighbours and ranges, aggregates and what it redistributes.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use millrace_bgp::config::{
    Aggregate, Confederation, Decision, GracefulRestart, MaxPrefixes, OverLimit, PORT, Range,
};
use millrace_bgp::wire::Role;
use millrace_bgp::{Config as Machine, PeerConfig};
use millrace_net::Prefix;
use millrace_policy::{self as policy, Policies, RuleList};
use toml::Spanned;
use toml::de::DeValue;

use super::model::{Bgp, Router};
use super::print::quoted;
use super::read::{Field, Reader, Table, nearest};
use super::redistribute;
use super::reference;
use super::sections::name_of;
use super::statics::prefix_error;

const ROLES: &[(&str, Role)] = &[
    ("provider", Role::Provider),
    ("customer", Role::Customer),
    ("peer", Role::Peer),
    ("route-server", Role::RouteServer),
    ("route-server-client", Role::RouteServerClient),
];
/// Down for so long with `max-prefixes-action = "restart"`.
const RESTART: Duration = Duration::from_secs(300);
const ACTIONS: &[(&str, OverLimit)] =
    &[("shutdown", OverLimit::Shutdown), ("warn", OverLimit::Warn), ("restart", OverLimit::Restart(RESTART))];
const LARGEST_AS: u64 = 4_294_967_294;

pub(super) fn bgp(
    reader: &mut Reader<'_>,
    value: &Spanned<DeValue<'_>>,
    router: &Router,
    policies: &Policies,
) -> Option<Bgp> {
    let table = reader.table(reference::BGP, reference::BGP.header(), value)?;
    let Some(asn) = router.asn else {
        let problem = reader.source.problem(table.span.clone(), "[bgp] needs an AS number".to_owned());
        reader.push(problem.key("router.asn").expected("`asn` in [router]: 1 to 4294967294"));
        return None;
    };
    let mut scope = Scope { asn, policies, groups: BTreeMap::new() };
    if let Some(field) = table.get("group") {
        for table in reader.tables(reference::BGP_GROUP, field.value) {
            let Some(name) = reader.required(&table, "name") else { continue };
            let Some(text) = reader.string(&name).map(str::to_owned) else { continue };
            let table = table.titled(&text);
            let base = Partial { asn: None, peer: PeerConfig::new(0) };
            let group = session(reader, &table, base, &scope);
            if scope.groups.insert(text, group).is_some() {
                reader.reject(&name, "stands in an earlier [[bgp.group]] too");
            }
        }
    }
    let mut peers = BTreeMap::new();
    if let Some(field) = table.get("neighbor") {
        for table in reader.tables(reference::BGP_NEIGHBOR, field.value) {
            let Some(field) = reader.required(&table, "address") else { continue };
            let Some(address) = address(reader, &field) else { continue };
            let table = table.titled(&address.to_string());
            if let Some(peer) = peer(reader, &table, &scope)
                && peers.insert(address, peer).is_some()
            {
                reader.reject(&field, "stands in an earlier [[bgp.neighbor]] too");
            }
        }
    }
    let mut ranges = Vec::new();
    if let Some(field) = table.get("range") {
        for table in reader.tables(reference::BGP_RANGE, field.value) {
            let Some(field) = reader.required(&table, "prefix") else { continue };
            let Some(prefix) = prefix(reader, &field) else { continue };
            let table = table.titled(&prefix.to_string());
            let limit = table.get("limit").and_then(|field| reader.integer::<usize>(&field, 1..=10_000));
            if let Some(peer) = peer(reader, &table, &scope) {
                ranges.push(Range { prefix, limit: limit.unwrap_or(100), peer });
            }
        }
    }
    let mut aggregates = BTreeMap::new();
    if let Some(field) = table.get("aggregate") {
        for table in reader.tables(reference::BGP_AGGREGATE, field.value) {
            let Some(field) = reader.required(&table, "prefix") else { continue };
            let summary_only = flag(reader, &table, "summary-only", false);
            if let Some(prefix) = prefix(reader, &field) {
                aggregates.insert(prefix, Aggregate { summary_only });
            }
        }
    }
    let networks = table
        .get("networks")
        .and_then(|field| reader.list(&field, "a prefix such as \"192.0.2.0/24\"", prefix));
    let redistribute = table.get("redistribute").map_or_else(Vec::new, |field| {
        let section = reference::BGP_REDISTRIBUTE;
        redistribute::list(reader, &field, section, policy::Protocol::Bgp, 0..=u64::from(u32::MAX), policies)
    });
    let number = |reader: &mut Reader<'_>, name, bounds, default: u8| {
        table.get(name).and_then(|field| reader.integer::<u8>(&field, bounds)).unwrap_or(default)
    };
    let decision = Decision {
        always_compare_med: flag(reader, &table, "always-compare-med", false),
        missing_med_worst: flag(reader, &table, "missing-med-worst", false),
        ignore_as_path_length: flag(reader, &table, "ignore-as-path-length", false),
        max_paths_ebgp: number(reader, "multipath", 1..=64, 1),
        max_paths_ibgp: number(reader, "multipath-internal", 1..=64, 1),
        multipath_relax: flag(reader, &table, "multipath-relax", false),
    };
    let default = GracefulRestart::default();
    let restart_secs = table.get("restart-time").and_then(|field| reader.integer::<u16>(&field, 1..=4095));
    let stale = table.get("stale-time").and_then(|field| reader.integer::<u64>(&field, 1..=86_400));
    let confederation =
        table.get("confederation").and_then(|field| reader.integer::<u32>(&field, 1..=LARGEST_AS));
    let members = table.get("confederation-members").and_then(|field| {
        reader.list(&field, "an AS number", |reader, item| reader.integer::<u32>(item, 1..=LARGEST_AS))
    });
    let members: BTreeSet<u32> = members.unwrap_or_default().into_iter().map(|(_, asn)| asn).collect();
    Some(Bgp {
        port: table.get("port").and_then(|field| reader.integer::<u16>(&field, 1..=65_535)).unwrap_or(PORT),
        distance: number(reader, "distance", 1..=255, millrace_rib::Protocol::Ebgp.distance()),
        distance_internal: number(
            reader,
            "distance-internal",
            1..=255,
            millrace_rib::Protocol::Ibgp.distance(),
        ),
        redistribute,
        machine: Machine {
            asn,
            router_id: router.router_id,
            peers,
            ranges,
            networks: networks.unwrap_or_default().into_iter().map(|(_, prefix)| (prefix, None)).collect(),
            aggregates,
            decision,
            cluster_id: table.get("cluster-id").and_then(|field| address(reader, &field)),
            confederation: confederation.map(|asn| Confederation { asn, members }),
            graceful_restart: GracefulRestart {
                enabled: flag(reader, &table, "graceful-restart", default.enabled),
                restart_secs: restart_secs.unwrap_or(default.restart_secs),
                stale: stale.map_or(default.stale, Duration::from_secs),
                defer: default.defer,
            },
            wait_for_fib: flag(reader, &table, "suppress-fib-pending", true),
            graceful_shutdown: flag(reader, &table, "graceful-shutdown", false),
            reject_as_sets: flag(reader, &table, "reject-as-sets", false),
        },
    })
}

/// What neighbours may name.
struct Scope<'a> {
    asn: u32,
    policies: &'a Policies,
    groups: BTreeMap<String, Partial>,
}

/// A neighbour, or a group of them, which may leave the AS to its members.
#[derive(Clone)]
struct Partial {
    asn: Option<u32>,
    peer: PeerConfig,
}

fn peer(reader: &mut Reader<'_>, table: &Table<'_>, scope: &Scope<'_>) -> Option<PeerConfig> {
    let mut base = Partial { asn: None, peer: PeerConfig::new(0) };
    if let Some(field) = table.get("group") {
        let name = reader.string(&field)?;
        match scope.groups.get(name) {
            Some(group) => base = group.clone(),
            None => {
                let what = format_args!("cannot be {name:?}: there is no [[bgp.group]] of this name");
                let problem = reader.field_problem(&field, what);
                reader.push(match nearest(name, scope.groups.keys().map(String::as_str)) {
                    Some(near) => problem.help(format!("did you mean \"{near}\"?")),
                    None => problem,
                });
            }
        }
    }
    let Partial { asn, peer } = session(reader, table, base, scope);
    let Some(asn) = asn else {
        reader.missing(table, "asn");
        return None;
    };
    Some(PeerConfig { asn, ..peer })
}

/// The keys all kinds share, over what holds otherwise.
fn session(reader: &mut Reader<'_>, table: &Table<'_>, base: Partial, scope: &Scope<'_>) -> Partial {
    let Partial { mut asn, mut peer } = base;
    if let Some(field) = table.get("asn") {
        asn = match field.value.get_ref().as_str() {
            Some("internal") => Some(scope.asn),
            Some(_) | None => reader.integer::<u32>(&field, 1..=LARGEST_AS).or(asn),
        };
    }
    if let Some(field) = table.get("description") {
        peer.description = reader.string(&field).map(str::to_owned);
    }
    if let Some(field) = table.get("local-as") {
        peer.local_as = reader.integer::<u32>(&field, 1..=LARGEST_AS);
    }
    if let Some(field) = table.get("local-address") {
        peer.transport.local_address = address(reader, &field);
    }
    if let Some(port) = table.get("port").and_then(|field| reader.integer::<u16>(&field, 1..=65_535)) {
        peer.transport.port = port;
    }
    if let Some(field) = table.get("multihop") {
        peer.transport.multihop = reader.integer::<u8>(&field, 1..=255);
    }
    timers(reader, table, &mut peer);
    if let Some(field) = table.get("import") {
        peer.import = rule_list(reader, &field, scope.policies);
    }
    if let Some(field) = table.get("export") {
        peer.export = rule_list(reader, &field, scope.policies);
    }
    if let Some(field) = table.get("shutdown") {
        peer.shutdown = match field.value.get_ref().as_str() {
            Some(words) => Some(words.to_owned()),
            None => reader.boolean(&field).unwrap_or(false).then(String::new),
        };
    }
    peer.transport.passive = flag(reader, table, "passive", peer.transport.passive);
    peer.needs_policy = flag(reader, table, "require-policy", peer.needs_policy);
    peer.next_hop_self = flag(reader, table, "next-hop-self", peer.next_hop_self);
    peer.reflector_client = flag(reader, table, "route-reflector-client", peer.reflector_client);
    peer.route_server_client = flag(reader, table, "route-server-client", peer.route_server_client);
    peer.remove_private = flag(reader, table, "remove-private-as", peer.remove_private);
    peer.as_override = flag(reader, table, "as-override", peer.as_override);
    peer.enforce_first_as = flag(reader, table, "enforce-first-as", peer.enforce_first_as);
    peer.strict_role = flag(reader, table, "strict-role", peer.strict_role);
    peer.add_path_receive = flag(reader, table, "add-path-receive", peer.add_path_receive);
    peer.default_originate = flag(reader, table, "default-originate", peer.default_originate);
    peer.extended_messages = flag(reader, table, "extended-messages", peer.extended_messages);
    peer.bfd = flag(reader, table, "bfd", peer.bfd);
    peer.four_octet_as = flag(reader, table, "four-octet-as", peer.four_octet_as);
    if let Some(times) = table.get("allow-as-in").and_then(|field| reader.integer::<u8>(&field, 0..=10)) {
        peer.allow_as_in = times;
    }
    if let Some(weight) =
        table.get("weight").and_then(|field| reader.integer::<u32>(&field, 0..=u64::from(u32::MAX)))
    {
        peer.weight = weight;
    }
    if let Some(field) = table.get("role") {
        peer.role = reader.choice(&field, ROLES);
    }
    let most = u64::from(u32::MAX);
    let limit = table.get("max-prefixes").and_then(|field| reader.integer::<u32>(&field, 1..=most));
    let warn = table.get("max-prefixes-warn").and_then(|field| reader.integer::<u8>(&field, 1..=100));
    let action = table.get("max-prefixes-action").and_then(|field| reader.choice(&field, ACTIONS));
    let before = peer.max_prefixes;
    if let Some(limit) = limit.or(before.map(|max| max.limit)) {
        peer.max_prefixes = Some(MaxPrefixes {
            limit,
            warn_percent: warn.or(before.map(|max| max.warn_percent)).unwrap_or(75),
            action: action.or(before.map(|max| max.action)).unwrap_or(OverLimit::Shutdown),
        });
    }
    Partial { asn, peer }
}

fn timers(reader: &mut Reader<'_>, table: &Table<'_>, peer: &mut PeerConfig) {
    if let Some(field) = table.get("hold-time")
        && let Some(hold) = reader.integer::<u16>(&field, 0..=65_535)
    {
        if matches!(hold, 1 | 2) {
            reader.reject(&field, format_args!("cannot be {hold}: RFC 4271 §4.2 wants 0 or at least 3"));
        }
        peer.timers.hold = hold;
    }
    if let Some(field) = table.get("keepalive") {
        peer.timers.keepalive = reader.integer::<u16>(&field, 1..=21_845);
    }
    let mut seconds = |name, bounds| table.get(name).and_then(|field| reader.integer::<u64>(&field, bounds));
    if let Some(secs) = seconds("connect-retry", 1..=3600) {
        peer.timers.connect_retry = Duration::from_secs(secs);
    }
    if let Some(secs) = seconds("delay-open", 1..=240) {
        peer.timers.delay_open = Some(Duration::from_secs(secs));
    }
    if let Some(secs) = seconds("advertisement-interval", 0..=600) {
        peer.timers.advertisement = Duration::from_secs(secs);
    }
}

fn flag(reader: &mut Reader<'_>, table: &Table<'_>, name: &'static str, otherwise: bool) -> bool {
    table.get(name).and_then(|field| reader.boolean(&field)).unwrap_or(otherwise)
}

fn address(reader: &mut Reader<'_>, field: &Field<'_>) -> Option<Ipv4Addr> {
    reader.parsed(field, |text| match text.parse::<Ipv4Addr>() {
        Ok(address) => super::check::not_a_host(address).map_or(Ok(address), Err),
        Err(_) => Err("not an IPv4 address"),
    })
}

fn prefix(reader: &mut Reader<'_>, field: &Field<'_>) -> Option<Prefix> {
    reader.parsed(field, |text| text.parse::<Prefix>().map_err(|error| prefix_error(text, error).0))
}

/// A rule list by its name; `all` takes everything as it is.
fn rule_list(reader: &mut Reader<'_>, field: &Field<'_>, policies: &Policies) -> Option<Arc<RuleList>> {
    if field.value.get_ref().as_str() == Some("all") && !policies.rule_lists.contains_key("all") {
        let default = policy::Decision::Accept;
        return Some(Arc::new(RuleList { name: "all".to_owned(), rules: Vec::new(), default }));
    }
    super::policy::rule_list(reader, field, policies)
}

impl fmt::Display for Bgp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let machine = &self.machine;
        writeln!(f, "\n[bgp]")?;
        let networks: Vec<String> = machine.networks.keys().map(|prefix| format!("\"{prefix}\"")).collect();
        writeln!(f, "networks = [{}]", networks.join(", "))?;
        writeln!(f, "distance = {}\ndistance-internal = {}", self.distance, self.distance_internal)?;
        writeln!(f, "port = {}", self.port)?;
        if let Some(id) = machine.cluster_id {
            writeln!(f, "cluster-id = \"{id}\"")?;
        }
        let Decision {
            always_compare_med,
            missing_med_worst,
            ignore_as_path_length,
            max_paths_ebgp,
            max_paths_ibgp,
            multipath_relax,
        } = machine.decision;
        writeln!(f, "multipath = {max_paths_ebgp}\nmultipath-internal = {max_paths_ibgp}")?;
        writeln!(f, "multipath-relax = {multipath_relax}\nalways-compare-med = {always_compare_med}")?;
        writeln!(f, "missing-med-worst = {missing_med_worst}")?;
        writeln!(f, "ignore-as-path-length = {ignore_as_path_length}")?;
        writeln!(f, "suppress-fib-pending = {}", machine.wait_for_fib)?;
        let restart = machine.graceful_restart;
        writeln!(f, "graceful-restart = {}\nrestart-time = {}", restart.enabled, restart.restart_secs)?;
        writeln!(f, "stale-time = {}", restart.stale.as_secs())?;
        writeln!(f, "graceful-shutdown = {}", machine.graceful_shutdown)?;
        writeln!(f, "reject-as-sets = {}", machine.reject_as_sets)?;
        if let Some(confederation) = &machine.confederation {
            writeln!(f, "confederation = {}", confederation.asn)?;
            writeln!(f, "confederation-members = {:?}", confederation.members.iter().collect::<Vec<_>>())?;
        }
        for (address, peer) in &machine.peers {
            writeln!(f, "\n[[bgp.neighbor]]\naddress = \"{address}\"")?;
            print_session(f, peer)?;
        }
        for range in &machine.ranges {
            writeln!(f, "\n[[bgp.range]]\nprefix = \"{}\"\nlimit = {}", range.prefix, range.limit)?;
            print_session(f, &range.peer)?;
        }
        for (prefix, aggregate) in &machine.aggregates {
            writeln!(
                f,
                "\n[[bgp.aggregate]]\nprefix = \"{prefix}\"\nsummary-only = {}",
                aggregate.summary_only
            )?;
        }
        redistribute::print(f, "bgp", &self.redistribute)
    }
}

fn print_session(f: &mut fmt::Formatter<'_>, peer: &PeerConfig) -> fmt::Result {
    let mut optional = |name: &str, value: Option<String>| match value {
        Some(value) => writeln!(f, "{name} = {value}"),
        None => writeln!(f, "# {name}: none"),
    };
    let secs = |duration: Duration| duration.as_secs().to_string();
    optional("asn", Some(peer.asn.to_string()))?;
    optional("description", peer.description.as_ref().map(quoted))?;
    optional("local-as", peer.local_as.map(|asn| asn.to_string()))?;
    optional("local-address", peer.transport.local_address.map(|address| format!("\"{address}\"")))?;
    optional("port", Some(peer.transport.port.to_string()))?;
    optional("multihop", peer.transport.multihop.map(|hops| hops.to_string()))?;
    optional("hold-time", Some(peer.timers.hold.to_string()))?;
    optional("keepalive", peer.timers.keepalive.map(|secs| secs.to_string()))?;
    optional("connect-retry", Some(secs(peer.timers.connect_retry)))?;
    optional("delay-open", peer.timers.delay_open.map(secs))?;
    optional("advertisement-interval", Some(secs(peer.timers.advertisement)))?;
    optional("import", peer.import.as_ref().map(|list| quoted(&list.name)))?;
    optional("export", peer.export.as_ref().map(|list| quoted(&list.name)))?;
    optional(
        "shutdown",
        peer.shutdown.as_ref().map(|words| if words.is_empty() { "true".to_owned() } else { quoted(words) }),
    )?;
    optional("role", peer.role.map(|role| format!("\"{}\"", name_of(ROLES, &role))))?;
    let max = peer.max_prefixes;
    optional("max-prefixes", max.map(|max| max.limit.to_string()))?;
    optional("max-prefixes-warn", max.map(|max| max.warn_percent.to_string()))?;
    optional("max-prefixes-action", max.map(|max| format!("\"{}\"", name_of(ACTIONS, &max.action))))?;
    optional("weight", Some(peer.weight.to_string()))?;
    optional("allow-as-in", Some(peer.allow_as_in.to_string()))?;
    for (name, value) in [
        ("passive", peer.transport.passive),
        ("require-policy", peer.needs_policy),
        ("next-hop-self", peer.next_hop_self),
        ("route-reflector-client", peer.reflector_client),
        ("route-server-client", peer.route_server_client),
        ("remove-private-as", peer.remove_private),
        ("as-override", peer.as_override),
        ("enforce-first-as", peer.enforce_first_as),
        ("strict-role", peer.strict_role),
        ("add-path-receive", peer.add_path_receive),
        ("default-originate", peer.default_originate),
        ("extended-messages", peer.extended_messages),
        ("bfd", peer.bfd),
        ("four-octet-as", peer.four_octet_as),
    ] {
        optional(name, Some(value.to_string()))?;
    }
    Ok(())
}
