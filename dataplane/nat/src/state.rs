//! A shard's state as bytes, for a planned restart: what one process has written the next one takes over.
//!
//! ```text
//!   "MRNS"  version: u16  –: u16  written: u32     mappings: u32  sessions: u32  resting: u32
//!   mappings × { protocol: u8, inside: u32 u16, outside: u32 u16, created: u32 }
//!   sessions × { mapping: u32, remote: u32 u16, tcp: u8, created: u32, refreshed: u32 }
//!   resting  × { address: u32, port: u16, protocol: u8, until: u32 }
//!   checksum: u64 (FNV-1a of all before it)
//! ```
//! Numbers are little-endian, times are seconds of the monotonic clock. Several shards' bytes one after the other are one
//! state; each shard that reads it takes what it owns, so the number of workers may have changed, at the price of what
//! no shard of the new number could have made.

use core::fmt;

use millrace_net::Instant;

use crate::expiry::NIL;
use crate::flow::Endpoint;
use crate::nat::Nat;
use crate::ports::Kind;
use crate::reconfigure::{Kept, Takeover};
use crate::tcp_state::TcpState;

const MAGIC: [u8; 4] = *b"MRNS";
const VERSION: u16 = 1;
const HEADER_LEN: usize = 24;
const MAPPING_LEN: usize = 17;
const SESSION_LEN: usize = 19;
const RESTING_LEN: usize = 11;
const CHECKSUM_LEN: usize = 8;

/// State that was read and found whole.
#[derive(Clone, Debug, Default)]
pub struct State {
    /// Second of the monotonic clock.
    written: u32,
    mappings: Vec<Takeover>,
    sessions: Vec<SavedSession>,
    resting: Vec<SavedPort>,
}

#[derive(Clone, Copy, Debug)]
struct SavedSession {
    /// Index in [`State::mappings`].
    mapping: u32,
    remote: Endpoint,
    tcp: TcpState,
    created: u32,
    refreshed: u32,
}

#[derive(Clone, Copy, Debug)]
struct SavedPort {
    outside: Endpoint,
    protocol: u8,
    until: u32,
}

/// Why bytes are no state. Nothing of them is taken over then.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BadState {
    /// They do not begin as state does.
    NotState,
    /// Of another version of this program.
    Version(u16),
    /// They end before they should.
    CutShort,
    Checksum,
    /// A record names what is not there.
    Record,
    /// Written later than now: by another clock, before the machine was started anew.
    Clock,
}

impl fmt::Display for BadState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let why = match self {
            Self::NotState => "does not begin as NAT state does",
            Self::Version(version) => {
                return write!(
                    f,
                    "the NAT state is of version {version} and this program reads {VERSION}: NAT starts empty"
                );
            }
            Self::CutShort => "ends before it should",
            Self::Checksum => "has a wrong checksum",
            Self::Record => "contradicts itself",
            Self::Clock => "is from before the machine was last started",
        };
        write!(f, "the NAT state {why}: nothing of it is used, and NAT starts empty")
    }
}

impl core::error::Error for BadState {}

impl Nat {
    /// All state, to be read by [`State::read`]. Takes some 50 ns a session.
    pub fn dump(&self, now: Instant) -> Vec<u8> {
        let live_mappings = || self.mappings.slab.iter().filter(|(_, m)| m.live);
        let live_sessions = || self.sessions.slab.iter().filter(|(_, s)| s.live);
        let counts = [live_mappings().count(), live_sessions().count(), self.resting.len()];
        let mut out = Vec::with_capacity(
            HEADER_LEN + counts[0] * MAPPING_LEN + counts[1] * SESSION_LEN + counts[2] * RESTING_LEN + 8,
        );
        out.extend(MAGIC);
        out.extend(VERSION.to_le_bytes());
        out.extend([0; 2]);
        out.extend(crate::nat::secs(now).to_le_bytes());
        for count in counts {
            out.extend(u32::try_from(count).unwrap_or(u32::MAX).to_le_bytes());
        }
        let mut places = vec![NIL; self.mappings.slab.positions()];
        for (place, (id, m)) in (0u32..).zip(live_mappings()) {
            places[id as usize] = place;
            out.push(m.protocol);
            write_endpoint(&mut out, m.inside);
            write_endpoint(&mut out, m.outside);
            out.extend(m.created.to_le_bytes());
        }
        for (_, s) in live_sessions() {
            out.extend(places[s.mapping as usize].to_le_bytes());
            write_endpoint(&mut out, s.remote);
            out.push(s.tcp as u8);
            out.extend(s.created.to_le_bytes());
            out.extend(s.refreshed.to_le_bytes());
        }
        for r in &self.resting {
            let addr = self.pools[usize::from(r.pool)].address(r.address);
            write_endpoint(&mut out, Endpoint { addr, port: r.port });
            out.push(r.kind.protocol());
            out.extend(r.until.to_le_bytes());
        }
        let sum = checksum(&out);
        out.extend(sum.to_le_bytes());
        out
    }

    /// Takes over what this shard owns of `state` and its configuration could have made. To be called before the first
    /// packet.
    pub fn restore(&mut self, now: Instant, state: &State) -> Result<Kept, BadState> {
        self.advance(now);
        if self.now_secs < state.written {
            return Err(BadState::Clock);
        }
        let mut kept = Kept::default();
        let mut places = vec![NIL; state.mappings.len()];
        for (place, saved) in places.iter_mut().zip(&state.mappings) {
            match self.take_over(*saved) {
                Some(id) => {
                    *place = id;
                    kept.mappings += 1;
                }
                None => kept.mappings_ended += 1,
            }
        }
        for s in &state.sessions {
            let place = places[s.mapping as usize];
            if place != NIL && self.take_over_session(place, s.remote, s.tcp, (s.created, s.refreshed)) {
                kept.sessions += 1;
            } else {
                kept.sessions_ended += 1;
            }
        }
        for port in &state.resting {
            if let Some(kind) = Kind::of(port.protocol) {
                self.rest_again(port.outside.addr, kind, port.outside.port, port.until);
            }
        }
        self.end_unused_takeovers(&places);
        Ok(kept)
    }
}

impl State {
    /// Reads what [`Nat::dump`] of one shard or several has written, one after the other.
    pub fn read(bytes: &[u8]) -> Result<Self, BadState> {
        let mut state = Self::default();
        let mut rest = bytes;
        while !rest.is_empty() {
            rest = state.read_shard(rest)?;
        }
        Ok(state)
    }

    pub fn mappings(&self) -> usize {
        self.mappings.len()
    }

    pub fn sessions(&self) -> usize {
        self.sessions.len()
    }

    /// Reads one shard's bytes; gives those behind it.
    fn read_shard<'a>(&mut self, bytes: &'a [u8]) -> Result<&'a [u8], BadState> {
        let mut reader = Reader(bytes);
        if reader.take::<4>().ok() != Some(MAGIC) {
            return Err(BadState::NotState);
        }
        let version = u16::from_le_bytes(reader.take()?);
        if version != VERSION {
            return Err(BadState::Version(version));
        }
        reader.take::<2>()?;
        self.written = self.written.max(reader.word()?);
        let counts = [reader.word()?, reader.word()?, reader.word()?];
        let len = [MAPPING_LEN, SESSION_LEN, RESTING_LEN]
            .into_iter()
            .zip(counts)
            .try_fold(HEADER_LEN, |sum, (len, count)| sum.checked_add(len.checked_mul(count as usize)?))
            .ok_or(BadState::CutShort)?;
        let (body, behind) = bytes.split_at_checked(len).ok_or(BadState::CutShort)?;
        let (sum, rest) = behind.split_first_chunk::<CHECKSUM_LEN>().ok_or(BadState::CutShort)?;
        if u64::from_le_bytes(*sum) != checksum(body) {
            return Err(BadState::Checksum);
        }
        let first = u32::try_from(self.mappings.len()).map_err(|_| BadState::Record)?;
        for _ in 0..counts[0] {
            let [protocol] = reader.take()?;
            let (inside, outside) = (reader.endpoint()?, reader.endpoint()?);
            self.mappings.push(Takeover { protocol, inside, outside, created: reader.word()? });
        }
        for _ in 0..counts[1] {
            let mapping = reader.word()?;
            let remote = reader.endpoint()?;
            let [tcp] = reader.take()?;
            let tcp = *TcpState::ALL.get(usize::from(tcp)).ok_or(BadState::Record)?;
            if counts[0] <= mapping {
                return Err(BadState::Record);
            }
            let (created, refreshed) = (reader.word()?, reader.word()?);
            self.sessions.push(SavedSession { mapping: first + mapping, remote, tcp, created, refreshed });
        }
        for _ in 0..counts[2] {
            let outside = reader.endpoint()?;
            let [protocol] = reader.take()?;
            self.resting.push(SavedPort { outside, protocol, until: reader.word()? });
        }
        Ok(rest)
    }
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], BadState> {
        let (chunk, rest) = self.0.split_first_chunk().ok_or(BadState::CutShort)?;
        self.0 = rest;
        Ok(*chunk)
    }

    fn word(&mut self) -> Result<u32, BadState> {
        Ok(u32::from_le_bytes(self.take()?))
    }

    fn endpoint(&mut self) -> Result<Endpoint, BadState> {
        Ok(Endpoint { addr: self.word()?, port: u16::from_le_bytes(self.take()?) })
    }
}

fn write_endpoint(out: &mut Vec<u8>, endpoint: Endpoint) {
    out.extend(endpoint.addr.to_le_bytes());
    out.extend(endpoint.port.to_le_bytes());
}

/// FNV-1a, 64 bits: finds what a disk or a cut does, not what an enemy does.
fn checksum(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, &b| (hash ^ u64::from(b)).wrapping_mul(0x0000_0100_0000_01b3))
}
