//! The effective configuration as a file of its own: every default written out. Loading it gives the same `Config`.

use std::collections::BTreeMap;
use std::fmt;

use millrace_api as api;
use millrace_policy::raw;

use super::model::{Config, Policy, StaticRoute, StaticTarget};
use super::sections::{EXPRESS, MIRRORS, MODES, NAT_ROLES, ON_FAILURE, SCHEDULING, URPF, name_of};

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
        bfd(f, &self.bfd)?;
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
        let hide = |line: &str| match line.strip_prefix("secret = ") {
            Some(_) => "secret = \"…\" # not shown".to_owned(),
            None => line.to_owned(),
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
