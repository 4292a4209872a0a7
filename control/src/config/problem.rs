//! What is wrong with a configuration, where, and what was expected there; rendered for people and for JSON.
//!
//! ```text
//! error: [[interface]] "eth0": on-failure cannot be "explode"
//!   --> /etc/millrace/millrace.toml:14:14
//!    |
//! 14 | on-failure = "explode"
//!    |              ^^^^^^^^^ expected "kernel" or "drop"
//!    = help: …
//! ```

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// The file that places refer to.
#[derive(Debug)]
pub(super) struct Source<'t> {
    pub(super) path: PathBuf,
    pub(super) text: &'t str,
}

/// One finding.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Problem {
    pub severity: Severity,
    pub file: PathBuf,
    /// From 1; 0 where the file as a whole is meant.
    pub line: usize,
    /// In characters, from 1; 0 where the line as a whole is meant.
    pub column: usize,
    /// Characters to underline, at least 1.
    pub width: usize,
    /// The line as it stands in the file.
    pub excerpt: String,
    /// The key, with the section it is in: `interface.on-failure`. Empty where there is none.
    pub key: String,
    /// The value as it stands in the file, where there is one.
    pub value: Option<String>,
    pub message: String,
    /// What would have been right there; may be empty.
    pub expected: String,
    pub help: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    Error,
    Warning,
}

/// Why a configuration was refused: at least one error, and the warnings found on the way, in the file's order.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error, Serialize, Deserialize)]
pub struct ConfigError {
    pub problems: Vec<Problem>,
}

/// Lines longer than this are shown in part.
const EXCERPT_CHARS: usize = 160;

impl<'t> Source<'t> {
    pub(super) fn new(path: &Path, text: &'t str) -> Self {
        Self { path: path.to_owned(), text }
    }

    /// A problem at these bytes of the file.
    pub(super) fn problem(&self, span: Range<usize>, message: String) -> Problem {
        let start = floor(self.text, span.start);
        let line_start = self.text[..start].rfind('\n').map_or(0, |at| at + 1);
        let line_end = self.text[start..].find('\n').map_or(self.text.len(), |at| start + at);
        let end = floor(self.text, span.end).clamp(start, line_end);
        Problem {
            severity: Severity::Error,
            file: self.path.clone(),
            line: self.text[..start].matches('\n').count() + 1,
            column: self.text[line_start..start].chars().count() + 1,
            width: self.text[start..end].chars().count().max(1),
            excerpt: self.text[line_start..line_end].trim_end().to_owned(),
            key: String::new(),
            value: None,
            message,
            expected: String::new(),
            help: None,
        }
    }

    /// The 1-based line of a byte offset.
    pub(super) fn line(&self, offset: usize) -> usize {
        self.text[..floor(self.text, offset)].matches('\n').count() + 1
    }
}

/// The nearest character boundary at or before `at`.
fn floor(text: &str, at: usize) -> usize {
    (0..=at.min(text.len())).rev().find(|&i| text.is_char_boundary(i)).unwrap_or(0)
}

impl Problem {
    /// A problem of a file as a whole.
    pub(super) fn of_file(path: &Path, message: String) -> Self {
        Self {
            severity: Severity::Error,
            file: path.to_owned(),
            line: 0,
            column: 0,
            width: 1,
            excerpt: String::new(),
            key: String::new(),
            value: None,
            message,
            expected: String::new(),
            help: None,
        }
    }

    pub(super) fn key(self, key: impl Into<String>) -> Self {
        Self { key: key.into(), ..self }
    }

    pub(super) fn value(self, value: impl Into<String>) -> Self {
        Self { value: Some(value.into()), ..self }
    }

    pub(super) fn expected(self, expected: impl Into<String>) -> Self {
        Self { expected: expected.into(), ..self }
    }

    pub(super) fn help(self, help: impl Into<String>) -> Self {
        Self { help: Some(help.into()), ..self }
    }

    pub(super) fn warning(self) -> Self {
        Self { severity: Severity::Warning, ..self }
    }

    /// Sort key: the order of the file.
    pub(super) fn place(&self) -> (PathBuf, usize, usize) {
        (self.file.clone(), self.line, self.column)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = match self.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        writeln!(f, "{severity}: {}", printable(&self.message))?;
        let file = self.file.display();
        let gutter = self.line.to_string().len();
        if self.line == 0 {
            writeln!(f, "{:gutter$}--> {file}", "")?;
        } else {
            let place = if self.column == 0 { String::new() } else { format!(":{}", self.column) };
            writeln!(f, "{:gutter$}--> {file}:{}{place}", "", self.line)?;
            writeln!(f, "{:gutter$} |", "")?;
            let (excerpt, column) = self.window();
            writeln!(f, "{} | {excerpt}", self.line)?;
            if self.column != 0 {
                let room = excerpt.chars().count().saturating_sub(column).max(1);
                let marks = "^".repeat(self.width.min(room));
                let expected = if self.expected.is_empty() {
                    String::new()
                } else {
                    format!(" expected {}", self.expected)
                };
                writeln!(f, "{:gutter$} | {:column$}{marks}{expected}", "", "")?;
            }
        }
        if self.column == 0 && !self.expected.is_empty() {
            writeln!(f, "{:gutter$} = expected {}", "", self.expected)?;
        }
        if let Some(help) = &self.help {
            writeln!(f, "{:gutter$} = help: {}", "", printable(help))?;
        }
        Ok(())
    }
}

impl Problem {
    /// The excerpt cut to a readable length around the column, tabs as blanks, and the 0-based column in it.
    fn window(&self) -> (String, usize) {
        let column = self.column.saturating_sub(1);
        let from = if column < EXCERPT_CHARS { 0 } else { column - EXCERPT_CHARS / 2 };
        let shown = self.excerpt.chars().skip(from).take(EXCERPT_CHARS);
        let shown = shown.map(|c| if c.is_control() { ' ' } else { c }).collect::<String>();
        (shown.trim_end().to_owned(), column - from)
    }
}

/// Control characters would move the terminal's cursor.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

impl ConfigError {
    pub(super) fn unreadable(path: &Path, error: &std::io::Error) -> Self {
        Self { problems: vec![unreadable(path, error)] }
    }

    pub(super) fn not_utf8(path: &Path, error: &std::string::FromUtf8Error) -> Self {
        let good =
            String::from_utf8_lossy(&error.as_bytes()[..error.utf8_error().valid_up_to()]).into_owned();
        let at = good.len();
        let problem = Source::new(path, &good).problem(at..at, "the file is not UTF-8 text".to_owned());
        Self { problems: vec![problem.expected("TOML in UTF-8")] }
    }
}

/// A file that could not be read, with what to do about it.
pub(super) fn unreadable(path: &Path, error: &std::io::Error) -> Problem {
    let problem = Problem::of_file(path, format!("the file cannot be read: {error}"));
    if error.kind() == std::io::ErrorKind::NotFound {
        problem.help("give the path of the configuration with -c, or create it there")
    } else if error.kind() == std::io::ErrorKind::PermissionDenied {
        problem.help("the user Millrace runs as needs read permission")
    } else {
        problem
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for problem in &self.problems {
            writeln!(f, "{problem}")?;
        }
        let errors = self.problems.iter().filter(|problem| problem.severity == Severity::Error).count();
        write!(f, "{errors} error{} in the configuration", if errors == 1 { "" } else { "s" })
    }
}
