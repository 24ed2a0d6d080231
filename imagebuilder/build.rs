//! Builds `/init` of the nodes (package `initrd-init`) as a static executable, to be embedded.
//!
//! A nested cargo run with its own target directory and a clean environment: flags of the outer build (lints,
//! wrappers, coverage) must not reach the program that is embedded. It runs again only when its sources
//! change.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

const TARGET: &str = "x86_64-unknown-linux-gnu";
const PROFILE: &str = "init";

/// Environment that reaches the nested cargo; everything else is left out.
const KEPT: [&str; 14] = [
    "PATH",
    "HOME",
    "USER",
    "TMPDIR",
    "CARGO_HOME",
    "RUSTUP_HOME",
    "RUSTUP_TOOLCHAIN",
    "RUSTC",
    "CARGO_MAKEFLAGS",
    "http_proxy",
    "https_proxy",
    "HTTPS_PROXY",
    "SSL_CERT_FILE",
    "LD_LIBRARY_PATH",
];

/// How cargo reaches its registry; kept too.
const KEPT_PREFIXES: [&str; 4] = ["CARGO_NET_", "CARGO_HTTP_", "CARGO_REGISTR", "CARGO_SOURCE_"];

fn main() {
    let manifest_dir = required("CARGO_MANIFEST_DIR");
    let workspace = Path::new(&manifest_dir).parent().unwrap_or(Path::new("/")).to_owned();
    let crates = ["initrd-init", "wire", "serving", "statelite"];
    for watched in crates.into_iter().chain(["Cargo.toml", "Cargo.lock", ".cargo/config.toml"]) {
        println!("cargo::rerun-if-changed={}", workspace.join(watched).display());
    }
    println!("cargo::rerun-if-changed=build.rs");
    let target_dir = PathBuf::from(required("OUT_DIR")).join("init");
    build(&workspace, &target_dir);
    let built = target_dir.join(TARGET).join(PROFILE).join("initrd-init");
    println!("cargo::rustc-env=DAWN_INIT_EXECUTABLE={}", built.display());
}

fn build(workspace: &Path, target_dir: &Path) {
    let mut command = Command::new(required("CARGO"));
    command.env_clear();
    let kept =
        |name: &str| KEPT.contains(&name) || KEPT_PREFIXES.iter().any(|prefix| name.starts_with(prefix));
    command.envs(env::vars_os().filter(|(name, _)| name.to_str().is_some_and(kept)));
    command
        .env("CARGO_ENCODED_RUSTFLAGS", flags(workspace).join("\u{1f}"))
        .current_dir(workspace)
        .args(["build", "--quiet", "--locked", "--package", "initrd-init", "--profile", PROFILE])
        .args(["--target", TARGET, "--target-dir"])
        .arg(target_dir);
    match command.status() {
        Ok(status) if status.success() => {}
        Ok(status) => fail(&format!("building initrd-init failed: {status}")),
        Err(cause) => fail(&format!("cannot run cargo for initrd-init: {cause}")),
    }
}

/// Panic messages name source files; the bytes must not depend on where the sources are.
fn flags(workspace: &Path) -> Vec<String> {
    let cargo_home = env::var_os("CARGO_HOME").map(PathBuf::from);
    let in_home = || env::var_os("HOME").map(|home| PathBuf::from(home).join(".cargo"));
    let cargo_home = cargo_home.or_else(in_home).map(|path| (path, "/cargo"));
    let moved = cargo_home.into_iter().chain([(workspace.to_owned(), "/dawn")]);
    let remap = moved.map(|(from, to)| format!("--remap-path-prefix={}={to}", from.display()));
    ["-C".to_owned(), "target-feature=+crt-static".to_owned()].into_iter().chain(remap).collect()
}

#[allow(clippy::disallowed_methods)] // A build script has no other way to be told things.
fn required(name: &str) -> String {
    env::var(name).unwrap_or_else(|_| fail(&format!("{name} is not set; run this through cargo")))
}

fn fail(why: &str) -> ! {
    println!("cargo::error={why}");
    std::process::exit(1);
}
