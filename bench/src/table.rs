//! The full IPv4 table of shared/data: 1,050,000 prefixes and their origins.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};

use flate2::bufread::GzDecoder;
use millrace_net::Prefix;

const FILES: [&str; 2] = ["fulltable-v4.csv.gz", "fulltable-v4-extra2026.csv.gz"];

/// A prefix and the AS that originates it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Origin {
    pub prefix: Prefix,
    pub asn: u32,
}

/// The directory of the table: `MILLRACE_DATA`, or `../shared/data` beside the workspace.
pub fn directory() -> PathBuf {
    match std::env::var_os("MILLRACE_DATA") {
        Some(directory) => directory.into(),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data"),
    }
}

/// Both files, in order of address and length.
pub fn full(directory: &Path) -> io::Result<Vec<Origin>> {
    let mut table = Vec::with_capacity(1_050_000);
    for name in FILES {
        let path = directory.join(name);
        let explain = |error: io::Error| {
            let kind = error.kind();
            let place = path.display();
            io::Error::new(
                kind,
                format!("{place}: {error}; MILLRACE_DATA names the directory of the full table"),
            )
        };
        let file = BufReader::new(File::open(&path).map_err(explain)?);
        for line in BufReader::new(GzDecoder::new(file)).lines() {
            let line = line.map_err(explain)?;
            table.push(
                parse(&line).ok_or_else(|| explain(io::Error::other(format!("not a route: {line:?}"))))?,
            );
        }
    }
    table.sort_unstable();
    Ok(table)
}

fn parse(line: &str) -> Option<Origin> {
    let (prefix, asn) = line.split_once(',')?;
    Some(Origin { prefix: prefix.parse().ok()?, asn: asn.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_a_prefix_and_an_origin() {
        let prefix = "1.0.4.0/22".parse().unwrap();
        assert_eq!(parse("1.0.4.0/22,38803"), Some(Origin { prefix, asn: 38803 }));
        for line in ["", "1.0.4.0/22", "1.0.4.1/22,1", "1.0.4.0/22,x", "prefix,asn"] {
            assert_eq!(parse(line), None, "{line}");
        }
    }

    #[test]
    fn a_missing_table_says_what_to_do() {
        let error = full(Path::new("/nowhere")).unwrap_err().to_string();
        assert!(error.contains("/nowhere/fulltable-v4.csv.gz") && error.contains("MILLRACE_DATA"), "{error}");
    }
}
