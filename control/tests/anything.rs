//! Whatever stands in a message or a configuration file, reading it ends with what was meant or with an error, never with a
//! panic; and what is read is written down so that it reads the same. The stable twin of `control/fuzz`: its targets over
//! its seeds and former findings, and over random mutations of the configuration.
#![expect(clippy::unwrap_used, reason = "a test may fail")]

#[path = "../fuzz/src/lib.rs"]
#[expect(unreachable_pub, reason = "the library of another crate")]
mod targets;

use std::path::{Path, PathBuf};

use millrace_control::config;
use proptest::prelude::*;

/// Every section, small enough that a mutation often hits something that matters.
const SEED: &str = include_str!("../fuzz/corpus/config/everything.toml");

/// What a mistaken or malicious hand may put somewhere.
const WORDS: [&str; 24] = [
    "",
    "0",
    "-1",
    "256",
    "99999999999999999999",
    "\"",
    "\"\"",
    "[",
    "]]",
    "{",
    "=",
    "\n",
    "#",
    "true",
    "\u{0}",
    "\u{fffd}",
    "[[rip.interface]]\n",
    "[[key-chain.key]]\n",
    "name = \"\"\n",
    "10.0.0.0/33",
    "0.0.0.0/0",
    "1979-05-27T07:32:00Z",
    "''''",
    "é",
];

fn read(text: &str) {
    match config::parse(text, Path::new("m.toml")) {
        Ok(loaded) => {
            let again = config::parse(&loaded.config.to_string(), Path::new("m.toml"));
            assert_eq!(again.unwrap().config, loaded.config);
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

/// Every file that `control/fuzz` has in `dir` for the target `name`.
fn files(dir: &str, name: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz").join(dir).join(name);
    let paths = std::fs::read_dir(dir).into_iter().flatten().map(|file| file.unwrap().path());
    paths.map(|path| (path.clone(), std::fs::read(path).unwrap())).collect()
}

#[test]
fn every_target_takes_its_seeds_and_their_pieces() {
    type Target = fn(&[u8]);
    let targets: [(&str, Target); 6] = [
        ("rip", targets::rip),
        ("bfd", targets::bfd),
        ("ospf", targets::ospf),
        ("bgp", targets::bgp),
        ("config", targets::config),
        ("policy", targets::policy),
    ];
    for (name, target) in targets {
        let seeds = files("corpus", name);
        assert!(!seeds.is_empty(), "{name} has no seed");
        for (path, octets) in seeds.into_iter().chain(files("regressions", name)) {
            println!("{}", path.display());
            target(&octets);
            for cut in 0..octets.len().min(64) {
                target(&octets[..cut]);
            }
        }
    }
}

/// Seeds that nothing understands would be none.
#[test]
fn the_seeds_are_understood() {
    for (name, octets) in files("corpus", "rip") {
        assert!(millrace_rip::wire::Packet::decode(&octets).is_ok(), "{}", name.display());
    }
    for (name, octets) in files("corpus", "bfd") {
        assert!(millrace_bfd::wire::Packet::decode(&octets).is_ok(), "{}", name.display());
    }
    for (name, octets) in files("corpus", "ospf") {
        let packet = millrace_ospf::wire::Packet::decode(&octets);
        assert!(packet.is_ok_and(|packet| packet.body().is_ok()), "{}", name.display());
    }
    for (name, octets) in files("corpus", "bgp") {
        use millrace_bgp::wire::{Kind, Open, Update, UpdateContext, frame};
        let (frame, len) = frame(&octets, false).unwrap().unwrap();
        assert_eq!(len, octets.len(), "{}", name.display());
        let understood = match frame.kind {
            Kind::Open => Open::decode(frame.body).is_ok(),
            Kind::Update => [false, true].into_iter().any(|new| {
                let context = UpdateContext { as4: new, add_path: new, ..Default::default() };
                let plain = UpdateContext { add_path: false, ..context };
                [context, plain].into_iter().any(|context| {
                    Update::decode(frame.body, context)
                        .is_ok_and(|update| !update.treat_as_withdraw && update.problems.is_empty())
                })
            }),
            Kind::Notification | Kind::Keepalive | Kind::RouteRefresh => true,
        };
        assert!(understood, "{}: {frame:?}", name.display());
    }
    for (_, octets) in files("corpus", "policy") {
        let (text, _) = std::str::from_utf8(&octets).unwrap().split_once("\n%%\n").unwrap();
        config::parse(text, Path::new("m.toml")).unwrap();
    }
}

#[test]
fn the_seed_is_a_configuration() {
    assert!(
        config::parse(SEED, Path::new("m.toml")).is_ok(),
        "{}",
        config::parse(SEED, Path::new("m.toml")).unwrap_err()
    );
    read(SEED);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_octets(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        if let Err(error) = config::parse_bytes(bytes, Path::new("m.toml")) {
            prop_assert!(!error.to_string().is_empty());
        }
    }

    #[test]
    fn any_mutation(edits in prop::collection::vec((any::<prop::sample::Index>(), 0usize..30, prop::sample::select(&WORDS[..])), 1..4)) {
        let mut text: Vec<char> = SEED.chars().collect();
        for (at, cut, word) in edits {
            let from = at.index(text.len() + 1);
            let to = (from + cut).min(text.len());
            text.splice(from..to, word.chars());
        }
        read(&text.into_iter().collect::<String>());
    }

    /// Lines in another order, left out, or twice.
    #[test]
    fn any_lines(lines in prop::collection::vec(prop::sample::select(SEED.lines().collect::<Vec<_>>()), 0..40)) {
        read(&lines.join("\n"));
    }
}
