//! What a machine's sensors say, and the state of its chassis.

use dawn_ipmi::command::CommandError;
use dawn_ipmi::command::chassis::{GetStatus, IdentifyLight, RestorePolicy, Status};
use dawn_ipmi::command::sdr::{Record, Sensor, Unit};
use dawn_ipmi::command::sensor::{self, Reading};

use super::{Machine, texts};
use crate::error::Error;
use crate::facts::vitals::{Chosen, Group, Value, Vital, Vitals};

/// Whether a group has the sensor.
fn has(group: Group, sensor: &Sensor) -> bool {
    const WATTS: u8 = 6;
    match group {
        Group::Temp => sensor.kind == 0x01,
        Group::Voltage => sensor.kind == 0x02,
        Group::Power => sensor.kind == 0x03,
        Group::Fan => sensor.kind == 0x04,
        Group::Wattage => sensor.unit.base == WATTS,
        Group::All => true,
        Group::Leds | Group::Chassis => false,
    }
}

fn word(name: &str, text: &'static str) -> Vital {
    Vital { name: name.to_owned(), value: Value::Text(text), conditions: Vec::new() }
}

impl Machine {
    pub(super) async fn read_vitals(&self, chosen: Chosen) -> Result<Vitals, Error> {
        let mut found = Vec::new();
        let needs_records = |group: &Group| !matches!(group, Group::Leds | Group::Chassis);
        let records = match chosen.0.iter().any(needs_records) {
            true => self.records().await?.1,
            false => Default::default(),
        };
        for group in &chosen.0 {
            if matches!(group, Group::Chassis | Group::All) {
                found.extend(of_chassis(self.run(GetStatus).await?));
            }
            for sensor in sorted(&records, *group) {
                found.push(self.one_sensor(sensor).await?);
            }
            if *group == Group::Power {
                found.push(word("Power Status", on_off(self.run(GetStatus).await?.is_on())));
            }
            if matches!(group, Group::Leds | Group::All) {
                let value = Value::Line("LED status not supported on this system");
                found.push(Vital { name: String::new(), value, conditions: Vec::new() });
            }
        }
        Ok(Vitals(found))
    }

    /// A sensor that cannot be read is unavailable; only a BMC that does not answer ends the walk.
    async fn one_sensor(&self, record: &Sensor) -> Result<Vital, Error> {
        let unavailable =
            || Vital { name: record.name.clone(), value: Value::Unavailable, conditions: Vec::new() };
        // Sensors of other controllers are not reached.
        const BMC: u8 = 0x20;
        if record.key.owner != BMC {
            return Ok(unavailable());
        }
        let reading = match sensor::read_sensor(&self.session, record).await {
            Ok(reading) if reading.available => reading,
            Ok(_) | Err(CommandError::Completion(_) | CommandError::Malformed(_)) => return Ok(unavailable()),
            Err(error) => return Err(Error::command(error)),
        };
        let value = match (record.conversion, sensor::value(&self.session, record, reading.raw).await) {
            (None, _) => Value::Raw(reading.raw),
            (Some(_), Ok(Some(number))) => Value::Number(number, unit(record.unit)),
            (Some(_), Ok(None) | Err(CommandError::Completion(_))) => Value::Unavailable,
            (Some(_), Err(error)) => return Err(Error::command(error)),
        };
        Ok(Vital { name: record.name.clone(), value, conditions: conditions(record, reading) })
    }
}

/// The sensors of a group by name.
fn sorted(records: &[Record], group: Group) -> Vec<&Sensor> {
    let sensors = records.iter().flat_map(|record| match record {
        Record::Sensors(sensors) => &sensors[..],
        _ => &[],
    });
    let mut chosen: Vec<&Sensor> = sensors.filter(|sensor| has(group, sensor)).collect();
    chosen.sort_by(|one, other| (&one.name, one.key).cmp(&(&other.name, other.key)));
    chosen
}

/// What a reading's states mean.
fn conditions(sensor: &Sensor, reading: Reading) -> Vec<String> {
    const THRESHOLD: u8 = 0x01;
    let is_set = |bit: u8| reading.states >> bit & 1 != 0;
    if sensor.reading == THRESHOLD {
        let worst = |bits: [u8; 3], direction: &str| {
            let names = ["non-recoverable", "critical", "non-critical"];
            let found = bits.iter().zip(names).find(|(bit, _)| is_set(**bit));
            found.map(|(_, name)| format!("At or {direction} {name} threshold"))
        };
        let upper = worst([5, 4, 3], "above upper");
        return upper.into_iter().chain(worst([2, 1, 0], "below lower")).collect();
    }
    (0..15).filter(|bit| is_set(*bit)).map(|bit| texts::state(sensor.kind, sensor.reading, bit)).collect()
}

/// Units by number (table 43-15).
const UNITS: [&str; 21] = [
    "",
    "C",
    "F",
    "K",
    "Volts",
    "Amps",
    "Watts",
    "Joules",
    "Coulombs",
    "VA",
    "Nits",
    "lumen",
    "lux",
    "Candela",
    "kPa",
    "PSI",
    "Newton",
    "CFM",
    "RPM",
    "Hz",
    "microseconds",
];

fn unit(unit: Unit) -> &'static str {
    if unit.percent {
        return "";
    }
    UNITS.get(usize::from(unit.base)).copied().unwrap_or_default()
}

/// The unit of a sensor's numbers.
pub(super) fn unit_of(sensor: &Sensor) -> &'static str {
    unit(sensor.unit)
}

fn on_off(on: bool) -> &'static str {
    if on { "on" } else { "off" }
}

fn true_false(set: bool) -> &'static str {
    if set { "true" } else { "false" }
}

fn active(set: bool) -> &'static str {
    if set { "active" } else { "inactive" }
}

/// Bits of the chassis, in words.
fn of_chassis(status: Status) -> Vec<Vital> {
    let power = |bit: u8| status.power >> bit & 1 != 0;
    let misc = |bit: u8| status.misc >> bit & 1 != 0;
    let policy = match status.restore_policy() {
        RestorePolicy::AlwaysOff => "Always off",
        RestorePolicy::LastState => "Last State",
        RestorePolicy::AlwaysOn => "Always on",
        RestorePolicy::Unknown => "Unknown",
    };
    let events = ["AC failed", "Power overload", "Interlock activated", "Power Fault", "By Request"];
    let event = (0..).zip(events).find(|(bit, _)| status.last_event >> bit & 1 != 0);
    let mut lines = vec![
        word("Power Status", on_off(power(0))),
        word("Power Overload", true_false(power(1))),
        word("Power Interlock", active(power(2))),
        word("Power Fault", true_false(power(3))),
        word("Power Control Fault", true_false(power(4))),
        word("Power Restore Policy", policy),
        word("Last Power Event", event.map_or("", |(_, text)| text)),
        word("Chassis intrusion", active(misc(0))),
        word("Front Panel Lockout", active(misc(1))),
        word("Drive Fault", true_false(misc(2))),
        word("Cooling Fault", true_false(misc(3))),
    ];
    lines.extend(status.identify().map(|light| {
        let text = match light {
            IdentifyLight::Off => "off",
            IdentifyLight::Temporary | IdentifyLight::On => "on",
            IdentifyLight::Unknown => "unknown",
        };
        word("Identify Light", text)
    }));
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use dawn_ipmi::command::sdr::SensorKey;

    fn sensor(kind: u8, reading: u8) -> Sensor {
        Sensor {
            key: SensorKey { owner: 0x20, lun: 0, number: 1 },
            entity: (0, 0),
            kind,
            reading,
            unit: Unit { base: 1, modifier: 0, operator: 0, rate: 0, percent: false },
            conversion: None,
            name: "x".to_owned(),
        }
    }

    #[test]
    fn what_states_mean() {
        for (kind, reading, states, expected) in [
            (0x01, 0x01, 0x00, ""),
            (0x01, 0x01, 0x08, "At or above upper non-critical threshold"),
            (0x01, 0x01, 0x38, "At or above upper non-recoverable threshold"),
            (0x02, 0x01, 0x03, "At or below lower critical threshold"),
            (0x08, 0x6f, 0x01, "Present"),
            (0x08, 0x6f, 0x03, "Present, Failed"),
            (0x07, 0x6f, 0x102, "Thermal trip, Processor disabled"),
            (0x10, 0x6f, 0x10, "SEL full"),
            (0x0b, 0x0b, 0x01, "Fully Redundant"),
            (0xc1, 0x6f, 0x01, "OEM Reserved c1"),
            (0x3f, 0x6f, 0x01, "xCAT needs to add support for 3f"),
        ] {
            let reading_now = Reading { raw: 0, available: true, states };
            let told = conditions(&sensor(kind, reading), reading_now).join(", ");
            assert_eq!(told, expected, "kind {kind:02x} reading {reading:02x} states {states:x}");
        }
    }

    #[test]
    fn chassis() {
        let told: Vec<String> = of_chassis(Status { power: 0x21, last_event: 0x10, misc: 0x61 })
            .into_iter()
            .map(|vital| match vital.value {
                Value::Text(text) => format!("{}: {text}", vital.name),
                other => format!("{other:?}"),
            })
            .collect();
        assert_eq!(
            told,
            [
                "Power Status: on",
                "Power Overload: false",
                "Power Interlock: inactive",
                "Power Fault: false",
                "Power Control Fault: false",
                "Power Restore Policy: Last State",
                "Last Power Event: By Request",
                "Chassis intrusion: active",
                "Front Panel Lockout: inactive",
                "Drive Fault: false",
                "Cooling Fault: false",
                "Identify Light: on",
            ]
        );
    }
}
