//! The life of a route: every state meets every event, and one table says what comes of it. RFC 2453 §3.8, §3.9.2.

mod common;

use std::time::Duration;

use common::{A, B, ETH1, Router, prefix, route, said};
use millrace_proto::RouteChange;
use millrace_rip::{Input, Metric, Output, Redistributed};

const NET: &str = "192.0.2.0/24";

/// `state | event | next state | what is said on eth1 | what the routing table is told`. Metrics are as received; one
/// is added. `A3` is "valid, through A, received as 3". In `A3?` A has been silent for half the time-out; in `A3+B3` and
/// `A3+B4` B has offered the same and a worse path, in `A3+B3?` it has been silent since then. `16` is garbage collection, `own` a redistributed route.
const TABLE: &str = "
    absent | A:3      | A3     | 4  | 4 A
    absent | A:16     | absent | -  | -
    absent | time-out | absent | -  | -
    absent | own      | own    | 1  | -
    absent | withdraw | absent | -  | -
    A3     | A:3      | A3     | -  | -
    A3     | A:2      | A2     | 3  | 3 A
    A3     | A:4      | A4     | 5  | 5 A
    A3     | A:15     | 16     | 16 | gone
    A3     | A:16     | 16     | 16 | gone
    A3     | B:2      | B2     | 3  | 3 B
    A3     | B:3      | A3     | -  | -
    A3     | B:4      | A3     | -  | -
    A3     | B:16     | A3     | -  | -
    A3     | time-out | 16     | 16 | gone
    A3     | own      | own    | 1  | -
    A3     | withdraw | A3     | -  | -
    A3?    | A:3      | A3     | -  | -
    A3?    | A:4      | A4     | 5  | 5 A
    A3?    | A:16     | 16     | 16 | gone
    A3?    | B:2      | B2     | 3  | 3 B
    A3?    | B:3      | B3     | 4  | 4 B
    A3?    | B:4      | A3     | -  | -
    A3?    | B:16     | A3     | -  | -
    A3?    | time-out | 16     | 16 | gone
    A3?    | own      | own    | 1  | -
    A3?    | withdraw | A3     | -  | -
    A3+B3  | A:3      | A3     | -  | -
    A3+B3  | A:4      | B3     | 4  | 4 B
    A3+B3  | A:16     | B3     | 4  | 4 B
    A3+B3  | B:2      | B2     | 3  | 3 B
    A3+B3  | B:16     | A3     | -  | -
    A3+B3  | time-out | 16     | 16 | gone
    A3+B3  | own      | own    | 1  | -
    A3+B3  | withdraw | A3     | -  | -
    A3+B4  | A:3      | A3     | -  | -
    A3+B4  | A:4      | A4     | 5  | 5 A
    A3+B4  | A:5      | B4     | 5  | 5 B
    A3+B4  | A:16     | B4     | 5  | 5 B
    A3+B4  | B:2      | B2     | 3  | 3 B
    A3+B4  | B:3      | A3     | -  | -
    A3+B4  | B:16     | A3     | -  | -
    A3+B4  | time-out | 16     | 16 | gone
    A3+B4  | own      | own    | 1  | -
    A3+B4  | withdraw | A3     | -  | -
    A3+B3? | A:3      | A3     | -  | -
    A3+B3? | A:4      | A4     | 5  | 5 A
    A3+B3? | A:16     | 16     | 16 | gone
    A3+B3? | B:3      | A3     | -  | -
    A3+B3? | B:2      | B2     | 3  | 3 B
    A3+B3? | B:16     | A3     | -  | -
    A3+B3? | own      | own    | 1  | -
    A3+B3? | withdraw | A3     | -  | -
    16     | A:3      | A3     | 4  | 4 A
    16     | A:16     | 16     | -  | -
    16     | B:3      | B3     | 4  | 4 B
    16     | B:16     | 16     | -  | -
    16     | time-out | absent | -  | -
    16     | own      | own    | 1  | -
    16     | withdraw | 16     | -  | -
    own    | A:3      | own    | -  | 4 A
    own    | A:16     | own    | -  | -
    own    | B:3      | own    | -  | 4 B
    own    | B:16     | own    | -  | -
    own    | time-out | own    | -  | -
    own    | own      | own    | -  | -
    own    | withdraw | 16     | 16 | -
    own+A3 | A:3      | own    | -  | -
    own+A3 | A:16     | own    | -  | gone
    own+A3 | B:2      | own    | -  | 3 B
    own+A3 | time-out | own    | -  | gone
    own+A3 | own      | own    | -  | -
    own+A3 | withdraw | A3     | 4  | -
";

#[test]
fn every_state_meets_every_event() {
    let rows: Vec<[&str; 5]> = TABLE
        .lines()
        .filter(|line| !line.trim().is_empty())
        .map(|line| {
            let cells: Vec<&str> = line.split('|').map(str::trim).collect();
            cells.try_into().expect("well-formed")
        })
        .collect();
    for [state, event, next, on_the_wire, told] in rows {
        let mut router = in_state(state);
        let outputs = apply(&mut router, event);
        let seen = [describe(&router), wire(&outputs), table(&outputs)];
        let expected = [next, on_the_wire, told].map(String::from);
        assert_eq!(seen, expected, "{state} meets {event}: state, eth1, routing table");
    }
}

/// Puts a router into `state`, with 20 s gone since anything was said and the triggered updates of it sent.
fn in_state(state: &str) -> Router {
    let mut router = Router::quiet();
    let fresh = Duration::from_secs(20);
    match state {
        "absent" => {}
        "A3" => drop(router.hear(A, &[route(NET, 3)])),
        "A3?" => {
            router.hear(A, &[route(NET, 3)]);
            router.pass(Duration::from_secs(90) - fresh);
        }
        "A3+B3" | "A3+B4" => {
            router.hear(A, &[route(NET, 3)]);
            router.hear(B, &[route(NET, if state == "A3+B3" { 3 } else { 4 })]);
        }
        "A3+B3?" => {
            router.hear(B, &[route(NET, 3)]);
            router.pass(Duration::from_secs(95));
            router.hear(A, &[route(NET, 3)]);
        }
        "16" => {
            router.hear(A, &[route(NET, 3)]);
            router.hear(A, &[route(NET, 16)]);
        }
        "own" => drop(apply(&mut router, "own")),
        "own+A3" => {
            router.hear(A, &[route(NET, 3)]);
            apply(&mut router, "own");
        }
        other => panic!("no state {other}"),
    }
    router.pass(fresh);
    router
}

fn apply(router: &mut Router, event: &str) -> Vec<Output> {
    let metric = |text: &str| text.parse().expect("well-formed");
    match event.split_once(':') {
        Some(("A", m)) => router.hear(A, &[route(NET, metric(m))]),
        Some(("B", m)) => router.hear(B, &[route(NET, metric(m))]),
        _ => match event {
            // Long enough for a time-out or a garbage collection, not for one after the other.
            "time-out" => router.pass(Duration::from_secs(165)),
            "own" => {
                let (metric, tag, next_hop) = (Some(Metric::MIN), 0, None);
                router.tell(Input::Redistribute(Redistributed {
                    protocol: millrace_policy::Protocol::Static,
                    prefix: prefix(NET),
                    metric,
                    tag,
                    next_hop,
                }))
            }
            "withdraw" => router.tell(Input::Withdraw(prefix(NET))),
            other => panic!("no event {other}"),
        },
    }
}

fn describe(router: &Router) -> String {
    let Some(view) = router.rip.routes(router.now).find(|view| view.prefix == prefix(NET)) else {
        return "absent".into();
    };
    if view.origin.is_some() {
        return "own".into();
    }
    let used: Vec<String> = view
        .paths
        .iter()
        .filter(|path| path.in_use)
        .map(|path| format!("{}{}", name(path.neighbor), path.metric.get() - 1))
        .collect();
    if view.metric.is_infinite() {
        assert!(used.is_empty());
        return "16".into();
    }
    used.join("+")
}

fn wire(outputs: &[Output]) -> String {
    let said = said(outputs, ETH1);
    let metrics: Vec<&str> =
        said.iter().map(|text| text.strip_prefix("192.0.2.0/24 metric ").expect("well-formed")).collect();
    if metrics.is_empty() { "-".into() } else { metrics.join(" ") }
}

fn table(outputs: &[Output]) -> String {
    let told: Vec<String> = outputs
        .iter()
        .filter_map(|output| match output {
            Output::Route(RouteChange::Upsert(route)) => {
                let via = route.next_hops.iter().map(|hop| name(hop.gateway.expect("well-formed")));
                Some(format!("{} {}", route.metric, via.collect::<String>()))
            }
            Output::Route(RouteChange::Remove(_)) => Some("gone".into()),
            Output::Send(_)
            | Output::Listen(_)
            | Output::Unlisten(_)
            | Output::Bfd { .. }
            | Output::Notice(_) => None,
        })
        .collect();
    if told.is_empty() { "-".into() } else { told.join(", ") }
}

fn name(address: std::net::Ipv4Addr) -> &'static str {
    match address {
        A => "A",
        B => "B",
        other => panic!("no neighbour {other}"),
    }
}
