//! `[nat]` as a file of its own.

use std::fmt;
use std::net::Ipv4Addr;

use millrace_api::nat::{
    NatAddresses, NatAllocation, NatConfig, NatFiltering, NatOutside, NatPerProtocol, NatPool, NatSyslog,
};

use super::{FILTERING, PROTOCOLS, REFUSALS};
use crate::config::print::{optional, quoted};
use crate::config::sections::name_of;

pub(in crate::config) fn nat(f: &mut fmt::Formatter<'_>, nat: &NatConfig) -> fmt::Result {
    let (timers, limits) = (&nat.timers, &nat.limits);
    writeln!(f, "\n[nat]")?;
    writeln!(f, "tcp-established = {}", timers.tcp_established)?;
    writeln!(f, "tcp-transitory = {}", timers.tcp_transitory)?;
    writeln!(f, "udp = {}", timers.udp)?;
    writeln!(f, "icmp = {}", timers.icmp)?;
    writeln!(f, "other = {}", timers.other)?;
    writeln!(f, "inbound-refresh = {}", timers.inbound_refresh)?;
    writeln!(f, "port-quarantine = {}", timers.port_quarantine)?;
    writeln!(f, "max-sessions = {}", limits.sessions)?;
    writeln!(f, "max-mappings = {}", limits.mappings)?;
    optional(f, "sessions-per-subscriber", limits.sessions_per_subscriber, "no quota")?;
    optional(f, "ports-per-subscriber", limits.ports_per_subscriber, "no quota")?;
    writeln!(f, "refuse-with = \"{}\"", name_of(REFUSALS, &nat.refuse_with))?;
    let algs = [("ftp", nat.algs.ftp), ("tftp", nat.algs.tftp)];
    let algs: Vec<_> = algs.iter().filter(|(_, on)| *on).map(|(name, _)| format!("\"{name}\"")).collect();
    writeln!(f, "alg = [{}]", algs.join(", "))?;
    for pool in &nat.pools {
        print_pool(f, pool)?;
    }
    for source in &nat.sources {
        writeln!(f, "\n[[nat.source]]\nfrom = \"{}\"", source.from)?;
        if let Some(to) = source.to {
            writeln!(f, "to = \"{to}\"")?;
        }
        match &source.pool {
            Some(pool) => writeln!(f, "pool = \"{pool}\"")?,
            None => writeln!(f, "exempt = true")?,
        }
    }
    for forward in &nat.forwards {
        let outside = match &forward.outside {
            NatOutside::Address(address) => address.to_string(),
            NatOutside::Interface(name) => name.clone(),
        };
        let outside = quoted(format!("{outside}:{}", ports(forward.outside_ports)));
        writeln!(f, "\n[[nat.forward]]\noutside = {outside}")?;
        writeln!(f, "protocol = \"{}\"", name_of(PROTOCOLS, &forward.protocol))?;
        writeln!(f, "inside = \"{}:{}\"", forward.inside, forward.inside_port)?;
    }
    for pair in &nat.statics {
        writeln!(f, "\n[[nat.static]]\noutside = \"{}\"\ninside = \"{}\"", pair.outside, pair.inside)?;
    }
    if nat.log.file.is_some() || nat.log.syslog.is_some() {
        writeln!(f, "\n[nat.log]")?;
        optional(f, "file", nat.log.file.as_ref().map(quoted), "none")?;
        let syslog = nat.log.syslog.as_ref().map(|syslog| match syslog {
            NatSyslog::Udp(address) => format!("\"{address}\""),
            NatSyslog::Path(path) => quoted(path),
        });
        optional(f, "syslog", syslog, "none")?;
        writeln!(f, "rate = {}", nat.log.rate)?;
    }
    Ok(())
}

fn print_pool(f: &mut fmt::Formatter<'_>, pool: &NatPool) -> fmt::Result {
    writeln!(f, "\n[[nat.pool]]\nname = \"{}\"", pool.name)?;
    match &pool.addresses {
        NatAddresses::Ranges(ranges) => {
            let ranges: Vec<_> = ranges.iter().map(|&pair| format!("\"{}\"", range(pair))).collect();
            writeln!(f, "addresses = [{}]", ranges.join(", "))?;
        }
        NatAddresses::Interface(name) => writeln!(f, "interface = {}", quoted(name))?,
    }
    writeln!(f, "ports = \"{}-{}\"", pool.ports.0, pool.ports.1)?;
    if !pool.host_ports.is_empty() {
        let host: Vec<_> = pool.host_ports.iter().map(|&pair| format!("\"{}\"", ports(pair))).collect();
        writeln!(f, "host-ports = [{}]", host.join(", "))?;
    }
    writeln!(f, "filtering = {}", filtering(&pool.filtering))?;
    match pool.allocation {
        NatAllocation::Random => Ok(()),
        NatAllocation::Blocks { size, max, idle_secs } => {
            writeln!(f, "block-size = {size}\nmax-blocks = {max}\nblock-idle = {idle_secs}")
        }
        NatAllocation::Deterministic { inside } => writeln!(f, "deterministic = \"{inside}\""),
    }
}

fn filtering(of: &NatPerProtocol<NatFiltering>) -> String {
    let name = |filtering: &NatFiltering| format!("\"{}\"", name_of(FILTERING, filtering));
    if of.tcp == of.udp && of.udp == of.icmp {
        return name(&of.tcp);
    }
    format!("{{ tcp = {}, udp = {}, icmp = {} }}", name(&of.tcp), name(&of.udp), name(&of.icmp))
}

fn ports((first, last): (u16, u16)) -> String {
    if first == last { first.to_string() } else { format!("{first}-{last}") }
}

/// A prefix where the range is one.
pub(super) fn range((first, last): (Ipv4Addr, Ipv4Addr)) -> String {
    let span = last.to_bits() - first.to_bits();
    if span == 0 {
        return first.to_string();
    }
    // A prefix is as many addresses as a power of two, and begins at a multiple of it.
    match span.checked_add(1) {
        Some(count) if count.is_power_of_two() && first.to_bits().is_multiple_of(count) => {
            format!("{first}/{}", 32 - count.trailing_zeros())
        }
        _ => format!("{first}-{last}"),
    }
}
