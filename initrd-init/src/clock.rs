//! The node's clock, set from the `Date` of the boot server's answers (RFC 9110 section 5.6.7) when it is far
//! off.
//!
//! A machine with an empty battery starts years back; certificates, logs and the times of files are wrong
//! then, and a time server may be missing. A small difference is left alone: keeping the time is for a
//! service of the image.

use crate::log;
use rustix::time::{ClockId, Timespec, clock_gettime, clock_settime};
use std::sync::atomic::{AtomicBool, Ordering};

/// Differences up to this are left alone, in seconds.
const DIFFERENCE_SECONDS_MAX: u64 = 60;
/// A server whose date is before this (2024-01-01) has lost its own clock; in seconds since 1970.
const EARLIEST_SECONDS: i64 = 1_704_067_200;
const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// The server has answered before: its first answer counts, later ones may have waited in a buffer.
static ANSWERED: AtomicBool = AtomicBool::new(false);

/// Leaves the clock as it is from now on: in the running system it may be a time service's.
pub(crate) fn leave_alone() {
    ANSWERED.store(true, Ordering::Relaxed);
}

/// Compares the clock with the server's date, in seconds since 1970, and sets it when it is far off. Only the
/// first call does so.
pub(crate) fn follow(server: i64) {
    if ANSWERED.swap(true, Ordering::Relaxed) {
        return;
    }
    let Some(difference) = correction(clock_gettime(ClockId::Realtime).tv_sec, server) else { return };
    let direction = if difference > 0 { "behind" } else { "ahead of" };
    let amount = amount(difference.unsigned_abs());
    match clock_settime(ClockId::Realtime, Timespec { tv_sec: server, tv_nsec: 0 }) {
        Ok(()) => log::trouble(&format!("the clock was {amount} {direction} the server's and has been set")),
        Err(cause) => {
            log::trouble(&format!(
                "the clock is {amount} {direction} the server's and cannot be set: {cause}"
            ));
        }
    }
}

/// By how much to move the clock, in seconds.
fn correction(now: i64, server: i64) -> Option<i64> {
    let difference = server.saturating_sub(now);
    let is_far = difference.unsigned_abs() > DIFFERENCE_SECONDS_MAX;
    (is_far && server >= EARLIEST_SECONDS).then_some(difference)
}

/// `2 days`, `3 hours`, `90 s`.
fn amount(seconds: u64) -> String {
    match seconds {
        172_800.. => format!("{} days", seconds / 86_400),
        7_200.. => format!("{} hours", seconds / 3_600),
        _ => format!("{seconds} s"),
    }
}

/// Reads `Sun, 06 Nov 1994 08:49:37 GMT`, the one form that servers write, as seconds since 1970.
pub(crate) fn parse(text: &str) -> Option<i64> {
    let (_, rest) = text.split_once(", ")?;
    let mut fields = rest.split(' ');
    let number = |text: &str, low: i64, high: i64| {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse::<i64>().ok().filter(|number| digits && (low..=high).contains(number))
    };
    let day = number(fields.next()?, 1, 31)?;
    let name = fields.next()?;
    let month = i64::try_from(MONTHS.iter().position(|known| *known == name)?).ok()? + 1;
    let year = number(fields.next()?, 1970, 9999)?;
    let mut time = fields.next()?.split(':');
    let (hour, minute) = (number(time.next()?, 0, 23)?, number(time.next()?, 0, 59)?);
    // 60 is a leap second.
    let second = number(time.next()?, 0, 60)?;
    let ends = fields.next()? == "GMT" && fields.next().is_none() && time.next().is_none();
    ends.then(|| days(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second)
}

/// Days since 1970-01-01 of a date of the Gregorian calendar, years counted from March so that the leap day
/// is the last.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let leaps = year / 4 - year / 100 + year / 400;
    // 719,468 days lie between 0000-03-01 and 1970-01-01.
    year * 365 + leaps + (month * 153 + 2) / 5 + day - 1 - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates() {
        for (text, seconds) in [
            ("Thu, 01 Jan 1970 00:00:00 GMT", Some(0)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(784_111_777)),
            ("Thu, 29 Feb 2024 23:59:59 GMT", Some(1_709_251_199)),
            ("Fri, 01 Mar 2024 00:00:00 GMT", Some(1_709_251_200)),
            ("Tue, 01 Mar 2100 00:00:00 GMT", Some(4_107_542_400)),
            ("Sunday, 06-Nov-94 08:49:37 GMT", None),
            ("Sun, 06 Nov 1994 08:49:37 CET", None),
            ("Sun, 06 Nov 1994 08:49 GMT", None),
            ("Sun, 06 Nov 1994 24:00:00 GMT", None),
            ("Sun, +6 Nov 1994 08:49:37 GMT", None),
            ("", None),
        ] {
            assert_eq!(parse(text), seconds, "{text}");
        }
    }

    #[test]
    fn only_a_clock_that_is_far_off_is_set() {
        let server = 1_800_000_000;
        for (now, moved) in [
            (server, None),
            (server - 60, None),
            (server + 60, None),
            (server - 61, Some(61)),
            (server + 7_200, Some(-7_200)),
            (0, Some(server)),
        ] {
            assert_eq!(correction(now, server), moved, "{now}");
        }
        // A server of 1970 is not followed.
        assert_eq!(correction(server, 1000), None);
        assert_eq!(amount(61), "61 s");
        assert_eq!(amount(8_000), "2 hours");
        assert_eq!(amount(900_000_000), "10416 days");
    }
}
