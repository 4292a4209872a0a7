//! The configuration reader from the outside: tables of files and what is said about them.

mod files;
mod full;

use std::path::Path;

use millrace_api as api;
use millrace_net::Rate;
use proptest::prelude::*;

use self::full::FULL;
use super::*;

fn read(text: &str) -> Result<Loaded, ConfigError> {
    parse(text, Path::new("m.toml"))
}

/// A line that makes a valid file of what is put behind it.
const ETH0: &str = "[[interface]]\nname = \"eth0\"\n";

/// What is said about each file is in `snapshots/`: read it when it changes, users do.
#[test]
fn what_is_said_about_wrong_files() {
    let many_vias: String = (0..65).map(|i| format!("\"10.0.0.{i}\",")).collect();
    let cases = [
        // -- TOML itself
        ("unquoted string", "[router]\nname = edge1\n".to_owned()),
        ("several syntax errors at once", "[router\nname = \n[[interface]\nname = \"x\n".into()),
        ("a key twice", "[router]\nname = \"a\"\nname = \"b\"\n".into()),
        ("a section twice", "[http]\n[router]\n[http]\n".into()),
        // -- names
        ("unknown section", "[interfaces]\n[ruoter]\n[wholly-else]\n".into()),
        ("unknown keys", format!("{ETH0}adress = []\non_failure = \"drop\"\nipv6 = true\n")),
        ("unknown key at the top", "name = \"edge1\"\n".into()),
        ("single brackets", "[interface]\nname = \"eth0\"\n".into()),
        ("not a table", "router = 3\n".into()),
        // -- BFD
        (
            "bfd settings",
            "[bfd]\nmin-tx = 5\nmultiplier = 0\npassive = 1\n[[bfd.neighbor]]\n[[bfd.neighbor]]\naddress = \"10.0.0.0/8\"\n\
             [[bfd.neighbor]]\naddress = \"10.0.0.1\"\n[[bfd.neighbor]]\naddress = \"10.0.0.1\"\nmin_rx = 50\n"
                .into(),
        ),
        (
            "bfd without a next hop to watch",
            "[[static]]\nprefix = \"10.0.0.0/8\"\nkind = \"blackhole\"\nbfd = true\n".into(),
        ),
        // -- not built yet
        ("later settings", "[dataplane]\nexpress = \"on\"\n".into()),
        // -- [router]
        ("router", "[router]\nname = \"edge one\"\nrouter-id = \"10.0.0\"\nasn = 0\n".into()),
        ("router id zero", "[router]\nrouter-id = \"0.0.0.0\"\nasn = 23456\n".into()),
        ("router types", "[router]\nname = 1\nrouter-id = [1]\nasn = \"65001\"\n".into()),
        // -- [dataplane]
        ("dataplane", "[dataplane]\nworkers = [1, 1, -1, \"2\", 70000]\nmode = \"zerocopy\"\nbusy-poll = \"yes\"\n".into()),
        ("no workers", "[dataplane]\nworkers = []\n".into()),
        ("workers as a number", "[dataplane]\nworkers = 2\n".into()),
        ("frames not a power of two", "[dataplane]\nframes = 5000\n".into()),
        ("frames out of range", "[dataplane]\nframes = 512\n".into()),
        // -- [[interface]]
        ("interface without a name", "[[interface]]\n".into()),
        ("interface names", "[[interface]]\nname = \"\"\n[[interface]]\nname = \"lo\"\n[[interface]]\nname = \"a b\"\n[[interface]]\nname = \"abcdefghijklmnop\"\n".into()),
        ("interface twice", format!("{ETH0}{ETH0}")),
        (
            "addresses",
            format!(
                "{ETH0}addresses = [\n  \"10.0.0.0/24\",\n  \"10.0.0.255/24\",\n  \"10.0.0.1\",\n  \"10.0.0.1/33\",\n  \"127.0.0.1/8\",\n  \
                 \"224.0.0.1/24\",\n  \"fe80::1/64\",\n  7,\n]\n"
            ),
        ),
        ("addresses as a string", format!("{ETH0}addresses = \"10.0.0.1/24\"\n")),
        ("an address twice", format!("{ETH0}addresses = [\"10.0.0.1/24\"]\n[[interface]]\nname = \"eth1\"\naddresses = [\"10.0.0.1/16\"]\n")),
        ("choices of an interface", format!("{ETH0}on-failure = \"explode\"\nqueues = \"al\"\nurpf = \"feasible\"\n")),
        ("queue numbers", format!("{ETH0}queues = [0, 0, 64]\n")),
        ("no queues", format!("{ETH0}queues = []\n")),
        // -- [[static]]
        ("static without anything", "[[static]]\n".into()),
        ("prefixes", "[[static]]\nprefix = \"10.1.2.3/8\"\nkind = \"blackhole\"\n[[static]]\nprefix = \"10.1.2.3\"\nkind = \"blackhole\"\n[[static]]\nprefix = \"10.0.0.0/64\"\nkind = \"blackhole\"\n[[static]]\nprefix = \"2001:db8::/32\"\nkind = \"blackhole\"\n[[static]]\nprefix = \"239.0.0.0/8\"\nkind = \"blackhole\"\n[[static]]\nprefix = \"127.0.0.0/8\"\nkind = \"blackhole\"\n".into()),
        ("two targets", format!("{ETH0}[[static]]\nprefix = \"10.0.0.0/8\"\nvia = [\"192.0.2.1\"]\ninterface = \"eth0\"\nkind = \"drop\"\n")),
        ("no target", "[[static]]\nprefix = \"10.0.0.0/8\"\ndistance = 0\n".into()),
        ("next hops", "[[static]]\nprefix = \"10.0.0.0/8\"\nvia = [\"192.0.2.1/24\", \"eth0\", \"255.255.255.255\", \"fe80::1\", { weight = 2 }, { via = \"192.0.2.2\", wieght = 3 }, { via = \"192.0.2.3\", weight = 257 }, { via = \"192.0.2.4\", weight = 0 }]\n".into()),
        ("no next hops", "[[static]]\nprefix = \"10.0.0.0/8\"\nvia = []\n".into()),
        ("a next hop twice", "[[static]]\nprefix = \"10.0.0.0/8\"\nvia = [\"192.0.2.1\", \"192.0.2.1\"]\n".into()),
        ("too many next hops", format!("[[static]]\nprefix = \"10.0.0.0/8\"\nvia = [{many_vias}]\n")),
        ("own address as next hop", format!("{ETH0}addresses = [\"192.0.2.1/24\"]\n[[static]]\nprefix = \"10.0.0.0/8\"\nvia = [\"192.0.2.1\"]\n")),
        ("unknown interface", format!("{ETH0}[[static]]\nprefix = \"10.0.0.0/8\"\ninterface = \"eht0\"\n")),
        ("unknown kind", "[[static]]\nprefix = \"10.0.0.0/8\"\nkind = \"reject\"\n".into()),
        ("a prefix twice", "[[static]]\nprefix = \"10.0.0.0/8\"\nvia = [\"192.0.2.1\"]\n[[static]]\nprefix = \"10.0.0.0/8\"\nvia = [\"192.0.2.2\"]\n".into()),
        ("no prefix file", "[[static]]\nprefixes-from = \"none/such.csv\"\nkind = \"blackhole\"\n".into()),
        ("a directory as prefix file", "[[static]]\nprefixes-from = \"/\"\nkind = \"blackhole\"\n".into()),
        ("prefix and prefix file", "[[static]]\nprefix = \"10.0.0.0/8\"\nprefixes-from = \"x\"\nkind = \"blackhole\"\n".into()),
        // -- [forwarding], [[acl]]
        ("forwarding", "[forwarding]\necmp-hash = \"l4\"\nicmp-source = \"inside\"\nsource-routes = 1\n".into()),
        ("acl without anything", "[[acl]]\n[[acl.rule]]\n".into()),
        ("acl twice, and names of none", format!("[[acl]]\nname = \"wan\"\n[[acl]]\nname = \"wan\"\n[[acl]]\nname = \"a b\"\ndefault = \"deny\"\n{ETH0}acl-in = \"wn\"\nacl-out = \"office\"\n")),
        ("acl rules", "[[acl]]\nname = \"wan\"\nrules = []\n[[acl.rule]]\naction = \"permit\"\nsource = \"10.1.0.0/8\"\ndestination = [\"lan\", 7]\nprotocol = \"ipv6\"\n[[acl.rule]]\naction = \"drop\"\nprotocol = 256\nsource-port = 80\nicmp-type = 8\ntcp-flags = \"syn\"\npolice = { packets = 10 }\n".into()),
        ("acl ports", "[[acl]]\nname = \"wan\"\n[[acl.rule]]\naction = \"accept\"\nprotocol = \"udp\"\nsource-port = [\"80-70\", \"http\", 65536]\ndestination-port = []\ntcp-flags = \"syn\"\n[[acl.rule]]\naction = \"accept\"\nprotocol = \"icmp\"\nicmp-type = \"0-256\"\ndscp = [\"be\", 64]\nfragments = \"first\"\n[[acl.rule]]\naction = \"accept\"\nprotocol = \"tcp\"\ntcp-flags = [\"syn\", \"!syn\", \"xmas\"]\n".into()),
        ("police", format!("{ETH0}police-in = 5\npolice-out = {{ packets = 1, bits = 1 }}\n[[interface]]\nname = \"eth1\"\npolice-in = {{ burst = 1 }}\npolice-out = {{ bits = 8000, burst = 100 }}\n")),
        // -- [http], [kernel]
        ("listen without a port", "[http]\nlisten = \"127.0.0.1\"\n".into()),
        ("listen without an address", "[http]\nlisten = \":9179\"\n".into()),
        ("listen on a name", "[http]\nlisten = \"localhost:9179\"\n".into()),
        ("listen on port 0", "[http]\nlisten = \"127.0.0.1:0\"\n".into()),
        ("mirror", "[kernel]\nmirror = \"some\"\n".into()),
        ("a long line with text of all kinds", format!("[router]\nname = \"{}\u{1b}[31m → ärgerlich\"\n", "x".repeat(300))),
    ];
    let mut out = String::new();
    for (name, text) in cases {
        let error = read(&text).map(|loaded| loaded.config.to_string()).expect_err(name);
        for problem in &error.problems {
            assert!(problem.line != 0 && !problem.message.is_empty(), "{name}: {problem:?}");
        }
        out.push_str(&format!("──── {name}\n{error}\n\n"));
    }
    insta::assert_snapshot!(out);
}

#[test]
fn what_is_said_besides() {
    let text = format!("{ETH0}[kernel]\nmirror = \"none\"\n");
    let loaded = read(&text).unwrap();
    assert_eq!(loaded.warnings.len(), 1);
    insta::assert_snapshot!(loaded.warnings[0].to_string(), @r#"
    warning: [kernel]: mirror = "none" leaves the kernel without routes, but "eth0" has on-failure = "kernel"
     --> m.toml:3:1
      |
    3 | [kernel]
      | ^^^^^^^^
      = help: while no worker is there, only what the kernel knows by itself is forwarded
    "#);
}

#[test]
fn an_empty_file_is_a_router_without_ports() {
    assert_eq!(read("").unwrap().config, Config::default());
    assert_eq!(read("\u{feff}# only a remark\r\n").unwrap().config, Config::default());
}

#[test]
fn differences_are_named_setting_by_setting() {
    let old = FULL;
    let new = FULL
        .replace("mode = \"copy\"", "mode = \"auto\"")
        .replace("on-failure = \"drop\"\n", "")
        .replace("name = \"eth1\"", "name = \"eth2\"")
        .replace("interface = \"eth1\"", "interface = \"eth2\"")
        .replace("kind = \"prohibit\"", "kind = \"blackhole\"")
        .replace("[http]\nlisten = \"[::1]:9179\"", "");
    let (old, new) = (read(old).unwrap().config, read(&new).unwrap().config);
    assert_eq!(diff(&old, &old), []);
    let lines: Vec<_> = diff(&old, &new)
        .into_iter()
        .map(|change| {
            let value = |value: Option<String>| value.unwrap_or_else(|| "-".to_owned());
            format!("{}: {} → {} {:?}", change.setting, value(change.old), value(change.new), change.effect)
        })
        .collect();
    insta::assert_snapshot!(lines.join("\n"));
}

#[test]
fn the_reference_document_is_the_one_in_the_tree() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/examples/CONFIG.md");
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    if std::env::var_os("MILLRACE_WRITE_DOCS").is_some() {
        std::fs::write(&path, markdown()).unwrap();
    } else {
        assert!(
            written == markdown(),
            "{} is out of date: run the tests with MILLRACE_WRITE_DOCS=1",
            path.display()
        );
    }
}

#[test]
fn every_example_is_a_good_file() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/examples");
    let mut seen = 0;
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            let loaded = load(&path).unwrap_or_else(|error| panic!("{error}"));
            assert_eq!(loaded.warnings, [], "{}", path.display());
            seen += 1;
        }
    }
    assert!(3 <= seen);
}

/// Pieces of configuration files, right and wrong, in any order.
fn pieces() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("[[interface]]\n".to_owned()),
        Just("[[static]]\n".to_owned()),
        Just("[dataplane]\n".to_owned()),
        "(name|prefix|via|frames|queues|listen|kind) = ".prop_map(|key| key),
        "\"[a-z0-9./: ]{0,12}\"\n".prop_map(|value| value),
        "\\[(\"[0-9./]{0,12}\",? ?){0,3}\\]\n".prop_map(|value| value),
        "-?[0-9]{1,20}\n".prop_map(|value| value),
        ".{0,6}".prop_map(|any| any),
    ];
    prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn any_text_is_answered(text in prop_oneof![".{0,80}", pieces()]) {
        if let Err(error) = read(&text) {
            prop_assert!(!error.problems.is_empty());
            let _ = error.to_string();
        }
    }

    /// One character of a good file replaced, or the file cut short.
    #[test]
    fn any_damage_is_answered(at in 0..FULL.len(), with in any::<char>(), cut: bool) {
        let tail = if cut { "" } else { FULL.get(at + 1..).unwrap_or_default() };
        let text = format!("{}{with}{tail}", &FULL[..at]);
        match read(&text) {
            Ok(loaded) => prop_assert_eq!(read(&loaded.config.to_string()).unwrap().config, loaded.config),
            Err(error) => prop_assert!(error.problems.iter().all(|problem| problem.line != 0)),
        }
    }
}
