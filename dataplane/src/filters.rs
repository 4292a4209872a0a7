//! Packet filters and policers in force: made from the configuration, kept where it is unchanged, so that neither
//! counters nor buckets begin anew with every `apply`.

use std::collections::BTreeMap;
use std::sync::Arc;

use millrace_acl::{self as acl, Dscps, Policer, RuleIndex, Unit};
use millrace_engine::{Filter, Guard, Hits};

use crate::control_link::{Acl, AclAction, AclRule, DataplaneConfig, Fragments, InterfaceConfig, Police};

/// A list that cannot be put in force.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum FilterError {
    #[error("acl {name:?}: {reason}")]
    Compile { name: String, reason: acl::CompileError },
    #[error("interface {interface}: there is no acl {name:?}")]
    Unknown { interface: String, name: String },
}

#[derive(Debug, Default)]
pub(crate) struct Filters {
    /// By name.
    lists: BTreeMap<String, List>,
    /// By interface; on the way in and on the way out.
    policers: BTreeMap<String, [Option<Bucket>; 2]>,
}

#[derive(Clone, Debug)]
struct List {
    text: Acl,
    filter: Arc<Filter>,
}

#[derive(Clone, Debug)]
struct Bucket {
    rate: Police,
    policer: Arc<Policer>,
}

impl Filters {
    /// What `config` asks for, with everything that is in force already.
    pub(crate) fn next(&self, config: &DataplaneConfig, workers: usize) -> Result<Self, FilterError> {
        let mut next = Self::default();
        for text in &config.acls {
            let list = match self.lists.get(&text.name).filter(|list| list.text == *text) {
                Some(list) => list.clone(),
                None => List { text: text.clone(), filter: Arc::new(filter(text, workers)?) },
            };
            next.lists.insert(text.name.clone(), list);
        }
        for interface in &config.interfaces {
            for name in [&interface.guard.acl_in, &interface.guard.acl_out].into_iter().flatten() {
                if !next.lists.contains_key(name) {
                    let (interface, name) = (interface.name.clone(), name.clone());
                    return Err(FilterError::Unknown { interface, name });
                }
            }
            let before = self.policers.get(&interface.name);
            let rates = [interface.guard.police_in, interface.guard.police_out];
            let mut buckets = [None, None];
            for (at, rate) in rates.into_iter().enumerate() {
                let kept =
                    before.and_then(|buckets| buckets[at].clone()).filter(|old| Some(old.rate) == rate);
                let new = |rate| Bucket { rate, policer: Arc::new(policer(rate)) };
                buckets[at] = kept.or(rate.map(new));
            }
            next.policers.insert(interface.name.clone(), buckets);
        }
        Ok(next)
    }

    /// What packets of an interface must pass, on the way in and on the way out.
    pub(crate) fn guards(&self, interface: &InterfaceConfig) -> [Guard; 2] {
        let list = |name: &Option<String>| {
            name.as_ref().and_then(|name| self.lists.get(name)).map(|list| Arc::clone(&list.filter))
        };
        let policer = |at: usize| {
            let bucket = self.policers.get(&interface.name)?[at].as_ref()?;
            Some(Arc::clone(&bucket.policer))
        };
        let guard = &interface.guard;
        [
            Guard { filter: list(&guard.acl_in), policer: policer(0) },
            Guard { filter: list(&guard.acl_out), policer: policer(1) },
        ]
    }

    /// Every list with what its rules and its default have met.
    pub(crate) fn hits(&self) -> impl Iterator<Item = (&str, Vec<Hits>, Hits, usize)> {
        self.lists.iter().map(|(name, List { text, filter })| {
            let rules = (0..).take(text.rules.len()).map(|rule| filter.hits(Some(RuleIndex(rule))));
            (name.as_str(), rules.collect(), filter.hits(None), filter.bytes())
        })
    }
}

fn filter(text: &Acl, workers: usize) -> Result<Filter, FilterError> {
    let rules: Vec<_> = text.rules.iter().map(rule).collect();
    let compiled = acl::Acl::compile(&rules)
        .map_err(|reason| FilterError::Compile { name: text.name.clone(), reason })?;
    let policers = if text.rules.iter().any(|rule| rule.police.is_some()) {
        text.rules.iter().map(|rule| rule.police.map(policer)).collect()
    } else {
        Vec::new()
    };
    Ok(Filter::new(compiled, action(text.default), policers, workers))
}

fn policer(police: Police) -> Policer {
    match police {
        Police::Packets(rate) => Policer::new(rate, Unit::Packets),
        Police::Bytes(rate) => Policer::new(rate, Unit::Bytes),
    }
}

fn action(action: AclAction) -> acl::Action {
    match action {
        AclAction::Accept => acl::Action::Accept,
        AclAction::Drop => acl::Action::Drop,
        AclAction::Reject => acl::Action::Reject,
    }
}

fn rule(rule: &AclRule) -> acl::Rule {
    let ports = |ranges: &[(u16, u16)]| ranges.iter().map(|&(low, high)| low..=high).collect();
    let dscp = rule.dscp.iter().fold(0, |set, value| set | 1u64 << (value & 63));
    acl::Rule {
        src: rule.source.clone(),
        dst: rule.destination.clone(),
        protocol: rule.protocol,
        src_ports: ports(&rule.source_ports),
        dst_ports: ports(&rule.destination_ports),
        tcp_flags: rule.tcp_flags.map(|flags| acl::TcpFlags { mask: flags.mask, value: flags.value }),
        fragments: match rule.fragments {
            Fragments::Any => acl::Fragments::Any,
            Fragments::Only => acl::Fragments::Only,
            Fragments::Later => acl::Fragments::Later,
            Fragments::No => acl::Fragments::No,
        },
        dscp: if rule.dscp.is_empty() { Dscps::ANY } else { Dscps(dscp) },
        action: action(rule.action),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control_link::{Express, Mode, OnFailure, Queues, Urpf};
    use millrace_net::Rate;

    fn list(name: &str, default: AclAction) -> Acl {
        Acl { name: name.into(), default, rules: Vec::new() }
    }

    fn config(acls: Vec<Acl>, acl_in: Option<&str>, police_in: Option<Police>) -> DataplaneConfig {
        let interface = InterfaceConfig {
            name: "lan".into(),
            nat: None,
            urpf: Urpf::Off,
            on_failure: OnFailure::Drop,
            queues: Queues::All,
            mss_clamp: None,
            vlan: None,
            guard: millrace_api::Guard { acl_in: acl_in.map(str::to_owned), police_in, ..Default::default() },
            switches: Default::default(),
        };
        DataplaneConfig {
            workers: vec![],
            mode: Mode::Auto,
            express: Express::Auto,
            busy_poll: false,
            frames: 4096,
            scheduling: Default::default(),
            stage_times: false,
            nat: None,
            interfaces: vec![interface],
            forwarding: Default::default(),
            acls,
        }
    }

    #[test]
    fn what_is_unchanged_is_kept_and_what_is_changed_is_new() {
        let rate = |burst| Some(Police::Packets(Rate { per_second: 10, burst }));
        let first = config(vec![list("a", AclAction::Drop), list("b", AclAction::Drop)], Some("a"), rate(1));
        let filters = Filters::default().next(&first, 1).unwrap();
        let [before, out] = filters.guards(&first.interfaces[0]);
        assert!(out.is_open() && before.filter.is_some() && before.policer.is_some());

        // (what is configured next, whether list and policer are the same)
        for (next, same_list, same_policer) in [
            (first.clone(), true, true),
            (config(vec![list("a", AclAction::Drop)], Some("a"), rate(2)), true, false),
            (config(vec![list("a", AclAction::Accept)], Some("a"), rate(1)), false, true),
        ] {
            let [after, _] = filters.next(&next, 1).unwrap().guards(&next.interfaces[0]);
            let list = before.filter.as_ref().map(Arc::as_ptr) == after.filter.as_ref().map(Arc::as_ptr);
            let policer = before.policer.as_ref().map(Arc::as_ptr) == after.policer.as_ref().map(Arc::as_ptr);
            assert_eq!((list, policer), (same_list, same_policer), "{next:?}");
        }
    }

    #[test]
    fn a_name_without_a_list_is_refused() {
        let error = Filters::default().next(&config(vec![], Some("a"), None), 1).unwrap_err();
        assert_eq!(error.to_string(), "interface lan: there is no acl \"a\"");
    }
}
