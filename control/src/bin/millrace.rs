//! The `millrace` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    millrace_control::cli::main(std::env::args_os())
}
