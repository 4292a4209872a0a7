//! The RFC ledgers keep their word: every row has a state, and every row marked done names tests that exist.

use std::fs;
use std::path::{Path, PathBuf};

/// One `RFC.md`.
struct Ledger {
    /// Where it is. Tests are named `PACKAGE::FILE::FUNCTION`, with packages below this directory, or the directory itself.
    dir: &'static str,
    states: &'static [&'static str],
    /// There are more rows than this: the file has been read.
    rows: usize,
}

const LEDGERS: [Ledger; 2] = [
    Ledger { dir: "control", states: &["done", "shell", "not yet", "deviation"], rows: 80 },
    Ledger { dir: "dataplane", states: &["done", "host", "superseded", "not yet", "deviation"], rows: 100 },
];

/// A row: its line number, state, and what it says in the last column.
struct Row {
    line: usize,
    state: String,
    shown_by: String,
}

impl Ledger {
    fn path(&self) -> PathBuf {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        here.ancestors().nth(2).unwrap_or(here).join(self.dir)
    }

    fn faults(&self) -> Vec<String> {
        let rows = rows(&fs::read_to_string(self.path().join("RFC.md")).expect("a ledger"));
        assert!(self.rows < rows.len(), "{}: the ledger has been read", self.dir);
        let mut faults = Vec::new();
        for Row { line, state, shown_by } in rows {
            let place = format!("{}/RFC.md line {line}", self.dir);
            if !self.states.contains(&&state[..]) {
                faults.push(format!("{place}: {state:?} is no state"));
            }
            let tests: Vec<&str> =
                shown_by.split('`').skip(1).step_by(2).filter(|text| text.contains("::")).collect();
            if state == "done" && tests.is_empty() {
                faults.push(format!("{place}: done, but no test is named"));
            }
            for test in tests.into_iter().filter(|test| !self.has(test)) {
                faults.push(format!("{place}: there is no test {test}"));
            }
        }
        faults
    }

    /// Whether the package has a file of this name with a test of this name.
    fn has(&self, test: &str) -> bool {
        let [package, file, function] = test.split("::").collect::<Vec<_>>()[..] else { return false };
        // The end-to-end tests of both processes are the dataplane's.
        let root = match package {
            "dataplane" => self.path().with_file_name("dataplane"),
            package if package == self.dir => self.path(),
            package => self.path().join(package),
        };
        let mut places = vec![root.join("src"), root.join("tests")];
        while let Some(place) = places.pop() {
            for entry in fs::read_dir(place).into_iter().flatten().flatten() {
                let path = entry.path();
                if path.is_dir() {
                    places.push(path);
                } else if path.file_name().is_some_and(|name| name == format!("{file}.rs").as_str())
                    && fs::read_to_string(path).is_ok_and(|source| has_test(&source, function))
                {
                    return true;
                }
            }
        }
        false
    }
}

fn rows(ledger: &str) -> Vec<Row> {
    let mut rows = Vec::new();
    for (line, text) in (1..).zip(ledger.lines()) {
        let Some(cells) = text.strip_prefix("| ").and_then(|text| text.strip_suffix('|')) else { continue };
        let cells: Vec<&str> = cells.split('|').map(str::trim).collect();
        assert_eq!(cells.len(), 5, "line {line}: five columns");
        if cells[3] != "state" {
            rows.push(Row { line, state: cells[3].to_owned(), shown_by: cells[4].to_owned() });
        }
    }
    rows
}

/// `#[test]`, other attributes and comments perhaps, then the function.
fn has_test(source: &str, function: &str) -> bool {
    let mut marked = false;
    for line in source.lines().map(str::trim) {
        if line == "#[test]" || line == "#[tokio::test]" {
            marked = true;
        } else if marked && line.starts_with(&format!("fn {function}(")) {
            return true;
        } else if !line.starts_with("#[") && !line.starts_with("//") {
            marked = false;
        }
    }
    false
}

#[test]
fn rows_that_are_done_name_tests_that_exist() {
    let faults: Vec<_> = LEDGERS.iter().flat_map(Ledger::faults).collect();
    assert!(faults.is_empty(), "{faults:#?}");
}

#[test]
fn a_test_is_what_the_attribute_says() {
    let source = "#[test]\nfn yes() {\n}\nfn no() {}\n#[test]\n/// Words.\n#[should_panic]\nfn also() {}\n#[test]\n\nfn apart() {}";
    for (function, expected) in
        [("yes", true), ("no", false), ("also", true), ("apart", false), ("ye", false)]
    {
        assert_eq!(has_test(source, function), expected, "{function}");
    }
    let [control, dataplane] = &LEDGERS;
    assert!(control.has("rip::messages::messages_that_are_refused"));
    assert!(LEDGERS.iter().all(|ledger| ledger.has("dataplane::ping::ping_goes_through_the_workers")));
    assert!(!control.has("rip::messages::no_such_test"));
    assert!(!dataplane.has("engine::verdicts::no_such_test"));
    assert!(!dataplane.has("ledgers::rows_that_are_done_name_tests_that_exist"));
}

/// Requirements of address translation that begin with MUST and are not met; `dataplane/RFC.md` says why.
const UNMET: [&str; 2] = ["RFC 4787: UDP REQ-7", "RFC 6888: carrier-grade NAT REQ-9"];

/// The compliance sheet of address translation: every MUST has a test, but for those named here.
#[test]
fn a_must_of_address_translation_has_a_test() {
    let ledger = fs::read_to_string(LEDGERS[1].path().join("RFC.md")).unwrap();
    let sheet = ledger.split("## Address translation\n").nth(1).unwrap();
    let sheet = sheet.split("\n## ").next().unwrap();
    let (mut unmet, mut musts, mut document) = (Vec::new(), 0, "");
    for text in sheet.lines() {
        document = text.strip_prefix("### ").unwrap_or(document);
        let cells: Vec<&str> = text.split('|').map(str::trim).collect();
        let [_, requirement, _, level, state, ..] = cells[..] else { continue };
        if level.contains("MUST") {
            musts += 1;
            if state != "done" {
                unmet.push(format!("{document} {requirement}"));
            }
        }
    }
    assert!(30 < musts, "the sheet has been read: {musts}");
    assert_eq!(unmet, UNMET);
}
