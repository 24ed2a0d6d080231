//! Counting what passed and what failed, over checks of very different kinds.

use std::time::{Duration, Instant};

use anyhow::Result;

/// Number of checks that passed and failed.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Count {
    /// Passed.
    pub passed: u64,
    /// Failed.
    pub failed: u64,
}

impl Count {
    /// One check.
    pub(crate) fn one(passed: bool) -> Self {
        Self { passed: u64::from(passed), failed: u64::from(!passed) }
    }

    /// Both together.
    pub(crate) fn plus(self, other: Self) -> Self {
        Self { passed: self.passed + other.passed, failed: self.failed + other.failed }
    }
}

/// A group of checks with its result.
struct Group {
    name: String,
    count: Count,
    time: Duration,
}

/// All groups so far.
#[derive(Default)]
pub(crate) struct Suite {
    groups: Vec<Group>,
}

impl Suite {
    /// Runs a group. An error is a failed check, not the end: the next groups still say something.
    pub(crate) fn group(&mut self, name: &str, run: impl FnOnce() -> Result<Count>) {
        println!("\n=== {name}");
        let start = Instant::now();
        let count = run().unwrap_or_else(|error| {
            println!("error: {error:#}");
            Count::one(false)
        });
        self.groups.push(Group { name: name.to_owned(), count, time: start.elapsed() });
    }

    /// Prints the summary; true if nothing failed.
    pub(crate) fn finish(&self) -> bool {
        println!("\n=== summary");
        for Group { name, count, time } in &self.groups {
            let (passed, failed, time) = (count.passed, count.failed, time.as_secs_f64());
            println!("  {name:<34} {passed:>5} passed {failed:>4} failed {time:>8.1} s");
        }
        let total = self.groups.iter().fold(Count::default(), |sum, group| sum.plus(group.count));
        println!("{} passed, {} failed", total.passed, total.failed);
        total.failed == 0
    }
}

/// Reads `test result: ok. 3 passed; 0 failed; …` of the Rust test runner; other lines count nothing.
pub(crate) fn count_line(line: &str) -> Count {
    let Some(rest) = line.strip_prefix("test result: ") else { return Count::default() };
    let number = |word: &str| {
        let part = rest.split([';', '.']).map(str::trim).find(|part| part.ends_with(word));
        part.and_then(|part| part.split(' ').next()?.parse().ok()).unwrap_or(0)
    };
    Count { passed: number(" passed"), failed: number(" failed") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn result_lines_of_the_test_runner() {
        let cases = [
            (
                "test result: ok. 12 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.1s",
                12,
                0,
            ),
            ("test result: FAILED. 1 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out", 1, 2),
            ("test stateless ... ok", 0, 0),
        ];
        for (line, passed, failed) in cases {
            assert_eq!(count_line(line), Count { passed, failed }, "{line}");
        }
    }
}
