//! Which capabilities the process has, so that a refusal can name the one that is missing.

use std::fmt;

/// What the dataplane cannot work without, by bit number (`linux/capability.h`), with what each is for.
const NEEDED: [(u32, &str, &str); 4] = [
    (12, "CAP_NET_ADMIN", "to attach XDP and probe neighbours"),
    (13, "CAP_NET_RAW", "to open AF_XDP sockets"),
    (38, "CAP_PERFMON", "to load the XDP program"),
    (39, "CAP_BPF", "to load the XDP program"),
];
/// Stands in for CAP_PERFMON and CAP_BPF.
const SYS_ADMIN: u32 = 21;

/// Capabilities that are not in the effective set.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Missing(Vec<(&'static str, &'static str)>);

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lacks: Vec<String> = self.0.iter().map(|(name, purpose)| format!("{name} ({purpose})")).collect();
        write!(
            f,
            "the process lacks {}; run it as root, or grant the capabilities (systemd: AmbientCapabilities=)",
            lacks.join(", ")
        )
    }
}

impl std::error::Error for Missing {}

/// Compares the effective set of this process with what is needed.
pub(crate) fn check() -> Result<(), Missing> {
    // Without /proc nothing is known; the system calls then say themselves what they miss.
    std::fs::read_to_string("/proc/self/status").map_or(Ok(()), |status| check_status(&status))
}

fn check_status(status: &str) -> Result<(), Missing> {
    let effective = status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    let Some(effective) = effective else { return Ok(()) };
    let has = |bit: u32| effective & (1 << bit) != 0;
    let missing: Vec<_> = NEEDED
        .into_iter()
        .filter(|(bit, ..)| !(has(*bit) || SYS_ADMIN < *bit && has(SYS_ADMIN)))
        .map(|(_, name, purpose)| (name, purpose))
        .collect();
    if missing.is_empty() { Ok(()) } else { Err(Missing(missing)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_capabilities_are_named() {
        for (mask, expected) in [
            ("000001ffffffffff", &[][..]),
            ("0000000000000000", &["CAP_NET_ADMIN", "CAP_NET_RAW", "CAP_PERFMON", "CAP_BPF"]),
            ("000000c000003000", &[]),
            ("0000008000003000", &["CAP_PERFMON"]),
            ("0000000000203000", &[]),
            ("000000c000001000", &["CAP_NET_RAW"]),
        ] {
            let missing =
                check_status(&format!("Name:\tx\nCapEff:\t{mask}\n")).err().map(|Missing(list)| list);
            let names: Vec<&str> = missing.unwrap_or_default().iter().map(|(name, _)| *name).collect();
            assert_eq!(names, expected, "{mask}");
        }
        assert_eq!(check_status("nothing known"), Ok(()));
    }
}
