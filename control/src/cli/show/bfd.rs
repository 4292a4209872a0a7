//! `millrace show bfd`.

use crate::cli::exit::Error;
use crate::cli::out::{Out, duration, number, table};
use crate::http::view;

pub(super) fn bfd(view: view::Bfd, out: &mut Out) -> Result<(), Error> {
    if view.sessions.is_empty() {
        out.line("No neighbour is watched.")?;
    } else {
        let rows = view.sessions.iter().map(|session| {
            vec![
                session.neighbor.to_string(),
                session.interface.clone(),
                session.state.clone(),
                duration(session.state_seconds),
                interval(session.send_interval_ms),
                interval(session.detection_time_ms),
                number(session.sent),
                number(session.received),
                number(session.downs),
                session.clients.join(" "),
                session.diagnostic.clone(),
            ]
        });
        let header = [
            "NEIGHBOR",
            "INTERFACE",
            "STATE",
            "#FOR",
            "#INTERVAL",
            "#DETECTION",
            "#SENT",
            "#RECEIVED",
            "#DOWNS",
            "FOR WHOM",
            "WHY",
        ];
        out.line(table(&header, rows))?;
    }
    for (reason, count) in view.bad_packets.0.iter().filter(|(_, count)| *count != 0) {
        out.line(format_args!("! {} packets ignored: {reason}", number(*count)))?;
    }
    if let Some(problem) = &view.problem {
        out.line(format_args!("! {problem}"))?;
    }
    Ok(())
}

fn interval(milliseconds: f64) -> String {
    if milliseconds == 0.0 { "-".to_owned() } else { format!("{milliseconds} ms") }
}
