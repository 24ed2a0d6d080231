//! `cargo xtask test`: everything that must hold, with a summary and an exit code that says the truth.

use std::fs;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, ensure};
use clap::Args;
use dawn_qemu::paths;

use crate::progress::Progress;
use crate::suite::{Count, Suite, count_line};
use crate::{elf, packages, shell};

/// Smallest plausible `/init`; a smaller one is a placeholder.
const INIT_BYTES_MIN: usize = 100_000;

/// Everything that must hold
#[derive(Debug, Args)]
pub struct Test {
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
    pub fn run(self) -> Result<ExitCode> {
        packages::install(&Progress::start())?;
        let mut suite = Suite::default();
        if !self.only_machines {
            suite.group("format", || cargo_check(&["fmt", "--all", "--check"]));
            let lints = ["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"];
            suite.group("lints", || cargo_check(&lints));
            suite.group("unit and conversation tests", || {
                run_tests(&mut shell::cargo(&["test", "--workspace", "--no-fail-fast"]))
            });
        }
        suite.group("release build", || cargo_check(&["build", "--release", "--bin", "dawn"]));
        if !self.only_machines {
            suite.group("static executable", check_executable);
        }
        if !self.no_machines {
            suite.group("machines", || run_machines(self.filter.as_deref()));
        }
        Ok(if suite.finish() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

fn cargo_check(args: &[&str]) -> Result<Count> {
    shell::succeeds(&mut shell::cargo(args)).map(Count::one)
}

fn run_machines(filter: Option<&str>) -> Result<Count> {
    // One machine after the other: under emulation each takes a processor.
    let args = ["test", "-p", "dawn-qemu", "--tests", "--no-fail-fast", "--"];
    let mut command = shell::cargo(&args);
    command.args(filter).args(["--ignored", "--test-threads=1", "--nocapture"]);
    run_tests(&mut command)
}

/// Runs tests and counts them. A run that fails without a failed test (it did not compile) is one failure.
fn run_tests(command: &mut Command) -> Result<Count> {
    let mut count = Count::default();
    let success = shell::follow(command, |line| count = count.plus(count_line(line)))?;
    if !success && count.failed == 0 {
        count.failed = 1;
    }
    Ok(count)
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

/// Looks for an executable inside of the executable.
fn check_init(file: &[u8]) -> Result<()> {
    let magic = b"\x7fELF\x02\x01\x01";
    let places = file.windows(magic.len()).enumerate().skip(1).filter(|(_, bytes)| *bytes == magic);
    let rest = places.filter_map(|(at, _)| file.get(at..)).find(|rest| rest.len() >= INIT_BYTES_MIN);
    check_static(rest.context("no second executable inside")?)
}
