//! Progress lines with the time since the start in front.

use std::io::Write;
use std::time::Instant;

/// Prints one line a step.
#[derive(Debug)]
pub(crate) struct Progress {
    start: Instant,
}

impl Progress {
    /// The clock starts now.
    pub(crate) fn start() -> Self {
        Self { start: Instant::now() }
    }

    /// Prints a line.
    pub(crate) fn say(&self, line: &str) {
        println!("[{:6.1} s] {line}", self.start.elapsed().as_secs_f64());
        // Through a pipe lines would come in heaps.
        let _ = std::io::stdout().flush();
    }

    /// Seconds since the start.
    pub(crate) fn seconds(&self) -> f64 {
        self.start.elapsed().as_secs_f64()
    }
}
