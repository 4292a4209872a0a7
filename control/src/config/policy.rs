//! `[policy]`: read by serde into [`raw::Policy`], checked by `millrace-policy`, and its problems given their places here.

use std::ops::Range;
use std::sync::Arc;

use millrace_policy::{Policies, RuleList, raw};
use serde::Deserialize;
use toml::Spanned;
use toml::de::{DeTable, DeValue, ValueDeserializer};

use super::model::Policy;
use super::read::{Field, Reader, nearest};
use super::reference;

pub(super) fn policy(reader: &mut Reader<'_>, value: &Spanned<DeValue<'_>>) -> Policy {
    let section = reference::POLICY;
    let Some(table) = reader.table(section, section.header(), value) else { return Policy::default() };
    let raw = match raw::Policy::deserialize(ValueDeserializer::from(value.clone())) {
        Ok(raw) => raw,
        Err(error) => {
            let (what, expected) = error.message().split_once(", expected ").unwrap_or((error.message(), ""));
            let span = error.span().unwrap_or(table.span);
            let problem = reader.source.problem(span, format!("[policy]: {what}"));
            reader.push(problem.key("policy").expected(expected.to_owned()));
            return Policy::default();
        }
    };
    match Policies::check(&raw) {
        Ok(policies) => Policy { policies, raw },
        Err(problems) => {
            for found in problems {
                let span = place(value, &found.key);
                let message = format!("{} cannot be {}", found.key, found.value);
                let problem = reader.source.problem(span, message);
                reader.push(problem.key(found.key).value(found.value).expected(found.expected));
            }
            Policy::default()
        }
    }
}

/// Where in `[policy]` a key such as `policy.rule-list "import" rule 2: set.metric` stands, as exactly as it can be found.
fn place(policy: &Spanned<DeValue<'_>>, key: &str) -> Range<usize> {
    let key = key.strip_prefix("policy.").unwrap_or(key);
    let (path, fields) = key.split_once(": ").unwrap_or((key, ""));
    let (kind, rest) = path.split_once(' ').unwrap_or((path, ""));
    let Some(lists) = member(policy, kind) else { return policy.span() };
    let name = rest.strip_prefix('"').and_then(|rest| rest.split_once('"'));
    let has_name = |list: &&Spanned<DeValue<'_>>, name: &str| {
        member(list, "name").is_some_and(|is| is.get_ref().as_str() == Some(name))
    };
    // Of two with one name the problem is the second.
    let list = match (name, lists.get_ref().as_array()) {
        (Some((name, _)), Some(all)) => all.iter().rfind(|list| has_name(list, name)),
        _ => None,
    };
    let Some(mut at) = list else { return lists.span() };
    let mut words = name.map_or("", |(_, rest)| rest).split_whitespace();
    if let (Some(what), Some(number)) = (words.next(), words.next()) {
        let inner = member(at, if what == "entry" { "entries" } else { what });
        let number: usize = number.parse().unwrap_or(0);
        let item = inner.and_then(|inner| inner.get_ref().as_array()?.get(number.checked_sub(1)?));
        at = item.unwrap_or(at);
    }
    for field in fields.split('.').filter(|field| !field.is_empty()) {
        match member(at, field) {
            Some(inner) => at = inner,
            None => break,
        }
    }
    at.span()
}

fn member<'v, 'd>(value: &'v Spanned<DeValue<'d>>, name: &str) -> Option<&'v Spanned<DeValue<'d>>> {
    let table: &DeTable<'d> = value.get_ref().as_table()?;
    table.get(name)
}

/// The rule list a key names.
pub(super) fn rule_list(
    reader: &mut Reader<'_>,
    field: &Field<'_>,
    policies: &Policies,
) -> Option<Arc<RuleList>> {
    let name = reader.string(field)?;
    let found = policies.rule_lists.get(name);
    if found.is_none() {
        let what = format_args!("cannot be {name:?}: there is no [[policy.rule-list]] of this name");
        let problem = reader.field_problem(field, what);
        reader.push(match nearest(name, policies.rule_lists.keys().map(String::as_str)) {
            Some(near) => problem.help(format!("did you mean \"{near}\"?")),
            None => problem,
        });
    }
    found.cloned()
}
