//! `millrace doctor`: what of this machine would keep Millrace from running, or from running well, with the command that
//! mends it; `--fix` gives these commands, `--undo` takes them back.

mod device;
mod fix;

use std::fs;
use std::path::Path;
use std::process::Command;

use serde::Serialize;

use super::exit::{Error, Exit};
use super::out::{Out, plural};
use crate::config::{self, Config};
use fix::{Fix, Memory};

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
enum Grade {
    Good,
    /// Works, but not as well as it could.
    Warning,
    Bad,
}

/// One thing that was looked at.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
struct Finding {
    grade: Grade,
    what: String,
    /// What to do; empty where nothing is to be done.
    advice: String,
    /// What `--fix` does about it.
    fix: Option<Fix>,
}

impl Finding {
    /// The advice is to give this command.
    fn mended_by(self, fix: Fix) -> Self {
        Self { advice: fix.command.clone(), fix: Some(fix), ..self }
    }
}

fn finding(grade: Grade, what: impl Into<String>, advice: impl Into<String>) -> Finding {
    Finding { grade, what: what.into(), advice: advice.into(), fix: None }
}

/// What the command was asked for beside looking.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Wish {
    pub(super) fix: bool,
    pub(super) undo: bool,
    pub(super) json: bool,
}

pub(super) fn doctor(config: &Path, run_dir: &Path, wish: Wish, out: &mut Out) -> Result<Exit, Error> {
    let ended = |all: bool| if all { Exit::Done } else { Exit::Failed };
    if wish.undo {
        return Ok(ended(Memory::read(run_dir)?.undo(out)?));
    }
    let findings = findings(config);
    if wish.fix {
        let fixes: Vec<_> = findings.iter().filter_map(|finding| finding.fix.as_ref()).collect();
        if fixes.is_empty() {
            out.line("Nothing here can be mended by a command.")?;
        }
        return Ok(ended(Memory::read(run_dir)?.apply(fixes, out)?));
    }
    let bad = findings.iter().filter(|finding| finding.grade == Grade::Bad).count();
    if wish.json {
        out.line(serde_json::to_string_pretty(&findings).unwrap_or_default())?;
        return Ok(ended(bad == 0));
    }
    for finding in &findings {
        let mark = match finding.grade {
            Grade::Good => "ok  ",
            Grade::Warning => "note",
            Grade::Bad => "BAD ",
        };
        out.line(format_args!("{mark}  {}", finding.what))?;
        if !finding.advice.is_empty() {
            out.line(format_args!("      → {}", finding.advice))?;
        }
    }
    if findings.iter().any(|finding| finding.fix.is_some()) {
        out.line(
            "\n`millrace doctor --fix` gives the commands that change settings, `--undo` takes them back.",
        )?;
    }
    if bad != 0 {
        out.line(format_args!("\n{} in the way of Millrace.", plural(bad, "thing")))?;
    }
    Ok(ended(bad == 0))
}

fn findings(config: &Path) -> Vec<Finding> {
    let status = read("/proc/self/status");
    let mut findings = vec![kernel(&read("/proc/sys/kernel/osrelease"))];
    findings.push(rights(&status));
    findings.push(jit(&read("/proc/sys/net/core/bpf_jit_enable")));
    match config::load(config) {
        Ok(loaded) => {
            let dataplane = &loaded.config.dataplane;
            findings.push(finding(Grade::Good, format!("{}: ok", config.display()), ""));
            findings.push(cpus(&loaded.config, &read("/sys/devices/system/cpu/online")));
            findings.push(memlock(&read("/proc/self/limits"), &status, dataplane.frames));
            let workers = dataplane.workers.len().max(1);
            for interface in &loaded.config.interfaces {
                let features = features(&interface.name);
                let class = Path::new("/sys/class/net");
                findings.extend(device::look(&interface.name, class, features.as_deref(), workers));
            }
        }
        Err(error) => {
            let first = error.problems.first().map(|problem| problem.message.clone()).unwrap_or_default();
            let advice = format!("`millrace check {}` says all of it", config.display());
            findings.push(finding(Grade::Bad, format!("{}: {first}", config.display()), advice));
        }
    }
    findings
}

fn read(path: impl AsRef<Path>) -> String {
    fs::read_to_string(path).unwrap_or_default().trim().to_owned()
}

/// AF_XDP with need_wakeup and bpf_link for XDP: Linux 5.9. What is tested begins later.
fn kernel(release: &str) -> Finding {
    let mut numbers =
        release.split(|c: char| !c.is_ascii_digit()).map(|part| part.parse::<u32>().unwrap_or(0));
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    let what = format!("kernel {release}");
    match version {
        (0, _) => finding(Grade::Warning, "the kernel's version cannot be read", ""),
        v if v < (5, 9) => finding(Grade::Bad, what, "XDP links need Linux 5.9; use 6.1 or newer"),
        v if v < (6, 1) => finding(Grade::Warning, what, "Millrace is tested with Linux 6.1 and newer"),
        _ => finding(Grade::Good, what, ""),
    }
}

/// Bit numbers of linux/capability.h.
const CAPABILITIES: [(&str, u32); 5] =
    [("CAP_NET_ADMIN", 12), ("CAP_NET_RAW", 13), ("CAP_SYS_NICE", 23), ("CAP_PERFMON", 38), ("CAP_BPF", 39)];
const IPC_LOCK: u32 = 14;

fn rights(status: &str) -> Finding {
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let Some(effective) = line.and_then(|text| u64::from_str_radix(text.trim(), 16).ok()) else {
        return finding(Grade::Warning, "the capabilities cannot be read", "");
    };
    let missing = CAPABILITIES.iter().filter(|(_, bit)| effective & 1 << bit == 0);
    let missing: Vec<_> = missing.map(|(name, _)| *name).collect();
    if missing.is_empty() {
        return finding(Grade::Good, "capabilities: all that are needed", "");
    }
    let advice =
        "run as root, or by deploy/systemd/millrace.service, which grants them; only `run` needs them";
    finding(Grade::Warning, format!("capabilities: this user lacks {}", missing.join(", ")), advice)
}

fn jit(setting: &str) -> Finding {
    match setting {
        "0" => {
            finding(Grade::Warning, "the BPF compiler is off: XDP programs are interpreted", "").mended_by(
                Fix::new("sysctl -w net.core.bpf_jit_enable=1", "sysctl -w net.core.bpf_jit_enable=0"),
            )
        }
        _ => finding(Grade::Good, "BPF programs are compiled", ""),
    }
}

fn cpus(config: &Config, online: &str) -> Finding {
    let exists = |cpu: u16| {
        online.split(',').any(|range| {
            let (first, last) = range.split_once('-').unwrap_or((range, range));
            let bounds = first.parse::<u16>().ok().zip(last.parse::<u16>().ok());
            bounds.is_some_and(|(first, last)| (first..=last).contains(&cpu))
        })
    };
    let missing: Vec<_> = config.dataplane.workers.iter().filter(|&&cpu| !exists(cpu)).collect();
    if !missing.is_empty() {
        let advice = format!("CPUs that are online: {online}");
        return finding(
            Grade::Bad,
            format!("dataplane.workers names CPUs that are not there: {missing:?}"),
            advice,
        );
    }
    finding(Grade::Good, format!("CPUs {online}"), "")
}

/// What `ethtool -k` says of a device; none where there is no ethtool or no device.
fn features(name: &str) -> Option<String> {
    let output = Command::new("ethtool").args(["-k", name]).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Packet buffers are locked memory: CAP_IPC_LOCK, or a limit that has room for them.
fn memlock(limits: &str, status: &str, frames: u32) -> Finding {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max locked memory"));
    let limit = line.and_then(|rest| rest.split_whitespace().next()).unwrap_or("unlimited");
    let needed = u64::from(frames) * 4096;
    let enough = limit.parse::<u64>().map_or(true, |limit| needed <= limit);
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let effective = effective.and_then(|text| u64::from_str_radix(text.trim(), 16).ok()).unwrap_or(0);
    if enough || effective & 1 << IPC_LOCK != 0 {
        return finding(Grade::Good, format!("locked memory: room for {frames} packet buffers"), "");
    }
    finding(
        Grade::Warning,
        format!("locked memory: {limit} bytes are allowed, {needed} are needed for {frames} packet buffers"),
        "LimitMEMLOCK=infinity in the unit, `ulimit -l unlimited`, or CAP_IPC_LOCK",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernels_by_version() {
        for (release, grade) in [
            ("", Grade::Warning),
            ("garbage", Grade::Warning),
            ("4.19.0-25-amd64", Grade::Bad),
            ("5.8.18", Grade::Bad),
            ("5.15.0-91-generic", Grade::Warning),
            ("6.1.0-18-amd64", Grade::Good),
            ("6.18.0", Grade::Good),
            ("10.0", Grade::Good),
        ] {
            assert_eq!(kernel(release).grade, grade, "{release}");
        }
    }

    #[test]
    fn missing_rights_are_named() {
        assert_eq!(rights("Name: x\nCapEff:\t000001ffffffffff\n").grade, Grade::Good);
        assert!(
            rights("CapEff:\t0000008000001000\n")
                .what
                .ends_with("lacks CAP_NET_RAW, CAP_SYS_NICE, CAP_PERFMON")
        );
        assert_eq!(rights("").grade, Grade::Warning);
    }

    #[test]
    fn workers_on_cpus_that_are_not_there_are_named() {
        let mut config = Config::default();
        config.dataplane.workers = vec![1, 5, 9];
        let finding = cpus(&config, "0-3,5");
        assert_eq!(finding.grade, Grade::Bad);
        assert!(finding.what.ends_with("[9]"));
    }

    #[test]
    fn buffers_need_memory_that_may_be_locked() {
        let limits = "Limit  Soft  Hard  Units\nMax locked memory         8388608              8388608              bytes\n";
        let none = "CapEff:\t0000000000000000\n";
        assert_eq!(memlock(limits, none, 2048).grade, Grade::Good);
        assert_eq!(memlock(limits, none, 4096).grade, Grade::Warning);
        assert_eq!(memlock(limits, "CapEff:\t0000000000004000\n", 4096).grade, Grade::Good);
        assert_eq!(memlock(&limits.replace("8388608", "unlimited"), none, 4096).grade, Grade::Good);
    }
}
