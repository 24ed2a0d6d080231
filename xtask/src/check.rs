//! `cargo xtask test`: everything that must hold, with a summary and an exit code that says the truth.

use std::fs;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use clap::Args;
use dawn_qemu::paths;

use crate::programs::Program;
use crate::progress::Progress;
use crate::suite::{Count, Suite, count_line};
use crate::{dist, elf, packages, programs, release, shell, tidy};

/// Smallest plausible `/init`; a smaller one is a placeholder.
const INIT_BYTES_MIN: usize = 100_000;

/// Tests with machines that run at once; each has one or two machines of 1 GiB.
const MACHINE_TESTS_MAX: usize = 6;

/// Everything that must hold
#[derive(Debug, Args)]
pub(crate) struct Test {
    /// Leave out the tests that boot machines
    #[arg(long)]
    no_machines: bool,
    /// Only the tests that boot machines
    #[arg(long, conflicts_with = "no_machines")]
    only_machines: bool,
    /// Only tests of machines whose name contains this
    #[arg(long, requires = "only_machines")]
    filter: Option<String>,
}

impl Test {
    /// Success only if nothing failed.
    pub(crate) fn run(self) -> Result<ExitCode> {
        packages::install(packages::Purpose::Tests, &Progress::start())?;
        let mut suite = Suite::default();
        if !self.only_machines {
            suite.group("format", || cargo_check(&["fmt", "--all", "--check"]));
            // A separate workspace, which `--all` does not reach.
            let fuzz = ["fmt", "--manifest-path", "fuzz/Cargo.toml", "--check"];
            suite.group("format of the fuzz targets", || cargo_check(&fuzz));
            tidy::add_groups(&mut suite);
            let lints = ["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"];
            suite.group("lints", || cargo_check(&lints));
            let sqlite = ["clippy", "-p", "dawn-cluster", "--no-default-features", "--", "-D", "warnings"];
            suite.group("SQLite alone", || cargo_check(&sqlite));
            // Features that other crates of the workspace turn on hide those that it forgets.
            suite.group("the executable by itself", || cargo_check(&["check", "--locked", "-p", "dawn"]));
            suite.group("fuzz targets", check_fuzz_targets);
            unit_tests_beside_release_build(&mut suite);
        } else {
            suite.group("release build", || release::build().map(Count::one));
        }
        if !self.only_machines {
            suite.group("static executable", check_executable);
            dist::add_groups(&mut suite);
        }
        if !self.no_machines {
            // One of the machines installs the package.
            suite.group("package for the machines", || dist::make().map(|()| Count::one(true)));
            suite.group("machines", || run_machines(self.filter.as_deref()));
        }
        Ok(if suite.finish() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

/// Ten minutes of work on a node's files while the server is killed every 20 s
#[derive(Debug, Args)]
pub(crate) struct Soak {
    /// How long the node works
    #[arg(long, default_value_t = 10)]
    minutes: u64,
}

impl Soak {
    /// Success only if the node saw no error and no byte differs.
    pub(crate) fn run(self) -> Result<ExitCode> {
        packages::install(packages::Purpose::Tests, &Progress::start())?;
        ensure!(release::build()?, "the release build failed");
        let args = ["test", "--workspace", "--test", "machines", "soak", "--", "--ignored", "--nocapture"];
        let mut command = shell::cargo(&args);
        command.env("DAWN_SOAK_SECONDS", self.minutes.saturating_mul(60).to_string());
        Ok(if shell::succeeds(&mut command)? { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

fn cargo_check(args: &[&str]) -> Result<Count> {
    shell::succeeds(&mut shell::cargo(args)).map(Count::one)
}

/// Fuzz targets compile without a warning. They are not members of the workspace; artifacts of what they
/// share with it are used again.
fn check_fuzz_targets() -> Result<Count> {
    let mut command =
        shell::cargo(&["clippy", "--manifest-path", "fuzz/Cargo.toml", "--locked", "--", "-D", "warnings"]);
    command.env("CARGO_TARGET_DIR", paths::target());
    shell::succeeds(&mut command).map(Count::one)
}

/// The programs of the tests wait for timeouts, databases and other machines half of their time; the release
/// build takes that time. It has its own directory and lock.
fn unit_tests_beside_release_build(suite: &mut Suite) {
    let mut programs = Vec::new();
    suite.group("test programs", || {
        programs = programs::build(&["--workspace"])?;
        Ok(Count::one(true))
    });
    let release = release::Beside::start();
    suite.group("unit and conversation tests", || run_unit_tests(&programs));
    suite.group("release build", || release?.finish().map(Count::one));
}

/// Unit, conversation and documentation tests.
fn run_unit_tests(programs: &[Program]) -> Result<Count> {
    let count = programs::run_in_lanes(programs)?;
    let mut documentation = shell::cargo(&["test", "--workspace", "--doc", "--no-fail-fast"]);
    let mut examples = Count::default();
    let status = shell::follow_status(&mut documentation, |line| examples = examples.plus(count_line(line)))?;
    if !status.success() && examples.failed == 0 {
        examples.failed = 1;
    }
    Ok(count.plus(examples))
}

/// Tests that boot machines. Under emulation each machine takes a processor for two thirds of its time;
/// timers of the firmware, downloads and units take the rest. So three tests share two processors.
fn run_machines(filter: Option<&str>) -> Result<Count> {
    let programs = programs::build(&["--workspace", "--test", "machines"])?;
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = (processors * 3).div_ceil(2).min(MACHINE_TESTS_MAX);
    let threads = format!("--test-threads={threads}");
    let mut args = vec!["--ignored", threads.as_str()];
    args.extend(filter);
    programs::run(&programs, &args)
}

/// The one executable needs nothing at run time and carries `/init`.
fn check_executable() -> Result<Count> {
    let path = paths::dawn();
    let file = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let checks = [
        ("the executable is static", check_static(&file)),
        ("the executable carries /init, static as well", check_init(&file)),
    ];
    let mut count = Count::default();
    for (name, result) in checks {
        match &result {
            Ok(()) => println!("ok: {name}"),
            Err(error) => println!("FAILED: {name}: {error:#}"),
        }
        count = count.plus(Count::one(result.is_ok()));
    }
    Ok(count)
}

fn check_static(file: &[u8]) -> Result<()> {
    let needs = elf::needs(file)?;
    ensure!(!needs.interpreter, "it names a dynamic loader");
    ensure!(needs.libraries == 0, "it names {} shared libraries", needs.libraries);
    Ok(())
}

/// Finds the `/init` that the image builder's build script made, in the executable, byte for byte.
fn check_init(file: &[u8]) -> Result<()> {
    let built = built_inits()?;
    ensure!(!built.is_empty(), "no `initrd-init` was built for the release executable");
    let inside = built.iter().find(|init| contains(file, init));
    check_static(inside.context("none of the built `initrd-init` is inside")?)
}

fn built_inits() -> Result<Vec<Vec<u8>>> {
    let builds = paths::target().join(paths::TARGET).join("release/build");
    let entries = fs::read_dir(&builds).with_context(|| format!("cannot list {}", builds.display()))?;
    let below = Path::new("out/init").join(paths::TARGET).join("init/initrd-init");
    let inits = entries.flatten().filter_map(|entry| fs::read(entry.path().join(&below)).ok());
    Ok(inits.filter(|init| init.len() >= INIT_BYTES_MIN).collect())
}

/// Whether `part` is in `whole`; the ELF magic makes candidates rare, so comparing each is cheap.
fn contains(whole: &[u8], part: &[u8]) -> bool {
    let Some(head) = part.get(..8) else { return false };
    whole
        .windows(8)
        .enumerate()
        .any(|(at, bytes)| bytes == head && whole.get(at..).is_some_and(|rest| rest.starts_with(part)))
}
