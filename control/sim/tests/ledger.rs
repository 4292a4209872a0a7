//! `control/RFC.md` keeps its word: every row has a state, and every row marked done names tests that exist.

use std::fs;
use std::path::{Path, PathBuf};

const STATES: [&str; 4] = ["done", "shell", "not yet", "deviation"];

/// A row: its line number, state, and what it says in the last column.
struct Row {
    line: usize,
    state: String,
    shown_by: String,
}

fn control() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
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

/// Whether the package has a file of this name with a test of this name.
fn exists(test: &str) -> bool {
    let [package, file, function] = test.split("::").collect::<Vec<_>>()[..] else { return false };
    let root = if package == "control" { control() } else { control().join(package) };
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

/// `#[test]`, other attributes and comments perhaps, then the function.
fn has_test(source: &str, function: &str) -> bool {
    let mut marked = false;
    for line in source.lines().map(str::trim) {
        if line == "#[test]" {
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
    let ledger = fs::read_to_string(control().join("RFC.md")).unwrap();
    let rows = rows(&ledger);
    assert!(80 < rows.len(), "the ledger has been read");
    let mut faults = Vec::new();
    for Row { line, state, shown_by } in rows {
        if !STATES.contains(&&state[..]) {
            faults.push(format!("line {line}: {state:?} is no state"));
        }
        let tests: Vec<&str> =
            shown_by.split('`').skip(1).step_by(2).filter(|text| text.contains("::")).collect();
        if state == "done" && tests.is_empty() {
            faults.push(format!("line {line}: done, but no test is named"));
        }
        for test in tests.into_iter().filter(|test| !exists(test)) {
            faults.push(format!("line {line}: there is no test {test}"));
        }
    }
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
    assert!(!exists("rip::messages::no_such_test"));
}
