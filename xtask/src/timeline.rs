//! The boot timeline of a node as a table: what happened when, how long it took, and how much was moved.

use std::fmt::Write;

use dawn_qemu::BootEvent;

/// The steps of a boot, in order, as the daemon names them.
pub const STEPS: [&str; 9] =
    ["discover", "offer", "loader", "script", "kernel", "initrd", "root", "init", "booted"];

/// Widest detail that is printed, in characters.
const DETAIL_CHARS_MAX: usize = 60;

/// One line of the table.
#[derive(Debug, PartialEq, Eq)]
struct Line<'a> {
    step: &'a str,
    time_ms: u64,
    bytes: u64,
    detail: &'a str,
}

/// Renders the events of one boot; times count from `start_ms`, the moment of power-on.
pub fn render(events: &[BootEvent], start_ms: u64) -> String {
    let mut lines: Vec<Line<'_>> = STEPS.iter().filter_map(|step| line(events, step, start_ms)).collect();
    lines.sort_by_key(|line| line.time_ms);
    let mut out = format!("  {:<9} {:>9} {:>9} {:>13}  {}\n", "step", "at", "after", "bytes", "what");
    let mut before = start_ms;
    for Line { step, time_ms, bytes, detail } in lines {
        let (at, took) = (seconds(time_ms - start_ms), seconds(time_ms.saturating_sub(before)));
        let bytes = if bytes == 0 { String::new() } else { grouped(bytes) };
        let detail: String = detail.chars().take(DETAIL_CHARS_MAX).collect();
        let _ =
            writeln!(out, "{}", format!("  {step:<9} {at:>9} {took:>9} {bytes:>13}  {detail}").trim_end());
        before = time_ms;
    }
    out
}

/// The last event of a step stands for it (a loader is fetched twice by some firmware), with all bytes of the step.
fn line<'a>(events: &'a [BootEvent], step: &'a str, start_ms: u64) -> Option<Line<'a>> {
    let mine = || events.iter().filter(|event| event.step == step && event.time_ms >= start_ms);
    let last = mine().max_by_key(|event| event.time_ms)?;
    // Times of discover and offer are those of the first packet: later stages ask again.
    let chosen =
        if matches!(step, "discover" | "offer") { mine().min_by_key(|event| event.time_ms)? } else { last };
    let bytes = mine().filter_map(|event| event.bytes).sum();
    Some(Line { step, time_ms: chosen.time_ms, bytes, detail: &chosen.detail })
}

fn seconds(ms: u64) -> String {
    format!("{}.{:01} s", ms / 1000, ms % 1000 / 100)
}

/// `1234567` as `1,234,567`.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(time_ms: u64, step: &str, bytes: Option<u64>, detail: &str) -> BootEvent {
        BootEvent { time_ms, node: "cn1".into(), step: step.into(), bytes, detail: detail.into() }
    }

    #[test]
    fn steps_are_in_order_with_times_since_power_on() {
        let events = [
            event(500, "booted", None, "an earlier boot"),
            event(1500, "discover", None, "PXE"),
            event(1600, "offer", None, "10.77.0.11"),
            event(2000, "loader", Some(74_000), "undionly.kpxe"),
            event(5000, "discover", None, "iPXE"),
            event(6000, "loader", Some(74_000), "undionly.kpxe"),
            event(9000, "kernel", Some(7_000_001), "kernel"),
        ];
        let want = "  step             at     after         bytes  what
  discover      0.5 s     0.5 s                PXE
  offer         0.6 s     0.1 s                10.77.0.11
  loader        5.0 s     4.4 s       148,000  undionly.kpxe
  kernel        8.0 s     3.0 s     7,000,001  kernel
";
        assert_eq!(render(&events, 1000), want);
    }
}
