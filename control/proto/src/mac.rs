//! Message authentication codes of RIP and OSPF (RFC 4822 §2.4, RFC 2328 D.4.3, RFC 5709 §3.3).
//!
//! Both protocols hash the message with something in the place of the code: the key itself for keyed MD5, the constant
//! Apad for HMAC-SHA. That is appended here, so callers give only the octets in front of it.

use hmac::{KeyInit, Mac, SimpleHmac};
use serde::{Deserialize, Serialize};
use sha2::Digest as _;
use subtle::ConstantTimeEq;

use crate::Secret;

/// How a message is authenticated. It is configured with the key and never on the wire.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Algorithm {
    /// MD5 over message and key; what every implementation has, and broken as a hash.
    #[default]
    KeyedMd5,
    HmacSha1,
    HmacSha256,
    HmacSha384,
    HmacSha512,
}

/// An authentication code, 16 to 64 octets.
#[derive(Clone, Copy, Debug)]
pub struct Digest {
    bytes: [u8; 64],
    len: usize,
}

/// Where a key is longer than the hash's output but not longer than its block, two readings exist.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum LongKey {
    /// As it is: HMAC of RFC 2104, what BIRD and FRR send.
    AsItIs,
    /// Hashed first: RFC 4822 §2.5 and RFC 5709 §3.3 word for word.
    Hashed,
}

impl Algorithm {
    pub const ALL: [Self; 5] =
        [Self::KeyedMd5, Self::HmacSha1, Self::HmacSha256, Self::HmacSha384, Self::HmacSha512];

    /// As in configuration files.
    pub const fn name(self) -> &'static str {
        match self {
            Self::KeyedMd5 => "keyed-md5",
            Self::HmacSha1 => "hmac-sha1",
            Self::HmacSha256 => "hmac-sha256",
            Self::HmacSha384 => "hmac-sha384",
            Self::HmacSha512 => "hmac-sha512",
        }
    }

    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.name() == name)
    }

    /// Octets of the authentication code.
    pub const fn output_len(self) -> usize {
        match self {
            Self::KeyedMd5 => 16,
            Self::HmacSha1 => 20,
            Self::HmacSha256 => 32,
            Self::HmacSha384 => 48,
            Self::HmacSha512 => 64,
        }
    }

    /// The code of `message` with `key`.
    ///
    /// A key longer than the output is used as RFC 2104 has it. RFC 4822 and RFC 5709 would hash it first, but no peer
    /// that was tried does; [`Algorithm::verify`] takes both.
    pub fn authenticate(self, key: &Secret, message: &[u8]) -> Digest {
        self.compute(key.bytes(), message, LongKey::AsItIs)
    }

    /// Whether `code` is the code of `message`; takes the same time whatever octet differs.
    pub fn verify(self, key: &Secret, message: &[u8], code: &[u8]) -> bool {
        let matches =
            |long_key| bool::from(self.compute(key.bytes(), message, long_key).as_slice().ct_eq(code));
        matches(LongKey::AsItIs)
            || (self != Self::KeyedMd5 && self.output_len() < key.bytes().len() && matches(LongKey::Hashed))
    }

    fn compute(self, key: &[u8], message: &[u8], long_key: LongKey) -> Digest {
        match self {
            Self::KeyedMd5 => {
                let mut padded = [0; 16];
                for (to, from) in padded.iter_mut().zip(key) {
                    *to = *from;
                }
                Digest::new(&md5::Md5::new().chain_update(message).chain_update(padded).finalize())
            }
            Self::HmacSha1 => hmac::<sha1::Sha1>(self, key, message, long_key),
            Self::HmacSha256 => hmac::<sha2::Sha256>(self, key, message, long_key),
            Self::HmacSha384 => hmac::<sha2::Sha384>(self, key, message, long_key),
            Self::HmacSha512 => hmac::<sha2::Sha512>(self, key, message, long_key),
        }
    }
}

impl Digest {
    fn new(code: &[u8]) -> Self {
        let mut bytes = [0; 64];
        for (to, from) in bytes.iter_mut().zip(code) {
            *to = *from;
        }
        Self { bytes, len: code.len().min(64) }
    }

    pub fn as_slice(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or(&self.bytes)
    }
}

/// Apad: this word over and over, as long as the code (RFC 4822 §2.5).
const APAD: [u8; 4] = [0x87, 0x8f, 0xe1, 0xf3];

fn hmac<H>(algorithm: Algorithm, key: &[u8], message: &[u8], long_key: LongKey) -> Digest
where
    H: sha2::Digest + hmac::digest::block_api::BlockSizeUser + Clone,
{
    let hashed = H::digest(key);
    let key = match long_key {
        LongKey::AsItIs => key,
        LongKey::Hashed => &hashed,
    };
    let Ok(mut mac) = SimpleHmac::<H>::new_from_slice(key) else {
        unreachable!("HMAC takes keys of every length (RFC 2104 §2)")
    };
    mac.update(message);
    for _ in 0..algorithm.output_len() / APAD.len() {
        mac.update(&APAD);
    }
    Digest::new(&mac.finalize().into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_lengths() {
        for algorithm in Algorithm::ALL {
            let code = algorithm.authenticate(&Secret::new(*b"key"), b"message");
            assert_eq!(code.as_slice().len(), algorithm.output_len(), "{algorithm:?}");
            assert_eq!(Algorithm::from_name(algorithm.name()), Some(algorithm));
            assert_eq!(serde_json::to_string(&algorithm).unwrap(), format!("\"{}\"", algorithm.name()));
        }
        assert_eq!(Algorithm::from_name("md5"), None);
    }

    #[test]
    fn a_changed_octet_is_seen() {
        for algorithm in Algorithm::ALL {
            let key = Secret::new(*b"key");
            let code = algorithm.authenticate(&key, b"message").as_slice().to_vec();
            assert!(algorithm.verify(&key, b"message", &code));
            assert!(!algorithm.verify(&key, b"massage", &code));
            assert!(!algorithm.verify(&Secret::new(*b"kez"), b"message", &code));
            assert!(!algorithm.verify(&key, b"message", &code[1..]));
            for bit in 0..code.len() * 8 {
                let mut bad = code.clone();
                bad[bit / 8] ^= 1 << (bit % 8);
                assert!(!algorithm.verify(&key, b"message", &bad), "{algorithm:?} bit {bit}");
            }
        }
    }

    /// Codes from Python's hashlib and hmac:
    /// `hmac.new(b"key", b"message" + bytes.fromhex("878fe1f3") * 5, "sha1").hexdigest()`,
    /// `hashlib.md5(b"message" + b"key" + bytes(13)).hexdigest()`.
    #[test]
    fn codes_of_another_implementation() {
        for (algorithm, expected) in [
            (Algorithm::KeyedMd5, "cbfb5c2c4ad19a013e091fa012b3a1e4"),
            (Algorithm::HmacSha1, "701238237eadcef0dc86c0f8e9d4029dd21d87a9"),
            (Algorithm::HmacSha256, "434c3c79fea02b6ed3985e603a7997a60f424b4033da3c1529ecc4f8c74ebaed"),
        ] {
            let code = algorithm.authenticate(&Secret::new(*b"key"), b"message");
            let hex: String = code.as_slice().iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!(hex, expected, "{algorithm:?}");
        }
    }

    #[test]
    fn a_long_key_is_taken_in_both_readings() {
        let long = Secret::new([0x5a; 33]);
        let hashed = Secret::new(sha1::Sha1::digest([0x5a; 33]).to_vec());
        let rfc2104 = Algorithm::HmacSha1.authenticate(&long, b"message");
        let rfc4822 = Algorithm::HmacSha1.authenticate(&hashed, b"message");
        assert_ne!(rfc2104.as_slice(), rfc4822.as_slice());
        assert!(Algorithm::HmacSha1.verify(&long, b"message", rfc2104.as_slice()));
        assert!(Algorithm::HmacSha1.verify(&long, b"message", rfc4822.as_slice()));
        assert!(!Algorithm::HmacSha1.verify(&hashed, b"message", rfc2104.as_slice()));
    }
}
