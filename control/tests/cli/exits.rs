//! Exit codes, and the sentence that comes with each.

use std::process::Stdio;

use serde_json::json;

use crate::fake::{Answers, Control, millrace, run, text};

#[test]
fn exit_codes_without_a_router() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let good = file("good.toml", "[[interface]]\nname = \"eth0\"\n");
    let bad = file("bad.toml", "[[interface]]\nnme = \"eth0\"\n");
    let socket = dir.path().join("control.sock").display().to_string();
    let cases: [(&[&str], i32, &str); 17] = [
        (&["--help"], 0, ""),
        (&["--version"], 0, ""),
        (&["completions", "bash"], 0, ""),
        (&["check", &good], 0, ""),
        (&["check", &bad], 2, "did you mean `name`?"),
        (&["check", "/nowhere/x.toml"], 2, "cannot be read"),
        (&[], 2, "Usage"),
        (&["frobnicate"], 2, "unrecognized subcommand"),
        (&["show"], 2, "Usage"),
        (&["show", "routes", "10.0.0.0/33"], 2, "a prefix length is 0 to 32"),
        (&["show", "routes", "10.1.2.3/8"], 2, "did you mean 10.0.0.0/8?"),
        (&["show", "routes", "--protocol", "eigrp"], 2, "expected one of"),
        (&["apply", &good, "--confirm", "0"], 2, "0 is not in 1..=86400"),
        (&["run", "-c", &bad], 2, "did you mean `name`?"),
        (&["show", "version"], 3, &socket),
        (&["apply", &good], 3, "millrace run"),
        (&["confirm"], 3, "--run-dir"),
    ];
    for (args, code, said) in cases {
        let output = run(dir.path(), args);
        let stderr = text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{args:?}: {stderr}");
        assert!(stderr.contains(said), "{args:?}: {stderr}");
        assert_eq!(stderr.is_empty(), code == 0, "{args:?}: {stderr}");
    }
}

#[test]
fn policies_are_tried_without_a_router() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("m.toml");
    let rules = "[[policy.rule-list]]\nname = \"out\"\n[[policy.rule-list.rule]]\nname = \"tagged\"\ntag = 7\naction = \"accept\"\nset = { metric = \"+2\" }\n";
    std::fs::write(&file, rules).unwrap();
    let file = file.display().to_string();
    let test = |words: &[&str]| run(dir.path(), &[&["policy", "test"], words, &["-c", &file]].concat());
    let output = test(&["out", "10.0.0.0/8 tag=7 metric=1", "10.0.0.0/8"]);
    assert_eq!(
        text(&output.stdout),
        "10.0.0.0/8 tag=7 metric=1: accepted by rule 1 \"tagged\" of out\n  rule 1 \"tagged\": fired\n  metric: 1 -> 3\n\n\
         10.0.0.0/8: rejected by the default of out\n  rule 1 \"tagged\": no match (tag 7)\n\n"
    );
    let json: serde_json::Value =
        serde_json::from_slice(&test(&["out", "10.0.0.0/8 tag=7", "--json"]).stdout).unwrap();
    assert_eq!(json[0]["decided_by"], "rule 1 \"tagged\"");
    for (words, said) in
        [(&["in", "10.0.0.0/8"], "there are: out"), (&["out", "10.0.0.1/8"], "a prefix such as")]
    {
        let output = test(words);
        assert_eq!(output.status.code(), Some(2), "{words:?}");
        assert!(text(&output.stderr).contains(said), "{}", text(&output.stderr));
    }
}

#[test]
fn refusals_of_the_router() {
    let problem = json!({
        "severity": "error", "file": "/etc/millrace/millrace.toml", "line": 2, "column": 1, "width": 3,
        "excerpt": "nme = \"eth0\"", "key": "interface.nme", "value": null,
        "message": "unknown key `nme` in [[interface]]", "expected": "`name`", "help": "did you mean `name`?"
    });
    let control = Control::new(Answers::from([
        ("POST /api/v1/apply", (422, json!({ "error": "not right", "problems": [problem] }))),
        ("POST /api/v1/confirm", (409, json!({ "error": "no configuration waits for a confirmation" }))),
        ("GET /api/v1/workers", (503, json!({ "error": "the dataplane is not connected: refused" }))),
        ("GET /api/v1/version", (200, json!({ "of": "another kind" }))),
    ]));
    let cases: [(&[&str], i32, &str); 4] = [
        (&["apply", "/etc/millrace/millrace.toml"], 2, "--> /etc/millrace/millrace.toml:2:1"),
        (&["confirm"], 1, "millrace: no configuration waits for a confirmation"),
        (&["show", "workers"], 1, "millrace: the dataplane is not connected: refused"),
        (&["show", "version"], 1, "not what was expected"),
    ];
    for (args, code, said) in cases {
        let output = control.run(args);
        let stderr = text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{args:?}: {stderr}");
        assert!(stderr.contains(said), "{args:?}: {stderr}");
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn what_is_sent_to_the_router() {
    let applied =
        json!({ "changes": [], "warnings": [], "result": null, "confirm": null, "config_file": "/m.toml" });
    let control = Control::new(Answers::from([
        (
            "GET /api/v1/config",
            (200, json!({ "file": "/etc/started-with.toml", "toml": "", "confirm": null })),
        ),
        ("POST /api/v1/apply", (200, applied.clone())),
        ("POST /api/v1/diff", (200, applied)),
    ]));
    for args in [["apply"].as_slice(), &["apply", "/a.toml", "--confirm", "60"], &["diff", "/b.toml"]] {
        assert!(control.run(args).status.success(), "{args:?}");
    }
    assert_eq!(
        control.requests(),
        [
            "GET /api/v1/config ",
            "POST /api/v1/apply {\"file\":\"/etc/started-with.toml\"}",
            "POST /api/v1/apply?confirm=60 {\"file\":\"/a.toml\"}",
            "POST /api/v1/diff {\"file\":\"/b.toml\"}",
        ]
    );
}

/// `millrace show routes | head -1`
#[test]
fn a_closed_pipe_ends_the_command_quietly() {
    let route = json!({
        "prefix": "10.0.0.0/24", "protocol": "static", "code": "S", "distance": 1, "metric": 0, "selected": true,
        "installed": true, "problem": null, "kind": "blackhole", "nexthops": [], "group": 1, "age_seconds": 1
    });
    let page: Vec<_> = std::iter::repeat_n(route, 50_000).collect();
    let control = Control::new(Answers::from([("GET /api/v1/routes", (200, json!(page)))]));
    for args in [["show", "routes"].as_slice(), &["show", "routes", "--json"]] {
        let mut command = millrace(control.dir.path());
        let mut child = command.args(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        assert_eq!((output.status.code(), text(&output.stderr).as_str()), (Some(0), ""), "{args:?}");
    }
}
