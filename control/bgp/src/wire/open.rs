//! OPEN. RFC 4271 §4.2 and §6.2, RFC 5492, RFC 6286, RFC 9072.

use std::net::Ipv4Addr;

use millrace_proto::{Cursor, Truncated};
use serde::{Deserialize, Serialize};

use super::capability::Capabilities;
use super::notification::Notification;
use super::{AS_TRANS, Kind, begin, finish};

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Open {
    /// Of four octets where the sender can (RFC 6793), else of two.
    pub asn: u32,
    /// Seconds; 0, or at least 3.
    pub hold_time: u16,
    pub router_id: Ipv4Addr,
    pub capabilities: Capabilities,
}

impl Open {
    pub fn decode(body: &[u8]) -> Result<Self, Notification> {
        let mut cursor = Cursor::new(body);
        let malformed = |_: Truncated| Notification::MALFORMED_OPEN;
        if cursor.u8().map_err(malformed)? != 4 {
            return Err(Notification::unsupported_version());
        }
        let short = cursor.u16().map_err(malformed)?;
        let hold_time = cursor.u16().map_err(malformed)?;
        let router_id = cursor.addr().map_err(malformed)?;
        let capabilities = parameters(cursor)?;
        let asn = capabilities.asn.unwrap_or_else(|| short.into());
        // RFC 7607 §2; RFC 6793 §4.2.2: what stands in both places has to agree.
        let agrees = u16::try_from(asn).map_or(short == AS_TRANS, |low| low == short || short == AS_TRANS);
        if asn == 0 || !agrees {
            return Err(Notification::BAD_PEER_AS);
        }
        if matches!(hold_time, 1 | 2) {
            return Err(Notification::UNACCEPTABLE_HOLD_TIME);
        }
        // RFC 6286 §2.1: any identifier but 0.
        if router_id.is_unspecified() {
            return Err(Notification::BAD_IDENTIFIER);
        }
        Ok(Self { asn, hold_time, router_id, capabilities })
    }

    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let start = begin(&mut out, Kind::Open);
        out.push(4);
        out.extend(u16::try_from(self.asn).unwrap_or(AS_TRANS).to_be_bytes());
        out.extend(self.hold_time.to_be_bytes());
        out.extend(self.router_id.octets());
        let capabilities = self.capabilities.encode();
        match (u8::try_from(capabilities.len() + 2), u8::try_from(capabilities.len())) {
            (Ok(2), _) => out.push(0),
            (Ok(parameters @ ..=254), Ok(len)) => {
                out.extend([parameters, 2, len]);
                out.extend(capabilities);
            }
            // RFC 9072 §2
            _ => {
                let len = u16::try_from(capabilities.len()).unwrap_or(u16::MAX);
                out.extend([255, 255]);
                out.extend(len.saturating_add(3).to_be_bytes());
                out.push(2);
                out.extend(len.to_be_bytes());
                out.extend(capabilities);
            }
        }
        finish(&mut out, start);
        out
    }
}

fn parameters(mut cursor: Cursor<'_>) -> Result<Capabilities, Notification> {
    let malformed = |_: Truncated| Notification::MALFORMED_OPEN;
    let mut capabilities = Capabilities::default();
    let len = cursor.u8().map_err(malformed)?;
    // RFC 9072 §2: a first parameter of type 255 says that lengths have two octets.
    let extended = len != 0 && cursor.rest().first() == Some(&255);
    let mut parameters = if extended {
        cursor.u8().map_err(malformed)?;
        let len = cursor.u16().map_err(malformed)?;
        Cursor::new(cursor.take(len.into()).map_err(malformed)?)
    } else {
        Cursor::new(cursor.take(len.into()).map_err(malformed)?)
    };
    if !cursor.is_empty() {
        return Err(Notification::MALFORMED_OPEN);
    }
    while !parameters.is_empty() {
        let kind = parameters.u8().map_err(malformed)?;
        let len = if extended { parameters.u16() } else { parameters.u8().map(u16::from) };
        let value = parameters.take(len.map_err(malformed)?.into()).map_err(malformed)?;
        if kind != 2 {
            return Err(Notification::UNSUPPORTED_PARAMETER);
        }
        capabilities.decode(value).map_err(malformed)?;
    }
    Ok(capabilities)
}
