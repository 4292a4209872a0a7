//! Whether a packet is believed, and how ours are made believable. RFC 2328 appendix D, RFC 5709.

use millrace_proto::{KeyId, UnixTime};

use crate::config::Authentication;
use crate::stats::BadPacket;
use crate::wire::{self, Packet, Protection};

/// A packet that was believed, and its sequence number if it had one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Believed(pub(crate) Option<u32>);

/// Checks `packet` against the configuration; `seen` is the last sequence number of its sender.
pub(crate) fn verify(
    configured: &Authentication,
    packet: &Packet<'_>,
    now: UnixTime,
    seen: Option<u32>,
) -> Result<Believed, BadPacket> {
    match (configured, packet.authentication) {
        (Authentication::None, wire::Authentication::None) => Ok(Believed(None)),
        (
            Authentication::None,
            wire::Authentication::Simple(_) | wire::Authentication::Cryptographic { .. },
        )
        | (
            Authentication::Simple(_),
            wire::Authentication::None | wire::Authentication::Cryptographic { .. },
        )
        | (Authentication::Cryptographic(_), wire::Authentication::None | wire::Authentication::Simple(_)) => {
            Err(BadPacket::AuthType)
        }
        (Authentication::Simple(chain), wire::Authentication::Simple(password)) => {
            let known = chain.accept_keys(now).any(|key| key.secret.matches(&password));
            if known { Ok(Believed(None)) } else { Err(BadPacket::AuthFailed) }
        }
        (
            Authentication::Cryptographic(chain),
            wire::Authentication::Cryptographic { key: id, sequence, signed, code },
        ) => {
            let key = chain.accept_key(id, now).ok_or(BadPacket::AuthKey)?;
            if code.len() != key.algorithm.output_len() {
                return Err(BadPacket::AuthLength);
            }
            if !key.algorithm.verify(&key.secret, signed, code) {
                return Err(BadPacket::AuthFailed);
            }
            if seen.is_some_and(|last| sequence < last) {
                return Err(BadPacket::AuthReplay);
            }
            Ok(Believed(Some(sequence)))
        }
    }
}

/// How to protect what is sent at `now`, and whether the key has expired and is used on for want of another.
/// None: there is no key for it, and nothing may be sent.
pub(crate) fn protection(
    configured: &Authentication,
    now: UnixTime,
    sequence: u32,
) -> Option<(Protection<'_>, Option<KeyId>)> {
    let (chain, simple) = match configured {
        Authentication::None => return Some((Protection::None, None)),
        Authentication::Simple(chain) => (chain, true),
        Authentication::Cryptographic(chain) => (chain, false),
    };
    let send = chain.send_key(now)?;
    let protection = if simple {
        Protection::Simple(&send.key.secret)
    } else {
        Protection::Cryptographic { key: send.key, sequence }
    };
    Some((protection, send.expired.then_some(send.key.id)))
}
