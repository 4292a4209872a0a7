//! Packet filters, rule by rule.

use millrace_api::report::RuleHits;

use crate::cli::exit::Error;
use crate::cli::out::{Out, bytes, number, table};
use crate::http::view;

pub(super) fn acls(views: Vec<view::Acl>, out: &mut Out) -> Result<(), Error> {
    if views.is_empty() {
        return out.line("No such packet filter is configured.");
    }
    for (at, view) in views.iter().enumerate() {
        if at != 0 {
            out.line("")?;
        }
        let places = match view.interfaces.as_slice() {
            [] => "on no interface".to_owned(),
            places => format!("on {}", places.join(", ")),
        };
        out.line(format_args!("{} {places}, compiled to {}", view.name, bytes(view.compiled_bytes)))?;
        let row = |rule: String, action: &str, conditions: &str, name: &str, hits: &RuleHits| {
            vec![
                rule,
                action.to_owned(),
                number(hits.packets),
                bytes(hits.bytes),
                number(hits.policed),
                conditions.to_owned(),
                name.to_owned(),
            ]
        };
        let rules = view
            .rules
            .iter()
            .map(|rule| row(rule.rule.to_string(), &rule.action, &rule.conditions, &rule.name, &rule.hits));
        let default = row("else".to_owned(), &view.default, "", "", &view.default_hits);
        let header = ["#RULE", "ACTION", "#PACKETS", "#BYTES", "#POLICED", "CONDITIONS", "NAME"];
        out.line(table(&header, rules.chain([default])))?;
    }
    Ok(())
}
