//! Ports of a shared address that stay the host's: its ephemeral range and what it listens on.
//!
//! Read when a configuration is put in force. What begins to listen later gets its packets too, unless a mapping holds
//! that very port; `host-ports` in the pool keeps such ports free.

use std::ops::RangeInclusive;

use millrace_api::nat::{NatAddresses, NatConfig};
use millrace_nat::protocol;

/// `ss -ltn` and `ss -lun` without the tools.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct HostPorts {
    ephemeral: Option<RangeInclusive<u16>>,
    /// Protocol and port.
    listening: Vec<(u8, u16)>,
}

/// States of /proc/net: a listening TCP socket, and a UDP socket that is not connected.
const TCP_LISTEN: &str = "0A";
const UDP_OPEN: &str = "07";

impl HostPorts {
    /// Those of our network namespace at this moment.
    pub(crate) fn read() -> Self {
        let file = |name: &str| std::fs::read_to_string(name).unwrap_or_default();
        let mut listening = Vec::new();
        for (name, number, state) in [
            ("tcp", protocol::TCP, TCP_LISTEN),
            ("tcp6", protocol::TCP, TCP_LISTEN),
            ("udp", protocol::UDP, UDP_OPEN),
            ("udp6", protocol::UDP, UDP_OPEN),
        ] {
            let table = file(&format!("/proc/thread-self/net/{name}"));
            listening.extend(sockets(&table, state).map(|port| (number, port)));
        }
        listening.sort_unstable();
        listening.dedup();
        Self { ephemeral: ephemeral(&file("/proc/sys/net/ipv4/ip_local_port_range")), listening }
    }

    /// What NAT does not give out on shared addresses, by protocol.
    pub(crate) fn ranges(&self, config: &NatConfig) -> Vec<(u8, RangeInclusive<u16>)> {
        let shared = config.pools.iter().filter(|pool| matches!(pool.addresses, NatAddresses::Interface(_)));
        let named = shared.flat_map(|pool| pool.host_ports.iter().map(|(first, last)| *first..=*last));
        let both: Vec<_> = named.chain(self.ephemeral.clone()).collect();
        let mut ranges = Vec::new();
        for number in [protocol::TCP, protocol::UDP] {
            ranges.extend(both.iter().map(|range| (number, range.clone())));
        }
        ranges.extend(self.listening.iter().map(|(number, port)| (*number, *port..=*port)));
        ranges
    }
}

/// Two numbers.
fn ephemeral(text: &str) -> Option<RangeInclusive<u16>> {
    let mut numbers = text.split_whitespace().map(str::parse::<u16>);
    let (first, last) = (numbers.next()?.ok()?, numbers.next()?.ok()?);
    Some(first..=last)
}

/// Local ports of the sockets in this state, loopback's left out.
fn sockets<'t>(table: &'t str, state: &'t str) -> impl Iterator<Item = u16> + 't {
    table.lines().skip(1).filter_map(move |line| {
        let mut columns = line.split_whitespace().skip(1);
        let (address, port) = columns.next()?.rsplit_once(':')?;
        let is_loopback = address.len() == 8 && address.ends_with("7F");
        let found = columns.nth(1)?;
        (found == state && !is_loopback).then(|| u16::from_str_radix(port, 16).ok()).flatten()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From `cat /proc/net/tcp` of a machine with sshd, a server on loopback and a connection.
    const TABLE: &str =
        "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 00000000:0016 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1 1 0 100 0 0 10 0
   1: 0100007F:23DB 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 2 1 0 100 0 0 10 0
   2: 0202000A:0016 0302000A:C001 01 00000000:00000000 00:00000000 00000000     0        0 3 1 0 100 0 0 10 0
   3: 020200C0:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4 1 0 100 0 0 10 0
";

    #[test]
    fn listeners_are_found_and_loopback_is_not_the_network() {
        assert_eq!(sockets(TABLE, TCP_LISTEN).collect::<Vec<_>>(), [22, 8080]);
        assert_eq!(ephemeral("32768\t60999\n"), Some(32768..=60999));
        assert_eq!(ephemeral(""), None);
    }
}
