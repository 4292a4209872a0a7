//! Key chains: several keys with lifetimes, so that keys are exchanged without losing a packet (RFC 4822 §3, RFC 2328 D.3).
//!
//! ```text
//!   key 1  accept ├───────────────────────────┤
//!          send   ├──────────────────┤
//!   key 2  accept           ├───────────────────────────┤
//!          send             ·        ├──────────────────┤     ← lifetimes overlap on both sides of the change
//! ```
//!
//! When the last key has run out, traffic neither stops nor goes out unprotected: that key is used on (RFC 4822 §5.1),
//! unless the chain is to fail secure.

use std::fmt;

use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;

use crate::{Algorithm, UnixTime};

/// A name for a key on the wire.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct KeyId(pub u8);

/// A password or key. Its `Debug` form does not show it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Secret(Vec<u8>);

/// From `start` up to but not including `end`; None is unbounded.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Lifetime {
    pub start: Option<UnixTime>,
    pub end: Option<UnixTime>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Key {
    pub id: KeyId,
    pub algorithm: Algorithm,
    pub secret: Secret,
    pub send: Lifetime,
    pub accept: Lifetime,
}

/// At least one key, ids unique, in ascending order of id.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct KeyChain {
    name: String,
    keys: Vec<Key>,
    fail_secure: bool,
}

/// Why keys do not make a chain.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum KeyChainError {
    #[error("a key chain holds at least one key")]
    Empty,
    #[error("key id {} stands twice; ids of one chain are different", .0.0)]
    DuplicateId(KeyId),
    #[error("key {}: the key is empty", .0.0)]
    EmptySecret(KeyId),
    #[error("key {}: keyed MD5 takes a key of 1 to 16 octets, not {len}", .id.0)]
    SecretTooLong { id: KeyId, len: usize },
    #[error("key {}: a lifetime ends after it starts", .0.0)]
    EmptyLifetime(KeyId),
}

/// A key to protect a message with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SendKey<'c> {
    pub key: &'c Key,
    /// Its lifetime is over and no other key's has begun: the operator should know.
    pub expired: bool,
}

impl Secret {
    pub fn new(bytes: impl Into<Vec<u8>>) -> Self {
        Self(bytes.into())
    }

    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// The first `N` octets, filled up with zeros.
    pub fn padded<const N: usize>(&self) -> [u8; N] {
        let mut padded = [0; N];
        for (to, from) in padded.iter_mut().zip(&self.0) {
            *to = *from;
        }
        padded
    }

    /// Whether `received` is this secret, padded or cut to `N` octets; takes the same time whatever octet differs.
    pub fn matches<const N: usize>(&self, received: &[u8; N]) -> bool {
        self.padded::<N>().ct_eq(received).into()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl Lifetime {
    pub const ALWAYS: Self = Self { start: None, end: None };

    pub fn holds(self, now: UnixTime) -> bool {
        self.begun(now) && !self.over(now)
    }

    fn begun(self, now: UnixTime) -> bool {
        self.start.is_none_or(|start| start <= now)
    }

    fn over(self, now: UnixTime) -> bool {
        self.end.is_some_and(|end| end <= now)
    }
}

impl KeyChain {
    pub fn new(
        name: impl Into<String>,
        mut keys: Vec<Key>,
        fail_secure: bool,
    ) -> Result<Self, KeyChainError> {
        if keys.is_empty() {
            return Err(KeyChainError::Empty);
        }
        keys.sort_by_key(|key| key.id);
        if let Some(pair) = keys.windows(2).find(|pair| pair[0].id == pair[1].id) {
            return Err(KeyChainError::DuplicateId(pair[0].id));
        }
        for key in &keys {
            let len = key.secret.0.len();
            if len == 0 {
                return Err(KeyChainError::EmptySecret(key.id));
            }
            if key.algorithm == Algorithm::KeyedMd5 && 16 < len {
                return Err(KeyChainError::SecretTooLong { id: key.id, len });
            }
            if [key.send, key.accept]
                .iter()
                .any(|l| l.start.zip(l.end).is_some_and(|(start, end)| end <= start))
            {
                return Err(KeyChainError::EmptyLifetime(key.id));
            }
        }
        Ok(Self { name: name.into(), keys, fail_secure })
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn keys(&self) -> &[Key] {
        &self.keys
    }

    /// Whether traffic stops when the last key has run out.
    pub const fn fail_secure(&self) -> bool {
        self.fail_secure
    }

    /// The key to send with: of those whose send lifetime holds the one that began last, so that a rollover takes
    /// effect at once; of equals the lowest id. None: nothing may be sent.
    pub fn send_key(&self, now: UnixTime) -> Option<SendKey<'_>> {
        let valid = self.keys.iter().filter(|key| key.send.holds(now)).rev().max_by_key(|key| key.send.start);
        valid
            .map(|key| SendKey { key, expired: false })
            .or_else(|| self.last_to_end(now, |key| key.send).map(|key| SendKey { key, expired: true }))
    }

    /// The key a message names, if it is acceptable.
    pub fn accept_key(&self, id: KeyId, now: UnixTime) -> Option<&Key> {
        self.accept_keys(now).find(|key| key.id == id)
    }

    /// Every acceptable key, in order of id: for protocols that name no key on the wire.
    pub fn accept_keys(&self, now: UnixTime) -> impl Iterator<Item = &Key> {
        let valid = self.keys.iter().any(|key| key.accept.holds(now));
        let last = if valid { None } else { self.last_to_end(now, |key| key.accept) };
        self.keys.iter().filter(move |key| match last {
            Some(last) => key.id == last.id,
            None => key.accept.holds(now),
        })
    }

    /// The next time after `now` at which a lifetime begins or ends.
    pub fn next_change(&self, now: UnixTime) -> Option<UnixTime> {
        let bounds = |l: Lifetime| [l.start, l.end];
        let all = self.keys.iter().flat_map(|key| [bounds(key.send), bounds(key.accept)]).flatten();
        all.flatten().filter(|at| now < *at).min()
    }

    fn last_to_end(&self, now: UnixTime, lifetime: impl Fn(&Key) -> Lifetime) -> Option<&Key> {
        let over = self.keys.iter().filter(|key| lifetime(key).over(now) && !self.fail_secure);
        over.rev().max_by_key(|key| lifetime(key).end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(id: u8, send: [Option<u64>; 2], accept: [Option<u64>; 2]) -> Key {
        let lifetime =
            |[start, end]: [Option<u64>; 2]| Lifetime { start: start.map(UnixTime), end: end.map(UnixTime) };
        Key {
            id: KeyId(id),
            algorithm: Algorithm::KeyedMd5,
            secret: Secret::new(*b"k"),
            send: lifetime(send),
            accept: lifetime(accept),
        }
    }

    #[test]
    fn rollover() {
        let keys = vec![
            key(2, [Some(100), Some(200)], [Some(90), Some(210)]),
            key(1, [None, Some(110)], [None, Some(120)]),
            key(3, [Some(100), Some(150)], [Some(100), Some(150)]),
        ];
        let soft = KeyChain::new("soft", keys.clone(), false).unwrap();
        let hard = KeyChain::new("hard", keys, true).unwrap();
        // now, key to send with (and whether it has expired), keys to accept; then the same where the chain fails secure
        for (now, send, accept, secure_send, secure_accept) in [
            (50, Some((1, false)), vec![1], Some(1), vec![1]),
            (95, Some((1, false)), vec![1, 2], Some(1), vec![1, 2]),
            (100, Some((2, false)), vec![1, 2, 3], Some(2), vec![1, 2, 3]),
            (199, Some((2, false)), vec![2], Some(2), vec![2]),
            (200, Some((2, true)), vec![2], None, vec![2]),
            (500, Some((2, true)), vec![2], None, vec![]),
        ] {
            let at = UnixTime(now);
            let ids = |chain: &KeyChain| chain.accept_keys(at).map(|key| key.id.0).collect::<Vec<_>>();
            assert_eq!(soft.send_key(at).map(|s| (s.key.id.0, s.expired)), send, "send at {now}");
            assert_eq!(ids(&soft), accept, "accept at {now}");
            assert_eq!(hard.send_key(at).map(|s| s.key.id.0), secure_send, "secure send at {now}");
            assert_eq!(ids(&hard), secure_accept, "secure accept at {now}");
            assert_eq!(soft.accept_key(KeyId(2), at).is_some(), accept.contains(&2));
        }
        assert_eq!(soft.next_change(UnixTime(0)), Some(UnixTime(90)));
        assert_eq!(soft.next_change(UnixTime(120)), Some(UnixTime(150)));
        assert_eq!(soft.next_change(UnixTime(210)), None);
    }

    #[test]
    fn a_key_that_has_not_begun_is_no_fallback() {
        let chain =
            KeyChain::new("later", vec![key(1, [Some(100), None], [Some(100), None])], false).unwrap();
        assert_eq!(chain.send_key(UnixTime(99)), None);
        assert_eq!(chain.accept_keys(UnixTime(99)).count(), 0);
    }

    #[test]
    fn refusals() {
        let plain = |id| key(id, [None, None], [None, None]);
        let long = Key { secret: Secret::new([7; 17]), ..plain(1) };
        let sha = Key { algorithm: Algorithm::HmacSha256, ..long.clone() };
        for (keys, expected) in [
            (vec![], Err(KeyChainError::Empty)),
            (vec![plain(1), plain(2), plain(1)], Err(KeyChainError::DuplicateId(KeyId(1)))),
            (vec![Key { secret: Secret::new([]), ..plain(4) }], Err(KeyChainError::EmptySecret(KeyId(4)))),
            (vec![long], Err(KeyChainError::SecretTooLong { id: KeyId(1), len: 17 })),
            (vec![key(1, [Some(5), Some(5)], [None, None])], Err(KeyChainError::EmptyLifetime(KeyId(1)))),
            (vec![sha, plain(0)], Ok(())),
        ] {
            assert_eq!(KeyChain::new("c", keys, false).map(drop), expected);
        }
        assert!(Secret::new(*b"abc").matches(b"abc\0") && Secret::new(*b"abc").matches(b"ab"));
        assert!(!Secret::new(*b"abc").matches(b"abd\0"));
        assert!(!format!("{:?}", plain(1)).contains("107"), "a secret shows in Debug");
    }
}
