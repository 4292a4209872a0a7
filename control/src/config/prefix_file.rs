//! `prefixes-from`: one prefix a line, as fast as the memory allows. A full table has over a million lines.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::Path;

use millrace_net::{Prefix, PrefixError};

use super::problem::Problem;
use super::statics::{destination, prefix_error};

pub(super) enum Error {
    Unreadable(io::Error),
    /// At least one, each with its line.
    Lines(Vec<Problem>),
}

/// Lines that are reported one by one; the others are counted.
const REPORTED: usize = 20;
/// A longer line is not a prefix with a remark.
const MAX_LINE: usize = 4096;
/// More prefixes than the FIB can hold.
const MAX_PREFIXES: usize = 1 << 24;
const BUFFER: usize = 256 << 10;

/// The prefixes of the file, sorted and without duplicates.
pub(super) fn read(path: &Path) -> Result<Vec<Prefix>, Error> {
    let file = File::open(path).map_err(Error::Unreadable)?;
    let metadata = file.metadata().map_err(Error::Unreadable)?;
    if !metadata.is_file() {
        return Err(Error::Unreadable(io::Error::other("not a regular file")));
    }
    // A line of a full table has some 15 to 20 bytes.
    let guess = usize::try_from(metadata.len() / 16).unwrap_or(0).min(MAX_PREFIXES);
    let mut lines = Lines { path, prefixes: Vec::with_capacity(guess), problems: Vec::new(), wrong: 0 };
    lines.read(&mut BufReader::with_capacity(BUFFER, file)).map_err(Error::Unreadable)?;
    lines.finish()
}

struct Lines<'p> {
    path: &'p Path,
    prefixes: Vec<Prefix>,
    problems: Vec<Problem>,
    wrong: usize,
}

impl Lines<'_> {
    fn read(&mut self, input: &mut impl BufRead) -> io::Result<()> {
        let mut number = 0;
        // A line that two fills of the buffer share.
        let mut split: Vec<u8> = Vec::new();
        loop {
            let buffer = input.fill_buf()?;
            if buffer.is_empty() {
                break;
            }
            let used = buffer.len();
            let mut rest = buffer;
            while let Some(end) = rest.iter().position(|&b| b == b'\n') {
                number += 1;
                if split.is_empty() {
                    self.line(number, &rest[..end]);
                } else {
                    split.extend_from_slice(&rest[..end]);
                    self.line(number, &split);
                    split.clear();
                }
                rest = &rest[end + 1..];
            }
            split.extend_from_slice(rest);
            input.consume(used);
            if MAX_LINE < split.len() || MAX_PREFIXES < self.prefixes.len() {
                break;
            }
        }
        if !split.is_empty() {
            self.line(number + 1, &split);
        }
        Ok(())
    }

    fn line(&mut self, number: usize, line: &[u8]) {
        let line = line.trim_ascii();
        if line.is_empty() || line[0] == b'#' {
            return;
        }
        let end = line.iter().position(|&b| b == b',' || b.is_ascii_whitespace()).unwrap_or(line.len());
        let parsed =
            prefix(&line[..end]).map_err(|error| prefix_error(&String::from_utf8_lossy(&line[..end]), error));
        match parsed.and_then(destination) {
            Ok(prefix) => self.prefixes.push(prefix),
            Err((what, help)) => {
                self.wrong += 1;
                if self.wrong <= REPORTED {
                    let value = String::from_utf8_lossy(&line[..end.min(40)]).into_owned();
                    let excerpt = String::from_utf8_lossy(&line[..line.len().min(MAX_LINE)]).into_owned();
                    let message = format!("{value:?} cannot be a destination: {what}");
                    let problem =
                        Problem::of_file(self.path, message).expected("a prefix such as 192.0.2.0/24");
                    let problem =
                        Problem { line: number, excerpt, ..problem }.key("static.prefixes-from").value(value);
                    self.problems.push(match help {
                        Some(help) => problem.help(help),
                        None => problem,
                    });
                }
            }
        }
    }

    fn finish(mut self) -> Result<Vec<Prefix>, Error> {
        if REPORTED < self.wrong {
            let more = self.wrong - REPORTED;
            self.problems.push(Problem::of_file(self.path, format!("{more} more lines are no prefixes")));
        }
        if MAX_PREFIXES < self.prefixes.len() {
            let message = format!("the file has more than {MAX_PREFIXES} prefixes");
            self.problems.push(Problem::of_file(self.path, message));
        }
        if !self.problems.is_empty() {
            return Err(Error::Lines(self.problems));
        }
        if !self.prefixes.is_sorted() {
            self.prefixes.sort_unstable();
        }
        self.prefixes.dedup();
        Ok(self.prefixes)
    }
}

/// The same language as `Prefix::from_str`, four times as fast: no UTF-8 check, no search for the slash.
fn prefix(text: &[u8]) -> Result<Prefix, PrefixError> {
    let mut bits = 0u32;
    let mut at = 0;
    for separator in [b'.', b'.', b'.', b'/'] {
        let (octet, len) = number(&text[at..]).ok_or(PrefixError::Syntax)?;
        at += len;
        if text.get(at) != Some(&separator) {
            return Err(PrefixError::Syntax);
        }
        at += 1;
        bits = bits << 8 | u32::from(octet);
    }
    let rest = &text[at..];
    let (len, digits) = match rest {
        // `Prefix::from_str` takes leading zeros in a length, up to three digits.
        [b'0', _, ..] => return std::str::from_utf8(text).map_err(|_| PrefixError::Syntax)?.parse(),
        _ => number(rest).ok_or(PrefixError::Syntax)?,
    };
    if digits != rest.len() {
        return Err(PrefixError::Syntax);
    }
    Prefix::new(std::net::Ipv4Addr::from_bits(bits), len)
}

/// A decimal number up to 255 without leading zeros, and its digits.
fn number(text: &[u8]) -> Option<(u8, usize)> {
    let digits = text.iter().take(4).take_while(|b| b.is_ascii_digit()).count();
    if !(1..=3).contains(&digits) || (1 < digits && text[0] == b'0') {
        return None;
    }
    let value = text[..digits].iter().fold(0u16, |value, b| value * 10 + u16::from(b - b'0'));
    u8::try_from(value).ok().map(|value| (value, digits))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn lines(text: &[u8]) -> Result<Vec<Prefix>, Vec<String>> {
        let mut lines =
            Lines { path: Path::new("table.csv"), prefixes: Vec::new(), problems: Vec::new(), wrong: 0 };
        // A buffer of 7 bytes: lines are shared by fills.
        lines.read(&mut BufReader::with_capacity(7, text)).unwrap();
        lines.finish().map_err(|error| match error {
            Error::Lines(problems) => problems.iter().map(ToString::to_string).collect(),
            Error::Unreadable(error) => vec![error.to_string()],
        })
    }

    #[test]
    fn lines_and_what_they_mean() {
        let p = |text: &str| text.parse::<Prefix>().unwrap();
        for (text, expected) in [
            ("", vec![]),
            ("10.0.0.0/8", vec![p("10.0.0.0/8")]),
            ("10.0.0.0/8\n", vec![p("10.0.0.0/8")]),
            (
                "10.0.0.0/8,64500\r\n11.0.0.0/8 via x\n12.0.0.0/8\tremark",
                vec![p("10.0.0.0/8"), p("11.0.0.0/8"), p("12.0.0.0/8")],
            ),
            ("# a remark\n\n   # another\n  9.9.9.9/32  \n", vec![p("9.9.9.9/32")]),
            ("2.0.0.0/8\n1.0.0.0/8\n2.0.0.0/8,second\n", vec![p("1.0.0.0/8"), p("2.0.0.0/8")]),
        ] {
            assert_eq!(lines(text.as_bytes()), Ok(expected), "{text:?}");
        }
    }

    #[test]
    fn every_wrong_line_is_named_up_to_a_limit() {
        let errors = lines(b"1.0.0.0/8\n10.1.2.3/8,x\nhello\n224.0.0.0/8\n").unwrap_err();
        insta::assert_snapshot!(errors.join("\n"), @r#"
        error: "10.1.2.3/8" cannot be a destination: bits beyond the prefix length are set
         --> table.csv:2
          |
        2 | 10.1.2.3/8,x
          = expected a prefix such as 192.0.2.0/24
          = help: did you mean 10.0.0.0/8?

        error: "hello" cannot be a destination: not a prefix
         --> table.csv:3
          |
        3 | hello
          = expected a prefix such as 192.0.2.0/24

        error: "224.0.0.0/8" cannot be a destination: multicast is not routed by Millrace
         --> table.csv:4
          |
        4 | 224.0.0.0/8
          = expected a prefix such as 192.0.2.0/24
        "#);
        let many = "x\n".repeat(50);
        let errors = lines(many.as_bytes()).unwrap_err();
        assert_eq!(errors.len(), REPORTED + 1);
        assert_eq!(errors[REPORTED], "error: 30 more lines are no prefixes\n --> table.csv\n");
    }

    #[test]
    fn a_line_without_end_is_not_collected() {
        let errors = lines(&vec![0; 3 * MAX_LINE]).unwrap_err();
        assert_eq!(errors.len(), 1);
    }

    proptest! {
        #[test]
        fn the_fast_parser_is_the_ordinary_one(text in "[0-9./]{0,19}|[0-9]{1,3}\\.[0-9]{1,3}\\.[0-9]{1,3}\\.[0-9]{1,3}/[0-9]{1,4}") {
            prop_assert_eq!(prefix(text.as_bytes()), text.parse());
        }

        #[test]
        fn any_bytes_are_answered(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = lines(&bytes);
        }
    }
}
