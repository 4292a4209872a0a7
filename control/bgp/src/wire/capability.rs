//! Capabilities: what a speaker can do beyond RFC 4271. RFC 5492, 4760, 2918, 8950, 8654, 9234, 4724, 6793, 7911, 7313, 9494.

use millrace_proto::{Cursor, Truncated};
use serde::{Deserialize, Serialize};

/// Address family and subsequent address family, as far as anything here speaks about them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct Family {
    pub afi: u16,
    pub safi: u8,
}

impl Family {
    pub const IPV4: Self = Self { afi: 1, safi: 1 };
    pub const IPV6: Self = Self { afi: 2, safi: 1 };
}

impl std::fmt::Display for Family {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match *self {
            Self::IPV4 => f.write_str("ipv4-unicast"),
            Self::IPV6 => f.write_str("ipv6-unicast"),
            Self { afi, safi } => write!(f, "afi {afi} safi {safi}"),
        }
    }
}

/// RFC 9234 §4.1: what the local router is on the session.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[repr(u8)]
pub enum Role {
    Provider = 0,
    RouteServer = 1,
    RouteServerClient = 2,
    Customer = 3,
    Peer = 4,
}

impl Role {
    pub const ALL: [Self; 5] =
        [Self::Provider, Self::RouteServer, Self::RouteServerClient, Self::Customer, Self::Peer];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Provider => "provider",
            Self::RouteServer => "route-server",
            Self::RouteServerClient => "route-server-client",
            Self::Customer => "customer",
            Self::Peer => "peer",
        }
    }

    /// RFC 9234 §4.2, table 2
    pub const fn fits(self, remote: Self) -> bool {
        matches!(
            (self, remote),
            (Self::Provider, Self::Customer)
                | (Self::Customer, Self::Provider)
                | (Self::RouteServer, Self::RouteServerClient)
                | (Self::RouteServerClient, Self::RouteServer)
                | (Self::Peer, Self::Peer)
        )
    }
}

/// RFC 4724 §3
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct GracefulRestart {
    /// This speaker has restarted and has no routes yet.
    pub restarting: bool,
    /// RFC 8538 §2: NOTIFICATIONs do not end it.
    pub notification: bool,
    /// Seconds, 12 bits.
    pub time: u16,
    /// Families, and whether their forwarding state was kept.
    pub families: Vec<(Family, bool)>,
}

/// What one OPEN says its sender can do.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Capabilities {
    /// RFC 4760. Empty: IPv4 unicast without saying so.
    pub families: Vec<Family>,
    pub route_refresh: bool,
    pub enhanced_refresh: bool,
    pub extended_message: bool,
    /// RFC 6793
    pub asn: Option<u32>,
    /// RFC 9234. A role that is none stays a number.
    pub roles: Vec<u8>,
    pub graceful_restart: Option<GracefulRestart>,
    /// RFC 9494 §3: family, and seconds of 24 bits.
    pub long_lived: Vec<(Family, u32)>,
    /// RFC 7911 §4: family, 1 receives, 2 sends, 3 both.
    pub add_path: Vec<(Family, u8)>,
    /// Codes that mean nothing here.
    pub unknown: Vec<u8>,
}

impl Capabilities {
    pub fn has_family(&self, family: Family) -> bool {
        self.families.contains(&family) || self.families.is_empty() && family == Family::IPV4
    }

    /// Whether it sends (2) or receives (1) several paths of `family`.
    pub fn add_path(&self, family: Family, direction: u8) -> bool {
        self.add_path.iter().any(|(of, mode)| *of == family && mode & direction != 0)
    }

    /// Takes in one capability parameter (RFC 5492 §4); a capability may stand there several times.
    pub(crate) fn decode(&mut self, parameter: &[u8]) -> Result<(), Truncated> {
        let mut cursor = Cursor::new(parameter);
        while !cursor.is_empty() {
            let code = cursor.u8()?;
            let len = cursor.u8()?.into();
            let mut value = Cursor::new(cursor.take(len)?);
            // A capability of a wrong length is one that is not understood (RFC 5492 §3: ignored).
            if self.decode_one(code, &mut value).is_err() {
                self.unknown.push(code);
            }
        }
        Ok(())
    }

    fn decode_one(&mut self, code: u8, value: &mut Cursor<'_>) -> Result<(), Truncated> {
        match code {
            1 => {
                let (afi, _, safi) = (value.u16()?, value.u8()?, value.u8()?);
                let family = Family { afi, safi };
                if !self.families.contains(&family) {
                    self.families.push(family);
                }
            }
            2 => self.route_refresh = true,
            6 => self.extended_message = true,
            9 => self.roles.push(value.u8()?),
            64 => {
                let head = value.u16()?;
                let mut restart = GracefulRestart {
                    restarting: head & 0x8000 != 0,
                    notification: head & 0x4000 != 0,
                    time: head & 0x0fff,
                    families: Vec::new(),
                };
                while !value.is_empty() {
                    let family = Family { afi: value.u16()?, safi: value.u8()? };
                    restart.families.push((family, value.u8()? & 0x80 != 0));
                }
                self.graceful_restart = Some(restart);
            }
            65 => self.asn = Some(value.u32()?),
            69 => {
                while !value.is_empty() {
                    let family = Family { afi: value.u16()?, safi: value.u8()? };
                    let mode = value.u8()?;
                    // RFC 7911 §4: other values are ignored.
                    if (1..=3).contains(&mode) {
                        self.add_path.push((family, mode));
                    }
                }
            }
            70 => self.enhanced_refresh = true,
            71 => {
                while !value.is_empty() {
                    let family = Family { afi: value.u16()?, safi: value.u8()? };
                    let [_, a, b, c] = [value.u8()?, value.u8()?, value.u8()?, value.u8()?];
                    self.long_lived.push((family, u32::from_be_bytes([0, a, b, c])));
                }
            }
            _ => self.unknown.push(code),
        }
        Ok(())
    }

    /// The capabilities as one run of triples, in ascending order of codes.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let mut put = |code: u8, value: &[u8]| {
            out.push(code);
            out.push(u8::try_from(value.len()).unwrap_or(u8::MAX));
            out.extend(value.iter().take(255));
        };
        for family in &self.families {
            let [a, b] = family.afi.to_be_bytes();
            put(1, &[a, b, 0, family.safi]);
        }
        if self.route_refresh {
            put(2, &[]);
        }
        if self.extended_message {
            put(6, &[]);
        }
        for role in &self.roles {
            put(9, &[*role]);
        }
        if let Some(restart) = &self.graceful_restart {
            let flags = u16::from(restart.restarting) << 15 | u16::from(restart.notification) << 14;
            let mut value = (flags | restart.time & 0x0fff).to_be_bytes().to_vec();
            for (family, kept) in &restart.families {
                let [a, b] = family.afi.to_be_bytes();
                value.extend([a, b, family.safi, u8::from(*kept) << 7]);
            }
            put(64, &value);
        }
        if let Some(asn) = self.asn {
            put(65, &asn.to_be_bytes());
        }
        if !self.add_path.is_empty() {
            let value = self.add_path.iter().flat_map(|(family, mode)| {
                let [a, b] = family.afi.to_be_bytes();
                [a, b, family.safi, *mode]
            });
            put(69, &value.collect::<Vec<u8>>());
        }
        if self.enhanced_refresh {
            put(70, &[]);
        }
        if !self.long_lived.is_empty() {
            let value = self.long_lived.iter().flat_map(|(family, secs)| {
                let [a, b] = family.afi.to_be_bytes();
                let [_, c, d, e] = secs.to_be_bytes();
                [a, b, family.safi, 0x80, c, d, e]
            });
            put(71, &value.collect::<Vec<u8>>());
        }
        out
    }
}
