//! Who may have a lab, and what a test does without: it skips so that everybody sees it, except in CI, where
//! it fails.

use std::io::Write;
use std::path::Path;

use anyhow::Result;

use crate::Lab;

/// Programs a lab drives, and the Debian packages they are in.
const TOOLS: [(&str, &str); 6] = [
    ("ip", "iproute2"),
    ("ping", "iputils-ping"),
    ("traceroute", "traceroute"),
    ("iperf3", "iperf3"),
    ("tshark", "tshark"),
    ("dumpcap", "tshark"),
];

/// Why there can be no lab here, in a sentence with what to do; none when there can.
pub fn missing() -> Option<String> {
    missing_of(&[])
}

fn missing_of(more: &[(&str, &str)]) -> Option<String> {
    if !rustix::process::geteuid().is_root() {
        return Some(
            "network namespaces need root: run as root, or by `make test`, which asks sudo".to_owned(),
        );
    }
    let absent: Vec<_> = TOOLS.iter().chain(more).filter(|(tool, _)| !on_path(tool)).collect();
    if absent.is_empty() {
        return None;
    }
    let tools: Vec<_> = absent.iter().map(|(tool, _)| *tool).collect();
    let mut packages: Vec<_> = absent.iter().map(|(_, package)| *package).collect();
    packages.dedup();
    Some(format!("{} not found: run `make setup`, or install {}", tools.join(", "), packages.join(" ")))
}

/// Runs a test in a lab of its own. The logs of a lab in which it failed are printed.
///
/// # Panics
/// When the body fails, and in CI also when there can be no lab.
pub fn test(body: impl FnOnce(&Lab) -> Result<()>) {
    test_with(&[], body);
}

/// The same where more programs are needed: their names and packages.
pub(crate) fn test_with(tools: &[(&str, &str)], body: impl FnOnce(&Lab) -> Result<()>) {
    let name = std::thread::current().name().unwrap_or("a test").to_owned();
    if let Some(reason) = missing_of(tools) {
        assert!(std::env::var_os("CI").is_none(), "{name} has to run in CI, but {reason}");
        skip(&name, &reason);
        return;
    }
    let lab = match Lab::new() {
        Ok(lab) => Logged(lab),
        Err(error) => panic!("no lab for {name}: {error:#}"),
    };
    if let Err(error) = body(&lab.0) {
        panic!("{name}: {error:#}");
    }
}

/// Says so on stderr, and in the file that `make test` counts.
fn skip(name: &str, reason: &str) {
    let line = format!("SKIPPED {name}: {reason}\n");
    let mut stderr = std::io::stderr().lock();
    let _ = stderr.write_all(line.as_bytes());
    if let Some(path) = std::env::var_os("MILLRACE_SKIPPED")
        && let Ok(mut file) = std::fs::OpenOptions::new().append(true).create(true).open(path)
    {
        let _ = file.write_all(line.as_bytes());
    }
}

/// Prints the logs when it is dropped by a panic.
struct Logged(Lab);

impl Drop for Logged {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let _ = std::io::stderr().write_all(self.0.logs().as_bytes());
        }
    }
}

fn on_path(tool: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|dir| dir.join(tool).is_file())
        || Path::new("/usr/sbin").join(tool).is_file()
}
