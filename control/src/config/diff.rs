//! What lies between two configurations, setting by setting, and what it takes to put each change into effect.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};

use serde::{Deserialize, Serialize};

use super::model::{Config, StaticRoute};

/// One setting that differs.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Change {
    /// `interface "eth0".on-failure`, or `static "10.0.0.0/8" distance 1`.
    pub setting: String,
    /// As in a configuration file; none: was not there.
    pub old: Option<String>,
    /// None: is not there any more.
    pub new: Option<String>,
    pub effect: Effect,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Effect {
    /// In force at once.
    Live,
    /// When the dataplane is started the next time.
    RestartDataplane,
}

/// What the dataplane fixes when it starts: the settings of this section.
const FIXED_AT_START: &str = "dataplane.";

/// Every difference, by section and name. Empty: the two mean the same.
pub fn diff(old: &Config, new: &Config) -> Vec<Change> {
    let marks = RandomState::new();
    let (old_settings, new_settings) = (settings(old, &marks), settings(new, &marks));
    let mut names: Vec<_> = old_settings.keys().chain(new_settings.keys()).collect();
    names.sort_unstable();
    names.dedup();
    let mut changes: Vec<Change> = Vec::new();
    for name in names {
        // An interface that comes or goes is one change, whatever its settings.
        let within = |change: &Change| {
            change.new.is_none() != change.old.is_none()
                && name.1.starts_with(&format!("{}.", change.setting))
        };
        if changes.last().is_some_and(within) {
            continue;
        }
        let (before, after) = (old_settings.get(name), new_settings.get(name));
        if before.map(Setting::identity) == after.map(Setting::identity) {
            continue;
        }
        let file = match (before, after) {
            (Some(Setting::File(old)), Some(Setting::File(new))) => Some(file_change(old, new)),
            _ => None,
        };
        let (old, new) = file.map_or_else(
            || (before.map(Setting::text), after.map(Setting::text)),
            |(old, new)| (Some(old), Some(new)),
        );
        changes.push(Change { setting: name.1.clone(), old, new, effect: effect(&name.1) });
    }
    changes
}

fn effect(setting: &str) -> Effect {
    if setting.starts_with(FIXED_AT_START) { Effect::RestartDataplane } else { Effect::Live }
}

enum Setting<'c> {
    Text(String),
    /// A list is compared as such and shown as its size.
    Acl(&'c millrace_api::Acl),
    /// A table of prefixes is compared as such and shown as its size.
    File(&'c StaticRoute),
}

/// What makes two settings the same.
#[derive(PartialEq)]
enum Identity<'c> {
    Text(&'c str),
    Acl(&'c millrace_api::Acl),
    File(&'c [millrace_net::Prefix], String),
}

impl Setting<'_> {
    fn identity(&self) -> Identity<'_> {
        match self {
            Self::Text(text) => Identity::Text(text),
            Self::Acl(acl) => Identity::Acl(acl),
            Self::File(route) => Identity::File(&route.prefixes, target(route)),
        }
    }

    fn text(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Acl(acl) => format!("{} rules, default {}", acl.rules.len(), acl.default.name()),
            Self::File(route) => format!("{} prefixes, {}", route.prefixes.len(), target(route)),
        }
    }
}

/// Where a route leads, and whether its next hops are watched.
fn target(route: &StaticRoute) -> String {
    if route.bfd { format!("{} bfd = true", route.target) } else { route.target.to_string() }
}

fn file_change(old: &StaticRoute, new: &StaticRoute) -> (String, String) {
    let added = new.prefixes.iter().filter(|prefix| old.prefixes.binary_search(prefix).is_err()).count();
    let removed = old.prefixes.len() + added - new.prefixes.len();
    let before = format!("{} prefixes, {}", old.prefixes.len(), target(old));
    (before, format!("{} prefixes (+{added} -{removed}), {}", new.prefixes.len(), target(new)))
}

/// Sorts sections in the order of the file's reference.
type Name = (u8, String);

/// The configuration as settings with the values they have in a file; defaults included.
fn settings<'c>(config: &'c Config, marks: &RandomState) -> BTreeMap<Name, Setting<'c>> {
    let mut out = BTreeMap::new();
    let text = |value: String| Setting::Text(value);
    // The effective configuration is one `key = value` a line: the settings are read off it.
    let mut section = (0, String::new());
    let mut entries: BTreeMap<String, u32> = BTreeMap::new();
    let (mut rule_list, mut rule) = (String::new(), 0);
    let printed = Config { statics: Vec::new(), acls: Vec::new(), ..config.clone() }.to_string();
    for line in printed.lines() {
        if let Some(header) = line.strip_prefix('[') {
            let header = header.trim_matches(['[', ']']);
            section = (rank(header), header.to_owned());
            // Rules have an order and perhaps no name: they are numbered in their list.
            match header {
                RULE => {
                    rule += 1;
                    section.1 = format!("{rule_list} rule {rule}");
                }
                RULE_CHANGES => section.1 = format!("{rule_list} rule {rule} set"),
                _ => {}
            }
        } else if let Some((key, value)) = line.split_once(" = ").filter(|_| !line.starts_with('#')) {
            if naming_key(&section.1) == Some(key) {
                // Where the order counts the position is the name; where a name can stand twice it gets a number.
                let by_position = section.1 == "nat.source";
                let plain = if by_position { section.1.clone() } else { format!("{} {value}", section.1) };
                let nth = entries.entry(plain.clone()).and_modify(|n| *n += 1).or_insert(1);
                section.1 = if by_position || 1 < *nth { format!("{plain} {nth}") } else { plain };
                if section.1.starts_with("policy.rule-list ") {
                    (rule_list, rule) = (section.1.clone(), 0);
                }
                let present = if by_position { value } else { "present" };
                out.insert((section.0, section.1.clone()), text(present.to_owned()));
            } else if matches!(key, "secret" | "secret-hex") {
                // Different secrets differ, and none is shown.
                let mark = format!("not shown ({:08x})", marks.hash_one(value) >> 32);
                out.insert((section.0, format!("{}.{key}", section.1)), text(mark));
            } else {
                out.insert((section.0, format!("{}.{key}", section.1)), text(value.to_owned()));
            }
        }
    }
    for acl in &config.acls {
        out.insert((rank("acl"), format!("acl \"{}\"", acl.name)), Setting::Acl(acl));
    }
    for route in &config.statics {
        let (name, setting) = match (&route.file, route.prefixes.first()) {
            (Some(file), _) => (file.display().to_string(), Setting::File(route)),
            (None, Some(prefix)) => (prefix.to_string(), text(target(route))),
            (None, None) => continue,
        };
        out.insert((rank("static"), format!("static \"{name}\" distance {}", route.distance)), setting);
    }
    out
}

const RULE: &str = "policy.rule-list.rule";
const RULE_CHANGES: &str = "policy.rule-list.rule.set";

/// The key that tells the entries of a repeated section apart; the effective configuration has it first.
fn naming_key(section: &str) -> Option<&'static str> {
    match section {
        "interface" | "nat.pool" | "key-chain" | "bgp.group" => Some("name"),
        "rip.interface" | "ospf.interface" | "bfd.interface" => Some("name"),
        "policy.prefix-list" | "policy.as-path-set" | "policy.community-set" | "policy.rule-list" => {
            Some("name")
        }
        "key-chain.key" | "ospf.area" => Some("id"),
        "rip.redistribute" | "ospf.redistribute" | "bgp.redistribute" => Some("protocol"),
        "bfd.neighbor" | "bgp.neighbor" => Some("address"),
        "bgp.range" | "bgp.aggregate" => Some("prefix"),
        "nat.source" => Some("from"),
        "nat.forward" | "nat.static" => Some("outside"),
        _ => None,
    }
}

fn rank(section: &str) -> u8 {
    let at = super::SECTIONS.iter().position(|known| section == known.name).unwrap_or(super::SECTIONS.len());
    u8::try_from(at).unwrap_or(u8::MAX)
}
