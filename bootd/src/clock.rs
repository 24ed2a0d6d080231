//! The time as tables have it.

use dawn_plan::destiny::StatusTime;

/// Now, for `nodelist.statustime`: the local time of this machine.
#[must_use]
pub fn status_time() -> StatusTime {
    StatusTime(jiff::Zoned::now().strftime("%m-%d-%Y %H:%M:%S").to_string())
}
