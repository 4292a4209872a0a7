//! `millrace doctor`: what of this machine would keep Millrace from running, or from running well.

use std::fs;
use std::path::Path;

use super::exit::{Error, Exit};
use super::out::{Out, plural};
use crate::config::{self, Config};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Grade {
    Good,
    /// Works, but not as well as it could.
    Warning,
    Bad,
}

/// One thing that was looked at.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Finding {
    grade: Grade,
    what: String,
    /// What to do; empty where nothing is to be done.
    advice: String,
}

fn finding(grade: Grade, what: impl Into<String>, advice: impl Into<String>) -> Finding {
    Finding { grade, what: what.into(), advice: advice.into() }
}

pub(super) fn doctor(config: &Path, out: &mut Out) -> Result<Exit, Error> {
    let mut findings = vec![kernel(&read("/proc/sys/kernel/osrelease"))];
    findings.push(rights(&read("/proc/self/status")));
    findings.push(jit(&read("/proc/sys/net/core/bpf_jit_enable")));
    match config::load(config) {
        Ok(loaded) => {
            findings.push(finding(Grade::Good, format!("{}: ok", config.display()), ""));
            findings.push(cpus(&loaded.config, &read("/sys/devices/system/cpu/online")));
            let interfaces = loaded.config.interfaces.iter();
            findings.extend(interfaces.map(|interface| device(&interface.name, Path::new("/sys/class/net"))));
        }
        Err(error) => {
            let first = error.problems.first().map(|problem| problem.message.clone()).unwrap_or_default();
            let advice = format!("`millrace check {}` says all of it", config.display());
            findings.push(finding(Grade::Bad, format!("{}: {first}", config.display()), advice));
        }
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
    let bad = findings.iter().filter(|finding| finding.grade == Grade::Bad).count();
    if bad == 0 {
        return Ok(Exit::Done);
    }
    out.line(format_args!("\n{} in the way of Millrace.", plural(bad, "thing")))?;
    Ok(Exit::Failed)
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
const CAPABILITIES: [(&str, u32); 4] =
    [("CAP_NET_ADMIN", 12), ("CAP_NET_RAW", 13), ("CAP_PERFMON", 38), ("CAP_BPF", 39)];

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
        "0" => finding(
            Grade::Warning,
            "the BPF compiler is off: XDP programs are interpreted",
            "sysctl net.core.bpf_jit_enable=1",
        ),
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

/// Drivers that are known to have AF_XDP zero-copy. What is in force is shown by `millrace show interfaces`.
const ZERO_COPY: &[&str] =
    &["fsl_dpaa2_eth", "i40e", "ice", "igb", "igc", "ixgbe", "mlx5_core", "nfp", "tsnep"];

fn device(name: &str, class: &Path) -> Finding {
    let dir = class.join(name);
    if !dir.exists() {
        let advice = "see `ip link`; Millrace takes it into service as soon as it is there";
        return finding(Grade::Warning, format!("{name}: there is no such interface at present"), advice);
    }
    let driver = fs::read_link(dir.join("device/driver")).ok();
    let driver = driver.as_deref().and_then(Path::file_name).map(|name| name.to_string_lossy().into_owned());
    let queues = fs::read_dir(dir.join("queues")).map_or(0, |entries| {
        entries.flatten().filter(|entry| entry.file_name().to_string_lossy().starts_with("rx-")).count()
    });
    let up = read(dir.join("operstate")) != "down";
    let driver_name = driver.as_deref().unwrap_or("virtual");
    let what =
        format!("{name}: {driver_name}, {}, MTU {}", plural(queues, "receive queue"), read(dir.join("mtu")));
    match driver.as_deref() {
        _ if !up => finding(Grade::Warning, format!("{what}, down"), format!("ip link set {name} up")),
        Some(driver) if ZERO_COPY.contains(&driver) => finding(Grade::Good, what, ""),
        Some(_) => finding(
            Grade::Warning,
            what,
            "not known for zero-copy: packets may be copied, which costs speed; see `millrace show interfaces`",
        ),
        None => finding(Grade::Good, what, ""),
    }
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
        assert!(rights("CapEff:\t0000008000001000\n").what.ends_with("lacks CAP_NET_RAW, CAP_PERFMON"));
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
    fn a_device_is_described_from_sysfs() {
        let class = tempfile::tempdir().unwrap();
        let dir = class.path().join("eth0");
        fs::create_dir_all(dir.join("queues/rx-0")).unwrap();
        fs::create_dir_all(dir.join("queues/tx-0")).unwrap();
        fs::write(dir.join("mtu"), "1500\n").unwrap();
        assert_eq!(device("eth0", class.path()).what, "eth0: virtual, 1 receive queue, MTU 1500");
        assert_eq!(device("eth1", class.path()).grade, Grade::Warning);
    }
}
