//! Every state meets every event: one table says what comes of it. RFC 5880 §6.2, §6.8.4, §6.8.6, §6.8.16.

use millrace_bfd::Diagnostic;
use millrace_bfd::State::{self, AdminDown, Down, Init, Up};
use millrace_bfd::state::Event::{self, DetectionExpired, Disable, Enable, Heard, PathDown};

/// State, event, and what comes of it; `None`: nothing changes.
type Row = (State, Event, Option<(State, Diagnostic)>);

const TABLE: &[Row] = &[
    (AdminDown, Heard(AdminDown), None),
    (AdminDown, Heard(Down), None),
    (AdminDown, Heard(Init), None),
    (AdminDown, Heard(Up), None),
    (AdminDown, DetectionExpired, None),
    (AdminDown, PathDown, None),
    (AdminDown, Disable, None),
    (AdminDown, Enable, Some((Down, Diagnostic::None))),
    (Down, Heard(AdminDown), None),
    (Down, Heard(Down), Some((Init, Diagnostic::None))),
    (Down, Heard(Init), Some((Up, Diagnostic::None))),
    (Down, Heard(Up), None),
    (Down, DetectionExpired, None),
    (Down, PathDown, None),
    (Down, Disable, Some((AdminDown, Diagnostic::AdministrativelyDown))),
    (Down, Enable, None),
    (Init, Heard(AdminDown), Some((Down, Diagnostic::NeighborSignaledDown))),
    (Init, Heard(Down), None),
    (Init, Heard(Init), Some((Up, Diagnostic::None))),
    (Init, Heard(Up), Some((Up, Diagnostic::None))),
    (Init, DetectionExpired, Some((Down, Diagnostic::DetectionTimeExpired))),
    (Init, PathDown, Some((Down, Diagnostic::PathDown))),
    (Init, Disable, Some((AdminDown, Diagnostic::AdministrativelyDown))),
    (Init, Enable, None),
    (Up, Heard(AdminDown), Some((Down, Diagnostic::NeighborSignaledDown))),
    (Up, Heard(Down), Some((Down, Diagnostic::NeighborSignaledDown))),
    (Up, Heard(Init), None),
    (Up, Heard(Up), None),
    (Up, DetectionExpired, Some((Down, Diagnostic::DetectionTimeExpired))),
    (Up, PathDown, Some((Down, Diagnostic::PathDown))),
    (Up, Disable, Some((AdminDown, Diagnostic::AdministrativelyDown))),
    (Up, Enable, None),
];

#[test]
fn every_state_meets_every_event() {
    let heard = State::ALL.map(Heard);
    let events: Vec<Event> = heard.into_iter().chain([DetectionExpired, PathDown, Disable, Enable]).collect();
    assert_eq!(TABLE.len(), State::ALL.len() * events.len());
    for state in State::ALL {
        for event in &events {
            let mut rows = TABLE.iter().filter(|(from, on, _)| (from, on) == (&state, event));
            let (_, _, expected) = rows.next().unwrap_or_else(|| panic!("no row for {state:?} {event:?}"));
            assert!(rows.next().is_none(), "two rows for {state:?} {event:?}");
            assert_eq!(state.after(*event), *expected, "{state:?} meets {event:?}");
        }
    }
}
