//! The time as tables have it.

use dawn_plan::destiny::StatusTime;

/// Now, for `nodelist.statustime`: the local time of this machine.
#[must_use]
pub fn status_time() -> StatusTime {
    StatusTime(jiff::Zoned::now().strftime("%m-%d-%Y %H:%M:%S").to_string())
}

/// A time as people read it: the local time of this machine.
#[must_use]
pub fn local_time(ms: i64) -> String {
    let at = jiff::Timestamp::from_millisecond(ms).unwrap_or_default().to_zoned(jiff::tz::TimeZone::system());
    at.strftime("%Y-%m-%d %H:%M:%S").to_string()
}
