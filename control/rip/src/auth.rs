//! Whether a message is believed, and how ours are made believable. RFC 2453 §4.1, RFC 4822.

use std::collections::BTreeMap;

use millrace_proto::{KeyId, UnixTime};

use crate::config::Authentication;
use crate::stats::BadPacket;
use crate::wire::{self, Packet, Protection, Version};

/// The last sequence number of each key of one neighbour.
///
/// RFC 4822 §2.3.2 lets a neighbour start again at zero once connectivity to it is lost. This is forgotten together
/// with the neighbour, after a time-out of silence, so that one that starts again anywhere (FRR begins at 1) is heard.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sequences(BTreeMap<KeyId, u32>);

/// A message that was believed, and what to remember of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Believed(Option<(KeyId, u32)>);

impl Sequences {
    pub(crate) fn remember(&mut self, believed: Believed) {
        if let Believed(Some((key, sequence))) = believed {
            self.0.insert(key, sequence);
        }
    }
}

/// Checks `packet` against the configuration; `seen` is what is known of its sender.
pub(crate) fn verify(
    configured: &Authentication,
    packet: &Packet<'_>,
    now: UnixTime,
    seen: Option<&Sequences>,
) -> Result<Believed, BadPacket> {
    match (configured, packet.authentication) {
        (Authentication::None, wire::Authentication::None) => Ok(Believed(None)),
        // An unauthenticated router must not act on authenticated messages (RFC 2453 §4.1).
        (
            Authentication::None,
            wire::Authentication::Plain(_) | wire::Authentication::Cryptographic { .. },
        )
        | (Authentication::Plain(_), wire::Authentication::Cryptographic { .. })
        | (Authentication::Cryptographic(_), wire::Authentication::Plain(_)) => Err(BadPacket::AuthType),
        (Authentication::Plain(_) | Authentication::Cryptographic(_), wire::Authentication::None) => {
            Err(if packet.version == Version::V1 { BadPacket::VersionOne } else { BadPacket::AuthMissing })
        }
        (Authentication::Plain(chain), wire::Authentication::Plain(password)) => {
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
            let last = seen.and_then(|seen| seen.0.get(&id));
            if last.is_some_and(|last| sequence < *last) {
                return Err(BadPacket::AuthReplay);
            }
            Ok(Believed(Some((id, sequence))))
        }
    }
}

/// How to protect what is sent at `now`. None: there is no key for it, and nothing may be sent.
pub(crate) fn protection(
    configured: &Authentication,
    now: UnixTime,
    sequence: u32,
) -> Option<Protection<'_>> {
    match configured {
        Authentication::None => Some(Protection::None),
        Authentication::Plain(chain) => chain.send_key(now).map(|send| Protection::Plain(&send.key.secret)),
        Authentication::Cryptographic(chain) => {
            chain.send_key(now).map(|send| Protection::Cryptographic { key: send.key, sequence })
        }
    }
}
