//! FTP's control connection: PORT and EPRT of a client inside, the answers to PASV and EPSV of a server inside.
//! RFC 959 §4.1.2, §4.2; RFC 2428.
//!
//! ```text
//!   client inside:  PORT 192,168,0,5,15,160        ─▶  PORT 203,0,113,8,144,248
//!                   EPRT |1|192.168.0.5|4000|      ─▶  EPRT |1|203.0.113.8|37112|
//!   server inside:  227 … (192,168,0,5,15,160).    ─▶  227 … (203,0,113,8,144,248).
//!                   229 … (|||4000|)               ─▶  229 … (|||37112|)
//! ```

use core::fmt::Write;
use core::net::Ipv4Addr;
use core::ops::Range;
use core::str::FromStr;

use crate::flow::Endpoint;

/// Port of the control connection's server side.
pub const CONTROL: u16 = 21;

/// Longest command or answer that is waited for in pieces.
const MAX_LINE: usize = 512;

/// An endpoint named in a payload.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Named {
    /// Where a data connection is expected. The address is the sender's own where the text has none (229).
    pub endpoint: Endpoint,
    /// The bytes of the payload that name it.
    pub text: Range<usize>,
    style: Style,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Style {
    /// `h1,h2,h3,h4,p1,p2`
    Commas,
    /// `1|address|port`, with this delimiter
    Extended(u8),
    /// `port`
    PortOnly,
}

/// What a segment from inside says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Line {
    /// Nothing that concerns NAT.
    Plain,
    Names(Named),
    /// The beginning of what may become [`Line::Names`]: the rest is in the next segment.
    Incomplete,
}

/// Reads a segment's payload. `sender` is the inside endpoint that sent it. An address other than the sender's own is not
/// taken: nobody opens a way to somebody else's host (the FTP bounce attack, RFC 2577 §2).
pub fn read(payload: &[u8], sender: Ipv4Addr) -> Line {
    let end = payload.iter().position(|&b| b == b'\n');
    let line = end.map_or(payload, |end| &payload[..end]);
    let starts = |word: &[u8]| {
        let n = word.len().min(line.len());
        n != 0 && line[..n].eq_ignore_ascii_case(&word[..n])
    };
    let Some(command) = [
        (&b"PORT "[..], Command::Port),
        (b"EPRT ", Command::Eprt),
        (b"227 ", Command::Passive),
        (b"229 ", Command::ExtendedPassive),
    ]
    .into_iter()
    .find_map(|(word, command)| starts(word).then_some(command)) else {
        return Line::Plain;
    };
    if end.is_none() {
        return if line.len() < MAX_LINE { Line::Incomplete } else { Line::Plain };
    }
    let named = match command {
        Command::Port => commas(line, 5),
        // RFC 1123 §4.1.2.6: scan for the first digit, parentheses or not.
        Command::Passive => {
            line[4..].iter().position(u8::is_ascii_digit).and_then(|digit| commas(line, 4 + digit))
        }
        Command::Eprt => extended(line, 5),
        Command::ExtendedPassive => {
            line.iter().position(|&b| b == b'(').and_then(|at| port_only(line, at + 1, sender))
        }
    };
    match named {
        Some(named) if named.endpoint.addr() == sender && 0 < named.endpoint.port => Line::Names(named),
        Some(_) | None => Line::Plain,
    }
}

enum Command {
    Port,
    Eprt,
    Passive,
    ExtendedPassive,
}

impl Named {
    /// The text that names `outside` in the same way.
    pub fn renamed(&self, outside: Endpoint) -> String {
        let mut text = String::with_capacity(32);
        let [p1, p2] = outside.port.to_be_bytes();
        let [a, b, c, d] = outside.addr().octets();
        // Writing to a String does not fail.
        let _ = match self.style {
            Style::Commas => write!(text, "{a},{b},{c},{d},{p1},{p2}"),
            Style::Extended(delimiter) => {
                let bar = char::from(delimiter);
                write!(text, "1{bar}{}{bar}{}", outside.addr(), outside.port)
            }
            Style::PortOnly => write!(text, "{}", outside.port),
        };
        text
    }
}

/// Six numbers with commas from `at` on.
fn commas(line: &[u8], at: usize) -> Option<Named> {
    let mut numbers = [0u8; 6];
    let mut end = at;
    for (i, number) in numbers.iter_mut().enumerate() {
        if i != 0 {
            if line.get(end) != Some(&b',') {
                return None;
            }
            end += 1;
        }
        let (value, next) = number_at(line, end)?;
        *number = value;
        end = next;
    }
    let [a, b, c, d, p1, p2] = numbers;
    let endpoint = Endpoint::new(Ipv4Addr::new(a, b, c, d), u16::from_be_bytes([p1, p2]));
    Some(Named { endpoint, text: at..end, style: Style::Commas })
}

/// `<d>1<d>address<d>port<d>` from `at` on.
fn extended(line: &[u8], at: usize) -> Option<Named> {
    let delimiter = *line.get(at).filter(|d| (33..=126).contains(*d) && !d.is_ascii_digit())?;
    let rest = line.get(at + 1..)?;
    let mut parts = rest.split(|&b| b == delimiter);
    let (family, addr, port) = (parts.next()?, parts.next()?, parts.next()?);
    parts.next()?;
    if family != b"1" {
        return None;
    }
    let endpoint = Endpoint::new(text_of(addr)?, text_of(port)?);
    let len = family.len() + addr.len() + port.len() + 2;
    Some(Named { endpoint, text: at + 1..at + 1 + len, style: Style::Extended(delimiter) })
}

/// `<d><d><d>port<d>` from `at` on.
fn port_only(line: &[u8], at: usize, sender: Ipv4Addr) -> Option<Named> {
    let delimiter = *line.get(at)?;
    if line.get(at..at + 3)? != [delimiter; 3] {
        return None;
    }
    let digits = line.get(at + 3..)?.split(|&b| b == delimiter).next()?;
    let endpoint = Endpoint::new(sender, text_of(digits)?);
    Some(Named { endpoint, text: at + 3..at + 3 + digits.len(), style: Style::PortOnly })
}

fn number_at(line: &[u8], at: usize) -> Option<(u8, usize)> {
    let digits = line.get(at..)?.iter().take_while(|b| b.is_ascii_digit()).count();
    let value = text_of(line.get(at..at + digits)?)?;
    Some((value, at + digits))
}

fn text_of<T: FromStr>(bytes: &[u8]) -> Option<T> {
    core::str::from_utf8(bytes).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SENDER: Ipv4Addr = Ipv4Addr::new(192, 168, 0, 5);

    #[test]
    fn lines_that_name_an_endpoint() {
        let outside = Endpoint::new(Ipv4Addr::new(203, 0, 113, 8), 37112);
        for (line, renamed) in [
            ("PORT 192,168,0,5,15,160\r\n", "PORT 203,0,113,8,144,248\r\n"),
            ("port 192,168,0,5,15,160\r\n", "port 203,0,113,8,144,248\r\n"),
            ("EPRT |1|192.168.0.5|4000|\r\n", "EPRT |1|203.0.113.8|37112|\r\n"),
            ("EPRT !1!192.168.0.5!4000!\r\n", "EPRT !1!203.0.113.8!37112!\r\n"),
            (
                "227 Entering Passive Mode (192,168,0,5,15,160).\r\n",
                "227 Entering Passive Mode (203,0,113,8,144,248).\r\n",
            ),
            ("227 =192,168,0,5,15,160\r\n", "227 =203,0,113,8,144,248\r\n"),
            (
                "229 Entering Extended Passive Mode (|||4000|)\r\n",
                "229 Entering Extended Passive Mode (|||37112|)\r\n",
            ),
        ] {
            let Line::Names(named) = read(line.as_bytes(), SENDER) else { panic!("{line}") };
            assert_eq!(named.endpoint, Endpoint::new(SENDER, 4000), "{line}");
            let mut changed = line.to_owned();
            changed.replace_range(named.text.clone(), &named.renamed(outside));
            assert_eq!(changed, renamed);
        }
    }

    #[test]
    fn lines_that_name_none() {
        for line in [
            "USER anonymous\r\n",
            "PORT 192,168,0,6,15,160\r\n",
            "PORT 192,168,0,5,15\r\n",
            "PORT 192,168,0,5,15,256\r\n",
            "PORT 192,168,0,5,0,0\r\n",
            "PORT +192,168,0,5,15,160\r\n",
            "EPRT |2|2001:db8::1|4000|\r\n",
            "EPRT |1|192.168.0.5|4000\r\n",
            "EPRT |1|192.168.0.5|70000|\r\n",
            "227 Entering Passive Mode\r\n",
            "229 Entering Extended Passive Mode (||4000|)\r\n",
            "229 Entering Extended Passive Mode\r\n",
            "\r\n",
            "",
        ] {
            assert_eq!(read(line.as_bytes(), SENDER), Line::Plain, "{line:?}");
        }
    }

    #[test]
    fn every_cut_of_a_line_is_incomplete() {
        let whole = b"PORT 192,168,0,5,15,160\r\n";
        for cut in 1..whole.len() {
            assert_eq!(read(&whole[..cut], SENDER), Line::Incomplete, "cut at {cut}");
        }
        let endless = [&b"PORT "[..], &[b'1'; 600]].concat();
        assert_eq!(read(&endless, SENDER), Line::Plain);
    }

    proptest::proptest! {
        #[test]
        fn any_payload_is_answered(start in proptest::sample::select(vec!["", "PORT ", "EPRT |1|", "227 (", "229 (|||"]),
            rest in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..60)) {
            let payload = [start.as_bytes(), &rest, b"\n"].concat();
            if let Line::Names(named) = read(&payload, SENDER) {
                proptest::prop_assert!(named.text.end <= payload.len());
            }
        }
    }
}
