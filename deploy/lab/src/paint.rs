//! What a person sees: plain lines, with colours on a terminal that wants them.

use std::io::{IsTerminal, Write};

/// Lines go to stdout at once; a closed stdout is not the demo's failure.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Screen {
    colours: bool,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Ink {
    Bold,
    Dim,
    Green,
    Red,
    Blue,
}

impl Screen {
    pub(crate) fn new() -> Self {
        let wanted = std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty());
        Self { colours: wanted && std::io::stdout().is_terminal() }
    }

    /// `text` in a colour, or as it is.
    pub(crate) fn ink(self, ink: Ink, text: &str) -> String {
        let code = match ink {
            Ink::Bold => "1",
            Ink::Dim => "2",
            Ink::Green => "32",
            Ink::Red => "1;31",
            Ink::Blue => "36",
        };
        if self.colours { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    pub(crate) fn line(self, text: &str) {
        let mut stdout = std::io::stdout().lock();
        let _ = writeln!(stdout, "{text}");
        let _ = stdout.flush();
    }

    /// A headline with a blank line before it.
    pub(crate) fn head(self, text: &str) {
        self.line("");
        self.line(&self.ink(Ink::Bold, text));
    }

    /// Text as it comes from a tool, set in.
    pub(crate) fn block(self, text: &str) {
        for line in text.trim_end().lines() {
            self.line(&self.ink(Ink::Dim, &format!("    {line}")));
        }
    }

    /// How something ended, and what there is to say of it.
    pub(crate) fn verdict(self, result: &Result<String, String>) {
        match result {
            Ok(said) => self.good(said),
            Err(said) => self.bad(said),
        }
    }

    pub(crate) fn good(self, text: &str) {
        self.line(&format!("  {} {text}", self.ink(Ink::Green, "✓")));
    }

    pub(crate) fn bad(self, text: &str) {
        self.line(&format!("  {} {text}", self.ink(Ink::Red, "✗")));
    }
}
