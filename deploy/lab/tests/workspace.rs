//! The rules of ARCHITECTURE.md that a compiler does not hold: who may depend on whom, what a crate is called,
//! and that every crate is under the workspace's lints. Reads `cargo metadata` and the manifests.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

/// What a crate is: decides which outside crates it may use.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    /// Neither clock nor IO nor runtime: testable anywhere.
    Pure,
    /// Talks to the kernel.
    Shell,
}
use Kind::{Pure, Shell};

/// Every crate, where it is, and the crates of ours it may depend on, dev-dependencies aside.
const CRATES: &[(&str, &str, Kind, &[&str])] = &[
    ("millrace-net", "dataplane/net", Pure, &[]),
    ("millrace-acl", "dataplane/acl", Pure, &["net"]),
    ("millrace-filter", "dataplane/filter", Pure, &["net"]),
    ("millrace-nat", "dataplane/nat", Pure, &["net"]),
    ("millrace-fib", "dataplane/fib", Pure, &["net"]),
    ("millrace-engine", "dataplane/engine", Pure, &["net", "fib", "acl", "nat"]),
    ("millrace-xsk", "dataplane/xsk", Shell, &[]),
    ("millrace-api", "dataplane/api", Pure, &["net"]),
    ("millrace-ebpf-abi", "ebpf/abi", Shell, &[]),
    (
        "millrace-dataplane",
        "dataplane",
        Shell,
        &["net", "acl", "nat", "filter", "fib", "engine", "xsk", "api", "ebpf-abi"],
    ),
    ("millrace-rib", "control/rib", Pure, &["net"]),
    ("millrace-policy", "control/policy", Pure, &["net"]),
    ("millrace-proto", "control/proto", Pure, &["net"]),
    ("millrace-rip", "control/rip", Pure, &["net", "proto", "policy"]),
    ("millrace-ospf", "control/ospf", Pure, &["net", "proto", "policy"]),
    ("millrace-bgp", "control/bgp", Pure, &["net", "proto", "policy", "rib"]),
    ("millrace-bfd", "control/bfd", Pure, &["net", "proto"]),
    ("millrace-sim", "control/sim", Pure, &["net", "proto", "policy", "rip", "ospf", "bgp", "bfd", "rib"]),
    (
        "millrace-control",
        "control",
        Shell,
        &["net", "api", "filter", "rib", "policy", "proto", "rip", "ospf", "bgp", "bfd"],
    ),
    ("millrace-lab", "deploy/lab", Shell, &[]),
    ("millrace-bench", "bench", Shell, &["net", "acl", "fib", "engine", "xsk", "lab"]),
];

/// Crates that bring a clock, a runtime, a socket or a log: not for pure crates.
const WORLDLY: [&str; 15] = [
    "aya",
    "axum",
    "core_affinity",
    "hyper",
    "libc",
    "mio",
    "netlink-packet-route",
    "netlink-sys",
    "nix",
    "rtnetlink",
    "rustix",
    "signal-hook",
    "socket2",
    "tokio",
    "tracing",
];

/// The rooms that may hold `unsafe`, each with the whole lint table of its own.
const ROOMS: [&str; 2] = ["dataplane/fib", "dataplane/xsk"];

struct Member {
    name: String,
    dir: PathBuf,
    /// Normal and build dependencies.
    dependencies: BTreeSet<String>,
}

fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).unwrap_or(here).to_owned()
}

fn cargo(args: &[&str]) -> Result<String> {
    let program = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(program).args(args).current_dir(root()).output()?;
    ensure!(output.status.success(), "cargo {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?)
}

fn metadata() -> Result<Value> {
    serde_json::from_str(&cargo(&["metadata", "--format-version", "1", "--no-deps"])?)
        .context("cargo metadata")
}

fn members(metadata: &Value) -> Result<Vec<Member>> {
    let ours: BTreeSet<&str> = list(&metadata["workspace_members"]).filter_map(Value::as_str).collect();
    let packages =
        list(&metadata["packages"]).filter(|p| p["id"].as_str().is_some_and(|id| ours.contains(id)));
    packages
        .map(|package| {
            let manifest = package["manifest_path"].as_str().context("no manifest path")?;
            let dir = Path::new(manifest).parent().context("no directory")?.strip_prefix(root())?.to_owned();
            let dependencies = list(&package["dependencies"])
                .filter(|d| d["kind"].as_str() != Some("dev"))
                .filter_map(|d| d["name"].as_str().map(str::to_owned))
                .collect();
            Ok(Member { name: package["name"].as_str().context("no name")?.to_owned(), dir, dependencies })
        })
        .collect()
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

#[test]
fn dependencies_point_one_way() -> Result<()> {
    for member in members(&metadata()?)? {
        let (_, _, kind, allowed) = CRATES
            .iter()
            .find(|(name, ..)| *name == member.name)
            .with_context(|| format!("{} has no row here: say what it may depend on", member.name))?;
        for dependency in &member.dependencies {
            match dependency.strip_prefix("millrace-") {
                Some(ours) => {
                    ensure!(allowed.contains(&ours), "{} must not depend on {dependency}", member.name)
                }
                None => ensure!(
                    *kind == Shell || !WORLDLY.contains(&dependency.as_str()),
                    "{} is pure and must not depend on {dependency}",
                    member.name
                ),
            }
        }
    }
    Ok(())
}

#[test]
fn the_forwarding_process_has_no_async_runtime() -> Result<()> {
    let tree = cargo(&["tree", "-p", "millrace-dataplane", "-e", "normal", "--prefix", "none"])?;
    ensure!(tree.lines().any(|line| line.starts_with("millrace-engine ")), "not the tree: {tree}");
    for runtime in ["tokio ", "axum ", "hyper ", "mio "] {
        ensure!(!tree.lines().any(|line| line.starts_with(runtime)), "the dataplane reaches {runtime}");
    }
    Ok(())
}

#[test]
fn packages_are_named_after_their_directories() -> Result<()> {
    for member in members(&metadata()?)? {
        let row = CRATES.iter().find(|(name, ..)| *name == member.name);
        let (_, dir, ..) = row.with_context(|| format!("{} has no row here", member.name))?;
        ensure!(Path::new(dir) == member.dir, "{} is in {}", member.name, member.dir.display());
        let manifest = fs::read_to_string(root().join(dir).join("Cargo.toml"))?;
        for line in ["version", "edition", "rust-version", "license", "publish"]
            .map(|key| format!("{key}.workspace = true"))
        {
            ensure!(manifest.contains(&line), "{dir}/Cargo.toml has no `{line}`");
        }
    }
    Ok(())
}

#[test]
fn every_crate_is_under_the_lints() -> Result<()> {
    let workspace = fs::read_to_string(root().join("Cargo.toml"))?;
    let clippy: Vec<_> = section(&workspace, "[workspace.lints.clippy]").collect();
    ensure!(8 <= clippy.len(), "the workspace's lints have shrunk: {clippy:?}");
    for member in members(&metadata()?)? {
        let manifest = fs::read_to_string(root().join(&member.dir).join("Cargo.toml"))?;
        if section(&manifest, "[lints]").eq(["workspace = true"]) {
            continue;
        }
        ensure!(
            ROOMS.iter().any(|room| Path::new(room) == member.dir),
            "{} has lints of its own",
            member.name
        );
        // A room may hold unsafe and nothing else may be laxer than the workspace.
        let own: Vec<_> = section(&manifest, "[lints.clippy]").collect();
        for lint in &clippy {
            ensure!(own.contains(lint), "{} lacks `{lint}`", member.name);
        }
        for lint in ["unsafe_code = \"deny\"", "unsafe_op_in_unsafe_fn = \"deny\""] {
            ensure!(section(&manifest, "[lints.rust]").any(|l| l == lint), "{} lacks `{lint}`", member.name);
        }
    }
    Ok(())
}

#[test]
fn outside_crates_have_one_version() -> Result<()> {
    // The benches bring the competitors they measure against.
    for member in members(&metadata()?)?.iter().filter(|member| member.name != "millrace-bench") {
        let manifest = fs::read_to_string(root().join(&member.dir).join("Cargo.toml"))?;
        for table in ["[dependencies]", "[dev-dependencies]", "[build-dependencies]"] {
            for line in section(&manifest, table) {
                ensure!(
                    line.contains("workspace = true"),
                    "{}: `{line}` has a version of its own",
                    member.name
                );
            }
        }
    }
    Ok(())
}

/// The lines of one table of a manifest, without comments.
fn section<'a>(manifest: &'a str, head: &'a str) -> impl Iterator<Item = &'a str> {
    let lines = manifest.lines().map(|line| line.split('#').next().unwrap_or_default().trim());
    lines
        .skip_while(move |line| *line != head)
        .skip(1)
        .take_while(|line| !line.starts_with('['))
        .filter(|line| !line.is_empty())
}
