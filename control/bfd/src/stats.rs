//! Why control packets are refused. RFC 5880 §6.8.6, RFC 5881 §5.

use crate::wire::DecodeError;

millrace_proto::reasons! {
    /// Why a packet was ignored.
    BadPacket, BadPackets {
        Version = "version",
        /// The length field does not fit the packet.
        Length = "length",
        /// Detect multiplier 0.
        DetectMult = "detect-mult",
        Multipoint = "multipoint",
        /// My discriminator 0.
        MyDiscriminator = "my-discriminator",
        /// Authenticated, where no session is.
        Authenticated = "authenticated",
        PollAndFinal = "poll-and-final",
        /// TTL not 255: not from a neighbour (RFC 5881 §5).
        Ttl = "ttl",
        /// Names no session.
        YourDiscriminator = "your-discriminator",
        /// Names no session, in a state in which it would have to.
        State = "state",
        /// From a neighbour nobody watches.
        NoSession = "no-session",
        /// Names a session with another neighbour, or on another interface.
        WrongNeighbor = "wrong-neighbor",
    }
}

impl From<DecodeError> for BadPacket {
    fn from(error: DecodeError) -> Self {
        match error {
            DecodeError::Version => Self::Version,
            DecodeError::Length => Self::Length,
            DecodeError::DetectMult => Self::DetectMult,
            DecodeError::Multipoint => Self::Multipoint,
            DecodeError::MyDiscriminator => Self::MyDiscriminator,
            DecodeError::Authenticated => Self::Authenticated,
            DecodeError::PollAndFinal => Self::PollAndFinal,
        }
    }
}
