//! The configuration file: TOML text in, a checked [`Config`] out, or every problem that was found.
//!
//! ```text
//!   text ──read──▶ spanned TOML ──sections──▶ values with their places ──check──▶ Config
//!                        └──────────┴──────── Problem (file, line, column, key, value, expected) ──▶ ConfigError
//! ```
//!
//! A `Config` holds only what can be carried out: what this version does not have is refused here, so that nobody
//! believes in a setting that has no effect. Everything below trusts the types and checks nothing again.

mod bfd;
mod bgp;
mod check;
mod diff;
mod filters;
mod key_chain;
mod model;
mod nat;
mod ospf;
mod policy;
mod prefix_file;
mod print;
mod problem;
mod read;
mod redistribute;
mod reference;
mod reference_bgp;
mod reference_ospf;
mod reference_routing;
mod rip;
mod sections;
mod statics;

pub use diff::{Change, Effect, diff};
pub use filters::protocol_number;
pub use key_chain::KeyChains;
pub use model::{
    Bgp, Config, Http, Interface, InterfaceAddress, Kernel, Mirror, Ospf, Policy, Rip, Router, StaticRoute,
    StaticTarget, StaticVia,
};
pub use print::rule_conditions;
pub use problem::{ConfigError, Problem, Severity};
pub use reference::{Key, SECTIONS, Section, markdown};
pub use sections::on_failure_name;

use std::path::Path;
use std::sync::Arc;

use problem::Source;

/// A file that can be carried out, with what its writer should be told about it.
#[derive(Clone, Debug)]
pub struct Loaded {
    pub config: Config,
    /// Problems that are no reason to refuse.
    pub warnings: Vec<Problem>,
}

/// Reads and checks the file, and the prefix files it names. Prefix files are looked up from the file's directory.
pub fn load(path: &Path) -> Result<Loaded, ConfigError> {
    let bytes = std::fs::read(path).map_err(|error| ConfigError::unreadable(path, &error))?;
    parse_bytes(bytes, path)
}

/// Checks bytes as if they were the content of the file `path`.
pub fn parse_bytes(bytes: Vec<u8>, path: &Path) -> Result<Loaded, ConfigError> {
    match String::from_utf8(bytes) {
        Ok(text) => parse(&text, path),
        Err(error) => Err(ConfigError::not_utf8(path, &error)),
    }
}

/// Checks `text` as if it stood in the file `path`, which need not exist.
pub fn parse(text: &str, path: &Path) -> Result<Loaded, ConfigError> {
    let source = Arc::new(Source::new(path, text));
    let (config, mut problems) = sections::config(&source);
    problems.sort_by_key(Problem::place);
    if problems.iter().any(|problem| problem.severity == Severity::Error) {
        return Err(ConfigError { problems });
    }
    Ok(Loaded { config, warnings: problems })
}

#[cfg(test)]
mod bgp_tests;
#[cfg(test)]
mod ospf_tests;
#[cfg(test)]
mod routing_tests;
#[cfg(test)]
mod tests;
