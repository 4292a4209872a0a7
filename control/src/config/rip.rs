//! `[rip]` with its interfaces and what it redistributes.

use std::collections::BTreeMap;
use std::fmt;
use std::net::Ipv4Addr;
use std::num::NonZeroU8;
use std::time::Duration;

use millrace_net::Prefix;
use millrace_policy::{self as policy, Policies};
use millrace_proto::KeyChain;
use millrace_rip::config::{
    Authentication, DefaultRoute, Mode, Offset, SplitHorizon, Timers, TimersError, TtlSecurity,
};
use millrace_rip::{Config as Machine, Cost, InterfaceConfig, Metric};
use toml::Spanned;
use toml::de::DeValue;

use super::check;
use super::key_chain::{self, KeyChains};
use super::model::Rip;
use super::print::quoted;
use super::read::{Field, Reader, Table, nearest};
use super::redistribute;
use super::reference;
use super::sections::{PlacedInterface, name_of};
use super::statics::prefix_error;

/// What other sections have that this one names.
pub(super) struct Around<'a, 'd> {
    pub(super) policies: &'a Policies,
    pub(super) chains: &'a KeyChains,
    pub(super) interfaces: &'a [PlacedInterface<'d>],
}

const SPLIT_HORIZON: &[(&str, SplitHorizon)] = &[
    ("off", SplitHorizon::Off),
    ("simple", SplitHorizon::Simple),
    ("poisoned-reverse", SplitHorizon::PoisonedReverse),
];
const MODES: &[(&str, Mode)] = &[("multicast", Mode::Multicast), ("broadcast", Mode::Broadcast)];
const TTL: &[(&str, TtlSecurity)] =
    &[("off", TtlSecurity::Off), ("send-only", TtlSecurity::SendOnly), ("on", TtlSecurity::On)];
/// Whether messages carry passwords in clear.
const AUTHENTICATION: &[(&str, bool)] = &[("plain", true), ("cryptographic", false)];

pub(super) fn rip(
    reader: &mut Reader<'_>,
    value: &Spanned<DeValue<'_>>,
    around: &Around<'_, '_>,
) -> Option<Rip> {
    let table = reader.table(reference::RIP, reference::RIP.header(), value)?;
    let default = Machine::new();
    let distance = table.get("distance").and_then(|field| reader.integer::<u8>(&field, 1..=255));
    let default_metric = table.get("default-metric").and_then(|field| metric(reader, &field));
    let default_route = table.get("default-route").and_then(|field| default_route(reader, &field));
    let max_paths = table.get("max-paths").and_then(|field| reader.integer::<u8>(&field, 1..=64));
    let max_routes =
        table.get("max-routes").and_then(|field| reader.integer::<usize>(&field, 1..=10_000_000));
    let timers = timers(reader, &table, Timers::default());
    let mut interfaces = BTreeMap::new();
    if let Some(field) = table.get("interface") {
        for table in reader.tables(reference::RIP_INTERFACE, field.value) {
            if let Some((name, field, config)) = interface(reader, table, timers, around)
                && interfaces.insert(name, config).is_some()
            {
                reader.reject(&field, "stands in an earlier [[rip.interface]] too");
            }
        }
    }
    let redistribute = table.get("redistribute").map_or_else(Vec::new, |field| {
        let section = reference::RIP_REDISTRIBUTE;
        redistribute::list(reader, &field, section, policy::Protocol::Rip, 1..=15, around.policies)
    });
    Some(Rip {
        machine: Machine {
            interfaces,
            default_metric: default_metric.unwrap_or(default.default_metric),
            default_route,
            timers,
            max_paths: max_paths.and_then(NonZeroU8::new).unwrap_or(default.max_paths),
            max_routes: max_routes.unwrap_or(default.max_routes),
        },
        redistribute,
        distance: distance.unwrap_or(millrace_rib::Protocol::Rip.distance()),
    })
}

fn metric(reader: &mut Reader<'_>, field: &Field<'_>) -> Option<Metric> {
    Metric::new(reader.integer::<u8>(field, 1..=15)?)
}

/// `true`, or a table with metric and tag.
fn default_route(reader: &mut Reader<'_>, field: &Field<'_>) -> Option<DefaultRoute> {
    if !field.value.get_ref().is_table() {
        let on = reader.boolean(field)?;
        return on.then_some(DefaultRoute { metric: Metric::MIN, tag: 0 });
    }
    let table = reader.table(reference::RIP_DEFAULT, field.subject.clone(), field.value)?;
    let cost = table.get("metric").and_then(|field| metric(reader, &field));
    let tag = table.get("tag").and_then(|field| reader.integer::<u16>(&field, 0..=65_535));
    Some(DefaultRoute { metric: cost.unwrap_or(Metric::MIN), tag: tag.unwrap_or(0) })
}

/// What stands in the table, over what holds otherwise.
fn timers(reader: &mut Reader<'_>, table: &Table<'_>, otherwise: Timers) -> Timers {
    let mut seconds = |name, otherwise: Duration, most| match table.get(name) {
        None => (None, otherwise),
        Some(field) => {
            let seconds = reader.integer::<u64>(&field, 1..=most).map(Duration::from_secs);
            (Some(field), seconds.unwrap_or(otherwise))
        }
    };
    let (update_field, update) = seconds("update", otherwise.update, 3600);
    let (timeout_field, timeout) = seconds("timeout", otherwise.timeout, 86_400);
    let (garbage_field, garbage) = seconds("garbage", otherwise.garbage, 86_400);
    match Timers::new(update, timeout, garbage) {
        Ok(timers) => timers,
        Err(error) => {
            let at = match error {
                TimersError::Update => update_field,
                TimersError::Timeout => timeout_field.or(update_field),
                TimersError::Garbage => garbage_field,
            };
            if let Some(field) = at {
                reader.reject(&field, format_args!("cannot be {}: {error}", reader.text(field.span())));
            }
            otherwise
        }
    }
}

fn interface<'d>(
    reader: &mut Reader<'_>,
    table: Table<'d>,
    otherwise: Timers,
    around: &Around<'_, '_>,
) -> Option<(String, Field<'d>, InterfaceConfig)> {
    let name_field = reader.required(&table, "name")?;
    let name = reader.string(&name_field)?.to_owned();
    let table = table.titled(&name);
    // The loopback only announces its networks: no message is exchanged there.
    if name != "lo" && !around.interfaces.iter().any(|interface| interface.value.name == name) {
        let what = format_args!("cannot be {name:?}: there is no [[interface]] of this name");
        let problem = reader.field_problem(&name_field, what);
        let names = around.interfaces.iter().map(|interface| interface.value.name.as_str());
        reader.push(match nearest(&name, names) {
            Some(near) => problem.help(format!("did you mean \"{near}\"?")),
            None => problem.help("routes over an interface that does not forward would lead nowhere"),
        });
    }
    let default = InterfaceConfig::default();
    let cost = table.get("cost").and_then(|field| Cost::new(reader.integer::<u8>(&field, 1..=15)?));
    let split_horizon = table.get("split-horizon").and_then(|field| reader.choice(&field, SPLIT_HORIZON));
    let mut flag = |name| table.get(name).and_then(|field| reader.boolean(&field)).unwrap_or(false);
    let (passive, receive_version_1, bfd) = (flag("passive"), flag("receive-version-1"), flag("bfd"));
    let mode = table.get("mode").and_then(|field| reader.choice(&field, MODES));
    let neighbors = table.get("neighbors").and_then(|field| {
        reader.list(&field, "an address such as \"192.0.2.2\"", |reader, item| {
            reader.parsed(item, |text| match text.parse::<Ipv4Addr>() {
                Ok(address) => check::not_a_host(address).map_or(Ok(address), Err),
                Err(_) => Err("not an IPv4 address"),
            })
        })
    });
    let authentication = authentication(reader, &table, around.chains);
    let ttl_security = table.get("ttl-security").and_then(|field| reader.choice(&field, TTL));
    let timers = timers(reader, &table, otherwise);
    let offset_in = table.get("offset-in").map(|field| offsets(reader, &field)).unwrap_or_default();
    let offset_out = table.get("offset-out").map(|field| offsets(reader, &field)).unwrap_or_default();
    let mut list =
        |name| table.get(name).and_then(|field| super::policy::rule_list(reader, &field, around.policies));
    let (import, export) = (list("import"), list("export"));
    let config = InterfaceConfig {
        cost: cost.unwrap_or(default.cost),
        split_horizon: split_horizon.unwrap_or_default(),
        passive,
        mode: mode.unwrap_or_default(),
        neighbors: neighbors.unwrap_or_default().into_iter().map(|(_, address)| address).collect(),
        authentication,
        receive_version_1,
        ttl_security: ttl_security.unwrap_or_default(),
        timers,
        offset_in,
        offset_out,
        import,
        export,
        bfd,
    };
    Some((name, name_field, config))
}

fn authentication(reader: &mut Reader<'_>, table: &Table<'_>, chains: &KeyChains) -> Authentication {
    let kind = table.get("authentication");
    let plain = kind.as_ref().and_then(|field| reader.choice(field, AUTHENTICATION));
    let Some(field) = table.get("key-chain") else {
        // Fail closed: who asks for authentication must not run without.
        if let Some(kind) = kind {
            let problem = reader.field_problem(&kind, "needs a `key-chain`");
            reader.push(problem.expected("key-chain = \"…\" in this table"));
        }
        return Authentication::None;
    };
    let chain: Option<KeyChain> = key_chain::named(reader, &field, chains);
    match (chain, plain) {
        (Some(chain), Some(true)) => {
            if let Some(long) = chain.keys().iter().find(|key| 16 < key.secret.bytes().len()) {
                let what = format_args!("names a chain whose key {} is longer than 16 octets", long.id.0);
                let problem = reader.field_problem(&field, what);
                reader.push(problem.expected("passwords of 1 to 16 octets (RFC 2453 §4.1)"));
            }
            Authentication::Plain(chain)
        }
        (Some(chain), Some(false) | None) => Authentication::Cryptographic(chain),
        (None, _) => Authentication::None,
    }
}

fn offsets(reader: &mut Reader<'_>, field: &Field<'_>) -> Vec<Offset> {
    const EXPECTED: &str = "a table such as { within = [\"10.0.0.0/8\"], add = 2 }";
    let each = |reader: &mut Reader<'_>, item: &Field<'_>| {
        let table = reader.table(reference::RIP_OFFSET, item.subject.clone(), item.value)?;
        let add = reader.required(&table, "add")?;
        let add = reader.integer::<u8>(&add, 0..=16)?;
        let within = table.get("within").map(|field| {
            reader.list(&field, "a prefix such as \"10.0.0.0/8\"", |reader, item| {
                reader
                    .parsed(item, |text| text.parse::<Prefix>().map_err(|error| prefix_error(text, error).0))
            })
        });
        let within = within.flatten().unwrap_or_default().into_iter().map(|(_, prefix)| prefix).collect();
        Some(Offset { within, add })
    };
    let all = reader.list(field, EXPECTED, each).unwrap_or_default();
    all.into_iter().map(|(_, offset)| offset).collect()
}

impl fmt::Display for Rip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Machine { interfaces, default_metric, default_route, timers, max_paths, max_routes } =
            &self.machine;
        writeln!(f, "\n[rip]\ndistance = {}\ndefault-metric = {}", self.distance, default_metric.get())?;
        match default_route {
            Some(DefaultRoute { metric, tag }) => {
                writeln!(f, "default-route = {{ metric = {}, tag = {tag} }}", metric.get())?;
            }
            None => writeln!(f, "default-route = false")?,
        }
        writeln!(f, "max-paths = {max_paths}\nmax-routes = {max_routes}")?;
        print_timers(f, timers)?;
        for (name, interface) in interfaces {
            print_interface(f, name, interface)?;
        }
        redistribute::print(f, "rip", &self.redistribute)
    }
}

fn print_timers(f: &mut fmt::Formatter<'_>, timers: &Timers) -> fmt::Result {
    let Timers { update, timeout, garbage } = timers;
    writeln!(f, "update = {}", update.as_secs())?;
    writeln!(f, "timeout = {}", timeout.as_secs())?;
    writeln!(f, "garbage = {}", garbage.as_secs())
}

fn print_interface(f: &mut fmt::Formatter<'_>, name: &str, interface: &InterfaceConfig) -> fmt::Result {
    writeln!(f, "\n[[rip.interface]]\nname = {}", quoted(name))?;
    writeln!(f, "cost = {}", interface.cost.get())?;
    writeln!(f, "split-horizon = \"{}\"", name_of(SPLIT_HORIZON, &interface.split_horizon))?;
    writeln!(f, "passive = {}\nmode = \"{}\"", interface.passive, name_of(MODES, &interface.mode))?;
    let neighbors: Vec<String> = interface.neighbors.iter().map(|address| format!("\"{address}\"")).collect();
    writeln!(f, "neighbors = [{}]", neighbors.join(", "))?;
    match &interface.authentication {
        Authentication::None => writeln!(f, "# authentication: none")?,
        Authentication::Plain(chain) => {
            writeln!(f, "authentication = \"plain\"\nkey-chain = {}", quoted(chain.name()))?;
        }
        Authentication::Cryptographic(chain) => {
            writeln!(f, "authentication = \"cryptographic\"\nkey-chain = {}", quoted(chain.name()))?;
        }
    }
    writeln!(f, "receive-version-1 = {}", interface.receive_version_1)?;
    writeln!(f, "ttl-security = \"{}\"", name_of(TTL, &interface.ttl_security))?;
    print_timers(f, &interface.timers)?;
    for (name, offsets) in [("offset-in", &interface.offset_in), ("offset-out", &interface.offset_out)] {
        let each = |offset: &Offset| {
            let within: Vec<String> = offset.within.iter().map(|prefix| format!("\"{prefix}\"")).collect();
            format!("{{ within = [{}], add = {} }}", within.join(", "), offset.add)
        };
        let offsets: Vec<String> = offsets.iter().map(each).collect();
        writeln!(f, "{name} = [{}]", offsets.join(", "))?;
    }
    for (name, list) in [("import", &interface.import), ("export", &interface.export)] {
        match list {
            Some(list) => writeln!(f, "{name} = {}", quoted(&list.name))?,
            None => writeln!(f, "# {name}: everything passes")?,
        }
    }
    writeln!(f, "bfd = {}", interface.bfd)
}
