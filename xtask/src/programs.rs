//! Test programs: built in one go, run, each held to its result.
//!
//! `cargo test` builds and runs in one process, and when that process ends early, the programs that it has
//! not reached are silently missing. Here the list of programs is known before the first one starts, and a
//! program that ends without a result (killed, crashed, gone) is a failure with its reason.

use std::collections::BTreeSet;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use dawn_qemu::process::display;
use serde_json::Value;

use crate::shell;
use crate::suite::{Count, count_line};

/// A line of a test that comes this long after the one before gets the times added: where the time goes.
const LONG: Duration = Duration::from_secs(5);

/// Programs that run at a time: together they need half of what two processors have.
const LANES: usize = 3;

/// A built test program.
pub(crate) struct Program {
    /// Package and target: `dawn-nfs model`.
    pub name: String,
    executable: PathBuf,
    /// The directory of its package, in which cargo runs tests.
    directory: PathBuf,
}

/// Builds the test programs that these arguments of `cargo test` select.
///
/// # Errors
/// They do not compile, or there are none.
pub(crate) fn build(select: &[&str]) -> Result<Vec<Program>> {
    let args = [&["test", "--no-run", "--message-format", "json-render-diagnostics"], select].concat();
    let mut command = shell::cargo(&args);
    println!("$ cargo {}", args.join(" "));
    let output = command.stdin(Stdio::null()).stderr(Stdio::inherit()).output();
    let output = output.context("cannot start `cargo test`")?;
    ensure!(output.status.success(), "the test programs do not compile");
    let text = String::from_utf8(output.stdout).context("cargo's messages are not UTF-8")?;
    let programs: Vec<Program> = text.lines().filter_map(program).collect();
    ensure!(!programs.is_empty(), "there are no test programs");
    Ok(programs)
}

/// The test program that a message of cargo reports.
fn program(line: &str) -> Option<Program> {
    let message: Value = serde_json::from_str(line).ok()?;
    let text = |pointer: &str| message.pointer(pointer).and_then(Value::as_str);
    let is_test = message.pointer("/profile/test").and_then(Value::as_bool) == Some(true);
    let executable = text("/executable").filter(|_| is_test)?;
    let directory = PathBuf::from(text("/manifest_path")?).parent()?.to_owned();
    let package = directory.file_name()?.to_string_lossy().into_owned();
    let name = format!("{package} {}", text("/target/name")?);
    Some(Program { name, executable: executable.into(), directory })
}

/// Runs programs one after the other with these arguments of the Rust test runner.
pub(crate) fn run(programs: &[Program], args: &[&str]) -> Result<Count> {
    let mut all = Totals::default();
    for program in programs {
        let count = run_one(program, args, &mut |line| println!("{line}"))?;
        all.add(program, count);
    }
    all.finish()
}

/// Runs several programs at a time: much of what they do is to wait. The output of each is shown when it has
/// ended. Those that compile last, which start daemons and database servers, wait longest and run first.
pub(crate) fn run_in_lanes(programs: &[Program]) -> Result<Count> {
    let waiting = Mutex::new(programs.iter());
    let all = Mutex::new(Totals::default());
    let next = || lock(&waiting).next_back();
    let lane = || {
        while let Some(program) = next() {
            let mut text = String::new();
            let count = run_one(program, &[], &mut |line| {
                text.push_str(line);
                text.push('\n');
            })?;
            let mut all = lock(&all);
            println!("{text}");
            all.add(program, count);
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let lanes: Vec<_> = (0..LANES).map(|_| scope.spawn(lane)).collect();
        let ends =
            lanes.into_iter().map(|lane| lane.join().map_err(|_| anyhow!("a lane of tests panicked"))?);
        ends.collect::<Result<Vec<()>>>()
    })?;
    all.into_inner().unwrap_or_else(PoisonError::into_inner).finish()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What programs have given so far.
#[derive(Default)]
struct Totals<'p> {
    count: Count,
    without_tests: BTreeSet<&'p str>,
}

impl<'p> Totals<'p> {
    fn add(&mut self, program: &'p Program, count: Count) {
        if count == Count::default() {
            self.without_tests.insert(&program.name);
        }
        self.count = self.count.plus(count);
    }

    /// # Errors
    /// Nothing has run at all: a filter with a typing error is not a success.
    fn finish(self) -> Result<Count> {
        ensure!(self.count != Count::default(), "no test was selected");
        if !self.without_tests.is_empty() {
            let names: Vec<&str> = self.without_tests.into_iter().collect();
            println!("no test was selected in: {}", names.join(", "));
        }
        Ok(self.count)
    }
}

/// Runs one program; what there is to show goes to `show`, line by line.
fn run_one(program: &Program, args: &[&str], show: &mut dyn FnMut(&str)) -> Result<Count> {
    let mut command = Command::new(&program.executable);
    command.args(args).current_dir(&program.directory).env("CARGO_MANIFEST_DIR", &program.directory);
    show(&format!("\n--- {}\n$ {}", program.name, display(&command)));
    let (mut count, mut has_result) = (Count::default(), false);
    let (start, mut last) = (Instant::now(), Duration::ZERO);
    let status = shell::read_lines(&mut command, |line| {
        show(line);
        let now = start.elapsed();
        if line.starts_with("test ") && now.saturating_sub(last) >= LONG {
            let (all, step) = (now.as_secs_f64(), now.saturating_sub(last).as_secs_f64());
            show(&format!("    {all:.0} s after the start, {step:.0} s after the line before"));
        }
        last = now;
        has_result |= line.starts_with("test result: ");
        count = count.plus(count_line(line));
    })?;
    if let Some(why) = early_end(status, has_result, count.failed) {
        show(&format!("FAILED: {} {why}", program.name));
        count.failed += 1;
    }
    Ok(count)
}

/// Why a program's end is a failure that its own result does not count.
fn early_end(status: ExitStatus, has_result: bool, failed: u64) -> Option<String> {
    if let Some(signal) = status.signal() {
        return Some(format!("was ended by signal {signal}"));
    }
    match status.code().unwrap_or_default() {
        code if !has_result => Some(format!("ended with exit code {code} and without a result")),
        0 => None,
        code if failed == 0 => Some(format!("ended with exit code {code} although no test failed")),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A wait status: exit codes are in the second byte, signals in the first.
    fn early(status: i32, has_result: bool, failed: u64) -> Option<String> {
        early_end(ExitStatus::from_raw(status), has_result, failed)
    }

    #[test]
    fn a_program_that_ends_early_is_a_failure_with_a_reason() {
        assert_eq!(early(0, true, 0), None);
        assert_eq!(early(101 << 8, true, 2), None);
        assert_eq!(early(9, true, 0).as_deref(), Some("was ended by signal 9"));
        assert_eq!(early(0, false, 0).as_deref(), Some("ended with exit code 0 and without a result"));
        assert_eq!(early(1 << 8, true, 0).as_deref(), Some("ended with exit code 1 although no test failed"));
    }

    #[test]
    fn programs_are_read_from_the_messages_of_cargo() {
        let line = r#"{"reason":"compiler-artifact","manifest_path":"/x/bootd/nfs/Cargo.toml","target":{"name":"model"},
            "profile":{"test":true},"executable":"/x/target/model-1"}"#
            .replace('\n', "");
        assert_eq!(program(&line).map(|program| program.name).as_deref(), Some("nfs model"));
        assert!(program(&line.replace("true", "false")).is_none());
        assert!(program("not JSON").is_none());
    }
}
