//! The states of a session and what moves between them. RFC 5880 §4.1, §6.2, §6.8.6.

use serde::{Deserialize, Serialize};

/// As on the wire.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    AdminDown,
    Down,
    Init,
    Up,
}

/// Why the session is in its state, as on the wire.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Diagnostic {
    None,
    DetectionTimeExpired,
    EchoFailed,
    NeighborSignaledDown,
    ForwardingPlaneReset,
    PathDown,
    ConcatenatedPathDown,
    AdministrativelyDown,
    ReverseConcatenatedPathDown,
    /// 9 to 31: without a meaning yet, not an error.
    Reserved(u8),
}

/// What may happen to a session.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Event {
    /// A packet that passed every check says that the other side is in this state.
    Heard(State),
    /// Nothing was heard for the detection time.
    DetectionExpired,
    /// The interface went down.
    PathDown,
    Disable,
    Enable,
}

impl State {
    pub const ALL: [Self; 4] = [Self::AdminDown, Self::Down, Self::Init, Self::Up];

    pub const fn name(self) -> &'static str {
        match self {
            Self::AdminDown => "admin-down",
            Self::Down => "down",
            Self::Init => "init",
            Self::Up => "up",
        }
    }

    /// The next state, and the diagnostic that goes with it where there is news. None: nothing changes.
    pub const fn after(self, event: Event) -> Option<(Self, Diagnostic)> {
        use Diagnostic::{
            AdministrativelyDown, DetectionTimeExpired, NeighborSignaledDown, None as NoNews, PathDown,
        };
        match (self, event) {
            (Self::AdminDown, Event::Enable) => Some((Self::Down, NoNews)),
            (Self::Down | Self::Init | Self::Up, Event::Disable) => {
                Some((Self::AdminDown, AdministrativelyDown))
            }
            (Self::Init | Self::Up, Event::PathDown) => Some((Self::Down, PathDown)),
            (Self::Init | Self::Up, Event::DetectionExpired) => Some((Self::Down, DetectionTimeExpired)),
            (Self::Init | Self::Up, Event::Heard(Self::AdminDown)) | (Self::Up, Event::Heard(Self::Down)) => {
                Some((Self::Down, NeighborSignaledDown))
            }
            (Self::Down, Event::Heard(Self::Down)) => Some((Self::Init, NoNews)),
            (Self::Down, Event::Heard(Self::Init)) | (Self::Init, Event::Heard(Self::Init | Self::Up)) => {
                Some((Self::Up, NoNews))
            }
            (
                Self::AdminDown,
                Event::Heard(_) | Event::DetectionExpired | Event::PathDown | Event::Disable,
            )
            | (
                Self::Down,
                Event::Heard(Self::AdminDown | Self::Up)
                | Event::DetectionExpired
                | Event::PathDown
                | Event::Enable,
            )
            | (Self::Init, Event::Heard(Self::Down) | Event::Enable)
            | (Self::Up, Event::Heard(Self::Init | Self::Up) | Event::Enable) => None,
        }
    }

    pub(crate) const fn bits(self) -> u8 {
        match self {
            Self::AdminDown => 0,
            Self::Down => 1,
            Self::Init => 2,
            Self::Up => 3,
        }
    }

    pub(crate) const fn from_bits(bits: u8) -> Self {
        match bits & 3 {
            0 => Self::AdminDown,
            1 => Self::Down,
            2 => Self::Init,
            _ => Self::Up,
        }
    }
}

impl Diagnostic {
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::DetectionTimeExpired => "control detection time expired",
            Self::EchoFailed => "echo function failed",
            Self::NeighborSignaledDown => "neighbour signaled session down",
            Self::ForwardingPlaneReset => "forwarding plane reset",
            Self::PathDown => "path down",
            Self::ConcatenatedPathDown => "concatenated path down",
            Self::AdministrativelyDown => "administratively down",
            Self::ReverseConcatenatedPathDown => "reverse concatenated path down",
            Self::Reserved(_) => "reserved",
        }
    }

    pub(crate) const fn code(self) -> u8 {
        match self {
            Self::None => 0,
            Self::DetectionTimeExpired => 1,
            Self::EchoFailed => 2,
            Self::NeighborSignaledDown => 3,
            Self::ForwardingPlaneReset => 4,
            Self::PathDown => 5,
            Self::ConcatenatedPathDown => 6,
            Self::AdministrativelyDown => 7,
            Self::ReverseConcatenatedPathDown => 8,
            Self::Reserved(code) => code & 31,
        }
    }

    pub(crate) const fn from_code(code: u8) -> Self {
        match code & 31 {
            0 => Self::None,
            1 => Self::DetectionTimeExpired,
            2 => Self::EchoFailed,
            3 => Self::NeighborSignaledDown,
            4 => Self::ForwardingPlaneReset,
            5 => Self::PathDown,
            6 => Self::ConcatenatedPathDown,
            7 => Self::AdministrativelyDown,
            8 => Self::ReverseConcatenatedPathDown,
            other => Self::Reserved(other),
        }
    }
}
