//! Prefix files beside the configuration.

use super::*;

/// A directory with the files of a table of (name, text).
fn files(contents: &[(&str, &str)]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in contents {
        std::fs::write(dir.path().join(name), text).unwrap();
    }
    dir
}

#[test]
fn prefix_files_are_found_beside_the_configuration() {
    let dir = files(&[
        ("a.csv", "10.2.0.0/16,x\n10.1.0.0/16,y\n10.1.0.0/16,z\n"),
        ("m.toml", "[[static]]\nprefixes-from = \"a.csv\"\nvia = [\"192.0.2.1\"]\n"),
    ]);
    let config = load(&dir.path().join("m.toml")).unwrap().config;
    let prefixes: Vec<_> = config.statics[0].prefixes.iter().map(ToString::to_string).collect();
    assert_eq!(prefixes, ["10.1.0.0/16", "10.2.0.0/16"]);
    assert_eq!(config.statics[0].file, Some(dir.path().join("a.csv")));
}

/// What `load` says, without the directory.
fn refusal(dir: &tempfile::TempDir, name: &str) -> String {
    let error = load(&dir.path().join(name)).map(|loaded| loaded.config.to_string()).unwrap_err();
    error.to_string().replace(&format!("{}/", dir.path().display()), "")
}

#[test]
fn what_is_said_about_files_that_clash_or_cannot_be_read() {
    let target = "via = [\"192.0.2.1\"]\n";
    let dir = files(&[
        ("a.csv", "10.1.0.0/16\n10.2.0.0/16\n"),
        ("b.csv", "10.2.0.0/16\n10.3.0.0/16\n"),
        ("wrong.csv", "10.2.0.0/16\nwrong\n"),
        ("empty.csv", "# nothing\n"),
        (
            "two.toml",
            &format!(
                "[[static]]\nprefixes-from = \"a.csv\"\n{target}[[static]]\nprefixes-from = \"b.csv\"\n{target}"
            ),
        ),
        (
            "one.toml",
            &format!(
                "[[static]]\nprefix = \"10.3.0.0/16\"\n{target}[[static]]\nprefixes-from = \"b.csv\"\n{target}"
            ),
        ),
        (
            "distance.toml",
            &format!(
                "[[static]]\nprefixes-from = \"a.csv\"\n{target}[[static]]\nprefixes-from = \"b.csv\"\ndistance = 2\n{target}"
            ),
        ),
        ("wrong.toml", &format!("[[static]]\nprefixes-from = \"wrong.csv\"\n{target}")),
        ("empty.toml", &format!("[[static]]\nprefixes-from = \"empty.csv\"\n{target}")),
    ]);
    std::fs::write(dir.path().join("latin1.toml"), b"[router]\nname = \"K\xf6ln\"\n").unwrap();
    let refusals =
        ["two.toml", "one.toml", "wrong.toml", "latin1.toml", "none.toml"].map(|name| refusal(&dir, name));
    insta::assert_snapshot!(refusals.join("\n\n"));
    assert!(load(&dir.path().join("distance.toml")).is_ok());
    assert_eq!(load(&dir.path().join("empty.toml")).unwrap().warnings.len(), 1);
}

#[test]
fn a_prefix_file_differs_by_its_lines() {
    let text = "[[static]]\nprefixes-from = \"a.csv\"\nvia = [\"192.0.2.1\"]\n";
    let dir = files(&[("a.csv", "10.1.0.0/16\n10.2.0.0/16\n"), ("m.toml", text)]);
    let old = load(&dir.path().join("m.toml")).unwrap().config;
    std::fs::write(dir.path().join("a.csv"), "10.2.0.0/16\n10.3.0.0/16\n10.4.0.0/16\n").unwrap();
    let new = load(&dir.path().join("m.toml")).unwrap().config;
    let changes = diff(&old, &new);
    assert_eq!(changes.len(), 1);
    assert_eq!(changes[0].new.as_deref(), Some("3 prefixes (+2 -1), via = [\"192.0.2.1\"]"));
}
