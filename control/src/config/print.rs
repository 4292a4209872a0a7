//! The effective configuration as a file of its own: every default written out. Loading it gives the same `Config`.

use std::collections::BTreeMap;
use std::fmt;

use millrace_api as api;
use millrace_policy::raw;

use super::filters::{ACTIONS, FLAGS, FRAGMENTS, ICMP, PROTOCOLS};
use super::model::{Config, Policy, StaticRoute, StaticTarget};
use super::sections::{
    ECMP_HASHES, EXPRESS, ICMP_SOURCES, MIRRORS, MODES, NAT_ROLES, ON_FAILURE, SCHEDULING, URPF, name_of,
};

impl fmt::Display for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "[router]")?;
        optional(f, "name", self.router.name.as_ref().map(quoted), "none")?;
        optional(f, "router-id", self.router.router_id.map(|id| format!("\"{id}\"")), "the highest address")?;
        optional(f, "asn", self.router.asn, "none")?;
        writeln!(f, "\n[dataplane]")?;
        let workers = (!self.dataplane.workers.is_empty()).then(|| format!("{:?}", self.dataplane.workers));
        optional(f, "workers", workers, "one worker on the last CPU")?;
        writeln!(f, "mode = \"{}\"", name_of(MODES, &self.dataplane.mode))?;
        writeln!(f, "express = \"{}\"", name_of(EXPRESS, &self.dataplane.express))?;
        writeln!(f, "busy-poll = {}", self.dataplane.busy_poll)?;
        writeln!(f, "scheduling = \"{}\"", name_of(SCHEDULING, &self.dataplane.scheduling))?;
        writeln!(f, "stage-times = {}", self.dataplane.stage_times)?;
        writeln!(f, "frames = {}", self.dataplane.frames)?;
        for interface in &self.interfaces {
            writeln!(f, "\n[[interface]]\nname = {}", quoted(&interface.name))?;
            let addresses: Vec<_> =
                interface.addresses.iter().map(|address| format!("\"{address}\"")).collect();
            let addresses = (!addresses.is_empty()).then(|| format!("[{}]", addresses.join(", ")));
            optional(f, "addresses", addresses, "those the kernel has")?;
            let nat = interface.nat.map(|role| format!("\"{}\"", name_of(NAT_ROLES, &role)));
            optional(f, "nat", nat, "none: plain routing")?;
            writeln!(f, "urpf = \"{}\"", name_of(URPF, &interface.urpf))?;
            writeln!(f, "on-failure = \"{}\"", name_of(ON_FAILURE, &interface.on_failure))?;
            writeln!(f, "queues = {}", queues(&interface.queues))?;
            let mss_clamp = interface.mss_clamp.map(|clamp| match clamp {
                api::MssClamp::Mtu => "\"mtu\"".to_owned(),
                api::MssClamp::Bytes(bytes) => bytes.to_string(),
            });
            optional(f, "mss-clamp", mss_clamp, "none")?;
            let guard = &interface.guard;
            optional(f, "acl-in", guard.acl_in.as_ref().map(quoted), "none")?;
            optional(f, "acl-out", guard.acl_out.as_ref().map(quoted), "none")?;
            optional(f, "police-in", guard.police_in.map(police), "none")?;
            optional(f, "police-out", guard.police_out.map(police), "none")?;
            let switches = interface.switches;
            writeln!(f, "directed-broadcast = {}", switches.directed_broadcast)?;
            writeln!(f, "redirects = {}", switches.redirects)?;
            writeln!(f, "proxy-arp = {}", switches.proxy_arp)?;
        }
        let forwarding = &self.forwarding;
        writeln!(f, "\n[forwarding]\necmp-hash = \"{}\"", name_of(ECMP_HASHES, &forwarding.ecmp_hash))?;
        writeln!(f, "icmp-source = \"{}\"", name_of(ICMP_SOURCES, &forwarding.icmp_source))?;
        writeln!(f, "source-routes = {}", forwarding.source_routes)?;
        for acl in &self.acls {
            writeln!(f, "\n{}", acl_text(acl))?;
        }
        for route in &self.statics {
            writeln!(f, "\n[[static]]\n{route}")?;
        }
        if let Some(nat) = &self.nat {
            super::nat::print(f, nat)?;
        }
        super::key_chain::print(f, &self.key_chains)?;
        f.write_str(&self.policy.to_toml())?;
        if let Some(rip) = &self.rip {
            rip.fmt(f)?;
        }
        if let Some(ospf) = &self.ospf {
            ospf.fmt(f)?;
        }
        bfd(f, &self.bfd)?;
        if let Some(bgp) = &self.bgp {
            bgp.fmt(f)?;
        }
        match &self.http {
            Some(http) => writeln!(f, "\n[http]\nlisten = \"{}\"", http.listen)?,
            None => writeln!(f, "\n# [http] absent: no TCP listener")?,
        }
        writeln!(f, "\n[kernel]\nmirror = \"{}\"", name_of(MIRRORS, &self.kernel.mirror))
    }
}

impl Policy {
    /// As it was written.
    fn to_toml(&self) -> String {
        if self.raw == raw::Policy::default() {
            return String::new();
        }
        let document = BTreeMap::from([("policy", &self.raw)]);
        // Strings, numbers and lists of them: there is nothing TOML has no form for.
        format!("\n{}", toml::to_string(&document).unwrap_or_default())
    }
}

impl Config {
    /// The effective configuration without passwords and keys, for whoever may look.
    pub fn without_secrets(&self) -> String {
        let hide = |line: &str| match line.split_once(" = ") {
            Some((key @ ("secret" | "secret-hex"), _)) => format!("{key} = \"…\" # not shown"),
            Some(_) | None => line.to_owned(),
        };
        self.to_string().lines().map(hide).fold(String::new(), |text, line| text + &line + "\n")
    }
}

impl fmt::Display for StaticRoute {
    /// The keys of the entry, a line each, without the header.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.file, self.prefixes.first()) {
            (Some(file), _) => writeln!(f, "prefixes-from = {}", quoted(file.to_string_lossy()))?,
            (None, Some(prefix)) => writeln!(f, "prefix = \"{prefix}\"")?,
            (None, None) => {}
        }
        writeln!(f, "{}", self.target)?;
        write!(f, "distance = {}", self.distance)?;
        if self.bfd { write!(f, "\nbfd = true") } else { Ok(()) }
    }
}

impl fmt::Display for StaticTarget {
    /// The key and the value.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Via(members) => {
                f.write_str("via = [")?;
                for (i, via) in members.iter().enumerate() {
                    let comma = if i == 0 { "" } else { ", " };
                    match via.weight {
                        1 => write!(f, "{comma}\"{}\"", via.addr)?,
                        weight => write!(f, "{comma}{{ via = \"{}\", weight = {weight} }}", via.addr)?,
                    }
                }
                f.write_str("]")
            }
            Self::Interface(name) => write!(f, "interface = {}", quoted(name)),
            Self::Blackhole => f.write_str("kind = \"blackhole\""),
            Self::Unreachable => f.write_str("kind = \"unreachable\""),
            Self::Prohibit => f.write_str("kind = \"prohibit\""),
        }
    }
}

/// Every table writes all its settings out, so that none depends on another.
fn bfd(f: &mut fmt::Formatter<'_>, config: &millrace_bfd::Config) -> fmt::Result {
    let params = |f: &mut fmt::Formatter<'_>, params: &millrace_bfd::Params| {
        writeln!(f, "min-tx = {}", params.min_tx().0 / 1000)?;
        writeln!(f, "min-rx = {}", params.min_rx().0 / 1000)?;
        writeln!(f, "multiplier = {}", params.detect_mult())?;
        writeln!(f, "passive = {}", params.passive())?;
        writeln!(f, "shutdown = {}", params.shutdown())
    };
    writeln!(f, "\n[bfd]")?;
    params(f, &config.default)?;
    for (name, of_interface) in &config.interfaces {
        writeln!(f, "\n[[bfd.interface]]\nname = {}", quoted(name))?;
        params(f, of_interface)?;
    }
    for (address, of_neighbor) in &config.neighbors {
        writeln!(f, "\n[[bfd.neighbor]]\naddress = \"{address}\"")?;
        params(f, of_neighbor)?;
    }
    Ok(())
}

/// The table and its rules, without a line end.
pub(super) fn acl_text(acl: &api::Acl) -> String {
    let mut lines = vec![
        "[[acl]]".to_owned(),
        format!("name = {}", quoted(&acl.name)),
        format!("default = \"{}\"", name_of(ACTIONS, &acl.default)),
    ];
    for rule in &acl.rules {
        lines.push("[[acl.rule]]".to_owned());
        lines.extend(rule_lines(rule));
    }
    lines.join("\n")
}

/// What a rule asks of a packet and its policer, as in the file.
pub fn rule_conditions(rule: &api::AclRule) -> String {
    rule_lines(&api::AclRule { name: String::new(), ..rule.clone() })[1..].join(", ")
}

/// The keys of a rule, a line each, the action first; conditions that every packet meets are left out.
fn rule_lines(rule: &api::AclRule) -> Vec<String> {
    let mut lines = vec![format!("action = \"{}\"", name_of(ACTIONS, &rule.action))];
    let mut line = |key: &str, value: Option<String>| {
        lines.extend(value.map(|value| format!("{key} = {value}")));
    };
    line("name", (!rule.name.is_empty()).then(|| quoted(&rule.name)));
    line("source", list(rule.source.iter().map(|prefix| format!("\"{prefix}\""))));
    line("destination", list(rule.destination.iter().map(|prefix| format!("\"{prefix}\""))));
    let name = |number| match name_of(PROTOCOLS, &number) {
        "" => number.to_string(),
        name => format!("\"{name}\""),
    };
    line("protocol", rule.protocol.map(name));
    let icmp = rule.protocol == Some(ICMP);
    let range = |&(low, high): &(u16, u16)| {
        if low == high { low.to_string() } else { format!("\"{low}-{high}\"") }
    };
    line(if icmp { "icmp-type" } else { "source-port" }, list(rule.source_ports.iter().map(range)));
    line(if icmp { "icmp-code" } else { "destination-port" }, list(rule.destination_ports.iter().map(range)));
    let flags = rule.tcp_flags.map(|flags| {
        let asked = FLAGS.iter().filter(|(_, bit)| flags.mask & bit != 0);
        asked
            .map(
                |(name, bit)| {
                    if flags.value & bit != 0 { format!("\"{name}\"") } else { format!("\"!{name}\"") }
                },
            )
            .collect::<Vec<_>>()
    });
    line("tcp-flags", flags.and_then(|flags| list(flags.into_iter())));
    let fragments = (rule.fragments != api::Fragments::Any).then(|| name_of(FRAGMENTS, &rule.fragments));
    line("fragments", fragments.map(quoted));
    line("dscp", list(rule.dscp.iter().map(u8::to_string)));
    line("police", rule.police.map(police));
    lines
}

fn list(items: impl Iterator<Item = String>) -> Option<String> {
    let items: Vec<_> = items.collect();
    (!items.is_empty()).then(|| format!("[{}]", items.join(", ")))
}

fn police(police: api::Police) -> String {
    match police {
        api::Police::Packets(rate) => format!("{{ packets = {}, burst = {} }}", rate.per_second, rate.burst),
        api::Police::Bytes(rate) => format!("{{ bits = {}, burst = {} }}", rate.per_second * 8, rate.burst),
    }
}

/// A line for a value, or a remark that says what holds without one.
pub(super) fn optional(
    f: &mut fmt::Formatter<'_>,
    key: &str,
    value: Option<impl fmt::Display>,
    absent: &str,
) -> fmt::Result {
    match value {
        Some(value) => writeln!(f, "{key} = {value}"),
        None => writeln!(f, "# {key}: {absent}"),
    }
}

pub(super) fn queues(queues: &api::Queues) -> String {
    match queues {
        api::Queues::All => "\"all\"".to_owned(),
        api::Queues::Only(queues) => format!("{queues:?}"),
    }
}

/// A TOML string.
pub(super) fn quoted(text: impl AsRef<str>) -> String {
    toml::Value::String(text.as_ref().to_owned()).to_string()
}
