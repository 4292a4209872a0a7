//! NOTIFICATION: why a session ends. RFC 4271 §4.5 and §6, RFC 4486, 8538, 9003, 9234, 9384, 9687.

use std::fmt;

use millrace_proto::Cursor;
use serde::{Deserialize, Serialize};

use super::{Kind, begin, finish};

/// One NOTIFICATION, sent or received.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Notification {
    pub code: u8,
    pub subcode: u8,
    pub data: Vec<u8>,
}

/// Codes with their names and those of their subcodes.
type Names = (u8, &'static str, &'static [(u8, &'static str)]);

const NAMES: &[Names] = &[
    (
        1,
        "message header error",
        &[(1, "connection not synchronized"), (2, "bad message length"), (3, "bad message type")],
    ),
    (
        2,
        "OPEN message error",
        &[
            (1, "unsupported version number"),
            (2, "bad peer AS"),
            (3, "bad BGP identifier"),
            (4, "unsupported optional parameter"),
            (6, "unacceptable hold time"),
            (7, "unsupported capability"),
            (11, "role mismatch"),
        ],
    ),
    (
        3,
        "UPDATE message error",
        &[
            (1, "malformed attribute list"),
            (2, "unrecognized well-known attribute"),
            (3, "missing well-known attribute"),
            (4, "attribute flags error"),
            (5, "attribute length error"),
            (6, "invalid ORIGIN"),
            (8, "invalid NEXT_HOP"),
            (9, "optional attribute error"),
            (10, "invalid network field"),
            (11, "malformed AS_PATH"),
        ],
    ),
    (4, "hold timer expired", &[]),
    (
        5,
        "finite state machine error",
        &[
            (1, "unexpected message in OpenSent"),
            (2, "unexpected message in OpenConfirm"),
            (3, "unexpected message in Established"),
        ],
    ),
    (
        6,
        "cease",
        &[
            (1, "maximum number of prefixes reached"),
            (2, "administrative shutdown"),
            (3, "peer de-configured"),
            (4, "administrative reset"),
            (5, "connection rejected"),
            (6, "other configuration change"),
            (7, "connection collision resolution"),
            (8, "out of resources"),
            (9, "hard reset"),
            (10, "BFD down"),
        ],
    ),
    (7, "ROUTE-REFRESH message error", &[(1, "invalid message length")]),
    (8, "send hold timer expired", &[]),
];

impl Notification {
    pub const NOT_SYNCHRONIZED: Self = Self::new(1, 1);
    pub const MALFORMED_OPEN: Self = Self::new(2, 0);
    pub const BAD_PEER_AS: Self = Self::new(2, 2);
    pub const BAD_IDENTIFIER: Self = Self::new(2, 3);
    pub const UNSUPPORTED_PARAMETER: Self = Self::new(2, 4);
    pub const UNACCEPTABLE_HOLD_TIME: Self = Self::new(2, 6);
    /// RFC 9234 §4.2
    pub const ROLE_MISMATCH: Self = Self::new(2, 11);
    pub const MALFORMED_ATTRIBUTES: Self = Self::new(3, 1);
    pub const OPTIONAL_ATTRIBUTE: Self = Self::new(3, 9);
    pub const INVALID_NETWORK: Self = Self::new(3, 10);
    pub const HOLD_TIMER_EXPIRED: Self = Self::new(4, 0);
    pub const MAX_PREFIXES: Self = Self::new(6, 1);
    pub const DECONFIGURED: Self = Self::new(6, 3);
    pub const ADMIN_RESET: Self = Self::new(6, 4);
    pub const REJECTED: Self = Self::new(6, 5);
    pub const CONFIGURATION_CHANGE: Self = Self::new(6, 6);
    pub const COLLISION: Self = Self::new(6, 7);
    pub const BFD_DOWN: Self = Self::new(6, 10);
    /// RFC 9687 §3.2
    pub const SEND_HOLD_TIMER_EXPIRED: Self = Self::new(8, 0);

    pub const fn new(code: u8, subcode: u8) -> Self {
        Self { code, subcode, data: Vec::new() }
    }

    pub fn bad_length(len: [u8; 2]) -> Self {
        Self { code: 1, subcode: 2, data: len.to_vec() }
    }

    pub fn bad_type(kind: u8) -> Self {
        Self { code: 1, subcode: 3, data: vec![kind] }
    }

    /// With the version that is spoken here: 4.
    pub fn unsupported_version() -> Self {
        Self { code: 2, subcode: 1, data: vec![0, 4] }
    }

    /// With the attribute as it came.
    pub fn unrecognized_well_known(attribute: &[u8]) -> Self {
        Self { code: 3, subcode: 2, data: attribute.to_vec() }
    }

    /// RFC 7313 §5: with the whole message.
    pub fn refresh_length(message: &[u8]) -> Self {
        Self { code: 7, subcode: 1, data: message.to_vec() }
    }

    /// RFC 9003: the message is cut at 255 octets, between characters.
    pub fn shutdown(message: &str) -> Self {
        let mut end = message.len().min(255);
        while !message.is_char_boundary(end) {
            end -= 1;
        }
        let text = message.get(..end).unwrap_or_default();
        let mut data = Vec::new();
        if let Ok(len @ 1..) = u8::try_from(text.len()) {
            data.push(len);
            data.extend_from_slice(text.as_bytes());
        }
        Self { code: 6, subcode: 2, data }
    }

    /// A message is unexpected in the state with this number: 1 OpenSent, 2 OpenConfirm, 3 Established (RFC 6608).
    pub const fn unexpected_in(state: u8) -> Self {
        Self::new(5, state)
    }

    /// RFC 8538 §3.1: ends the session for good, whatever was agreed about graceful restart.
    #[must_use]
    pub fn hard_reset(self) -> Self {
        let mut data = vec![self.code, self.subcode];
        data.extend(self.data);
        Self { code: 6, subcode: 9, data }
    }

    pub const fn is_hard_reset(&self) -> bool {
        self.code == 6 && self.subcode == 9
    }

    /// What was said with an administrative shutdown or reset (RFC 9003 §2).
    pub fn message(&self) -> Option<String> {
        if self.code != 6 || !matches!(self.subcode, 2 | 4) {
            return None;
        }
        let (len, rest) = self.data.split_first()?;
        let text = rest.get(..usize::from(*len))?;
        // What a peer says ends up on a terminal.
        let clean: String =
            String::from_utf8_lossy(text).chars().filter(|character| !character.is_control()).collect();
        (!clean.is_empty()).then_some(clean)
    }

    pub fn decode(body: &[u8]) -> Option<Self> {
        let mut cursor = Cursor::new(body);
        let (code, subcode) = (cursor.u8().ok()?, cursor.u8().ok()?);
        Some(Self { code, subcode, data: cursor.rest().to_vec() })
    }

    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(super::HEADER + 2 + self.data.len());
        let start = begin(&mut out, Kind::Notification);
        out.extend_from_slice(&[self.code, self.subcode]);
        out.extend(self.data.iter().take(super::MAX_MESSAGE - super::HEADER - 2));
        finish(&mut out, start);
        out
    }
}

impl fmt::Display for Notification {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some((_, name, subcodes)) = NAMES.iter().find(|(code, ..)| *code == self.code) else {
            return write!(f, "error code {} subcode {}", self.code, self.subcode);
        };
        f.write_str(name)?;
        match subcodes.iter().find(|(subcode, _)| *subcode == self.subcode) {
            Some((_, name)) => write!(f, ": {name}")?,
            None if self.subcode != 0 => write!(f, ": subcode {}", self.subcode)?,
            None => {}
        }
        if let (true, [code, subcode, data @ ..]) = (self.is_hard_reset(), &self.data[..]) {
            let inner = Self { code: *code, subcode: *subcode, data: data.to_vec() };
            // One inside another says nothing more.
            return if inner.is_hard_reset() { Ok(()) } else { write!(f, ": {inner}") };
        }
        match self.message() {
            Some(message) => write!(f, " ({message:?})"),
            None => Ok(()),
        }
    }
}
