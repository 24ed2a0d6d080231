//! Power and temperatures of a machine as a whole.

pub use dawn_ipmi::command::dcmi::{Power, Site};

/// A temperature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Temperature {
    /// Where.
    pub site: Site,
    /// Which of several there.
    pub instance: u8,
    /// Degrees Celsius.
    pub degrees: i8,
}
