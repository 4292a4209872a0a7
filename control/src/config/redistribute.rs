//! `[[rip.redistribute]]` and its kin: one form for every protocol.

use std::fmt;
use std::ops::RangeInclusive;

use millrace_policy::{Policies, Protocol};

use super::print::quoted;
use super::read::{Field, Reader};
use super::reference::Section;
use crate::protocols::redistribute::Redistribute;

/// The entries of `field` in a protocol that cannot redistribute its `own` routes, with metrics in `metrics`.
pub(super) fn list(
    reader: &mut Reader<'_>,
    field: &Field<'_>,
    section: Section,
    own: Protocol,
    metrics: RangeInclusive<u64>,
    policies: &Policies,
) -> Vec<Redistribute> {
    let mut all: Vec<Redistribute> = Vec::new();
    let names: Vec<(&str, Protocol)> = Protocol::ALL
        .into_iter()
        .filter(|protocol| *protocol != own && *protocol != Protocol::Kernel)
        .map(|protocol| (protocol.name(), protocol))
        .collect();
    for table in reader.tables(section, field.value) {
        let Some(field) = reader.required(&table, "protocol") else { continue };
        let Some(from) = reader.choice(&field, &names) else { continue };
        let table = table.titled(from.name());
        let list = table.get("policy").map(|field| super::policy::rule_list(reader, &field, policies));
        let metric = table.get("metric").and_then(|field| reader.integer::<u32>(&field, metrics.clone()));
        let tag = table.get("tag").and_then(|field| reader.integer::<u32>(&field, 0..=u64::from(u32::MAX)));
        let external = section.find("metric-type").and_then(|_| table.get("metric-type"));
        let external = external.and_then(|field| reader.choice(&field, super::ospf::KINDS));
        if all.iter().any(|rule| rule.from == from) {
            reader.reject(&field, format_args!("names {:?} twice", from.name()));
        }
        all.push(Redistribute { from, policy: list.flatten(), metric, tag, external });
    }
    all
}

pub(super) fn print(f: &mut fmt::Formatter<'_>, section: &str, rules: &[Redistribute]) -> fmt::Result {
    for rule in rules {
        writeln!(f, "\n[[{section}.redistribute]]\nprotocol = \"{}\"", rule.from.name())?;
        match &rule.policy {
            Some(list) => writeln!(f, "policy = {}", quoted(&list.name))?,
            None => writeln!(f, "# policy: everything passes")?,
        }
        for (name, value) in [("metric", rule.metric), ("tag", rule.tag)] {
            match value {
                Some(value) => writeln!(f, "{name} = {value}")?,
                None => writeln!(f, "# {name}: none")?,
            }
        }
        if let Some(external) = &rule.external {
            writeln!(f, "metric-type = \"{}\"", super::sections::name_of(super::ospf::KINDS, external))?;
        }
    }
    Ok(())
}
