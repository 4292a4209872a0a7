//! `millrace show bgp …` and `millrace clear bgp …`.

use std::net::Ipv4Addr;

use clap::{Subcommand, ValueEnum};
use millrace_net::Prefix;
use serde_json::{Value, json};

use crate::cli::client::{self, Client};
use crate::cli::exit::{Error, Exit};
use crate::cli::out::{Out, bytes, duration, number, plural, table};

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum Bgp {
    /// All neighbours in a line each
    Summary,
    /// Neighbours in full, or the routes one has told or is told
    #[command(visible_alias = "neighbor")]
    Neighbors {
        #[arg(value_name = "ADDR")]
        address: Option<Ipv4Addr>,
        #[arg(requires = "address")]
        routes: Option<Direction>,
    },
    /// Every path to every prefix, or to one
    #[command(visible_alias = "route")]
    Routes {
        #[arg(value_name = "PREFIX")]
        prefix: Option<Prefix>,
    },
    /// Next hops of paths, and how far they are
    Nexthops,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(in crate::cli) enum Direction {
    Received,
    Advertised,
}

/// `clear bgp ADDR [soft in|soft out]`
#[derive(Clone, Debug, clap::Args)]
pub(in crate::cli) struct Clear {
    /// The neighbour, or `all`
    #[arg(value_name = "ADDR")]
    neighbor: String,
    /// Keep the session
    #[arg(requires = "direction")]
    soft: Option<Soft>,
    /// `in`: judge what it told again; `out`: tell it everything again
    direction: Option<SoftDirection>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Soft {
    Soft,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum SoftDirection {
    In,
    Out,
}

/// Routes asked for at a time.
const PAGE: usize = 5000;

pub(super) fn show(client: &Client, what: &Bgp, json: bool, out: &mut Out) -> Result<(), Error> {
    match what {
        Bgp::Summary if json => whole(client, "bgp/neighbors", out),
        Bgp::Summary => summary(client, out),
        Bgp::Neighbors { address: Some(address), routes: Some(direction) } => {
            let view = match direction {
                Direction::Received => "received",
                Direction::Advertised => "advertised",
            };
            routes(client, view, &format!("neighbor={address}&"), json, out)
        }
        Bgp::Neighbors { address, .. } => {
            let query = address.map_or_else(String::new, |address| format!("?neighbor={address}"));
            if json {
                return whole(client, &format!("bgp/neighbors{query}"), out);
            }
            let peers: Vec<Value> = client.get(&format!("/api/v1/bgp/neighbors{query}"))?;
            if peers.is_empty() {
                return out.line("No such neighbour.");
            }
            peers.iter().try_for_each(|peer| neighbor(peer, out))
        }
        Bgp::Routes { prefix: Some(prefix) } => {
            let path = format!("bgp/routes?prefix={prefix}");
            if json {
                whole(client, &path, out)
            } else {
                list(client.get(&format!("/api/v1/{path}"))?, out).map(drop)
            }
        }
        Bgp::Routes { prefix: None } => routes(client, "routes", "", json, out),
        Bgp::Nexthops if json => whole(client, "bgp/nexthops", out),
        Bgp::Nexthops => {
            let hops: Vec<Value> = client.get("/api/v1/bgp/nexthops")?;
            let rows = hops.iter().map(|hop| {
                let metric =
                    if hop["reachable"] == true { text(&hop["metric"]) } else { "unreachable".into() };
                vec![text(&hop["address"]), text(&hop["paths"]), metric]
            });
            out.line(table(&["NEXT HOP", "#PATHS", "METRIC"], rows))
        }
    }
}

pub(in crate::cli) fn clear(client: &Client, what: &Clear, json: bool, out: &mut Out) -> Result<Exit, Error> {
    let how = match (what.soft, what.direction) {
        (Some(Soft::Soft), Some(SoftDirection::In)) => "soft-in",
        (Some(Soft::Soft), Some(SoftDirection::Out)) => "soft-out",
        (None, _) | (Some(Soft::Soft), None) => "hard",
    };
    let who = if what.neighbor == "all" { String::new() } else { format!("&neighbor={}", what.neighbor) };
    let answer = client.post(&format!("/api/v1/bgp/clear?how={how}{who}"), &json!(null))?;
    if json {
        out.bytes(&answer)?;
        out.line("")?;
        return Ok(Exit::Done);
    }
    let view: Value = client::parse(&answer)?;
    let count = usize::try_from(view["neighbors"].as_u64().unwrap_or(0)).unwrap_or(usize::MAX);
    let done = if how == "hard" { "Reset" } else { "Refreshed" };
    out.line(format_args!("{done} {}.", plural(count, "neighbour")))?;
    Ok(Exit::Done)
}

fn whole(client: &Client, path: &str, out: &mut Out) -> Result<(), Error> {
    client.copy(&format!("/api/v1/{path}"), out)?;
    out.line("")
}

fn summary(client: &Client, out: &mut Out) -> Result<(), Error> {
    let process: Value = client.get("/api/v1/bgp")?;
    let peers: Vec<Value> = client.get("/api/v1/bgp/neighbors")?;
    out.line(format_args!(
        "AS {}, router id {}: {} prefixes, {} attribute sets, {}",
        text(&process["asn"]),
        text(&process["router_id"]),
        number(process["prefixes"].as_u64().unwrap_or(0)),
        number(process["attribute_sets"].as_u64().unwrap_or(0)),
        bytes(process["memory_bytes"].as_u64().unwrap_or(0)),
    ))?;
    if process["converged"] == false {
        out.line("! restarted: nothing is announced before the neighbours have told what they know")?;
    }
    if let Some(problem) = process["listen_problem"].as_str() {
        out.line(format_args!("! {problem}"))?;
    }
    let rows = peers.iter().map(|peer| {
        let count = |name: &str| number(peer[name].as_u64().unwrap_or(0));
        vec![
            text(&peer["address"]),
            text(&peer["asn"]),
            text(&peer["state"]),
            peer["since"]["secs"].as_u64().map_or("-".into(), duration),
            count("prefixes_received"),
            count("prefixes_accepted"),
            count("prefixes_advertised"),
            why(peer),
        ]
    });
    out.line(table(
        &["NEIGHBOR", "#AS", "STATE", "#FOR", "#RECEIVED", "#ACCEPTED", "#SENT", "WHY DOWN"],
        rows,
    ))
}

/// Why there is no session; empty while there is one.
fn why(peer: &Value) -> String {
    if peer["state"] == "Established" {
        return String::new();
    }
    let known = [&peer["last_attempt"], &peer["last_down"]];
    known.into_iter().find_map(Value::as_str).unwrap_or_default().to_owned()
}

fn neighbor(peer: &Value, out: &mut Out) -> Result<(), Error> {
    out.line(format_args!(
        "{}: AS {}, {}, {}",
        text(&peer["address"]),
        text(&peer["asn"]),
        text(&peer["kind"]),
        text(&peer["state"])
    ))?;
    for (label, value) in [
        ("description", text(&peer["description"])),
        ("for", peer["since"]["secs"].as_u64().map_or("-".into(), duration)),
        ("router id", text(&peer["router_id"])),
        ("local address", text(&peer["local"])),
        ("hold time", text(&peer["hold_seconds"])),
        ("keepalive", text(&peer["keepalive_seconds"])),
        ("received", text(&peer["prefixes_received"])),
        ("accepted", text(&peer["prefixes_accepted"])),
        ("advertised", text(&peer["prefixes_advertised"])),
        ("last session", text(&peer["last_down"])),
        ("last attempt", text(&peer["last_attempt"])),
    ] {
        if value != "-" {
            out.line(format_args!("  {label:<14} {value}"))?;
        }
    }
    let words: Vec<String> = peer["capabilities"].as_array().into_iter().flatten().map(text).collect();
    out.line(format_args!("  {:<14} {}", "agreed", words.join(", ")))
}

/// Page by page.
fn routes(client: &Client, view: &str, query: &str, json: bool, out: &mut Out) -> Result<(), Error> {
    let mut after = String::new();
    let mut all: Vec<Value> = Vec::new();
    loop {
        let page: Vec<Value> = client.get(&format!("/api/v1/bgp/{view}?{query}limit={PAGE}{after}"))?;
        let last = page.last().map(|route| text(&route["prefix"]));
        let full = PAGE <= page.len();
        if json {
            all.extend(page);
        } else {
            list(page, out)?;
        }
        match last {
            Some(prefix) if full => after = format!("&after={prefix}"),
            Some(_) | None => break,
        }
    }
    if json { out.line(Value::from(all)) } else { Ok(()) }
}

/// One line a path; `*` usable, `>` the best, `=` shares the load.
fn list(routes: Vec<Value>, out: &mut Out) -> Result<(), Error> {
    if routes.is_empty() {
        return out.line("No such route.");
    }
    let mut rows = Vec::new();
    for route in &routes {
        let own = [json!({ "attributes": route["attributes"], "accepted": true, "reachable": true })];
        let paths = route["paths"].as_array().map_or(&own[..], Vec::as_slice);
        for path in paths {
            let attributes = &path["attributes"];
            let usable = path["accepted"] == true && path["reachable"] == true;
            let chosen = match (&path["best"], &path["selected"]) {
                (Value::Bool(true), _) => '>',
                (_, Value::Bool(true)) => '=',
                _ => ' ',
            };
            let communities = attributes["communities"].as_array().into_iter().flatten().map(text);
            rows.push(vec![
                format!("{}{chosen}", if usable { '*' } else { ' ' }),
                text(&route["prefix"]),
                text(&attributes["next_hop"]),
                text(&path["peer"]),
                text(&attributes["local_pref"]),
                text(&attributes["med"]),
                format!("{} {}", text(&attributes["as_path"]), origin(&attributes["origin"])),
                communities.collect::<Vec<_>>().join(" "),
            ]);
        }
    }
    let header = ["", "PREFIX", "NEXT HOP", "FROM", "#PREF", "#MED", "PATH", "COMMUNITIES"];
    out.line(table(&header, rows))
}

fn origin(value: &Value) -> &'static str {
    match value.as_str() {
        Some("igp") => "i",
        Some("egp") => "e",
        Some(_) | None => "?",
    }
}

fn text(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => value.to_string(),
    }
}
