//! `millrace explain SRC DST`: the way of a packet through the router, step by step.

use std::net::Ipv4Addr;

use clap::Args;
use millrace_api::report::{AclMatch, Explanation};

use super::client::Client;
use super::exit::{Error, Exit};
use super::out::Out;

#[derive(Debug, Args)]
pub(super) struct Explain {
    /// Who sends the packet
    #[arg(value_name = "SRC")]
    source: Ipv4Addr,
    /// Whom it is for
    #[arg(value_name = "DST")]
    destination: Ipv4Addr,
    /// Its protocol, by name or number
    #[arg(long, value_name = "PROTOCOL", default_value = "udp")]
    proto: String,
    /// Source port; with icmp the type
    #[arg(long, value_name = "PORT")]
    sport: Option<u16>,
    /// Destination port; with icmp the code
    #[arg(long, value_name = "PORT")]
    dport: Option<u16>,
    /// The interface it comes in by. Default: the one that leads to the source
    #[arg(short, long = "in", value_name = "IFACE")]
    interface: Option<String>,
    /// Its length in bytes, IP header included
    #[arg(long, value_name = "BYTES")]
    length: Option<u16>,
    #[arg(long)]
    ttl: Option<u8>,
    /// With the don't-fragment flag
    #[arg(long)]
    df: bool,
    /// JSON for programs
    #[arg(long)]
    json: bool,
}

pub(super) fn explain(client: &Client, what: &Explain, out: &mut Out) -> Result<Exit, Error> {
    let mut path = format!(
        "/api/v1/explain?source={}&destination={}&protocol={}",
        what.source, what.destination, what.proto
    );
    let mut add = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            path.push_str(&format!("&{name}={value}"));
        }
    };
    add("source_port", what.sport.map(|port| port.to_string()));
    add("destination_port", what.dport.map(|port| port.to_string()));
    add("interface", what.interface.clone());
    add("length", what.length.map(|length| length.to_string()));
    add("ttl", what.ttl.map(|ttl| ttl.to_string()));
    add("dont_fragment", what.df.then(|| "true".to_owned()));
    if what.json {
        client.copy(&path, out)?;
        out.line("")?;
    } else {
        show(&client.get(&path)?, out)?;
    }
    Ok(Exit::Done)
}

fn show(said: &Explanation, out: &mut Out) -> Result<(), Error> {
    let mut line = |name: &str, text: String| out.line(format_args!("{name:<10} {text}"));
    line("in", said.interface.clone())?;
    let acl = |of: &AclMatch| match of.rule {
        Some(rule) => format!("{}, rule {rule}", of.acl),
        None => format!("{}, no rule matches: its default", of.acl),
    };
    if let Some(of) = &said.acl_in {
        line("acl in", acl(of))?;
    }
    if let Some(prefix) = said.prefix {
        let group = said.nexthop.as_ref().map(|group| format!(", group {}: {}", group.id, group.kind));
        line("route", format!("{prefix}{}", group.unwrap_or_default()))?;
    }
    if let (Some(bucket), Some(buckets)) = (said.bucket, said.buckets)
        && 1 < buckets
    {
        line("bucket", format!("{bucket} of {buckets}"))?;
    }
    if let (Some(interface), Some(next_hop)) = (&said.out_interface, said.next_hop) {
        let mac = said.destination_mac.map(|mac| format!(" ({mac})")).unwrap_or_default();
        let mtu = said.mtu.map(|mtu| format!(", MTU {mtu}")).unwrap_or_default();
        let state = said.neighbor.as_deref().unwrap_or_default();
        line("next hop", format!("{next_hop}{mac} on {interface}, {state}{mtu}"))?;
    }
    if let Some(of) = &said.acl_out {
        line("acl out", acl(of))?;
    }
    line("verdict", verdict(said))?;
    for note in &said.notes {
        line("note", note.clone())?;
    }
    Ok(())
}

fn verdict(said: &Explanation) -> String {
    let reason = said.reason.as_deref().unwrap_or_default();
    match said.verdict.as_str() {
        "tx" if 1 < said.frames => {
            format!("forwarded in {} frames: fragments, or with a redirect to its sender", said.frames)
        }
        "tx" => "forwarded".to_owned(),
        "reply" => {
            let icmp = said.icmp.as_deref().unwrap_or_default();
            format!("not forwarded: {reason}: {}; its sender gets ICMP {icmp}", said.meaning)
        }
        "hold" => "held until the next hop is resolved, then forwarded".to_owned(),
        "kernel" => "the host's own: given to the kernel".to_owned(),
        _ => format!("dropped: {reason}: {}", said.meaning),
    }
}
