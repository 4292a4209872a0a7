//! Standard output that may be closed under the command's feet, and how numbers, sizes and times look on it.

use std::fmt;
use std::io::{self, BufWriter, Write};
use std::time::Duration;

use comfy_table::{Cell, CellAlignment, Table};

use super::exit::Error;

/// Buffered; a closed pipe ends the command quietly.
pub(super) struct Out {
    writer: BufWriter<Box<dyn Write>>,
}

impl Out {
    pub(super) fn stdout() -> Self {
        Self { writer: BufWriter::with_capacity(64 << 10, Box::new(io::stdout())) }
    }

    pub(super) fn line(&mut self, line: impl fmt::Display) -> Result<(), Error> {
        writeln!(self.writer, "{line}").map_err(error)
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.writer.write_all(bytes).map_err(error)
    }

    pub(super) fn flush(&mut self) -> Result<(), Error> {
        self.writer.flush().map_err(error)
    }
}

fn error(error: io::Error) -> Error {
    if error.kind() == io::ErrorKind::BrokenPipe { Error::Pipe } else { Error::Out(error) }
}

/// Columns without lines; names of columns that hold numbers begin with `#` and these are aligned to the right.
pub(super) fn table(header: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    table.set_header(header.iter().map(|name| Cell::new(name.trim_start_matches('#'))));
    for row in rows {
        // Cells with several lines are several lines.
        table.add_row(row);
    }
    for (i, name) in header.iter().enumerate() {
        if let Some(column) = table.column_mut(i) {
            column.set_padding((0, 2));
            if name.starts_with('#') {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
    }
    table.lines().map(|line| line.trim_end().to_owned()).collect::<Vec<_>>().join("\n")
}

/// With thousands separators.
pub(super) fn number(value: u64) -> String {
    let digits = value.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i != 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// In binary units, three digits.
pub(super) fn bytes(value: u64) -> String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    let mut scaled = value as f64;
    let mut unit = 0;
    while 1000.0 <= scaled && unit + 1 < units.len() {
        scaled /= 1024.0;
        unit += 1;
    }
    match unit {
        0 => format!("{value} B"),
        _ if scaled < 10.0 => format!("{scaled:.2} {}", units[unit]),
        _ if scaled < 100.0 => format!("{scaled:.1} {}", units[unit]),
        _ => format!("{scaled:.0} {}", units[unit]),
    }
}

/// As `3d 04:05:06`.
pub(super) fn duration(seconds: u64) -> String {
    let clock = format!("{:02}:{:02}:{:02}", seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    if seconds < 86_400 { clock } else { format!("{}d {clock}", seconds / 86_400) }
}

/// For log lines: `250 ms`, `4 s`.
pub(super) fn pause(duration: Duration) -> String {
    if duration < Duration::from_secs(1) {
        format!("{} ms", duration.as_millis())
    } else {
        format!("{} s", duration.as_secs())
    }
}

/// One of two words by number.
pub(super) fn plural(count: usize, noun: &str) -> String {
    format!("{} {noun}{}", number(count as u64), if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_sizes_and_times() {
        let numbers = [
            (0, "0"),
            (999, "999"),
            (1000, "1,000"),
            (1_050_000, "1,050,000"),
            (u64::MAX, "18,446,744,073,709,551,615"),
        ];
        for (value, text) in numbers {
            assert_eq!(number(value), text);
        }
        for (value, text) in
            [(0, "0 B"), (999, "999 B"), (1024, "1.00 KiB"), (15_728_640, "15.0 MiB"), (u64::MAX, "16.0 EiB")]
        {
            assert_eq!(bytes(value), text);
        }
        for (value, text) in [(0, "00:00:00"), (3_661, "01:01:01"), (273_906, "3d 04:05:06")] {
            assert_eq!(duration(value), text);
        }
    }

    #[test]
    fn columns_are_aligned_and_end_without_blanks() {
        let rows = [vec!["eth0".to_owned(), "1".to_owned()], vec!["e".to_owned(), "1,000".to_owned()]];
        assert_eq!(table(&["NAME", "#COUNT"], rows), "NAME  COUNT\neth0      1\ne     1,000");
    }
}
