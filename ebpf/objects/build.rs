//! Compiles the BPF programs with the toolchain it finds, and says which.
#![allow(clippy::print_stdout, reason = "that is how a build script talks to cargo")]

use std::{
    env,
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

const TARGET: &str = "bpfel-unknown-none";
const OBJECTS: [&str; 3] = ["capture", "function", "whoami"];

/// Kernels' architectures, as cargo names them, and the feature of the programs that goes with each. All are compiled everywhere, so that what
/// differs between them cannot rot; the one that the agent is built for is embedded.
const ARCHITECTURES: [(&str, &[&str]); 2] = [("x86_64", &[]), ("aarch64", &["--features", "arm64"])];

/// What to do when no toolchain is found.
const REMEDY: &str = "the BPF programs need a Rust compiler with `core` for bpfel-unknown-none, and bpf-linker:
  Debian 12 and newer: ci/setup, which does
      apt-get install rustc-web libstd-rust-web-dev-bpf llvm-22-dev
      LLVM_PREFIX=/usr/lib/llvm-22 cargo install bpf-linker --version 0.13.0 --no-default-features --features llvm-22
  rustup:              rustup toolchain install nightly --component rust-src; cargo install bpf-linker
  Nix:                 nix develop
(looked for: /usr/bin/rustc with the target's libcore; a nightly with rust-src; $BPF_LINKER, PATH, ~/.cargo/bin, ~/.cache/px/tools/bin)";

/// How to compile for the target.
struct Toolchain {
    cargo: Vec<OsString>,
    environment: Vec<(&'static str, OsString)>,
    arguments: Vec<&'static str>,
    name: String,
}

fn main() -> ExitCode {
    match build() {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            eprintln!("\n{reason}\n\n{REMEDY}\n");
            ExitCode::FAILURE
        }
    }
}

fn build() -> Result<(), String> {
    let here = PathBuf::from(variable("CARGO_MANIFEST_DIR")?);
    let out = PathBuf::from(variable("OUT_DIR")?);
    let ebpf = here.parent().ok_or("ebpf/objects has no parent folder")?;
    for source in ["probes/src", "probes/Cargo.toml", "probes/Cargo.lock", "abi/src", "abi/Cargo.toml"] {
        println!("cargo::rerun-if-changed={}", ebpf.join(source).display());
    }
    println!("cargo::rerun-if-changed=build.rs");
    for name in ["BPF_LINKER", "PX_BPF_RUSTC"] {
        println!("cargo::rerun-if-env-changed={name}");
    }
    let linker = linker()?;
    let toolchain = debian().or_else(nightly).ok_or("no Rust compiler for bpfel-unknown-none was found")?;
    println!("cargo::warning=BPF programs: {}, {}", toolchain.name, linker.display());
    let wanted = env::var("CARGO_CFG_TARGET_ARCH").map_err(|_| "CARGO_CFG_TARGET_ARCH is not set: run by cargo")?;
    if ARCHITECTURES.iter().all(|(architecture, _)| *architecture != wanted) {
        return Err(format!("there are no BPF programs for {wanted}"));
    }
    println!("cargo::rustc-env=PX_BPF_OBJECTS={}", out.join(&wanted).display());
    for (architecture, features) in ARCHITECTURES {
        compile(&toolchain, &linker, &ebpf.join("probes"), &out.join(architecture), (architecture, features))?;
    }
    Ok(())
}

fn variable(name: &str) -> Result<OsString, String> {
    env::var_os(name).ok_or_else(|| format!("{name} is not set: run by cargo"))
}

/// Debian's compiler: `core` for the target is a package of its own.
fn debian() -> Option<Toolchain> {
    let rustc = env::var_os("PX_BPF_RUSTC").map_or_else(|| PathBuf::from("/usr/bin/rustc"), PathBuf::from);
    let sysroot = sysroot(Command::new(&rustc))?;
    let library = sysroot.join("lib/rustlib").join(TARGET).join("lib");
    let has_core = fs::read_dir(library).ok()?.flatten().any(|file| file.file_name().to_string_lossy().starts_with("libcore-"));
    has_core.then(|| Toolchain {
        cargo: vec![env::var_os("CARGO").unwrap_or_else(|| "cargo".into())],
        name: rustc.display().to_string(),
        environment: vec![("RUSTC", rustc.into()), ("RUSTC_BOOTSTRAP", "1".into())],
        arguments: vec!["--ignore-rust-version"],
    })
}

/// A nightly with the sources of `core`, which is compiled along.
fn nightly() -> Option<Toolchain> {
    let has_source = |sysroot: PathBuf| sysroot.join("lib/rustlib/src/rust/library/core").is_dir();
    let mut by_rustup = Command::new("rustup");
    by_rustup.args(["run", "nightly", "rustc"]);
    let (cargo, name): (Vec<OsString>, &str) = if sysroot(by_rustup).is_some_and(has_source) {
        (vec!["rustup".into(), "run".into(), "nightly".into(), "cargo".into()], "rustup's nightly")
    } else if sysroot(Command::new("rustc")).is_some_and(has_source) {
        (vec!["cargo".into()], "rustc of PATH")
    } else {
        return None;
    };
    Some(Toolchain {
        cargo,
        environment: vec![("RUSTC_BOOTSTRAP", "1".into())],
        arguments: vec!["-Zbuild-std=core", "--ignore-rust-version"],
        name: name.to_owned(),
    })
}

fn sysroot(mut rustc: Command) -> Option<PathBuf> {
    clear(&mut rustc);
    let output = rustc.args(["--print", "sysroot"]).output().ok()?;
    output.status.success().then(|| PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()))
}

fn linker() -> Result<PathBuf, String> {
    let home = |folder: &str| env::var_os("HOME").map(|home| Path::new(&home).join(folder).join("bpf-linker"));
    let on_path = env::var_os("PATH").map(|path| env::split_paths(&path).map(|folder| folder.join("bpf-linker")).collect::<Vec<_>>());
    let named = env::var_os("BPF_LINKER").map(PathBuf::from);
    named
        .into_iter()
        .chain(on_path.into_iter().flatten())
        .chain(home(".cargo/bin"))
        .chain(home(".cache/px/tools/bin"))
        .find(|candidate| candidate.is_file())
        .ok_or_else(|| "bpf-linker was not found".to_owned())
}

/// The outer build's settings are about another target and another compiler.
fn clear(command: &mut Command) {
    for (name, _) in env::vars_os() {
        let text = name.to_string_lossy();
        let kept =
            matches!(&*text, "CARGO_HOME" | "CARGO_NET_OFFLINE") || text.starts_with("CARGO_REGISTRIES") || text.starts_with("CARGO_HTTP");
        if (text.starts_with("CARGO") && !kept) || text.starts_with("RUST") && text != "RUSTUP_HOME" {
            command.env_remove(&name);
        }
    }
}

fn compile(
    toolchain: &Toolchain,
    linker: &Path,
    probes: &Path,
    out: &Path,
    (architecture, features): (&str, &[&str]),
) -> Result<(), String> {
    let folder = out.join("bpf");
    let (program, first) = toolchain.cargo.split_first().ok_or("no cargo")?;
    let mut cargo = Command::new(program);
    clear(&mut cargo);
    let linker_flag = format!("linker={}", linker.display());
    let flags = ["-C", &linker_flag, "-C", "link-arg=--btf", "-C", "debuginfo=2", "-C", "target-cpu=v3"].join("\u{1f}");
    cargo
        .current_dir(probes)
        .args(first)
        .args(["build", "--release", "--locked", "--target", TARGET, "--target-dir"])
        .arg(&folder)
        .args(&toolchain.arguments)
        .args(features)
        .envs(toolchain.environment.iter().map(|(name, value)| (name, value)))
        // Read by aya-ebpf's own build.
        .env("AYA_BPF_TARGET_ARCH", architecture)
        .env("CARGO_ENCODED_RUSTFLAGS", flags);
    let status = cargo.status().map_err(|error| format!("{} did not start: {error}", program.display()))?;
    if !status.success() {
        return Err(format!("the BPF programs did not compile for {architecture} kernels with {} ({status})", toolchain.name));
    }
    for object in OBJECTS {
        let built = folder.join(TARGET).join("release").join(object);
        fs::copy(&built, out.join(object)).map_err(|error| format!("{}: {error}", built.display()))?;
    }
    Ok(())
}
