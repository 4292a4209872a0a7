//! Stand-ins: a routing process that answers from a table, and a way to run the command.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex};

use serde_json::Value;

/// The command, talking to the router of this run directory.
pub(crate) fn millrace(run_dir: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_millrace"));
    command.env("MILLRACE_RUN_DIR", run_dir).stdin(Stdio::null());
    command
}

pub(crate) fn run(run_dir: &Path, args: &[&str]) -> Output {
    millrace(run_dir).args(args).output().unwrap()
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// Answers requests on a control socket until the test ends; what is not in the table is a 404.
pub(crate) struct Control {
    pub(crate) dir: tempfile::TempDir,
    /// Method, path and body of every request so far.
    requests: Arc<Mutex<Vec<String>>>,
}

/// Status and body by `METHOD path?query`; a path without its query stands for all of its queries.
pub(crate) type Answers = BTreeMap<&'static str, (u16, Value)>;

impl Control {
    pub(crate) fn new(answers: Answers) -> Self {
        Self::serving(move |request| {
            let key = request.split(' ').take(2).collect::<Vec<_>>().join(" ");
            let plain = key.split('?').next().unwrap_or_default();
            let (status, body) = answers
                .get(key.as_str())
                .or_else(|| answers.get(plain))
                .cloned()
                .unwrap_or((404, serde_json::json!({ "error": format!("no {key}") })));
            (status, body.to_string())
        })
    }

    pub(crate) fn serving(answer: impl Fn(&str) -> (u16, String) + Send + 'static) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let requests = serve(&dir.path().join("control.sock"), answer);
        Self { dir, requests }
    }

    pub(crate) fn run(&self, args: &[&str]) -> Output {
        run(self.dir.path(), args)
    }

    pub(crate) fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

/// Answers requests, given as `METHOD path body`, on a socket of this path.
pub(crate) fn serve(
    socket: &Path,
    answer: impl Fn(&str) -> (u16, String) + Send + 'static,
) -> Arc<Mutex<Vec<String>>> {
    let listener = UnixListener::bind(socket).unwrap();
    let requests = Arc::new(Mutex::new(Vec::new()));
    let seen = requests.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            if let Some(request) = read(&stream) {
                seen.lock().unwrap().push(request.clone());
                let (status, body) = answer(&request);
                // Whoever asked may have gone.
                let _ = write!(
                    &stream,
                    "HTTP/1.1 {status} X\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
                    body.len()
                );
            }
        }
    });
    requests
}

fn read(stream: &UnixStream) -> Option<String> {
    let mut reader = BufReader::new(stream);
    let mut first = String::new();
    reader.read_line(&mut first).ok()?;
    let mut len = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        if line.trim().is_empty() {
            break;
        }
        if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
            len = value.trim().parse().ok()?;
        }
    }
    let mut body = vec![0; len];
    reader.read_exact(&mut body).ok()?;
    let mut words = first.split(' ');
    Some(format!("{} {} {}", words.next()?, words.next()?, String::from_utf8_lossy(&body)))
}
