//! What a table takes: the growth of a process of its own that builds it and nothing else.

use std::error::Error;
use std::fs;
use std::process::Command;

use crate::contenders::{self, MILLRACE, Millrace};
use crate::{Route, say};

/// With a contender's name after it: this program only measures that one's memory.
pub(crate) const FLAG: &str = "--memory-of";

/// In MiB; `None`, loudly, where it cannot be measured.
pub(crate) fn of(name: &str) -> Option<f64> {
    let measure = || -> Result<f64, Box<dyn Error>> {
        let output = Command::new(std::env::current_exe()?).args([FLAG, name]).output()?;
        Ok(String::from_utf8(output.stdout)?.trim().parse()?)
    };
    measure().inspect_err(|error| say(&format!("memory of {name} not measured: {error}"))).ok()
}

/// The other side of [`of`].
pub(crate) fn answer(name: &str, routes: &[Route]) -> Result<(), Box<dyn Error>> {
    let before = resident()?;
    let after = if name == MILLRACE {
        let owned = contenders::memory()?;
        let _table = Millrace::build(&owned, routes)?;
        resident()?
    } else {
        let _table = contenders::build(name, routes)?;
        resident()?
    };
    #[expect(clippy::print_stdout, reason = "the answer")]
    {
        println!("{}", after - before);
    }
    Ok(())
}

/// The memory this process has, in MiB.
fn resident() -> Result<f64, Box<dyn Error>> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").parse::<f64>()? / 1024.0)
}
