//! The node's messages during its boot, on every console and in the kernel's log.
//!
//! Lines go to `/dev/kmsg`, so that they reach all consoles, `dmesg` and later the journal. With `quiet` the
//! kernel keeps such lines off the console; then they are also written to `/dev/console`. Every line carries
//! the seconds since the kernel started, so that a console capture is a timeline. A line that cannot be
//! written is lost.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

/// Longest line handed to the kernel's log, in bytes; the kernel refuses records above about 1 KiB.
const LINE_BYTES_MAX: usize = 900;

/// Kernel log priority of ordinary lines.
const PRIORITY_INFO: u8 = 6;
/// Kernel log priority of failures; shown even with `quiet`.
const PRIORITY_ERROR: u8 = 3;

/// Problems kept for the management node.
const TROUBLES_MAX: usize = 10;

static TROUBLES: Mutex<Vec<String>> = Mutex::new(Vec::new());
static SINKS: OnceLock<Sinks> = OnceLock::new();
static DEBUG: AtomicBool = AtomicBool::new(false);

struct Sinks {
    kmsg: Option<File>,
    console: Option<File>,
    /// Kernel lines of this priority and above stay off the console.
    console_level: u8,
}

/// Opens the kernel's log and the console; needs `/dev` and `/proc`. Until then lines go to standard error.
pub(crate) fn open() {
    // The kernel drops lines of a chatty writer by default.
    let _ = fs::write("/proc/sys/kernel/printk_devkmsg", "on\n");
    let console_level = fs::read_to_string("/proc/sys/kernel/printk")
        .ok()
        .and_then(|text| text.split_whitespace().next().and_then(|word| word.parse().ok()))
        .unwrap_or(7);
    let open = |path| OpenOptions::new().write(true).open(path).ok();
    let _ = SINKS.set(Sinks { kmsg: open("/dev/kmsg"), console: open("/dev/console"), console_level });
}

/// Switches the lines of [`debug`] on.
pub(crate) fn set_debug(on: bool) {
    DEBUG.store(on, Ordering::Relaxed);
}

/// A step of the boot, for everybody.
pub(crate) fn step(text: &str) {
    write(PRIORITY_INFO, text);
}

/// Something failed or is missing; the text says what and what happens next.
pub(crate) fn problem(text: &str) {
    write(PRIORITY_ERROR, text);
}

/// A problem that is reported to the management node as well; [`troubles`] hands them out.
pub(crate) fn trouble(text: &str) {
    problem(text);
    remember(text);
}

/// The same for what reaches the console elsewhere.
pub(crate) fn remember(text: &str) {
    let mut kept = TROUBLES.lock().unwrap_or_else(PoisonError::into_inner);
    if kept.len() < TROUBLES_MAX {
        kept.push(text.to_owned());
    }
}

/// What [`trouble`] has got since the last call.
pub(crate) fn troubles() -> Vec<String> {
    std::mem::take(&mut TROUBLES.lock().unwrap_or_else(PoisonError::into_inner))
}

/// Detail, shown with the kernel word `debug`.
pub(crate) fn debug(text: &str) {
    if DEBUG.load(Ordering::Relaxed) {
        write(PRIORITY_INFO, text);
    }
}

/// Seconds and milliseconds since the kernel started.
pub(crate) fn uptime_ms() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
    let nanos = u64::try_from(now.tv_nsec).unwrap_or(0);
    seconds.saturating_mul(1000).saturating_add(nanos / 1_000_000)
}

fn write(priority: u8, text: &str) {
    let now = uptime_ms();
    for line in text.lines() {
        let line = clip(line);
        let stamped = format!("dawn [{:>4}.{:03}] {line}", now / 1000, now % 1000);
        match SINKS.get() {
            Some(sinks) => sinks.write(priority, &stamped),
            None => drop(writeln!(std::io::stderr(), "{stamped}")),
        }
    }
}

impl Sinks {
    fn write(&self, priority: u8, line: &str) {
        let mut on_console = false;
        if let Some(mut kmsg) = self.kmsg.as_ref() {
            let kept = kmsg.write_all(format!("<{priority}>{line}\n").as_bytes()).is_ok();
            on_console = kept && priority < self.console_level;
        }
        if !on_console && let Some(mut console) = self.console.as_ref() {
            let _ = console.write_all(format!("{line}\r\n").as_bytes());
        }
    }
}

fn clip(line: &str) -> &str {
    line.get(..line.floor_char_boundary(LINE_BYTES_MAX)).unwrap_or(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lines_are_clipped_at_a_character() {
        let line = "é".repeat(LINE_BYTES_MAX);
        assert!(clip(&line).len() <= LINE_BYTES_MAX);
        assert_eq!(clip("short"), "short");
    }
}
