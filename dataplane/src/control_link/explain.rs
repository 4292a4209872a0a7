//! `Query::Explain`: the question in terms of ports, the engine's answer in the words of `millrace_api::report`.

use std::net::Ipv4Addr;

use millrace_api::ExplainQuery;
use millrace_api::report::{AclMatch, Explanation};
use millrace_engine::{DropReason, Judgement, Verdict};
use millrace_fib::{Adjacency, AdjacencyState, Group};
use millrace_net::{Instant, PortId};

use crate::explain::{self, Answer, Question};
use crate::router::Router;

/// The answer, or why there is none, in a sentence.
pub(super) fn explain(router: &Router, now: Instant, query: &ExplainQuery) -> Result<Explanation, String> {
    let port = in_port(router, query)?;
    let mut said = Explanation { interface: router.ports.name(port).to_owned(), ..Explanation::default() };
    if let Some(why) = hosts_own(router, query.destination) {
        said.verdict = "kernel".into();
        said.notes.push(why.into());
        return Ok(said);
    }
    let question = Question {
        port,
        source: query.source,
        destination: query.destination,
        protocol: query.protocol,
        ports: (query.source_port, query.destination_port),
        len: query.length,
        ttl: query.ttl,
        dont_fragment: query.dont_fragment,
    };
    let answer = router.explain(now, &question);
    tell(router, query, &answer, &mut said);
    Ok(said)
}

/// The interface that is named, or the one that a packet to the source would leave by.
fn in_port(router: &Router, query: &ExplainQuery) -> Result<PortId, String> {
    if let Some(name) = &query.interface {
        let found = router.ports.iter().find(|(_, port)| port.config.name == *name).map(|(id, _)| id);
        return found.ok_or_else(|| format!("{name} is not one of the router's interfaces"));
    }
    let fib = router.tables.reader();
    let towards = match fib.group(fib.lookup(query.source.to_bits())) {
        Group::Forward(buckets) => Some(fib.adjacency(fib.bucket(buckets, 0)).port),
        Group::Glean(port) => Some(port),
        Group::None | Group::Local | Group::Blackhole | Group::Unreachable | Group::Prohibit => None,
    };
    towards.ok_or_else(|| {
        format!("no route leads to {}, so name the interface it comes by with --in", query.source)
    })
}

/// What the XDP program leaves to the kernel before the engine sees it.
fn hosts_own(router: &Router, destination: Ipv4Addr) -> Option<&'static str> {
    if destination.is_multicast() || destination.is_broadcast() {
        Some("multicast and the limited broadcast are the host's, not forwarded")
    } else if router.is_local(destination) {
        Some("the destination is the router's own: its host answers")
    } else {
        None
    }
}

fn tell(router: &Router, query: &ExplainQuery, answer: &Answer, said: &mut Explanation) {
    let of = &answer.explanation;
    let name = |reason: DropReason| (Some(reason.name().to_owned()), reason.help().to_owned());
    said.verdict = of.verdict.kind().name().into();
    let (reason, help) = match of.verdict {
        Verdict::Reply(reason) | Verdict::Drop(reason) => name(reason),
        Verdict::Tx(_) | Verdict::Hold | Verdict::Kernel | Verdict::Handoff(_) => (None, String::new()),
    };
    (said.reason, said.meaning) = (reason, help);
    said.icmp = answer.icmp.map(str::to_owned);
    if of.routed
        && let Some((prefix, key)) = router.tables.longest_match(query.destination)
    {
        said.prefix = Some(prefix);
        said.nexthop = router.tables.group(key).map(|group| super::report::nexthop(router, key, group));
    }
    (said.bucket, said.buckets) = of.bucket.unzip();
    if let Some(id) = of.adjacency {
        adjacency(router, router.tables.reader().adjacency(id), said);
    }
    if let Some((port, next_hop)) = answer.resolve {
        said.out_interface = Some(router.ports.name(port).to_owned());
        said.next_hop = Some(next_hop);
        said.neighbor = Some("unknown".into());
    }
    said.frames = u32::try_from(answer.sent.len()).unwrap_or(u32::MAX);
    let list = |port: Option<PortId>, inward: bool, judged: Option<Judgement>| {
        let guard = &router.ports.get(port?)?.config.guard;
        let acl = if inward { &guard.acl_in } else { &guard.acl_out };
        let rule = explain::rule(judged?);
        Some(AclMatch { acl: acl.clone()?, rule: (rule != 0).then_some(rule) })
    };
    let port_of =
        |name: &str| router.ports.iter().find(|(_, port)| port.config.name == name).map(|(id, _)| id);
    said.acl_in = list(port_of(&said.interface), true, of.inward);
    said.acl_out = list(said.out_interface.as_deref().and_then(port_of), false, of.outward);
    if answer.nat {
        said.notes.push(
            "address translation is left out: this is the way of the packet as it was asked about".into(),
        );
    }
}

fn adjacency(router: &Router, adjacency: Adjacency, said: &mut Explanation) {
    said.out_interface = Some(router.ports.name(adjacency.port).to_owned());
    said.next_hop = Some(adjacency.next_hop);
    said.mtu = Some(adjacency.mtu);
    let complete = adjacency.state == AdjacencyState::Complete;
    said.source_mac = complete.then_some(adjacency.src);
    said.destination_mac = complete.then_some(adjacency.dst);
    let name = match adjacency.state {
        AdjacencyState::Complete => "resolved",
        AdjacencyState::Incomplete => "incomplete",
        AdjacencyState::Failed => "failed",
    };
    said.neighbor = Some(name.into());
}
