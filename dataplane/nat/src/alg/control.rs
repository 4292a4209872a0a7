//! FTP's control connections through a shard: what a segment leaves with, and what its acknowledgment comes home with.
//!
//! A command that names an endpoint may come in pieces. A piece is kept, and not sent; it leaves at the head of the next
//! one. Its sender sees no acknowledgment, repeats it, and that changes nothing.

use core::net::Ipv4Addr;
use std::collections::HashMap;

use millrace_net::Instant;

use super::ftp::{self, Line};
use super::sequence::Shift;
use crate::flow::{Endpoint, Flow, protocol};
use crate::nat::{ByAddress, Nat};
use crate::table::SessionId;

/// Longest command that is kept in pieces, and most connections that have one.
const MAX_PENDING: usize = 512;

/// What a segment of a control connection leaves with.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outgoing {
    /// This sequence number, and this payload where it is another one.
    Forward { seq: u32, payload: Option<Vec<u8>> },
    /// It does not leave: the rest of its command comes with the next one.
    Keep,
}

/// One connection, from the inside host's view.
#[derive(Debug, Default)]
pub(crate) struct Control {
    shift: Shift,
    /// The beginning of a command, and its sequence number.
    pending: Option<(u32, Vec<u8>)>,
}

pub(crate) type Controls = HashMap<u32, Control, ByAddress>;

impl Nat {
    /// Whether a new session is an FTP control connection whose text is looked at.
    pub(crate) fn is_control(&self, protocol: u8, inside: Endpoint, remote: Endpoint) -> bool {
        self.config.gateways.ftp
            && protocol == protocol::TCP
            && (remote.port == ftp::CONTROL || inside.port == ftp::CONTROL)
    }

    /// A segment from inside of the control connection `session`, whose flow is `flow`.
    pub fn control_out(
        &mut self,
        now: Instant,
        session: SessionId,
        flow: &Flow,
        (seq, payload): (u32, &[u8]),
    ) -> Outgoing {
        let unchanged = Outgoing::Forward { seq, payload: None };
        if !self.is_session(session, flow.src, flow.dst) {
            return unchanged;
        }
        let Some(control) = self.controls.get_mut(&session.0) else { return unchanged };
        let mut first = seq;
        let mut text = Vec::new();
        match control.pending.take() {
            Some((begun, piece)) if !payload.is_empty() && begun.wrapping_add(len32(&piece)) == seq => {
                first = begun;
                text = piece;
            }
            // Repeated, or out of order: the piece stays where it is.
            Some(kept) if payload.is_empty() || !is_before(seq, kept.0) => control.pending = Some(kept),
            Some(_) | None => {}
        }
        let joined = !text.is_empty();
        text.extend_from_slice(payload);
        let shifted = control.shift.seq(first);
        let (at, line) = first_naming(&text, flow.src.addr());
        let named = match line {
            Line::Names(named) => named,
            Line::Incomplete if text.len() <= MAX_PENDING && at == 0 => {
                control.pending = Some((first, text));
                return Outgoing::Keep;
            }
            Line::Plain | Line::Incomplete => {
                return Outgoing::Forward { seq: shifted, payload: joined.then_some(text) };
            }
        };
        let data = Endpoint { addr: flow.src.addr, port: named.endpoint.port };
        let Ok(outside) = self.expect(now, flow.protocol, data, flow.dst.addr) else {
            // Without a port the command goes as it is, and its data connection fails.
            return Outgoing::Forward { seq: shifted, payload: joined.then_some(text) };
        };
        let Some(control) = self.controls.get_mut(&session.0) else { return unchanged };
        let renamed = named.renamed(outside);
        let range = at + named.text.start..at + named.text.end;
        let end = first.wrapping_add(u32::try_from(range.end).unwrap_or(0));
        let delta = i32::try_from(renamed.len()).unwrap_or(0) - i32::try_from(range.len()).unwrap_or(0);
        control.shift.edit(end, delta);
        let seq = control.shift.seq(first);
        text.splice(range, renamed.into_bytes());
        Outgoing::Forward { seq, payload: Some(text) }
    }

    /// The acknowledgment that the inside host of a control connection expects, for the one that comes from outside.
    pub fn control_ack(&self, session: SessionId, flow: &Flow, ack: u32) -> u32 {
        let inside = self.sessions.slab.get(session.0).inside;
        match self.controls.get(&session.0) {
            Some(control) if self.is_session(session, inside, flow.src) => control.shift.ack(ack),
            Some(_) | None => ack,
        }
    }

    fn is_session(&self, id: SessionId, inside: Endpoint, remote: Endpoint) -> bool {
        let s = self.sessions.slab.get(id.0);
        s.live && s.gateway && s.inside == inside && s.remote == remote
    }
}

/// The first line that names an endpoint or may begin to, and where it begins.
fn first_naming(text: &[u8], sender: Ipv4Addr) -> (usize, Line) {
    let mut at = 0;
    loop {
        let line = ftp::read(&text[at..], sender);
        if line != Line::Plain {
            return (at, line);
        }
        match text[at..].iter().position(|&b| b == b'\n') {
            Some(end) => at += end + 1,
            None => return (at, Line::Plain),
        }
    }
}

fn len32(bytes: &[u8]) -> u32 {
    u32::try_from(bytes.len()).unwrap_or(0)
}

const fn is_before(a: u32, b: u32) -> bool {
    (a.wrapping_sub(b).cast_signed()) < 0
}
