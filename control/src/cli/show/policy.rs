//! `millrace show policy`

use crate::cli::exit::Error;
use crate::cli::out::Out;
use crate::http::view::Policy;

pub(super) fn policy(view: Policy, out: &mut Out) -> Result<(), Error> {
    if view == Policy::default() {
        return out.line("No policy is configured.");
    }
    for (kind, sets) in [
        ("prefix-list", &view.prefix_lists),
        ("as-path-set", &view.as_path_sets),
        ("community-set", &view.community_sets),
    ] {
        for (name, members) in sets {
            out.line(format_args!("{kind} {name}"))?;
            members.iter().try_for_each(|member| out.line(format_args!("  {member}")))?;
        }
    }
    for list in &view.rule_lists {
        out.line(format_args!("rule-list {}", list.name))?;
        for (at, rule) in list.rules.iter().enumerate() {
            let name = rule.name.as_ref().map_or_else(String::new, |name| format!(" \"{name}\""));
            let all = |words: &[String], none: &str| {
                if words.is_empty() { none.to_owned() } else { words.join(", ") }
            };
            let action = rule.action.as_deref().unwrap_or("next");
            let conditions = all(&rule.conditions, "everything");
            let changes = if rule.changes.is_empty() {
                String::new()
            } else {
                format!("; set {}", rule.changes.join(", "))
            };
            out.line(format_args!("  {}{name}: {conditions} -> {action}{changes}", at + 1))?;
        }
        out.line(format_args!("  default: {}", list.default))?;
    }
    Ok(())
}
