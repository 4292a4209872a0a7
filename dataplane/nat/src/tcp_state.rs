//! A TCP connection as a NAT follows it: RFC 6146 §3.5.2.2, which RFC 7857 §2 applies to NAT44.
//!
//! ```text
//!            SYN out            SYN in
//!   ─────▶ SynOut ──────────▶ Established ──FIN out──▶ FinOut ──FIN in──▶ FinBoth
//!   ─────▶ SynIn  ──────────▶     │  ▲    ──FIN in───▶ FinIn  ──FIN out─▶   │
//!     SYN in        SYN out   RST │  │ any but RST                          │ (times out)
//!                                 ▼  │                                      ▼
//!                                 Reset ──────────── times out ───────────▶ gone
//! ```
//!
//! A RST does not end a session: it may be forged, so the session falls back to the transitory time-out and recovers
//! when the connection goes on (RFC 7857 §2.2).

use crate::flow::Tcp;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum TcpState {
    /// A SYN went out, none has come in.
    SynOut,
    /// A SYN came in through a mapping, none has gone out.
    SynIn,
    Established,
    FinOut,
    FinIn,
    FinBoth,
    /// A RST was seen while open.
    Reset,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Direction {
    /// From inside to outside.
    Out,
    /// From outside to inside.
    In,
}

/// Which timer a session runs on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TcpTimer {
    /// Partially open, closing or reset: RFC 5382 REQ-5, not under 4 minutes.
    Transitory,
    /// RFC 5382 REQ-5, not under 2 hours 4 minutes.
    Established,
}

impl TcpState {
    pub const ALL: [Self; 7] =
        [Self::SynOut, Self::SynIn, Self::Established, Self::FinOut, Self::FinIn, Self::FinBoth, Self::Reset];

    /// The state of a session that this SYN opens.
    pub const fn opened_by(direction: Direction) -> Self {
        match direction {
            Direction::Out => Self::SynOut,
            Direction::In => Self::SynIn,
        }
    }

    /// The state after a segment.
    #[must_use]
    pub const fn after(self, direction: Direction, segment: Tcp) -> Self {
        use Direction::{In, Out};
        match (self, direction) {
            (Self::SynOut, In) | (Self::SynIn, Out) if segment.syn => Self::Established,
            (Self::SynOut | Self::SynIn, In | Out) => self,
            (Self::Established | Self::FinOut | Self::FinIn, In | Out) if segment.rst => Self::Reset,
            (Self::Established, Out) | (Self::FinOut, Out) if segment.fin => Self::FinOut,
            (Self::Established, In) | (Self::FinIn, In) if segment.fin => Self::FinIn,
            (Self::FinOut, In) | (Self::FinIn, Out) if segment.fin => Self::FinBoth,
            (Self::Established | Self::FinOut | Self::FinIn, In | Out) => self,
            // RFC 7857 §2.3 and RFC 9293 §3.6.1: a new connection may reuse the tuple of one in TIME-WAIT.
            (Self::FinBoth, In | Out) if segment.syn => Self::opened_by(direction),
            (Self::FinBoth, In | Out) => self,
            (Self::Reset, In | Out) if segment.rst => self,
            (Self::Reset, In | Out) if segment.syn => Self::opened_by(direction),
            (Self::Reset, In | Out) => Self::Established,
        }
    }

    pub const fn timer(self) -> TcpTimer {
        match self {
            Self::Established | Self::FinOut | Self::FinIn => TcpTimer::Established,
            Self::SynOut | Self::SynIn | Self::FinBoth | Self::Reset => TcpTimer::Transitory,
        }
    }

    pub const fn name(self) -> &'static str {
        match self {
            Self::SynOut => "syn-out",
            Self::SynIn => "syn-in",
            Self::Established => "established",
            Self::FinOut => "fin-out",
            Self::FinIn => "fin-in",
            Self::FinBoth => "closed",
            Self::Reset => "reset",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Direction::{In, Out};
    use TcpState::{Established, FinBoth, FinIn, FinOut, Reset, SynIn, SynOut};

    const DATA: Tcp = Tcp { syn: false, ack: true, fin: false, rst: false };
    const SYN: Tcp = Tcp { syn: true, ack: false, fin: false, rst: false };
    const SYN_ACK: Tcp = Tcp { syn: true, ack: true, fin: false, rst: false };
    const FIN: Tcp = Tcp { syn: false, ack: true, fin: true, rst: false };
    const RST: Tcp = Tcp { syn: false, ack: false, fin: false, rst: true };

    /// Every (state, event): data, SYN, SYN+ACK, FIN, RST, each out and in.
    #[test]
    fn every_state_and_event() {
        let events = [DATA, SYN, SYN_ACK, FIN, RST];
        let table: [(TcpState, [TcpState; 5], [TcpState; 5]); 7] = [
            // state         out: data SYN SYN+ACK FIN RST                   in: data SYN SYN+ACK FIN RST
            (SynOut, [SynOut; 5], [SynOut, Established, Established, SynOut, SynOut]),
            (SynIn, [SynIn, Established, Established, SynIn, SynIn], [SynIn; 5]),
            (
                Established,
                [Established, Established, Established, FinOut, Reset],
                [Established, Established, Established, FinIn, Reset],
            ),
            (FinOut, [FinOut, FinOut, FinOut, FinOut, Reset], [FinOut, FinOut, FinOut, FinBoth, Reset]),
            (FinIn, [FinIn, FinIn, FinIn, FinBoth, Reset], [FinIn, FinIn, FinIn, FinIn, Reset]),
            (FinBoth, [FinBoth, SynOut, SynOut, FinBoth, FinBoth], [FinBoth, SynIn, SynIn, FinBoth, FinBoth]),
            (
                Reset,
                [Established, SynOut, SynOut, Established, Reset],
                [Established, SynIn, SynIn, Established, Reset],
            ),
        ];
        assert_eq!(table.map(|(state, _, _)| state), TcpState::ALL);
        for (state, out, inward) in table {
            for (direction, expected) in [(Out, out), (In, inward)] {
                for (event, expected) in events.into_iter().zip(expected) {
                    assert_eq!(state.after(direction, event), expected, "{state:?} {direction:?} {event:?}");
                }
            }
        }
    }
}
