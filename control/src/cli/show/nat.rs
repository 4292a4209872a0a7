//! `millrace show nat …` and `millrace clear nat …`.

use std::net::Ipv4Addr;

use clap::{Args, Subcommand};
use millrace_api::nat::{
    NatDeterministic, NatFiltering, NatMapping, NatPerProtocol, NatPoolReport, NatSession, NatSubscriber,
};
use millrace_net::Prefix;
use serde::de::DeserializeOwned;
use serde_json::json;

use super::{Destination, Json, either};
use crate::cli::client::{self, Client};
use crate::cli::exit::{Error, Exit};
use crate::cli::out::{Out, bytes, duration, number, plural, table};
use crate::http::view;

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum Nat {
    /// Conversations through address translation
    #[command(visible_alias = "session")]
    Sessions {
        #[command(flatten)]
        filter: Filter,
        /// At most so many
        #[arg(long, value_name = "N")]
        limit: Option<usize>,
        #[command(flatten)]
        json: Json,
    },
    /// Inside endpoints and the outside endpoints they have
    #[command(visible_alias = "mapping")]
    Mappings {
        #[command(flatten)]
        filter: MappingFilter,
        /// At most so many
        #[arg(long, value_name = "N")]
        limit: Option<usize>,
        #[command(flatten)]
        json: Json,
    },
    /// Outside addresses and what is left of their ports
    #[command(visible_alias = "pool")]
    Pools(Json),
    /// Sums, refusals and limits
    #[command(visible_alias = "statistics")]
    Stats(Json),
    /// The inside addresses that hold most
    Subscribers {
        /// At most so many
        #[arg(long, value_name = "N", default_value_t = 10)]
        limit: u32,
        #[command(flatten)]
        json: Json,
    },
    /// Arithmetic of a deterministic pool: where an inside address comes out, or who is behind an outside endpoint
    Deterministic {
        /// An inside address such as 100.64.0.7, or an outside endpoint such as 203.0.113.8:4711
        #[arg(value_name = "ADDR|ADDR:PORT")]
        endpoint: Question,
        #[command(flatten)]
        json: Json,
    },
}

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum Clear {
    /// Sessions of address translation, all or those that fit; mappings go with their last session
    Nat {
        #[command(subcommand)]
        what: ClearNat,
    },
    /// A BGP session, or what it has told
    Bgp {
        #[command(flatten)]
        what: super::bgp::Clear,
        /// JSON for programs
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum ClearNat {
    /// End sessions
    #[command(visible_alias = "session")]
    Sessions {
        #[command(flatten)]
        filter: Filter,
        #[command(flatten)]
        json: Json,
    },
}

#[derive(Clone, Debug, Args)]
pub(in crate::cli) struct Filter {
    #[command(flatten)]
    mapping: MappingFilter,
    /// The remote address is this, or in this prefix
    #[arg(long, value_name = "ADDR|PREFIX")]
    remote: Option<Destination>,
    /// The remote port is this
    #[arg(long, value_name = "PORT")]
    remote_port: Option<u16>,
}

#[derive(Clone, Debug, Args)]
pub(in crate::cli) struct MappingFilter {
    /// The inside address is this, or in this prefix; the same as --inside
    #[arg(value_name = "INSIDE", conflicts_with = "inside")]
    of: Option<Destination>,
    /// tcp, udp, icmp or a protocol's number
    #[arg(long, visible_alias = "proto", value_name = "PROTOCOL")]
    protocol: Option<String>,
    /// The inside address is this, or in this prefix
    #[arg(long, value_name = "ADDR|PREFIX")]
    inside: Option<Destination>,
    /// The inside port or identifier is this
    #[arg(long, value_name = "PORT")]
    inside_port: Option<u16>,
    /// The outside address is this, or in this prefix
    #[arg(long, value_name = "ADDR|PREFIX")]
    outside: Option<Destination>,
    /// The outside port or identifier is this
    #[arg(long, value_name = "PORT")]
    outside_port: Option<u16>,
}

#[derive(Clone, Copy, Debug)]
pub(in crate::cli) enum Question {
    Inside(Ipv4Addr),
    Outside(Ipv4Addr, u16),
}

impl std::str::FromStr for Question {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(inside) = text.parse() {
            return Ok(Self::Inside(inside));
        }
        let endpoint = text.parse::<std::net::SocketAddrV4>();
        endpoint.map(|endpoint| Self::Outside(*endpoint.ip(), endpoint.port())).map_err(|_| {
            "expected an inside address such as 100.64.0.7 or an outside endpoint such as 203.0.113.8:4711"
                .to_owned()
        })
    }
}

impl MappingFilter {
    fn parameters(&self) -> Vec<String> {
        let address = |name: &str, value: Option<Destination>| {
            value.map(|value| match value {
                Destination::Prefix(prefix) => format!("{name}={prefix}"),
                Destination::Address(address) => format!("{name}={}", Prefix::truncated(address, 32)),
            })
        };
        let number = |name: &str, value: Option<u16>| value.map(|value| format!("{name}={value}"));
        [
            self.protocol.as_ref().map(|protocol| format!("protocol={protocol}")),
            address("inside", self.of.or(self.inside)),
            number("inside_port", self.inside_port),
            address("outside", self.outside),
            number("outside_port", self.outside_port),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}

impl Filter {
    fn parameters(&self) -> Vec<String> {
        let mut parameters = self.mapping.parameters();
        match self.remote {
            Some(Destination::Prefix(prefix)) => parameters.push(format!("remote={prefix}")),
            Some(Destination::Address(address)) => parameters.push(format!("remote={address}")),
            None => {}
        }
        parameters.extend(self.remote_port.map(|port| format!("remote_port={port}")));
        parameters
    }
}

pub(super) fn show(client: &Client, what: &Nat, out: &mut Out) -> Result<(), Error> {
    match what {
        Nat::Sessions { filter, limit, json } => {
            let path = path("sessions", filter.parameters(), *limit);
            either(client, &path, *json, out, sessions)
        }
        Nat::Mappings { filter, limit, json } => {
            let path = path("mappings", filter.parameters(), *limit);
            either(client, &path, *json, out, mappings)
        }
        Nat::Pools(json) => either(client, "nat/pools", *json, out, pools),
        Nat::Stats(json) if json.json => {
            either(client, "nat/stats", *json, out, |_: view::NatStats, _| Ok(()))
        }
        Nat::Stats(_) => {
            let top: Vec<NatSubscriber> = client.get("/api/v1/nat/subscribers?limit=5")?;
            stats(client.get("/api/v1/nat/stats")?, top, out)
        }
        Nat::Subscribers { limit, json } => {
            either(client, &format!("nat/subscribers?limit={limit}"), *json, out, subscribers)
        }
        Nat::Deterministic { endpoint, json } => {
            let path = match endpoint {
                Question::Inside(inside) => format!("nat/deterministic?inside={inside}"),
                Question::Outside(outside, port) => {
                    format!("nat/deterministic?outside={outside}&port={port}")
                }
            };
            either(client, &path, *json, out, deterministic)
        }
    }
}

pub(in crate::cli) fn clear(client: &Client, what: &Clear, out: &mut Out) -> Result<Exit, Error> {
    let (filter, json) = match what {
        Clear::Nat { what: ClearNat::Sessions { filter, json } } => (filter, json),
        Clear::Bgp { what, json } => return super::bgp::clear(client, what, *json, out),
    };
    let answer =
        client.post(&format!("/api/v1/{}", path("clear", filter.parameters(), None)), &json!(null))?;
    if json.json {
        out.bytes(&answer)?;
        out.line("")?;
        return Ok(Exit::Done);
    }
    let view::NatCleared { sessions } = parse(&answer)?;
    out.line(format_args!("Ended {}.", plural(usize::try_from(sessions).unwrap_or(usize::MAX), "session")))?;
    Ok(Exit::Done)
}

fn parse<T: DeserializeOwned>(answer: &[u8]) -> Result<T, Error> {
    client::parse(answer)
}

fn path(table: &str, mut parameters: Vec<String>, limit: Option<usize>) -> String {
    parameters.extend(limit.map(|limit| format!("limit={limit}")));
    let joint = if parameters.is_empty() { "" } else { "?" };
    format!("nat/{table}{joint}{}", parameters.join("&"))
}

fn sessions(sessions: Vec<NatSession>, out: &mut Out) -> Result<(), Error> {
    if sessions.is_empty() {
        return out.line("No such session.");
    }
    let rows = sessions.iter().map(|session| {
        vec![
            session.protocol.clone(),
            session.inside.clone(),
            session.outside.clone(),
            session.remote.clone(),
            session.state.clone(),
            duration(session.age_seconds.into()),
            duration(session.expires_seconds.into()),
        ]
    });
    out.line(table(&["PROTO", "INSIDE", "OUTSIDE", "REMOTE", "STATE", "#AGE", "#EXPIRES"], rows))?;
    out.line(plural(sessions.len(), "session"))
}

fn mappings(mappings: Vec<NatMapping>, out: &mut Out) -> Result<(), Error> {
    if mappings.is_empty() {
        return out.line("No such mapping.");
    }
    let rows = mappings.iter().map(|mapping| {
        vec![
            mapping.protocol.clone(),
            mapping.inside.clone(),
            mapping.outside.clone(),
            mapping.origin.clone(),
            number(mapping.sessions.into()),
            duration(mapping.age_seconds.into()),
        ]
    });
    out.line(table(&["PROTO", "INSIDE", "OUTSIDE", "POOL", "#SESSIONS", "#AGE"], rows))?;
    out.line(plural(mappings.len(), "mapping"))
}

fn pools(pools: Vec<NatPoolReport>, out: &mut Out) -> Result<(), Error> {
    if pools.is_empty() {
        return out.line("No pool is configured.");
    }
    let rows = pools.iter().map(|pool| {
        let addresses = match (pool.addresses.as_slice(), &pool.shared_with) {
            ([], _) => "-".to_owned(),
            ([one], Some(interface)) => format!("{one} ({interface})"),
            ([one], None) => one.to_string(),
            ([first, .., last], _) => format!("{first} … {last}"),
        };
        let free = |free: u64| {
            let share = free as f64 / pool.ports_total.max(1) as f64 * 100.0;
            format!("{share:.0} %")
        };
        vec![
            pool.name.clone(),
            addresses,
            pool.ports.clone(),
            pool.allocation.clone(),
            filtering(&pool.filtering),
            number(pool.mappings),
            number(pool.sessions),
            free(pool.free.tcp),
            free(pool.free.udp),
            free(pool.free.icmp),
        ]
    });
    let header = [
        "POOL",
        "ADDRESSES",
        "PORTS",
        "ALLOCATION",
        "FILTERING",
        "#MAPPINGS",
        "#SESSIONS",
        "#FREE TCP",
        "#UDP",
        "#ICMP",
    ];
    out.line(table(&header, rows))?;
    for pool in &pools {
        if let Some(problem) = &pool.problem {
            out.line(format_args!("! {}: {problem}", pool.name))?;
        }
    }
    Ok(())
}

fn filtering(of: &NatPerProtocol<NatFiltering>) -> String {
    let name = |filtering: NatFiltering| match filtering {
        NatFiltering::EndpointIndependent => "endpoint-independent",
        NatFiltering::AddressDependent => "address-dependent",
        NatFiltering::AddressAndPortDependent => "address-and-port-dependent",
    };
    if of.tcp == of.udp && of.udp == of.icmp {
        return name(of.tcp).to_owned();
    }
    format!("tcp {}\nudp {}\nicmp {}", name(of.tcp), name(of.udp), name(of.icmp))
}

fn stats(stats: view::NatStats, top: Vec<NatSubscriber>, out: &mut Out) -> Result<(), Error> {
    if !stats.configured {
        return out.line("Nothing is translated: the configuration has no [nat].");
    }
    let rows = [
        ("sessions", stats.sessions, Some(stats.sessions_limit)),
        ("mappings", stats.mappings, Some(stats.mappings_limit)),
        ("subscribers", stats.subscribers, None),
        ("sessions made", stats.sessions_created, None),
        ("sessions timed out", stats.sessions_expired, None),
        ("mappings made", stats.mappings_created, None),
        ("log lines written", stats.log_written, None),
        ("log lines over the rate", stats.log_dropped, None),
        ("log lines not taken", stats.log_failed, None),
    ];
    let rows = rows.into_iter().map(|(name, value, limit)| {
        vec![
            name.to_owned(),
            number(value),
            limit.map(|limit| format!("of {}", number(limit))).unwrap_or_default(),
        ]
    });
    out.line(table(&["", "#", ""], rows))?;
    out.line(format_args!("memory {}", bytes(stats.memory_bytes)))?;
    if let Some(restored) = &stats.restored {
        out.line(restored)?;
    }
    for (what, counts) in [("refused", &stats.refused), ("denied", &stats.denied)] {
        for (reason, count) in counts.0.iter().filter(|(_, count)| *count != 0) {
            out.line(format_args!("! {what}: {reason} {}", number(*count)))?;
        }
    }
    if top.is_empty() {
        return Ok(());
    }
    out.line("\nTop subscribers")?;
    subscribers(top, out)
}

fn subscribers(subscribers: Vec<NatSubscriber>, out: &mut Out) -> Result<(), Error> {
    if subscribers.is_empty() {
        return out.line("Nobody holds a port.");
    }
    let rows = subscribers.iter().map(|subscriber| {
        vec![
            subscriber.inside.to_string(),
            number(subscriber.sessions.into()),
            number(subscriber.ports.into()),
            number(subscriber.blocks.into()),
        ]
    });
    out.line(table(&["INSIDE", "#SESSIONS", "#PORTS", "#BLOCKS"], rows))
}

fn deterministic(answer: Option<NatDeterministic>, out: &mut Out) -> Result<(), Error> {
    match answer {
        None => out.line("No deterministic pool has it."),
        Some(NatDeterministic { inside, outside, first_port, last_port }) => {
            out.line(format_args!("{inside} is {outside} ports {first_port}-{last_port}"))
        }
    }
}
