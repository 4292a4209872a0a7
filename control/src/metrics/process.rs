//! What the kernel knows of a process: memory, CPU time, start.

use std::fs;

/// One of Millrace's processes.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Process {
    pub start_time_seconds: f64,
    pub resident_bytes: u64,
    pub cpu_seconds: f64,
}

/// Clock ticks a second in /proc: fixed in the kernel's interface to user space (`USER_HZ`).
const USER_HZ: f64 = 100.0;

impl Process {
    /// This process.
    pub fn own() -> Option<Self> {
        Self::of(std::process::id())
    }

    /// Another one; none where there is none.
    pub fn of(pid: u32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let boot = fs::read_to_string("/proc/stat").ok()?;
        Self::parse(&stat, &status, &boot)
    }

    /// From the three files. proc(5).
    fn parse(stat: &str, status: &str, boot: &str) -> Option<Self> {
        // The name in parentheses may hold blanks and parentheses itself; what follows the last one is regular.
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_ascii_whitespace().collect();
        let ticks = |field: usize| fields.get(field - 3)?.parse::<f64>().ok();
        let boot_time =
            boot.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse::<f64>().ok()?;
        let resident_kib = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        let resident_kib: u64 = resident_kib.trim().strip_suffix(" kB")?.trim().parse().ok()?;
        Some(Self {
            start_time_seconds: boot_time + ticks(22)? / USER_HZ,
            resident_bytes: resident_kib << 10,
            cpu_seconds: (ticks(14)? + ticks(15)?) / USER_HZ,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_three_files() {
        let stat = "42 (a) b (c) S 1 2 3 4 5 6 7 8 9 10 150 50 0 0 20 0 3 0 700 1000 200";
        let status = "Name:\ta\nVmRSS:\t    2048 kB\n";
        let process = Process::parse(stat, status, "cpu 1\nbtime 1000\n");
        let expected = Process { start_time_seconds: 1007.0, resident_bytes: 2 << 20, cpu_seconds: 2.0 };
        assert_eq!(process, Some(expected));
        for broken in ["", "42 (a", "42 (a) S", "42 (a) S x"] {
            assert_eq!(Process::parse(broken, status, "btime 1\n"), None);
        }
    }

    #[test]
    fn this_process_is_there_and_none_is_not() {
        let own = Process::own().unwrap();
        assert!(own.resident_bytes > 0 && own.start_time_seconds > 1e9);
        assert_eq!(Process::of(u32::MAX), None);
    }
}
