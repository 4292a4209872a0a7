//! What `doctor --fix` does, and how `doctor --undo` takes it back: commands an operator would type, and their opposites.
//!
//! They are remembered in the run directory: both it and what the commands set last until the machine is started anew.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::{Deserialize, Serialize};

use crate::cli::exit::Error;
use crate::cli::out::Out;

const FILE: &str = "doctor-undo.json";

/// A command and the one that takes it back, in words.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Fix {
    pub(super) command: String,
    pub(super) undo: String,
}

impl Fix {
    pub(super) fn new(command: impl Into<String>, undo: impl Into<String>) -> Self {
        Self { command: command.into(), undo: undo.into() }
    }
}

/// The fixes that have been applied and not been taken back, oldest first.
#[derive(Debug)]
pub(super) struct Memory {
    file: PathBuf,
    done: Vec<Fix>,
}

impl Memory {
    pub(super) fn read(run_dir: &Path) -> Result<Self, Error> {
        let file = run_dir.join(FILE);
        let done = match fs::read(&file) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|error| {
                Error::Failed(format!(
                    "{}: not what `doctor --fix` wrote: {error}; remove it",
                    file.display()
                ))
            })?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(Error::File { path: file, error }),
        };
        Ok(Self { file, done })
    }

    fn write(&self) -> Result<(), Error> {
        let failed = |error| Error::File { path: self.file.clone(), error };
        if let Some(dir) = self.file.parent() {
            fs::create_dir_all(dir).map_err(failed)?;
        }
        let text = serde_json::to_vec_pretty(&self.done).unwrap_or_default();
        fs::write(&self.file, text).map_err(failed)
    }

    /// Runs the commands; each is remembered as soon as it has worked. False if one has not.
    pub(super) fn apply<'a>(
        &mut self,
        fixes: impl IntoIterator<Item = &'a Fix>,
        out: &mut Out,
    ) -> Result<bool, Error> {
        let mut all = true;
        for fix in fixes {
            match run(&fix.command) {
                Ok(()) => {
                    out.line(format_args!("done  {}", fix.command))?;
                    self.done.push(fix.clone());
                    self.write()?;
                }
                Err(why) => {
                    out.line(format_args!("BAD   {}: {why}", fix.command))?;
                    all = false;
                }
            }
        }
        Ok(all)
    }

    /// Takes back what was done, the last first. False if something could not be; that is kept.
    pub(super) fn undo(&mut self, out: &mut Out) -> Result<bool, Error> {
        if self.done.is_empty() {
            out.line("Nothing to take back.")?;
        }
        let mut kept = Vec::new();
        while let Some(fix) = self.done.pop() {
            match run(&fix.undo) {
                Ok(()) => out.line(format_args!("done  {}", fix.undo))?,
                Err(why) => {
                    out.line(format_args!("BAD   {}: {why}", fix.undo))?;
                    kept.push(fix);
                }
            }
        }
        kept.reverse();
        let all = kept.is_empty();
        self.done = kept;
        self.write()?;
        Ok(all)
    }
}

/// The command's words have no blanks in them: they are names of interfaces and numbers.
fn run(command: &str) -> Result<(), String> {
    let mut words = command.split_whitespace();
    let program = words.next().unwrap_or_default();
    let output = Command::new(program).args(words).output().map_err(|error| error.to_string())?;
    if output.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&output.stderr);
    Err(text.lines().next().unwrap_or("it failed").to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_done_is_taken_back_in_reverse_and_what_failed_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name).display().to_string();
        let (a, b) = (path("a"), path("b"));
        let mut out = Out::stdout();
        let fixes = [
            Fix::new(format!("touch {a}"), format!("rm {a}")),
            Fix::new("false", "true"),
            Fix::new(format!("touch {b}"), format!("rm {b}")),
        ];
        let mut memory = Memory::read(dir.path()).unwrap();
        assert!(!memory.apply(&fixes, &mut out).unwrap());
        assert!(Path::new(&a).exists() && Path::new(&b).exists());

        let mut memory = Memory::read(dir.path()).unwrap();
        assert_eq!(memory.done, [fixes[0].clone(), fixes[2].clone()]);
        fs::remove_file(&a).unwrap();
        assert!(!memory.undo(&mut out).unwrap());
        assert!(!Path::new(&b).exists());
        assert_eq!(Memory::read(dir.path()).unwrap().done, [fixes[0].clone()]);
        fs::write(dir.path().join(FILE), "garbage").unwrap();
        assert!(Memory::read(dir.path()).unwrap_err().to_string().contains("remove it"));
    }
}
