//! Entries to octets, protected as configured.

use millrace_proto::{Algorithm, Key, Secret};

use super::{
    AUTH_CRYPTOGRAPHIC, AUTH_PLAIN, Command, ENTRY_LEN, Entry, FAMILY_AUTH, HEADER_LEN, MAX_ENTRIES, MAX_LEN,
    TRAILER, TRAILER_HEADER_LEN, Version,
};

/// What a message carries so that its receiver believes it.
#[derive(Clone, Copy, Debug)]
pub enum Protection<'k> {
    None,
    /// The first 16 octets of the secret, in clear.
    Plain(&'k Secret),
    Cryptographic {
        key: &'k Key,
        sequence: u32,
    },
}

/// How many entries fit in one message.
pub fn capacity(protection: Protection<'_>) -> usize {
    match protection {
        Protection::None => MAX_ENTRIES,
        Protection::Plain(_) => MAX_ENTRIES - 1,
        Protection::Cryptographic { key, .. } => {
            let overhead = HEADER_LEN + ENTRY_LEN + TRAILER_HEADER_LEN + key.algorithm.output_len();
            (MAX_ENTRIES - 1).min((MAX_LEN - overhead) / ENTRY_LEN)
        }
    }
}

/// One message. Version 1 carries neither protection nor the fields that version 2 added.
///
/// `entries` are no more than [`capacity`]; the packet length field of RFC 4822 holds any number that fits a datagram.
pub fn encode(command: Command, version: Version, entries: &[Entry], protection: Protection<'_>) -> Vec<u8> {
    let command = match command {
        Command::Request => 1,
        Command::Response => 2,
    };
    match version {
        Version::V1 => {
            let mut out = vec![command, 1, 0, 0];
            for entry in entries {
                put(&mut out, &Entry { tag: 0, mask: [0; 4].into(), next_hop: [0; 4].into(), ..*entry });
            }
            out
        }
        Version::V2 => {
            let mut out = vec![command, 2, 0, 0];
            put_authentication(&mut out, entries.len(), protection);
            for entry in entries {
                put(&mut out, entry);
            }
            if let Protection::Cryptographic { key, .. } = protection {
                out.extend(TRAILER);
                let code = key.algorithm.authenticate(&key.secret, &out);
                out.extend(code.as_slice());
            }
            out
        }
    }
}

fn put(out: &mut Vec<u8>, entry: &Entry) {
    out.extend(entry.family.to_be_bytes());
    out.extend(entry.tag.to_be_bytes());
    out.extend(entry.address.octets());
    out.extend(entry.mask.octets());
    out.extend(entry.next_hop.octets());
    out.extend(entry.metric.to_be_bytes());
}

fn put_authentication(out: &mut Vec<u8>, entries: usize, protection: Protection<'_>) {
    match protection {
        Protection::None => {}
        Protection::Plain(secret) => {
            out.extend(FAMILY_AUTH.to_be_bytes());
            out.extend(AUTH_PLAIN.to_be_bytes());
            out.extend(secret.padded::<16>());
        }
        Protection::Cryptographic { key, sequence } => {
            let packet_len = HEADER_LEN + ENTRY_LEN * (1 + entries);
            out.extend(FAMILY_AUTH.to_be_bytes());
            out.extend(AUTH_CRYPTOGRAPHIC.to_be_bytes());
            out.extend(u16::try_from(packet_len).unwrap_or(u16::MAX).to_be_bytes());
            out.push(key.id.0);
            out.push(code_len(key.algorithm));
            out.extend(sequence.to_be_bytes());
            out.extend([0; 8]);
        }
    }
}

/// RFC 4822 §2.1: the length of the authentication data alone.
fn code_len(algorithm: Algorithm) -> u8 {
    u8::try_from(algorithm.output_len()).unwrap_or(u8::MAX)
}
