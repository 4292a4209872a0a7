//! `millrace show ospf …`: the process, neighbours, interfaces, the database, routes, calculations.

use clap::Subcommand;
use serde_json::Value;

use super::{Json, either};
use crate::cli::client::Client;
use crate::cli::exit::Error;
use crate::cli::out::{Out, duration, number, plural, table};

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum Ospf {
    /// Routers on the links, and how far the exchange with each has come
    #[command(visible_alias = "neighbor")]
    Neighbors(Json),
    /// Where OSPF runs
    #[command(visible_alias = "interface")]
    Interfaces(Json),
    /// What every router has said
    Database {
        /// Only LSAs of this type: router, network, summary, asbr-summary, external, nssa-external, opaque-…
        #[arg(value_name = "TYPE")]
        kind: Option<String>,
        #[command(flatten)]
        json: Json,
    },
    /// Routes OSPF has calculated, used or not
    #[command(visible_alias = "route")]
    Routes(Json),
    /// Calculations: how many, and when
    Spf(Json),
}

pub(super) fn show(client: &Client, what: Option<&Ospf>, json: Json, out: &mut Out) -> Result<(), Error> {
    match what {
        None => either(client, "ospf", json, out, summary),
        Some(Ospf::Neighbors(json)) => either(client, "ospf/neighbors", *json, out, neighbors),
        Some(Ospf::Interfaces(json)) => either(client, "ospf/interfaces", *json, out, interfaces),
        Some(Ospf::Database { kind, json }) => {
            let path = kind
                .as_ref()
                .map_or_else(|| "ospf/database".to_owned(), |kind| format!("ospf/database?type={kind}"));
            either(client, &path, *json, out, database)
        }
        Some(Ospf::Routes(json)) => either(client, "ospf/routes", *json, out, routes),
        Some(Ospf::Spf(json)) => either(client, "ospf/spf", *json, out, spf),
    }
}

fn summary(view: Value, out: &mut Out) -> Result<(), Error> {
    let roles =
        [("border_router", "area border"), ("boundary_router", "AS boundary"), ("stub_router", "stub")];
    let roles: Vec<&str> =
        roles.iter().filter(|(key, _)| view[*key] == true).map(|(_, name)| *name).collect();
    let roles = if roles.is_empty() { String::new() } else { format!(", {} router", roles.join(" and ")) };
    out.line(format_args!("router id {}{roles}", text(&view["router_id"])))?;
    out.line(format_args!(
        "{} of {} full, {}, {}",
        number(count(&view["full_neighbors"])),
        plural(usize::try_from(count(&view["neighbors"])).unwrap_or(usize::MAX), "neighbour"),
        plural(usize::try_from(count(&view["routes"])).unwrap_or(usize::MAX), "route"),
        plural(usize::try_from(count(&view["external_lsas"])).unwrap_or(usize::MAX), "external LSA"),
    ))?;
    let rows = rows(&view["areas"]).map(|area| {
        let lsas = area["lsas"].as_object().into_iter().flatten().map(|(kind, n)| format!("{kind} {n}"));
        vec![
            text(&area["id"]),
            text(&area["kind"]),
            text(&area["interfaces"]),
            text(&area["full_neighbors"]),
            text(&area["routers"]),
            lsas.collect::<Vec<_>>().join(", "),
        ]
    });
    out.line(table(&["AREA", "TYPE", "#INTERFACES", "#FULL", "#ROUTERS", "LSAS"], rows))
}

fn neighbors(views: Value, out: &mut Out) -> Result<(), Error> {
    if rows(&views).next().is_none() {
        return out.line("No neighbour has been heard.");
    }
    let rows = rows(&views).map(|view| {
        vec![
            text(&view["router_id"]),
            text(&view["address"]),
            text(&view["interface"]),
            text(&view["area"]),
            text(&view["state"]),
            text(&view["role"]),
            seconds(&view["since"]),
            seconds(&view["dead_in"]),
            text(&view["retransmissions"]),
        ]
    });
    let header =
        ["ROUTER ID", "ADDRESS", "INTERFACE", "AREA", "STATE", "ROLE", "#FOR", "#DEAD IN", "#RETRANSMITTED"];
    out.line(table(&header, rows))
}

fn interfaces(views: Value, out: &mut Out) -> Result<(), Error> {
    if rows(&views).next().is_none() {
        return out.line("OSPF runs on no interface.");
    }
    let line = |view: &Value| {
        vec![
            text(&view["name"]),
            text(&view["area"]),
            text(&view["network_type"]),
            text(&view["state"]),
            text(&view["cost"]),
            text(&view["designated_router"]),
            text(&view["backup_designated_router"]),
            format!("{}/{}", text(&view["full_neighbors"]), text(&view["neighbors"])),
        ]
    };
    let header = ["INTERFACE", "AREA", "NETWORK", "STATE", "#COST", "DR", "BACKUP", "#FULL"];
    out.line(table(&header, rows(&views).map(line)))?;
    for view in rows(&views) {
        // The counters are in the order of the reasons' list.
        let bad: u64 = view["stats"]["bad_packets"].as_array().into_iter().flatten().map(count).sum();
        if bad != 0 {
            let name = text(&view["name"]);
            out.line(format_args!(
                "! {name}: {} packets ignored; millrace_ospf_bad_packets_total says why",
                number(bad)
            ))?;
        }
    }
    Ok(())
}

fn database(views: Value, out: &mut Out) -> Result<(), Error> {
    if rows(&views).next().is_none() {
        return out.line("There is no such LSA.");
    }
    let rows = rows(&views).map(|view| {
        vec![
            if view["area"].is_null() { "AS".to_owned() } else { text(&view["area"]) },
            text(&view["type"]),
            text(&view["id"]),
            text(&view["advertising_router"]),
            text(&view["age"]),
            text(&view["sequence"]),
            says(&view["body"]),
        ]
    });
    out.line(table(&["AREA", "TYPE", "ID", "ROUTER", "#AGE", "SEQUENCE", "SAYS"], rows))
}

/// What an LSA is about, in a few words.
fn says(body: &Value) -> String {
    if let Some(links) = body["router"]["links"].as_array() {
        return plural(links.len(), "link");
    }
    if let Some(routers) = body["network"]["routers"].as_array() {
        return plural(routers.len(), "router");
    }
    if body["summary"].is_object() {
        return format!("mask {}, cost {}", text(&body["summary"]["mask"]), text(&body["summary"]["metric"]));
    }
    if body["external"].is_object() {
        let kind = if body["external"]["type_2"] == true { "e2" } else { "e1" };
        let (mask, metric) = (text(&body["external"]["mask"]), text(&body["external"]["metric"]));
        return format!("mask {mask}, {kind} {metric}, tag {}", text(&body["external"]["tag"]));
    }
    "-".to_owned()
}

fn routes(views: Value, out: &mut Out) -> Result<(), Error> {
    if rows(&views).next().is_none() {
        return out.line("OSPF has no route.");
    }
    let rows = rows(&views).map(|view| {
        let hop = |hop: &Value| match hop["gateway"].as_str() {
            Some(gateway) => format!("{gateway} {}", text(&hop["interface"])),
            None => text(&hop["interface"]),
        };
        let hops: Vec<String> = rows(&view["next_hops"]).map(hop).collect();
        vec![
            text(&view["prefix"]),
            text(&view["kind"]),
            text(&view["area"]),
            text(&view["cost"]),
            text(&view["type_2_cost"]),
            if hops.is_empty() { "here".to_owned() } else { hops.join("\n") },
        ]
    });
    out.line(table(&["PREFIX", "KIND", "AREA", "#COST", "#E2 COST", "VIA"], rows))
}

fn spf(view: Value, out: &mut Out) -> Result<(), Error> {
    let stats = &view["stats"];
    out.line(format_args!(
        "{} runs over whole areas, {} over summaries and externals only",
        number(count(&stats["spf_runs"])),
        number(count(&stats["partial_runs"]))
    ))?;
    out.line(format_args!(
        "last {} ago, next in {}",
        seconds(&view["last_run"]),
        seconds(&view["next_run"])
    ))?;
    out.line(format_args!(
        "{} LSAs originated, {} of others installed",
        number(count(&stats["originated"])),
        number(count(&stats["installed"]))
    ))
}

fn rows(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn count(value: &Value) -> u64 {
    value.as_u64().unwrap_or(0)
}

fn text(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => value.to_string(),
    }
}

fn seconds(value: &Value) -> String {
    let Some(seconds) = value.as_f64() else { return "-".to_owned() };
    let whole = std::time::Duration::try_from_secs_f64(seconds).unwrap_or_default().as_secs();
    duration(whole)
}
