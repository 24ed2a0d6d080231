//! What a machine consists of: its FRU devices, and what the service processor says of itself.

use dawn_ipmi::command::app::{GetDeviceGuid, GetDeviceId, GetSystemGuid};
use dawn_ipmi::command::fru::{self, Board, Chassis, Field, Fru, Product};
use dawn_ipmi::command::sdr::{FruLocator, Record};
use dawn_ipmi::command::{CommandError, Completion, Transport};

use super::Machine;
use crate::error::Error;
use crate::facts::inventory::{Fact, Part, Parts, Value};

fn fact(label: impl Into<String>, value: impl Into<String>) -> Fact {
    Fact { label: label.into(), value: Value::Text(value.into()) }
}

/// 1 January 1996 in seconds since 1970: FRU areas count from there.
const FRU_EPOCH: i64 = 820_454_400;
/// Entity of memory devices.
const MEMORY: u8 = 0x20;
/// The service processor's own address.
const BMC: u8 = 0x20;

impl Machine {
    pub(super) async fn read_inventory(&self, parts: Parts) -> Result<Vec<Fact>, Error> {
        let mut machine = Vec::new();
        let wants_fru =
            [Part::Model, Part::Serial, Part::Asset, Part::Misc].iter().any(|part| parts.has(*part));
        if wants_fru {
            machine = self.machine_facts(&parts).await?;
        }
        let rest = machine.split_off(machine.len().min(1));
        let mut facts = machine;
        facts.extend(self.processor_facts(&parts).await?);
        facts.extend(rest);
        if parts.has(Part::Hardware) || parts.has(Part::Dimm) {
            facts.extend(self.part_facts(&parts).await?);
        }
        Ok(facts)
    }

    /// FRU device 0: the machine itself. A machine without one has nothing to say.
    async fn machine_facts(&self, parts: &Parts) -> Result<Vec<Fact>, Error> {
        let bytes = match fru::read_fru(&self.session, 0).await {
            Err(CommandError::Completion(
                Completion::NOT_PRESENT | Completion::INVALID_COMMAND | Completion::FIELD | Completion::RANGE,
            )) => return Ok(Vec::new()),
            bytes => bytes.map_err(Error::command)?,
        };
        if bytes.is_empty() {
            return Ok(Vec::new());
        }
        let broken = |_| Error::Machine("Error encountered when parsing FRU data from BMC".to_owned());
        let fru = Fru::parse(&bytes).map_err(broken)?;
        let product = fru.product.transpose().map_err(broken)?;
        let chassis = fru.chassis.transpose().map_err(broken)?;
        let board = fru.board.transpose().map_err(broken)?;
        let mut all = Vec::new();
        all.extend(product.iter().flat_map(of_product));
        all.extend(chassis.iter().flat_map(of_chassis));
        all.extend(board.iter().flat_map(of_board));
        Ok(all.into_iter().filter(|(part, _)| parts.has(*part)).map(|(_, fact)| fact).collect())
    }

    /// What the service processor says of itself.
    async fn processor_facts(&self, parts: &Parts) -> Result<Vec<Fact>, Error> {
        let mut facts = Vec::new();
        let id = match parts.has(Part::DeviceId) || parts.has(Part::Firmware) {
            true => Some(self.run(GetDeviceId).await?),
            false => None,
        };
        let described = id.filter(|_| parts.has(Part::DeviceId));
        facts.extend(described.map(|id| fact("Device ID", id.device.to_string())));
        if parts.has(Part::Guid) {
            facts.push(fact("UUID/GUID", guid(self.guid().await?)));
        }
        facts.extend(described.map(|id| fact("Manufacturer ID", manufacturer(id.manufacturer))));
        let firmware = id.filter(|_| parts.has(Part::Firmware));
        facts.extend(
            firmware
                .map(|id| fact("BMC Firmware", format!("{}.{:02}", id.firmware_major, id.firmware_minor))),
        );
        facts.extend(described.map(|id| fact("Product ID", id.product.to_string())));
        Ok(facts)
    }

    async fn guid(&self) -> Result<[u8; 16], Error> {
        match self.session.run(GetDeviceGuid).await {
            Err(CommandError::Completion(_)) => self.run(GetSystemGuid).await,
            guid => guid.map_err(Error::command),
        }
    }

    /// The FRU devices of parts, memory first, by name.
    async fn part_facts(&self, parts: &Parts) -> Result<Vec<Fact>, Error> {
        let (_, records) = self.records().await?;
        let mut locators: Vec<&FruLocator> = records
            .iter()
            .filter_map(|record| match record {
                Record::Fru(locator) => Some(locator),
                _ => None,
            })
            .filter(|locator| locator.logical && locator.controller == BMC && locator.device != 0)
            .filter(|locator| parts.has(Part::Hardware) || is_memory(locator))
            .collect();
        locators.sort_by_key(|locator| (!is_memory(locator), locator.name.clone()));
        let mut facts = Vec::new();
        for locator in locators {
            facts.extend(self.one_part(locator).await?);
        }
        Ok(facts)
    }

    async fn one_part(&self, locator: &FruLocator) -> Result<Vec<Fact>, Error> {
        let name = &locator.name;
        let only = |text: &str| Ok(vec![fact(name, text)]);
        let bytes = match fru::read_fru(&self.session, locator.device).await {
            Err(CommandError::Completion(Completion::NOT_PRESENT)) => return only("Not Present"),
            Err(CommandError::Completion(code)) => return only(&format!("Unable to read ({code})")),
            bytes => bytes.map_err(Error::command)?,
        };
        if bytes.iter().all(|byte| *byte == 0 || *byte == 0xff) {
            return only("No data available");
        }
        let Ok(fru) = Fru::parse(&bytes) else { return only("Unrecognized FRU format") };
        let mut facts = Vec::new();
        if let Some(Ok(Board { fields: [maker, title, serial, part, _], .. })) = &fru.board {
            for (label, field) in [
                ("Board", title),
                ("Board Part Number", part),
                ("Board Serial Number", serial),
                ("Board Manufacturer", maker),
            ] {
                facts.extend(field.as_ref().map(|field| fact(format!("{name} {label}"), text(field))));
            }
        }
        if let Some(Ok(Product { fields: [maker, title, part, version, serial, _, _], .. })) = &fru.product {
            for (label, field) in [
                ("Product", title),
                ("Product Part Number", part),
                ("Product Serial Number", serial),
                ("Product Manufacturer", maker),
                ("Product Version", version),
            ] {
                facts.extend(field.as_ref().map(|field| fact(format!("{name} {label}"), text(field))));
            }
        }
        if let Some(Ok(Chassis { fields: [part, serial], .. })) = &fru.chassis {
            for (label, field) in [("Chassis Part Number", part), ("Chassis Serial Number", serial)] {
                facts.extend(field.as_ref().map(|field| fact(format!("{name} {label}"), text(field))));
            }
        }
        if facts.is_empty() { only("No data available") } else { Ok(facts) }
    }
}

fn is_memory(locator: &FruLocator) -> bool {
    locator.entity.0 == MEMORY
}

type Grouped = (Part, Fact);

fn named<'a>(
    fields: impl IntoIterator<Item = (Part, &'static str, &'a Option<Field>)>,
    extra: &'static str,
    custom: &[Field],
) -> Vec<Grouped> {
    let named = fields
        .into_iter()
        .filter_map(|(part, label, field)| Some((part, fact(label, text(field.as_ref()?)))));
    let mut all: Vec<Grouped> = named.collect();
    all.extend(custom.iter().map(|field| (Part::Misc, fact(extra, text(field)))));
    all
}

fn of_product(product: &Product) -> Vec<Grouped> {
    let [maker, name, part, version, serial, asset, _] = &product.fields;
    let fields = [
        (Part::Misc, "System Manufacturer", maker),
        (Part::Model, "System Description", name),
        (Part::Model, "System Model/MTM", part),
        (Part::Misc, "System Revision", version),
        (Part::Serial, "System Serial Number", serial),
        (Part::Asset, "System Asset Number", asset),
    ];
    named(fields, "Product Extra data", &product.custom)
}

fn of_chassis(chassis: &Chassis) -> Vec<Grouped> {
    let [part, serial] = &chassis.fields;
    let fields =
        [(Part::Serial, "Chassis Serial Number", serial), (Part::Model, "Chassis Part Number", part)];
    named(fields, "Chassis Extra data", &chassis.custom)
}

fn of_board(board: &Board) -> Vec<Grouped> {
    let [maker, name, serial, part, _] = &board.fields;
    let fields = [
        (Part::Misc, "Board manufacturer", maker),
        (Part::Misc, "Board Description", name),
        (Part::Misc, "Board Serial Number", serial),
        (Part::Misc, "Board Model Number", part),
    ];
    let mut all = Vec::new();
    if board.made_minutes != 0 {
        let value = Value::Time(FRU_EPOCH + i64::from(board.made_minutes) * 60);
        all.push((Part::Misc, Fact { label: "Board manufacture date".to_owned(), value }));
    }
    all.extend(named(fields, "Board Extra data", &board.custom));
    all
}

/// A field as text; bytes without a meaning as hexadecimal numbers.
fn text(field: &Field) -> String {
    match field {
        Field::Text(text) => {
            text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect()
        }
        Field::Binary(bytes) => bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" "),
    }
}

fn manufacturer(number: u32) -> String {
    const IBM: u32 = 2;
    if number == IBM { format!("IBM ({number})") } else { number.to_string() }
}

/// Groups of a UUID; the first three are little endian on the wire.
fn guid([a, b, c, d, e, f, g, h, rest @ ..]: [u8; 16]) -> String {
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02X}")).collect::<String>();
    let (clock, node) = rest.split_at(2);
    [&[d, c, b, a][..], &[f, e], &[h, g], clock, node].map(hex).join("-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts() {
        let bytes = [0x33, 0x22, 0x11, 0x00, 0x55, 0x44, 0x77, 0x66, 0x88, 0x99, 1, 2, 3, 4, 5, 6];
        assert_eq!(guid(bytes), "00112233-4455-6677-8899-010203040506");
        assert_eq!((manufacturer(2), manufacturer(343)), ("IBM (2)".to_owned(), "343".to_owned()));
        assert_eq!(text(&Field::Binary(vec![1, 0xab])), "01 ab");
    }

    #[test]
    fn groups() {
        let field = |text: &str| Some(Field::Text(text.to_owned()));
        let product = Product {
            fields: [field("ACME"), field("Box"), field("B-1"), None, field("S1"), field("A1"), None],
            custom: vec![Field::Text("more".to_owned())],
        };
        let of = |word: &str| {
            let parts = Parts::parse(word).unwrap();
            let facts = of_product(&product).into_iter().filter(|(part, _)| parts.has(*part));
            facts.map(|(_, fact)| fact.label).collect::<Vec<_>>().join(", ")
        };
        assert_eq!(of("model"), "System Description, System Model/MTM");
        assert_eq!(of("serial"), "System Serial Number");
        assert_eq!(of("misc"), "System Manufacturer, Product Extra data");
        assert_eq!(Parts::parse("bogus"), None);
    }
}
