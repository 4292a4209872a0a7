//! What is counted, and why messages and entries are refused. One variant, one counter, one label in the metrics.

use serde::Serialize;

use crate::wire::DecodeError;

millrace_proto::reasons! {
    /// Why a whole message was ignored. RFC 2453 §3.9.2, §4.1, §4.6; RFC 4822 §2.3.2.
    BadPacket, BadPackets {
        /// Shorter than a header.
        Truncated = "truncated",
        /// Not a whole number of entries.
        Length = "length",
        Command = "command",
        /// Version 0.
        Version = "version",
        /// Version 1, where only version 2 is taken.
        VersionOne = "version-1",
        /// A version 1 message with something in the fields that version 2 added.
        MustBeZero = "must-be-zero",
        /// A response that does not come from port 520.
        SourcePort = "source-port",
        /// Its source is not on a network of the interface.
        NotNeighbor = "not-neighbor",
        /// From one of the router's own addresses.
        Own = "own",
        /// A TTL below 255 where TTL security is on.
        Ttl = "ttl",
        /// Not authenticated, where it must be.
        AuthMissing = "auth-missing",
        /// Authenticated in a way that is not configured.
        AuthType = "auth-type",
        /// The lengths of the authentication do not fit.
        AuthLength = "auth-length",
        /// Names a key that there is not, or that is not valid at this time.
        AuthKey = "auth-key",
        /// Wrong password or code.
        AuthFailed = "auth-failed",
        /// A sequence number below one that was seen.
        AuthReplay = "auth-replay",
        /// More neighbours on the interface than are kept.
        NeighborLimit = "neighbor-limit",
    }
}

millrace_proto::reasons! {
    /// Why one entry of a response was ignored. RFC 2453 §3.9.2.
    BadRoute, BadRoutes {
        /// Not IPv4.
        Family = "family",
        /// Not a unicast destination, or net 0 or 127.
        Address = "address",
        /// Ones behind zeros.
        Mask = "mask",
        /// Address bits beyond the mask.
        HostBits = "host-bits",
        /// Not 1 to 16.
        Metric = "metric",
        /// More destinations than are kept.
        TableFull = "table-full",
    }
}

/// Of one interface since RIP began to run there.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct LinkStats {
    pub requests_received: u64,
    pub responses_received: u64,
    pub requests_sent: u64,
    /// Messages of regular updates.
    pub updates_sent: u64,
    /// Messages of triggered updates.
    pub triggered_sent: u64,
    /// Messages that answer requests.
    pub replies_sent: u64,
    /// Messages that no key was valid for, and that were not sent therefore.
    pub unsendable: u64,
    pub bad_packets: BadPackets,
    pub bad_routes: BadRoutes,
}

impl From<DecodeError> for BadPacket {
    fn from(error: DecodeError) -> Self {
        match error {
            DecodeError::Truncated => Self::Truncated,
            DecodeError::Length => Self::Length,
            DecodeError::Command(_) => Self::Command,
            DecodeError::Version => Self::Version,
            DecodeError::MustBeZero => Self::MustBeZero,
            DecodeError::AuthType(_) => Self::AuthType,
            DecodeError::AuthLength => Self::AuthLength,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_its_own_name_and_counter() {
        let mut packets = BadPackets::default();
        for reason in BadPacket::ALL {
            packets.count(*reason);
            assert_eq!(packets.get(*reason), 1, "{reason:?}");
            assert_eq!(
                serde_json::to_string(reason).unwrap().trim_matches('"').replace("version-one", "version-1"),
                reason.name()
            );
        }
        assert_eq!(packets.total(), BadPacket::ALL.len() as u64);
        let names: std::collections::BTreeSet<_> = BadRoute::ALL.iter().map(|reason| reason.name()).collect();
        assert_eq!(names.len(), BadRoute::ALL.len());
    }
}
