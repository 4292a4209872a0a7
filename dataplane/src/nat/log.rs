//! Who had which outside endpoint when: events of the shards as JSON lines and as syslog messages. RFC 5424, RFC 5426.
//!
//! ```text
//!   {"time":"2026-11-22T16:00:00Z","event":"mapping-created","protocol":"tcp","inside":"…","outside":"…"}
//!   {"time":…,"event":"mapping-removed",…,"seconds":17}
//!   {"time":…,"event":"block-allocated","inside":"…","outside":"…","ports":"2048-2559"}
//!   {"time":…,"event":"lines-dropped","count":9}
//! ```
//! No destinations (RFC 6888 REQ-12). Over the rate lines are left out, and a line a second says how many.

use std::fmt::Write as _;
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::net::{Ipv4Addr, UdpSocket};
use std::os::unix::net::UnixDatagram;

use millrace_api::nat::{NatLog, NatSyslog};
use millrace_nat::Event;
use millrace_net::Instant;

use super::report::protocol_name;
use crate::clock;

/// Facility local0, severity informational (RFC 5424 §6.2.1).
const PRIORITY: u32 = 16 * 8 + 6;

/// Lines by what became of them.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct LogCounts {
    pub(crate) written: u64,
    pub(crate) dropped: u64,
    pub(crate) failed: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Log {
    wanted: NatLog,
    file: Option<File>,
    syslog: Option<Receiver>,
    counts: LogCounts,
    /// Lines of this second, and those left out in it.
    second: u64,
    lines: u32,
    dropped: u64,
    /// Whether the last trouble has been told of.
    complained: bool,
}

#[derive(Debug)]
enum Receiver {
    Udp(UdpSocket),
    Local(UnixDatagram),
}

impl Log {
    pub(crate) fn is_wanted(&self) -> bool {
        self.wanted.file.is_some() || self.wanted.syslog.is_some()
    }

    pub(crate) fn counts(&self) -> LogCounts {
        self.counts
    }

    /// Follows the configuration. What cannot be opened is said, and tried again with the next line.
    pub(crate) fn configure(&mut self, wanted: &NatLog) {
        if self.wanted != *wanted {
            *self = Self { wanted: wanted.clone(), counts: self.counts, ..Self::default() };
            self.open();
        }
    }

    fn open(&mut self) {
        if let (Some(path), None) = (&self.wanted.file, &self.file) {
            match OpenOptions::new().create(true).append(true).open(path) {
                Ok(file) => self.file = Some(file),
                Err(error) => self.complain(&format!("{path} cannot be written"), &error),
            }
        }
        if let (Some(wanted), None) = (&self.wanted.syslog, &self.syslog) {
            match connect(wanted) {
                Ok(receiver) => self.syslog = Some(receiver),
                Err(error) => self.complain("the syslog receiver cannot be reached", &error),
            }
        }
    }

    fn complain(&mut self, what: &str, error: &std::io::Error) {
        if !std::mem::replace(&mut self.complained, true) {
            tracing::error!(%error, "the log of address translation: {what}; lines are lost until it can");
        }
    }

    /// One event, and events that did not come this far.
    pub(crate) fn note(&mut self, now: Instant, event: Event) {
        self.turn(now);
        if self.wanted.rate <= self.lines {
            self.dropped += 1;
            self.counts.dropped += 1;
            return;
        }
        self.lines += 1;
        self.line(&fields(event));
    }

    /// Events that were lost on the way here.
    pub(crate) fn lost(&mut self, now: Instant, count: u64) {
        if count != 0 && self.is_wanted() {
            self.turn(now);
            self.dropped += count;
            self.counts.dropped += count;
        }
    }

    /// In the first second after one with too many lines, how many there were.
    pub(crate) fn turn(&mut self, now: Instant) {
        let second = now.as_secs();
        if second != self.second {
            self.second = second;
            self.lines = 0;
            let dropped = std::mem::take(&mut self.dropped);
            if dropped != 0 {
                self.line(&format!("\"event\":\"lines-dropped\",\"count\":{dropped}"));
            }
        }
    }

    fn line(&mut self, fields: &str) {
        self.open();
        let time = timestamp();
        let mut taken = false;
        if let Some(file) = &mut self.file {
            match file.write_all(format!("{{\"time\":\"{time}\",{fields}}}\n").as_bytes()) {
                Ok(()) => taken = true,
                Err(error) => {
                    self.file = None;
                    self.complain("the file cannot be written", &error);
                }
            }
        }
        if let Some(receiver) = &self.syslog {
            // RFC 5424 §6: no hostname, no structured data; the message is the JSON object.
            let pid = std::process::id();
            let message = format!("<{PRIORITY}>1 {time} - millrace {pid} nat - {{{fields}}}");
            let sent = match receiver {
                Receiver::Udp(socket) => socket.send(message.as_bytes()),
                Receiver::Local(socket) => socket.send(message.as_bytes()),
            };
            match sent {
                Ok(_) => taken = true,
                Err(error) => {
                    self.syslog = None;
                    self.complain("the syslog receiver takes nothing", &error);
                }
            }
        }
        if taken {
            self.counts.written += 1;
        } else {
            self.counts.failed += 1;
        }
    }
}

/// A socket that never blocks: the clerk has other things to do.
fn connect(wanted: &NatSyslog) -> std::io::Result<Receiver> {
    match wanted {
        NatSyslog::Udp(address) => {
            let any = if address.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
            let socket = UdpSocket::bind(any)?;
            socket.connect(address)?;
            socket.set_nonblocking(true)?;
            Ok(Receiver::Udp(socket))
        }
        NatSyslog::Path(path) => {
            let socket = UnixDatagram::unbound()?;
            socket.connect(path)?;
            socket.set_nonblocking(true)?;
            Ok(Receiver::Local(socket))
        }
    }
}

/// An event as the fields of a JSON object. Nothing in it needs escaping.
fn fields(event: Event) -> String {
    let mut out = String::with_capacity(160);
    // Writing to a string does not fail.
    let _ = match event {
        Event::MappingCreated { protocol, inside, outside } => write!(
            out,
            "\"event\":\"mapping-created\",\"protocol\":\"{}\",\"inside\":\"{inside}\",\"outside\":\"{outside}\"",
            protocol_name(protocol)
        ),
        Event::MappingRemoved { protocol, inside, outside, lifetime_secs } => write!(
            out,
            "\"event\":\"mapping-removed\",\"protocol\":\"{}\",\"inside\":\"{inside}\",\"outside\":\"{outside}\",\"seconds\":{lifetime_secs}",
            protocol_name(protocol)
        ),
        Event::BlockAllocated { inside, outside, first, size } => {
            write!(out, "\"event\":\"block-allocated\",{}", block(inside, outside, first, size))
        }
        Event::BlockReleased { inside, outside, first, size } => {
            write!(out, "\"event\":\"block-released\",{}", block(inside, outside, first, size))
        }
    };
    out
}

fn block(inside: u32, outside: u32, first: u16, size: u16) -> String {
    let (inside, outside) = (Ipv4Addr::from_bits(inside), Ipv4Addr::from_bits(outside));
    let last = first.saturating_add(size.saturating_sub(1));
    format!("\"inside\":\"{inside}\",\"outside\":\"{outside}\",\"ports\":\"{first}-{last}\"")
}

/// The time of day (RFC 3339), in UTC.
fn timestamp() -> String {
    let (days, seconds) = clock::calendar();
    let (year, month, day) = date(days);
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// The Gregorian date of a day since 1970 (Howard Hinnant, "chrono-compatible low-level date algorithms").
fn date(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let (era, of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (year_of_era + era * 400 + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;
    use millrace_nat::Endpoint;

    #[test]
    fn days_are_dates() {
        for (days, expected) in [
            (0, (1970, 1, 1)),
            (11_016, (2000, 2, 29)),
            (20_779, (2026, 11, 22)),
            (47_540, (2100, 2, 28)),
            (47_541, (2100, 3, 1)),
        ] {
            assert_eq!(date(days), expected, "{days}");
        }
    }

    #[test]
    fn events_are_json() {
        let endpoint = |text: &str, port| Endpoint::new(text.parse().unwrap(), port);
        let created = Event::MappingCreated {
            protocol: 6,
            inside: endpoint("192.168.0.5", 4000),
            outside: endpoint("203.0.113.8", 37_112),
        };
        let block =
            Event::BlockReleased { inside: 0xc0a8_0005, outside: 0xcb00_7108, first: 2048, size: 512 };
        for (event, expected) in [
            (
                created,
                r#"{"event":"mapping-created","protocol":"tcp","inside":"192.168.0.5:4000","outside":"203.0.113.8:37112"}"#,
            ),
            (
                block,
                r#"{"event":"block-released","inside":"192.168.0.5","outside":"203.0.113.8","ports":"2048-2559"}"#,
            ),
        ] {
            let line = format!("{{{}}}", fields(event));
            assert_eq!(line, expected);
            assert!(serde_json::from_str::<serde_json::Value>(&line).is_ok());
        }
    }

    #[test]
    fn over_the_rate_lines_are_counted_and_the_next_second_says_so() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("nat.jsonl");
        let mut log = Log::default();
        log.configure(&NatLog { file: Some(path.display().to_string()), syslog: None, rate: 2 });
        let event = Event::BlockAllocated { inside: 1, outside: 2, first: 64, size: 64 };
        for _ in 0..5 {
            log.note(Instant::from_secs(7), event);
        }
        assert_eq!(log.counts(), LogCounts { written: 2, dropped: 3, failed: 0 });
        log.turn(Instant::from_secs(8));
        let text = std::fs::read_to_string(path).unwrap();
        assert!(text.lines().last().unwrap().ends_with("\"event\":\"lines-dropped\",\"count\":3}"), "{text}");
        assert_eq!(text.lines().count(), 3);
    }
}
