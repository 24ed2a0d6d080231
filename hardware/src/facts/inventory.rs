//! What a machine consists of.

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Model.
    Model,
    /// Serial numbers.
    Serial,
    /// Asset tag.
    Asset,
    /// Firmware of the service processor.
    Firmware,
    /// Who made the service processor.
    DeviceId,
    /// The machine's UUID.
    Guid,
    /// Everything else of the machine itself.
    Misc,
    /// Its parts.
    Hardware,
    /// Its memory.
    Dimm,
}

/// Several of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parts(Vec<Part>);

impl Parts {
    /// What a word of `rinv` asks for.
    pub fn parse(word: &str) -> Option<Self> {
        use Part::{Asset, DeviceId, Dimm, Firmware, Guid, Hardware, Misc, Model, Serial};
        Some(Self(match word {
            "model" => vec![Model],
            "serial" => vec![Serial],
            "asset" => vec![Asset],
            "vpd" => vec![Model, Serial, DeviceId, Firmware],
            "mprom" | "firm" | "firmware" => vec![Firmware],
            "deviceid" => vec![DeviceId],
            "guid" | "uuid" => vec![Guid],
            "misc" => vec![Misc],
            "hw" => vec![Hardware, Dimm],
            "dimm" => vec![Dimm],
            "all" => vec![Model, Serial, Asset, Firmware, DeviceId, Guid, Misc, Hardware, Dimm],
            _ => return None,
        }))
    }

    pub(crate) fn has(&self, part: Part) -> bool {
        self.0.contains(&part)
    }
}

/// A line of an inventory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fact {
    /// What it is.
    pub label: String,
    /// Its value.
    pub value: Value,
}

/// The value of a fact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// Characters.
    Text(String),
    /// Seconds since 1970, UTC.
    Time(i64),
}
