//! Every state of both machines meets every event. RFC 2328 §9.3, §10.3.

use millrace_ospf::link::{self, InterfaceEvent, InterfaceState, Medium, Next};
use millrace_ospf::neighbor::{self, Facts, NeighborEvent, NeighborState};

/// Rows are events, columns states in the order of [`NeighborState::ALL`]; `·` means that nothing happens.
#[test]
fn every_neighbour_state_meets_every_event() {
    use NeighborEvent as E;
    // With an adjacency wanted and requests left; what differs without is behind the slash.
    let table: [(E, [&str; 8]); 13] = [
        (E::HelloReceived, ["init", "init", "init", "2-way", "exstart", "exchange", "loading", "full"]),
        (E::Start, ["attempt", "·", "·", "·", "·", "·", "·", "·"]),
        (E::TwoWayReceived, ["·", "·", "exstart/2-way", "2-way", "exstart", "exchange", "loading", "full"]),
        (E::NegotiationDone, ["·", "·", "·", "·", "exchange", "·", "·", "·"]),
        (E::ExchangeDone, ["·", "·", "·", "·", "·", "loading/full", "·", "·"]),
        (E::BadRequest, ["·", "·", "·", "·", "·", "exstart", "exstart", "exstart"]),
        (E::LoadingDone, ["·", "·", "·", "·", "·", "·", "full", "·"]),
        (
            E::AdjacencyQuestion,
            [
                "·",
                "·",
                "·",
                "exstart/2-way",
                "exstart/2-way",
                "exchange/2-way",
                "loading/2-way",
                "full/2-way",
            ],
        ),
        (E::SequenceMismatch, ["·", "·", "·", "·", "·", "exstart", "exstart", "exstart"]),
        (E::OneWay, ["·", "·", "init", "init", "init", "init", "init", "init"]),
        (E::Kill, ["down"; 8]),
        (E::Inactivity, ["down"; 8]),
        (E::LinkDown, ["down"; 8]),
    ];
    assert_eq!(table.map(|(event, _)| event), NeighborEvent::ALL);
    for (event, row) in table {
        for (state, cell) in NeighborState::ALL.into_iter().zip(row) {
            let (wanted, unwanted) = cell.split_once('/').unwrap_or((cell, cell));
            for (yes, expected) in [(true, wanted), (false, unwanted)] {
                let facts = Facts { adjacency_wanted: yes, requests_left: yes };
                let next = neighbor::transition(state, event, facts).map_or("·", NeighborState::name);
                assert_eq!(next, expected, "{event:?} in {state:?}, {facts:?}");
            }
        }
    }
}

/// The same for interfaces; `elect` is the election.
#[test]
fn every_interface_state_meets_every_event() {
    use InterfaceEvent as E;
    let table: [(E, [&str; 7]); 7] = [
        (E::Up, ["up", "·", "·", "·", "·", "·", "·"]),
        (E::WaitTimer, ["·", "·", "elect", "·", "·", "·", "·"]),
        (E::BackupSeen, ["·", "·", "elect", "·", "·", "·", "·"]),
        (E::NeighborChange, ["·", "·", "·", "·", "elect", "elect", "elect"]),
        (E::Loop, ["loopback"; 7]),
        (E::Unloop, ["·", "down", "·", "·", "·", "·", "·"]),
        (E::Down, ["down"; 7]),
    ];
    let media = [
        (Medium::Broadcast, "waiting", "dr-other"),
        (Medium::NonBroadcast, "waiting", "dr-other"),
        (Medium::PointToPoint, "point-to-point", "point-to-point"),
        (Medium::PointToMultipoint, "point-to-point", "point-to-point"),
        (Medium::Virtual, "point-to-point", "point-to-point"),
        (Medium::Loopback, "loopback", "loopback"),
    ];
    for (event, row) in table {
        for (state, cell) in InterfaceState::ALL.into_iter().zip(row) {
            for (medium, eligible_up, other_up) in media {
                for eligible in [true, false] {
                    let up = if eligible { eligible_up } else { other_up };
                    let expected = if cell == "up" { up } else { cell };
                    let next = match link::transition(state, event, medium, eligible) {
                        None => "·",
                        Some(Next::Elect) => "elect",
                        Some(Next::State(next)) => next.name(),
                    };
                    assert_eq!(next, expected, "{event:?} in {state:?}, {medium:?}");
                }
            }
        }
    }
}
