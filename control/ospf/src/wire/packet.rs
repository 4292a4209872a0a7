//! The five packets. RFC 2328 A.3, D.3, D.4.

use std::net::Ipv4Addr;

use millrace_net::checksum::Sum;
use millrace_proto::{Cursor, Key, KeyId, Secret, Truncated};

use super::{
    AreaId, DecodeError, HEADER_LEN, LSA_HEADER_LEN, Lsa, LsaHeader, LsaKey, LsaType, Options, RouterId,
};

const VERSION: u8 = 2;
const AUTH_NONE: u16 = 0;
const AUTH_SIMPLE: u16 = 1;
const AUTH_CRYPTOGRAPHIC: u16 = 2;
const FLAG_INIT: u8 = 4;
const FLAG_MORE: u8 = 2;
const FLAG_MASTER: u8 = 1;

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[repr(u8)]
pub enum PacketType {
    Hello = 1,
    Description = 2,
    Request = 3,
    Update = 4,
    Ack = 5,
}

/// A packet whose frame is in order. Its authentication is not verified.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Packet<'b> {
    pub kind: PacketType,
    pub router: RouterId,
    pub area: AreaId,
    pub authentication: Authentication<'b>,
    body: &'b [u8],
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Authentication<'b> {
    None,
    Simple([u8; 8]),
    Cryptographic {
        key: KeyId,
        sequence: u32,
        /// What the code is about: header and body.
        signed: &'b [u8],
        code: &'b [u8],
    },
}

/// What a packet carries so that its receiver believes it.
#[derive(Clone, Copy, Debug)]
pub enum Protection<'k> {
    None,
    /// The first 8 octets of the secret, in clear.
    Simple(&'k Secret),
    Cryptographic {
        key: &'k Key,
        sequence: u32,
    },
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Body {
    Hello(Hello),
    Description(Description),
    Request(Vec<LsaKey>),
    Update(Update),
    Ack(Vec<LsaHeader>),
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Hello {
    /// 0.0.0.0 on unnumbered and virtual links.
    pub mask: Ipv4Addr,
    /// Seconds.
    pub hello_interval: u16,
    pub options: Options,
    pub priority: u8,
    /// Seconds.
    pub dead_interval: u32,
    /// An interface address.
    pub designated: Ipv4Addr,
    pub backup: Ipv4Addr,
    /// Who has been heard lately.
    pub neighbors: Vec<RouterId>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Description {
    /// Of an IP packet; 0 on virtual links.
    pub mtu: u16,
    pub options: Options,
    pub init: bool,
    pub more: bool,
    pub master: bool,
    pub sequence: u32,
    pub headers: Vec<LsaHeader>,
}

/// What could be read of an update.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Update {
    pub lsas: Vec<Lsa>,
    /// Why others were left out.
    pub bad: Vec<DecodeError>,
}

impl<'b> Packet<'b> {
    /// Takes the IP payload. RFC 2328 §8.2, as far as it is about octets.
    pub fn decode(octets: &'b [u8]) -> Result<Self, DecodeError> {
        let truncated = |_: Truncated| DecodeError::Truncated;
        let mut cursor = Cursor::new(octets);
        let version = cursor.u8().map_err(truncated)?;
        if version != VERSION {
            return Err(DecodeError::Version(version));
        }
        let kind = cursor.u8().map_err(truncated)?;
        let len = usize::from(cursor.u16().map_err(truncated)?);
        let (packet, trailer) = octets.split_at_checked(len).ok_or(DecodeError::Truncated)?;
        let router = RouterId(cursor.addr().map_err(truncated)?);
        let area = AreaId(cursor.addr().map_err(truncated)?);
        let _checksum = cursor.u16().map_err(truncated)?;
        let auth_type = cursor.u16().map_err(truncated)?;
        let field: [u8; 8] = cursor.array().map_err(truncated)?;
        let body = packet.get(HEADER_LEN..).ok_or(DecodeError::Length)?;
        let kind = match kind {
            1 => PacketType::Hello,
            2 => PacketType::Description,
            3 => PacketType::Request,
            4 => PacketType::Update,
            5 => PacketType::Ack,
            other => return Err(DecodeError::Type(other)),
        };
        let authentication = match auth_type {
            AUTH_NONE => Authentication::None,
            AUTH_SIMPLE => Authentication::Simple(field),
            AUTH_CRYPTOGRAPHIC => {
                let [_, _, key, code_len, s0, s1, s2, s3] = field;
                let code = trailer.get(..usize::from(code_len)).ok_or(DecodeError::AuthLength)?;
                let sequence = u32::from_be_bytes([s0, s1, s2, s3]);
                Authentication::Cryptographic { key: KeyId(key), sequence, signed: packet, code }
            }
            other => return Err(DecodeError::AuthType(other)),
        };
        let cryptographic = matches!(authentication, Authentication::Cryptographic { .. });
        if !cryptographic && !checksum(packet).is_valid() {
            return Err(DecodeError::Checksum);
        }
        Ok(Self { kind, router, area, authentication, body })
    }

    /// The contents; to be read after the authentication is verified.
    pub fn body(&self) -> Result<Body, DecodeError> {
        let cursor = Cursor::new(self.body);
        match self.kind {
            PacketType::Hello => Hello::decode(cursor).map(Body::Hello),
            PacketType::Description => Description::decode(cursor).map(Body::Description),
            PacketType::Request => requests(cursor).map(Body::Request),
            PacketType::Update => Update::decode(cursor).map(Body::Update),
            PacketType::Ack => headers(cursor).map(Body::Ack),
        }
    }
}

/// The header's authentication field does not count. RFC 2328 D.4.1.
fn checksum(packet: &[u8]) -> Sum {
    let front = packet.get(..HEADER_LEN - 8).unwrap_or_default();
    Sum::ZERO.bytes(front).bytes(packet.get(HEADER_LEN..).unwrap_or_default())
}

impl Hello {
    fn decode(mut cursor: Cursor<'_>) -> Result<Self, DecodeError> {
        let mut read = || -> Result<Self, Truncated> {
            let mut hello = Self {
                mask: cursor.addr()?,
                hello_interval: cursor.u16()?,
                options: Options(cursor.u8()?),
                priority: cursor.u8()?,
                dead_interval: cursor.u32()?,
                designated: cursor.addr()?,
                backup: cursor.addr()?,
                neighbors: Vec::with_capacity(cursor.remaining() / 4),
            };
            while !cursor.is_empty() {
                hello.neighbors.push(RouterId(cursor.addr()?));
            }
            Ok(hello)
        };
        read().map_err(|_| DecodeError::Length)
    }
}

impl Description {
    fn decode(mut cursor: Cursor<'_>) -> Result<Self, DecodeError> {
        let mut fixed = || Ok::<_, Truncated>((cursor.u16()?, cursor.u8()?, cursor.u8()?, cursor.u32()?));
        let (mtu, options, flags, sequence) = fixed().map_err(|_| DecodeError::Length)?;
        Ok(Self {
            mtu,
            options: Options(options),
            init: flags & FLAG_INIT != 0,
            more: flags & FLAG_MORE != 0,
            master: flags & FLAG_MASTER != 0,
            sequence,
            headers: headers(cursor)?,
        })
    }
}

impl Update {
    fn decode(mut cursor: Cursor<'_>) -> Result<Self, DecodeError> {
        let count = cursor.u32().map_err(|_| DecodeError::Length)?;
        let mut update = Self::default();
        for _ in 0..count {
            match Lsa::decode(&mut cursor).map_err(|_| DecodeError::Length)? {
                Ok(lsa) => update.lsas.push(lsa),
                Err(error) => update.bad.push(error),
            }
        }
        Ok(update)
    }
}

fn requests(mut cursor: Cursor<'_>) -> Result<Vec<LsaKey>, DecodeError> {
    let mut all = Vec::with_capacity(cursor.remaining() / 12);
    while !cursor.is_empty() {
        let mut fields = || Ok::<_, Truncated>((cursor.u32()?, cursor.addr()?, cursor.addr()?));
        let (kind, id, router) = fields().map_err(|_| DecodeError::Length)?;
        let octet = u8::try_from(kind).unwrap_or(u8::MAX);
        let kind = LsaType::from_octet(octet).ok_or(DecodeError::LsaType(octet))?;
        all.push(LsaKey { kind, id, router: RouterId(router) });
    }
    Ok(all)
}

fn headers(mut cursor: Cursor<'_>) -> Result<Vec<LsaHeader>, DecodeError> {
    if !cursor.remaining().is_multiple_of(LSA_HEADER_LEN) {
        return Err(DecodeError::Length);
    }
    let mut all = Vec::with_capacity(cursor.remaining() / LSA_HEADER_LEN);
    while !cursor.is_empty() {
        all.push(LsaHeader::decode(&mut cursor)?);
    }
    Ok(all)
}

impl Body {
    pub const fn kind(&self) -> PacketType {
        match self {
            Self::Hello(_) => PacketType::Hello,
            Self::Description(_) => PacketType::Description,
            Self::Request(_) => PacketType::Request,
            Self::Update(_) => PacketType::Update,
            Self::Ack(_) => PacketType::Ack,
        }
    }

    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Hello(hello) => {
                out.extend(hello.mask.octets());
                out.extend(hello.hello_interval.to_be_bytes());
                out.extend([hello.options.0, hello.priority]);
                out.extend(hello.dead_interval.to_be_bytes());
                out.extend(hello.designated.octets());
                out.extend(hello.backup.octets());
                out.extend(hello.neighbors.iter().flat_map(|router| router.0.octets()));
            }
            Self::Description(description) => {
                out.extend(description.mtu.to_be_bytes());
                let flag = |set: bool, flag: u8| if set { flag } else { 0 };
                let flags = flag(description.init, FLAG_INIT)
                    | flag(description.more, FLAG_MORE)
                    | flag(description.master, FLAG_MASTER);
                out.extend([description.options.0, flags]);
                out.extend(description.sequence.to_be_bytes());
                description.headers.iter().for_each(|header| header.encode(out));
            }
            Self::Request(keys) => {
                for key in keys {
                    out.extend(u32::from(key.kind as u8).to_be_bytes());
                    out.extend(key.id.octets());
                    out.extend(key.router.0.octets());
                }
            }
            Self::Update(update) => {
                out.extend(u32::try_from(update.lsas.len()).unwrap_or(u32::MAX).to_be_bytes());
                update.lsas.iter().for_each(|lsa| lsa.encode(out));
            }
            Self::Ack(headers) => headers.iter().for_each(|header| header.encode(out)),
        }
    }
}

/// Octets of a packet that are not its body, the IP header left out.
pub fn overhead(protection: Protection<'_>) -> usize {
    HEADER_LEN
        + match protection {
            Protection::None | Protection::Simple(_) => 0,
            Protection::Cryptographic { key, .. } => key.algorithm.output_len(),
        }
}

/// One packet, from the OSPF header to the end of the authentication code. `body` fits an IP packet.
pub fn encode(router: RouterId, area: AreaId, body: &Body, protection: Protection<'_>) -> Vec<u8> {
    let mut out = Vec::with_capacity(128);
    out.extend([VERSION, body.kind() as u8, 0, 0]);
    out.extend(router.0.octets());
    out.extend(area.0.octets());
    let (auth_type, field) = match protection {
        Protection::None => (AUTH_NONE, [0; 8]),
        Protection::Simple(secret) => (AUTH_SIMPLE, secret.padded()),
        Protection::Cryptographic { key, sequence } => {
            let [s0, s1, s2, s3] = sequence.to_be_bytes();
            let len = u8::try_from(key.algorithm.output_len()).unwrap_or(u8::MAX);
            (AUTH_CRYPTOGRAPHIC, [0, 0, key.id.0, len, s0, s1, s2, s3])
        }
    };
    out.extend([0, 0]);
    out.extend(auth_type.to_be_bytes());
    out.extend(field);
    body.encode(&mut out);
    let len = u16::try_from(out.len()).unwrap_or(u16::MAX);
    put(&mut out, 2, len);
    match protection {
        Protection::None | Protection::Simple(_) => {
            let sum = checksum(&out).checksum();
            put(&mut out, 12, sum);
        }
        Protection::Cryptographic { key, .. } => {
            let code = key.algorithm.authenticate(&key.secret, &out);
            out.extend(code.as_slice());
        }
    }
    out
}

fn put(out: &mut [u8], at: usize, value: u16) {
    if let Some(field) = out.get_mut(at..at + 2) {
        field.copy_from_slice(&value.to_be_bytes());
    }
}
