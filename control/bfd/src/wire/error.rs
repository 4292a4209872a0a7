//! Why octets are not a control packet to act on. One variant, one counter. RFC 5880 §6.8.6.

use serde::{Deserialize, Serialize};

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, thiserror::Error, Serialize, Deserialize)]
pub enum DecodeError {
    #[error("version is not 1")]
    Version,
    #[error("the length field does not fit the packet")]
    Length,
    #[error("detect multiplier 0")]
    DetectMult,
    #[error("the multipoint bit is set")]
    Multipoint,
    #[error("my discriminator is 0")]
    MyDiscriminator,
    /// No session here is authenticated.
    #[error("authenticated")]
    Authenticated,
    #[error("poll and final at once")]
    PollAndFinal,
}
