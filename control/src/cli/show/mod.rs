//! `millrace show …`: each kind of state as a table for people, or as the API's own JSON.

mod bfd;
pub(super) mod bgp;
mod filters;
pub(super) mod nat;
mod ospf;
mod policy;
mod rip;
mod routes;
mod tables;

use std::net::Ipv4Addr;

use clap::{Args, Subcommand};
use millrace_net::Prefix;
use millrace_rib::Protocol;

use super::client::Client;
use super::exit::{Error, Exit};
use super::out::Out;

#[derive(Debug, Subcommand)]
pub(super) enum What {
    /// The router's interfaces: state, sockets, traffic
    #[command(visible_alias = "interface")]
    Interfaces(Json),
    /// The routing table: every candidate, and which of them packets follow
    #[command(visible_alias = "route")]
    Routes {
        /// Exactly this prefix, or the longest match for this address
        #[arg(value_name = "PREFIX|ADDR")]
        destination: Option<Destination>,
        /// The prefix and everything inside it
        #[arg(long, requires = "destination")]
        longer: bool,
        /// Only routes of this protocol
        #[arg(long, value_name = "PROTOCOL", value_parser = protocol)]
        protocol: Option<Protocol>,
        #[command(flatten)]
        json: Json,
    },
    /// The forwarding table: its size, and what packets to an address meet
    Fib {
        #[arg(value_name = "ADDR")]
        address: Option<Ipv4Addr>,
        /// Every route in it
        #[arg(long, conflicts_with = "address")]
        routes: bool,
        #[command(flatten)]
        json: Json,
    },
    /// Next-hop groups: what routes with the same next hops share
    Nexthops(Json),
    /// Neighbours on the links
    Neighbors(Json),
    /// Address translation: sessions, mappings, pools, sums
    Nat {
        #[command(subcommand)]
        what: nat::Nat,
    },
    /// BGP: its neighbours, and the routes they tell
    Bgp {
        #[command(subcommand)]
        what: Option<bgp::Bgp>,
        /// JSON for programs
        #[arg(long, global = true)]
        json: bool,
    },
    /// Neighbours that are watched by BFD
    Bfd(Json),
    /// OSPF: the process, neighbours, interfaces, the database, routes
    #[command(args_conflicts_with_subcommands = true)]
    Ospf {
        #[command(subcommand)]
        what: Option<ospf::Ospf>,
        #[command(flatten)]
        json: Json,
    },
    /// Packet filters: what each rule has met
    #[command(visible_alias = "acls")]
    Acl {
        /// Only this list
        #[arg(value_name = "NAME")]
        name: Option<String>,
        #[command(flatten)]
        json: Json,
    },
    /// Packets by what became of them
    Counters(Counted),
    /// Why packets were not forwarded, and what to do about it
    Drops(Counted),
    /// The pinned threads that forward
    Workers(Json),
    /// RIP: a summary, or its neighbours, routes or interfaces
    Rip {
        #[arg(value_enum)]
        what: Option<rip::What>,
        #[command(flatten)]
        json: Json,
    },
    /// Policies: lists, sets and rules
    Policy(Json),
    /// Whether everything is connected and in step
    Status(Json),
    /// The configuration in force, defaults written out
    Config(Json),
    /// Versions and process ids
    Version(Json),
}

#[derive(Clone, Copy, Debug, Args)]
pub(super) struct Json {
    /// JSON for programs
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, Args)]
pub(super) struct Counted {
    /// Also those that are 0
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    json: Json,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Destination {
    Prefix(Prefix),
    Address(Ipv4Addr),
}

impl std::str::FromStr for Destination {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(address) = text.parse() {
            return Ok(Self::Address(address));
        }
        text.parse().map(Self::Prefix).map_err(|error: millrace_net::PrefixError| match error {
            millrace_net::PrefixError::Syntax => {
                "expected an address such as 192.0.2.1 or a prefix such as 192.0.2.0/24".to_owned()
            }
            millrace_net::PrefixError::Length(_) | millrace_net::PrefixError::HostBits(_) => {
                error.to_string()
            }
        })
    }
}

fn protocol(text: &str) -> Result<Protocol, String> {
    let names = Protocol::ALL.map(Protocol::name).join(", ");
    let found = Protocol::ALL.into_iter().find(|protocol| protocol.name() == text);
    found.ok_or_else(|| format!("expected one of {names}"))
}

pub(super) fn show(client: &Client, what: &What, out: &mut Out) -> Result<Exit, Error> {
    match what {
        What::Interfaces(json) => either(client, "interfaces", *json, out, tables::interfaces),
        What::Routes { destination, longer, protocol, json } => {
            routes::routes(client, *destination, *longer, *protocol, json.json, out)
        }
        What::Fib { address: None, routes: true, json } => routes::fib_routes(client, json.json, out),
        What::Fib { address: Some(address), json, .. } => {
            either(client, &format!("fib?address={address}"), *json, out, tables::fib)
        }
        What::Fib { address: None, routes: false, json } => either(client, "fib", *json, out, tables::fib),
        What::Nexthops(json) => either(client, "nexthops", *json, out, tables::nexthops),
        What::Neighbors(json) => either(client, "neighbors", *json, out, tables::neighbors),
        What::Nat { what } => nat::show(client, what, out),
        What::Bgp { what, json } => {
            bgp::show(client, what.as_ref().unwrap_or(&bgp::Bgp::Summary), *json, out)
        }
        What::Ospf { what, json } => ospf::show(client, what.as_ref(), *json, out),
        What::Bfd(json) => either(client, "bfd", *json, out, bfd::bfd),
        What::Acl { name, json } => {
            let path = match name {
                Some(name) => format!("acls?name={name}"),
                None => "acls".to_owned(),
            };
            either(client, &path, *json, out, filters::acls)
        }
        What::Counters(counted) => either(client, "counters", counted.json, out, |view, out| {
            tables::counters(view, counted.all, out)
        }),
        What::Drops(counted) => {
            either(client, "drops", counted.json, out, |view, out| tables::drops(view, counted.all, out))
        }
        What::Workers(json) => either(client, "workers", *json, out, tables::workers),
        What::Rip { what, json } => rip::show(client, *what, *json, out),
        What::Policy(json) => either(client, "policy", *json, out, policy::policy),
        What::Status(json) => either(client, "status", *json, out, tables::status),
        What::Config(json) => either(client, "config", *json, out, tables::config),
        What::Version(json) => either(client, "version", *json, out, tables::version),
    }?;
    Ok(Exit::Done)
}

/// The API's own JSON, or a table made from it.
fn either<T: serde::de::DeserializeOwned>(
    client: &Client,
    path: &str,
    json: Json,
    out: &mut Out,
    table: impl FnOnce(T, &mut Out) -> Result<(), Error>,
) -> Result<(), Error> {
    let path = format!("/api/v1/{path}");
    if json.json {
        client.copy(&path, out)?;
        out.line("")
    } else {
        table(client.get(&path)?, out)
    }
}
