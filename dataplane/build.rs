//! Builds the XDP program in `../ebpf` with the BPF toolchain that is there, and embeds the object.
//!
//! Two toolchains will do, tried in this order (`make setup` installs one):
//! 1. a rustc that has a prebuilt core for BPF, as Debian ships it: `$MILLRACE_BPF_RUSTC` or `/usr/bin/rustc`;
//! 2. rustup's nightly with rust-src, which builds core itself.
//!
//! Both need `bpf-linker`, in PATH or in cargo's bin directory. Without them the crate still builds, embeds nothing,
//! and the dataplane says at start what to install.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const TARGET: &str = "bpfel-unknown-none";
/// What the object is compiled from, relative to `ebpf/`.
const SOURCES: [&str; 5] = ["src", "abi/src", "abi/Cargo.toml", "Cargo.toml", "Cargo.lock"];

fn main() {
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    let ebpf = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets CARGO_MANIFEST_DIR"))
        .join("../ebpf");
    println!("cargo::rerun-if-env-changed=MILLRACE_BPF_RUSTC");
    println!("cargo::rerun-if-changed=build.rs");
    for source in SOURCES {
        println!("cargo::rerun-if-changed={}", ebpf.join(source).display());
    }

    let embedded = match Toolchain::find() {
        Ok(toolchain) => {
            let object = toolchain.build(&ebpf, &out.join("ebpf"));
            let embedded = out.join("millrace.bpf.o");
            fs::copy(&object, &embedded).expect("copying the BPF object within OUT_DIR");
            format!("Some(aya::include_bytes_aligned!({embedded:?}))\n")
        }
        Err(missing) => {
            println!("cargo::warning=the XDP program is not built, {missing}: run `make setup`");
            // A file that is never there makes cargo look again at the next build.
            println!("cargo::rerun-if-changed={}", out.join("toolchain-found").display());
            "None\n".to_owned()
        }
    };
    fs::write(out.join("bpf_object.rs"), embedded).expect("writing to OUT_DIR");
}

/// A way to compile for BPF.
struct Toolchain {
    compiler: Compiler,
    /// PATH with the directory of `bpf-linker`.
    path: OsString,
}

enum Compiler {
    /// A rustc with a prebuilt core for BPF.
    Prebuilt(PathBuf),
    /// The directory of a nightly toolchain with rust-src.
    Nightly(PathBuf),
}

impl Toolchain {
    /// The error says what is missing.
    fn find() -> Result<Self, &'static str> {
        let path = path_with_linker().ok_or("bpf-linker is missing")?;
        let compiler = prebuilt().map(Compiler::Prebuilt).or_else(|| nightly().map(Compiler::Nightly));
        let compiler = compiler
            .ok_or("neither Debian's rustc with a core for BPF nor rustup's nightly with rust-src is here")?;
        Ok(Self { compiler, path })
    }

    /// Compiles the program; returns the object's path.
    fn build(&self, ebpf: &Path, target_dir: &Path) -> PathBuf {
        let mut cargo = match &self.compiler {
            Compiler::Prebuilt(rustc) => {
                // The outer cargo, so that its lock file format and registry are the same.
                let mut cargo = Command::new(env::var_os("CARGO").expect("cargo sets CARGO"));
                keep_out_of_the_outer_build(&mut cargo);
                cargo.env("RUSTC", rustc).env("RUSTC_BOOTSTRAP", "1");
                cargo
            }
            Compiler::Nightly(toolchain) => {
                let mut cargo = Command::new(toolchain.join("bin/cargo"));
                keep_out_of_the_outer_build(&mut cargo);
                cargo.env("RUSTC", toolchain.join("bin/rustc")).args(["-Z", "build-std=core"]);
                cargo
            }
        };
        cargo
            .current_dir(ebpf)
            .env("PATH", &self.path)
            .args(["build", "--release", "--locked", "--target", TARGET, "--target-dir"])
            // A directory of its own: the outer cargo holds the lock of its target directory meanwhile.
            .arg(target_dir);
        let output = cargo.output().unwrap_or_else(|error| panic!("{cargo:?} does not start: {error}"));
        assert!(
            output.status.success(),
            "the XDP program does not compile: {cargo:?}\n{}",
            String::from_utf8_lossy(&output.stderr)
        );
        target_dir.join(TARGET).join("release/millrace-ebpf")
    }
}

/// Removes what the outer cargo, rustup, clippy or a user set for the outer build; it would be taken for the inner
/// one. Cargo's own settings of network and registries stay.
fn keep_out_of_the_outer_build(cargo: &mut Command) {
    const KEPT: [&str; 4] = ["CARGO_HOME", "CARGO_NET_", "CARGO_HTTP_", "CARGO_REGISTR"];
    for (name, _) in env::vars_os() {
        let Some(name) = name.to_str() else { continue };
        let of_cargo = name.starts_with("CARGO") && !KEPT.iter().any(|kept| name.starts_with(kept));
        let of_rust =
            name.starts_with("RUST") && !name.starts_with("RUSTUP_HOME") && !name.starts_with("RUSTUP_DIST");
        let of_make = ["MAKEFLAGS", "MFLAGS", "MAKELEVEL"].contains(&name);
        if of_cargo || of_rust || of_make {
            cargo.env_remove(name);
        }
    }
}

fn cargo_home() -> Option<PathBuf> {
    env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(".cargo")))
}

/// PATH, extended by cargo's bin directory, if `bpf-linker` is in one of them.
fn path_with_linker() -> Option<OsString> {
    let path = env::var_os("PATH").unwrap_or_default();
    let directories: Vec<_> =
        env::split_paths(&path).chain(cargo_home().map(|home| home.join("bin"))).collect();
    directories
        .iter()
        .any(|directory| directory.join("bpf-linker").is_file())
        .then(|| env::join_paths(directories).ok())?
}

/// A rustc whose own core for BPF is installed.
fn prebuilt() -> Option<PathBuf> {
    let rustc =
        env::var_os("MILLRACE_BPF_RUSTC").map_or_else(|| PathBuf::from("/usr/bin/rustc"), PathBuf::from);
    println!("cargo::rerun-if-changed={}", rustc.display());
    let libraries = stdout(Command::new(&rustc).args(["--print", "target-libdir", "--target", TARGET]))?;
    let mut libraries = fs::read_dir(libraries).ok()?.filter_map(Result::ok);
    libraries.any(|file| file.file_name().to_string_lossy().starts_with("libcore-")).then_some(rustc)
}

/// The directory of rustup's nightly, if it has rust-src.
fn nightly() -> Option<PathBuf> {
    let mut rustc = Command::new("rustup");
    // `run` without `--install`: a build does not download a toolchain.
    let sysroot =
        stdout(rustc.env_remove("RUSTUP_TOOLCHAIN").args(["run", "nightly", "rustc", "--print", "sysroot"]))?;
    let sysroot = PathBuf::from(sysroot);
    sysroot.join("lib/rustlib/src/rust/library/core").is_dir().then_some(sysroot)
}

/// What a command prints, trimmed, if it succeeds.
fn stdout(command: &mut Command) -> Option<String> {
    let output = command.output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8(output.stdout).ok()?.trim().to_owned())
}
