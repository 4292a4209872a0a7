//! Recordings: every input of a protocol's machine with its time, as lines of JSON, so that what happened can be played
//! again (`millrace replay FILE`) and a defect becomes its own test.
//!
//! ```text
//!   {"recording":1,"protocol":"rip","seed":…,"version":"0.1.0"}
//!   {"at":0,"input":{"Clock":…}}          the time in nanoseconds since the process began to route
//!   {"at":…,"input":null}                 a deadline was reached
//! ```
//! `millrace-control --record DIR` writes one file for each run of a protocol, `DIR/rip-PID-N.jsonl`. They hold what the
//! configuration holds, keys and passwords too: only their owner may read them.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use millrace_net::Instant;
use millrace_proto::Step;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// The format of the lines.
const FORMAT: u32 = 1;

/// Where this process records; nowhere unless [`into`] was called.
static DIRECTORY: OnceLock<PathBuf> = OnceLock::new();
static FILES: AtomicU32 = AtomicU32::new(0);

/// From here on every protocol that starts is recorded into this directory, which is made where it is missing.
pub fn into(directory: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    // Called once, before anything runs.
    let _ = DIRECTORY.set(directory.to_owned());
    Ok(())
}

/// The first line of a recording.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Header {
    /// [`FORMAT`]
    pub recording: u32,
    pub protocol: String,
    /// Of the machine's randomness.
    pub seed: u64,
    /// Of the program that recorded.
    pub version: String,
}

/// Writes the steps of one machine. A file that cannot be written to ends the recording, not the protocol.
#[derive(Debug)]
pub(crate) struct Recorder {
    file: Option<(PathBuf, File)>,
}

impl Recorder {
    /// A recording of this protocol, if this process records.
    pub(crate) fn open(protocol: &str, seed: u64) -> Self {
        let Some(directory) = DIRECTORY.get() else { return Self { file: None } };
        let number = FILES.fetch_add(1, Ordering::Relaxed);
        let path = directory.join(format!("{protocol}-{}-{number}.jsonl", std::process::id()));
        let header = Header {
            recording: FORMAT,
            protocol: protocol.to_owned(),
            seed,
            version: env!("CARGO_PKG_VERSION").to_owned(),
        };
        let mut recorder = Self { file: None };
        match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path) {
            Ok(file) => {
                recorder.file = Some((path, file));
                recorder.line(&header);
            }
            Err(error) => tracing::error!(path = %path.display(), %error, "cannot record"),
        }
        recorder
    }

    /// Notes a call into the machine, before it is made.
    pub(crate) fn step<I: Serialize>(&mut self, at: Instant, input: Option<&I>) {
        if self.file.is_some() {
            self.line(&Step { at, input });
        }
    }

    fn line(&mut self, value: &impl Serialize) {
        let Some((path, file)) = &mut self.file else { return };
        let written = serde_json::to_string(value)
            .map_err(io::Error::other)
            .and_then(|line| file.write_all(format!("{line}\n").as_bytes()));
        if let Err(error) = written {
            tracing::error!(path = %path.display(), %error, "the recording ends here");
            self.file = None;
        }
    }
}

/// Why a recording cannot be played.
#[derive(Debug, thiserror::Error)]
pub enum Unplayable {
    #[error("line {line}: {error}")]
    Unreadable { line: usize, error: io::Error },
    #[error("line {line} is no step of this protocol: {error}; was it recorded by another version?")]
    Step { line: usize, error: serde_json::Error },
    #[error("the first line does not say what is recorded: {0}")]
    Header(serde_json::Error),
    #[error("the file is empty")]
    Empty,
    #[error("recordings of format {0} are not for this version, which writes format {FORMAT}")]
    Format(u32),
}

/// A recording that is read.
#[derive(Debug)]
pub struct Recording {
    pub header: Header,
    lines: std::io::Lines<BufReader<File>>,
}

impl Recording {
    pub fn open(path: &Path) -> io::Result<Result<Self, Unplayable>> {
        let mut lines = BufReader::new(File::open(path)?).lines();
        let Some(first) = lines.next().transpose()? else { return Ok(Err(Unplayable::Empty)) };
        Ok(match serde_json::from_str::<Header>(&first) {
            Err(error) => Err(Unplayable::Header(error)),
            Ok(header) if header.recording != FORMAT => Err(Unplayable::Format(header.recording)),
            Ok(header) => Ok(Self { header, lines }),
        })
    }

    /// The steps in order. A last line without its end is what a killed process leaves: it is left out.
    pub fn steps<I: DeserializeOwned>(self) -> impl Iterator<Item = Result<Step<I>, Unplayable>> {
        let steps = self.lines.enumerate().map(|(n, text)| {
            let line = n + 2;
            let text = text.map_err(|error| Unplayable::Unreadable { line, error })?;
            serde_json::from_str(&text).map_err(|error| Unplayable::Step { line, error })
        });
        let mut steps = steps.peekable();
        std::iter::from_fn(move || {
            let step = steps.next()?;
            let torn = matches!(&step, Err(Unplayable::Step { error, .. }) if error.is_eof());
            (!(torn && steps.peek().is_none())).then_some(step)
        })
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn what_is_recorded_is_read_and_is_its_owners() {
        let dir = tempfile::tempdir().unwrap();
        let recordings = dir.path().join("recordings");
        into(&recordings).unwrap();
        let mut recorder = Recorder::open("test", 7);
        recorder.step(Instant::from_secs(1), Some(&"one"));
        recorder.step::<&str>(Instant::from_secs(2), None);
        let (path, mut file) = recorder.file.take().unwrap();
        file.write_all(b"{\"at\":3,\"inp").unwrap();
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&path), mode(&recordings)), (0o600, 0o700));

        let recording = Recording::open(&path).unwrap().unwrap();
        assert_eq!((recording.header.protocol.as_str(), recording.header.seed), ("test", 7));
        let steps: Vec<Step<String>> = recording.steps().map(Result::unwrap).collect();
        let expected =
            [Step::input(Instant::from_secs(1), "one".to_owned()), Step::timeout(Instant::from_secs(2))];
        assert_eq!(steps, expected);

        for (text, problem) in [
            ("", "the file is empty"),
            ("{}\n", "the first line does not say what is recorded"),
            (
                "{\"recording\":9,\"protocol\":\"rip\",\"seed\":1,\"version\":\"\"}\n",
                "recordings of format 9 are not for this version",
            ),
        ] {
            std::fs::write(&path, text).unwrap();
            let error = Recording::open(&path).unwrap().unwrap_err().to_string();
            assert!(error.starts_with(problem), "{error}");
        }
    }
}
