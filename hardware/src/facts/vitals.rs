//! What a machine's sensors say.

/// A group of sensors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// Temperatures.
    Temp,
    /// Voltages.
    Voltage,
    /// Fans.
    Fan,
    /// Currents, and whether the machine is on.
    Power,
    /// All that is in watts.
    Wattage,
    /// Lights.
    Leds,
    /// The chassis.
    Chassis,
    /// Everything.
    All,
}

/// Groups in the order in which they are wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chosen(pub Vec<Group>);

impl Group {
    /// The group of a word of `rvitals`.
    pub fn parse(word: &str) -> Option<Self> {
        Some(match word {
            "temp" => Self::Temp,
            "voltage" => Self::Voltage,
            "fanspeed" => Self::Fan,
            "power" => Self::Power,
            "wattage" | "energy" => Self::Wattage,
            "leds" => Self::Leds,
            "chassis" => Self::Chassis,
            "all" => Self::All,
            _ => return None,
        })
    }
}

/// What was found.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Vitals(pub Vec<Vital>);

/// One line of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Vital {
    /// The sensor's name.
    pub name: String,
    /// What it says.
    pub value: Value,
    /// The text about that.
    pub conditions: Vec<String>,
}

/// What a sensor says.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A number with its unit.
    Number(f64, &'static str),
    /// The byte of a sensor without numbers.
    Raw(u8),
    /// Nothing now.
    Unavailable,
    /// A word.
    Text(&'static str),
    /// A separate line, without a name.
    Line(&'static str),
}
