//! The boot timeline of a node as a table: what happened when, how long it took, and how much was moved.

use std::fmt::Write;

use dawn_qemu::BootEvent;

/// The steps of a boot, in order, as the daemon names them.
pub(crate) const STEPS: [&str; 9] =
    ["discover", "offer", "loader", "script", "kernel", "initrd", "root", "init", "booted"];

/// Widest detail that is printed, in characters.
const DETAIL_CHARS_MAX: usize = 60;

/// Renders the events of one boot; times count from `start_ms`, the moment of power-on.
pub(crate) fn render(events: &[BootEvent], start_ms: u64) -> String {
    let mut lines: Vec<BootEvent> = STEPS.iter().filter_map(|step| line(events, step, start_ms)).collect();
    lines.sort_by_key(|line| line.time_ms);
    let mut out = format!("  {:<9} {:>9} {:>9} {:>13}  {}\n", "step", "at", "took", "bytes", "what");
    for BootEvent { step, time_ms, bytes, duration_ms, detail, .. } in lines {
        let at = seconds(time_ms - start_ms);
        let took = if duration_ms == 0 { String::new() } else { seconds(duration_ms) };
        let bytes = if bytes == 0 { String::new() } else { grouped(bytes) };
        let detail: String = detail.chars().take(DETAIL_CHARS_MAX).collect();
        let _ =
            writeln!(out, "{}", format!("  {step:<9} {at:>9} {took:>9} {bytes:>13}  {detail}").trim_end());
    }
    out
}

/// The last event of a step represents it (a loader is fetched twice by some firmware), with all bytes of the
/// step.
fn line(events: &[BootEvent], step: &str, start_ms: u64) -> Option<BootEvent> {
    let mine = || events.iter().filter(|event| event.step == step && event.time_ms >= start_ms);
    // Later stages and the system ask DHCP again: of discover and offer it is the first that counts.
    let first = matches!(step, "discover" | "offer");
    let chosen = if first {
        mine().min_by_key(|event| event.time_ms)
    } else {
        mine().max_by_key(|event| event.time_ms)
    };
    let sum = |value: fn(&BootEvent) -> u64| mine().map(value).sum();
    Some(BootEvent {
        bytes: sum(|event| event.bytes),
        duration_ms: sum(|event| event.duration_ms),
        ..chosen?.clone()
    })
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

    fn event(time_ms: u64, step: &str, (bytes, duration_ms): (u64, u64), detail: &str) -> BootEvent {
        BootEvent {
            time_ms,
            node: "cn1".into(),
            step: step.into(),
            bytes,
            duration_ms,
            detail: detail.into(),
        }
    }

    #[test]
    fn steps_are_in_order_with_times_since_power_on() {
        let events = [
            event(500, "booted", (0, 0), "an earlier boot"),
            event(1500, "discover", (0, 0), "PXE"),
            event(1600, "offer", (0, 0), "10.77.0.11"),
            event(2000, "loader", (74_000, 200), "undionly.kpxe"),
            event(5000, "discover", (0, 0), "iPXE"),
            event(6000, "loader", (74_000, 100), "undionly.kpxe"),
            event(9000, "kernel", (7_000_001, 2500), "kernel"),
        ];
        let want = "  step             at      took         bytes  what
  discover      0.5 s                          PXE
  offer         0.6 s                          10.77.0.11
  loader        5.0 s     0.3 s       148,000  undionly.kpxe
  kernel        8.0 s     2.5 s     7,000,001  kernel
";
        assert_eq!(render(&events, 1000), want);
    }
}
