//! ROUTE-REFRESH. RFC 2918, RFC 7313.

use super::capability::Family;
use super::notification::Notification;
use super::{Kind, begin, finish};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Refresh {
    pub family: Family,
    pub what: What,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum What {
    /// Send everything again.
    Request,
    /// RFC 7313 §4: everything follows.
    Begin,
    /// RFC 7313 §4: that was everything.
    End,
}

impl Refresh {
    /// None: a subtype that is not known, which is ignored (RFC 7313 §5).
    pub fn decode(body: &[u8]) -> Result<Option<Self>, Notification> {
        let &[a, b, subtype, safi] = body else {
            let mut message = Vec::new();
            let start = begin(&mut message, Kind::RouteRefresh);
            message.extend(body.iter().take(super::MAX_MESSAGE / 2));
            finish(&mut message, start);
            return Err(Notification::refresh_length(&message));
        };
        let what = match subtype {
            0 => What::Request,
            1 => What::Begin,
            2 => What::End,
            _ => return Ok(None),
        };
        Ok(Some(Self { family: Family { afi: u16::from_be_bytes([a, b]), safi }, what }))
    }

    pub fn encode(self) -> Vec<u8> {
        let mut out = Vec::with_capacity(super::HEADER + 4);
        let start = begin(&mut out, Kind::RouteRefresh);
        out.extend(self.family.afi.to_be_bytes());
        out.push(match self.what {
            What::Request => 0,
            What::Begin => 1,
            What::End => 2,
        });
        out.push(self.family.safi);
        finish(&mut out, start);
        out
    }
}
