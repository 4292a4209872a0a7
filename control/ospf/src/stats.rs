//! What is counted, and why packets and LSAs are refused. One variant, one counter, one label in the metrics.

use serde::Serialize;

use crate::wire::{DecodeError, PacketType};

millrace_proto::reasons! {
    /// Why a whole packet was ignored. RFC 2328 §8.2, §10.5 to §10.8, §13, D.4.
    BadPacket, BadPackets {
        /// Shorter than its header, or than its length field says.
        Truncated = "truncated",
        Version = "version",
        /// Not one of the five packets.
        Type = "type",
        /// Contents that do not fit the length.
        Length = "length",
        Checksum = "checksum",
        /// From this router itself: its own id or address.
        Own = "own",
        /// Its source is not on the interface's network.
        NotNeighbor = "not-neighbor",
        /// Of another area, and no virtual link.
        Area = "area",
        /// To the designated routers, and this is none.
        NotDesignated = "not-designated",
        /// The interface is passive or not up for OSPF.
        Passive = "passive",
        /// Authenticated in a way that is not configured, or not at all.
        AuthType = "auth-type",
        /// The length of the authentication code does not fit.
        AuthLength = "auth-length",
        /// Names a key that there is not, or that is not valid at this time.
        AuthKey = "auth-key",
        /// Wrong password or code.
        AuthFailed = "auth-failed",
        /// A sequence number below one that was seen.
        AuthReplay = "auth-replay",
        /// A hello with another network mask.
        Mask = "mask",
        /// A hello with another hello interval.
        HelloInterval = "hello-interval",
        /// A hello with another dead interval.
        DeadInterval = "dead-interval",
        /// A hello of a router that thinks the area is of another kind.
        AreaKind = "area-kind",
        /// Another router's hello with this router's id, or no id at all.
        RouterId = "router-id",
        /// Not a hello, and from someone no hello came from.
        UnknownNeighbor = "unknown-neighbor",
        /// A description of a neighbour that sends longer packets than fit here.
        Mtu = "mtu",
        /// Before the neighbours know each other well enough for it.
        State = "state",
        /// More neighbours on the interface than are kept.
        NeighborLimit = "neighbor-limit",
    }
}

millrace_proto::reasons! {
    /// Why one LSA of an update was ignored. RFC 2328 §13.
    BadLsa, BadLsas {
        /// Its checksum is wrong, or zero.
        Checksum = "checksum",
        /// A type that is not known.
        Type = "type",
        /// Contents that do not fit its length, or make no sense.
        Body = "body",
        /// Of a type that this area does not take.
        Area = "area",
        /// Within a second of the instance before it (MinLSArrival).
        TooSoon = "too-soon",
        /// More LSAs than are kept.
        DatabaseFull = "database-full",
    }
}

/// Packets of one direction by type.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct PacketCounts {
    pub hello: u64,
    pub description: u64,
    pub request: u64,
    pub update: u64,
    pub ack: u64,
}

/// Of one interface.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct LinkStats {
    pub received: PacketCounts,
    pub sent: PacketCounts,
    pub bad_packets: BadPackets,
    pub bad_lsas: BadLsas,
    /// LSAs, requests and descriptions sent again.
    pub retransmissions: u64,
    /// What a missing key kept from being sent.
    pub unsent: u64,
}

/// Of the whole process.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct ProcessStats {
    /// Calculations of whole trees.
    pub spf_runs: u64,
    /// Calculations of inter-area and external routes over trees that stand.
    pub partial_runs: u64,
    /// LSAs of this router's own, each instance.
    pub originated: u64,
    /// LSAs of others taken into the database, each instance.
    pub installed: u64,
    /// Packets that belong to no interface OSPF runs on.
    pub stray: u64,
}

impl PacketCounts {
    pub fn count(&mut self, kind: PacketType) {
        *match kind {
            PacketType::Hello => &mut self.hello,
            PacketType::Description => &mut self.description,
            PacketType::Request => &mut self.request,
            PacketType::Update => &mut self.update,
            PacketType::Ack => &mut self.ack,
        } += 1;
    }

    /// With the names of metrics and the API.
    pub const fn by_type(&self) -> [(&'static str, u64); 5] {
        [
            ("hello", self.hello),
            ("description", self.description),
            ("request", self.request),
            ("update", self.update),
            ("ack", self.ack),
        ]
    }
}

impl From<DecodeError> for BadPacket {
    fn from(error: DecodeError) -> Self {
        match error {
            DecodeError::Truncated => Self::Truncated,
            DecodeError::Version(_) => Self::Version,
            DecodeError::Type(_) => Self::Type,
            DecodeError::Checksum => Self::Checksum,
            DecodeError::AuthType(_) => Self::AuthType,
            DecodeError::AuthLength => Self::AuthLength,
            DecodeError::Length
            | DecodeError::LsaType(_)
            | DecodeError::LsaChecksum
            | DecodeError::LsaBody => Self::Length,
        }
    }
}

impl From<DecodeError> for BadLsa {
    fn from(error: DecodeError) -> Self {
        match error {
            DecodeError::LsaType(_) => Self::Type,
            DecodeError::LsaChecksum => Self::Checksum,
            DecodeError::Truncated
            | DecodeError::Version(_)
            | DecodeError::Type(_)
            | DecodeError::Length
            | DecodeError::Checksum
            | DecodeError::AuthType(_)
            | DecodeError::AuthLength
            | DecodeError::LsaBody => Self::Body,
        }
    }
}
