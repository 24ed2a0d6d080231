//! Sensor data records (IPMI 2.0, chapters 33 and 43): reading a repository whole, and what records say.
//!
//! A BMC keeps records in a repository, or as device SDRs with the sensors ([`Place`]). Records are read as
//! they are and parsed one by one: a record that is damaged or of a kind that is not known here does not hide
//! the others.

use dawn_wire::text::control_as_blanks;
use std::collections::HashSet;

use super::conversion::Conversion;
use super::fru::{bcd_plus, six_bit};
use super::{Command, CommandError, Completion, Transport, code};
use crate::wire::message::Code;
use crate::wire::{Malformed, Reader};

/// Most records that are read.
pub const RECORDS_MAX: usize = 4_096;
/// Reservations in the reading of one repository; others that change it cancel ours.
const RESERVATIONS_MAX: u32 = 16;
/// Bytes before a record's body: number, version, kind, length.
const HEADER_BYTES: u8 = 5;
/// Bytes of a part, the largest first; "all of it" is FFh.
const PART_BYTES: [u8; 4] = [0xff, 32, 16, 8];
const FIRST: u16 = 0x0000;
const LAST: u16 = 0xffff;

/// Where a BMC keeps its records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Place {
    /// The repository of the whole machine.
    Repository,
    /// With the sensors of this controller.
    Device,
}

impl Place {
    /// Where Get Device ID says that records are.
    pub fn of(id: &super::app::DeviceId) -> Self {
        const HAS_REPOSITORY: u8 = 0x02;
        let device_only = id.support & HAS_REPOSITORY == 0 && id.has_device_sdrs;
        if device_only { Self::Device } else { Self::Repository }
    }
}

/// Get SDR Repository Info, or Get Device SDR Info (`DEVICE`). The answer is the number of records.
#[derive(Clone, Copy, Debug)]
pub struct GetInfo<const DEVICE: bool>;

impl<const DEVICE: bool> Command for GetInfo<DEVICE> {
    type Answer = u16;
    const CODE: Code = if DEVICE { code(0x04, 0x20) } else { code(0x0a, 0x20) };

    fn data(&self) -> Vec<u8> {
        // Device: records, not sensors.
        if DEVICE { vec![1] } else { Vec::new() }
    }

    fn read(&self, data: &[u8]) -> Result<u16, Malformed> {
        let mut reader = Reader::new(data);
        if DEVICE {
            return reader.u8().map(u16::from);
        }
        let _version = reader.u8()?;
        reader.u16()
    }
}

/// Reserve SDR Repository, or Reserve Device SDR Repository. The answer is the reservation.
#[derive(Clone, Copy, Debug)]
pub struct Reserve<const DEVICE: bool>;

impl<const DEVICE: bool> Command for Reserve<DEVICE> {
    type Answer = u16;
    const CODE: Code = if DEVICE { code(0x04, 0x22) } else { code(0x0a, 0x22) };

    fn data(&self) -> Vec<u8> {
        Vec::new()
    }

    fn read(&self, data: &[u8]) -> Result<u16, Malformed> {
        Reader::new(data).u16()
    }
}

/// Get SDR, or Get Device SDR: a part of a record. The answer is the number of the next record, and the part.
#[derive(Clone, Copy, Debug)]
pub struct GetSdr<const DEVICE: bool> {
    /// From [`Reserve`]; 0 is enough for a part that begins at 0.
    pub reservation: u16,
    /// Which record.
    pub record: u16,
    /// Where the part begins.
    pub offset: u8,
    /// How many bytes; FFh for all.
    pub count: u8,
}

impl<const DEVICE: bool> Command for GetSdr<DEVICE> {
    type Answer = (u16, Vec<u8>);
    const CODE: Code = if DEVICE { code(0x04, 0x21) } else { code(0x0a, 0x23) };

    fn data(&self) -> Vec<u8> {
        let [low, high] = self.reservation.to_le_bytes();
        let [record_low, record_high] = self.record.to_le_bytes();
        vec![low, high, record_low, record_high, self.offset, self.count]
    }

    fn read(&self, data: &[u8]) -> Result<(u16, Vec<u8>), Malformed> {
        let mut reader = Reader::new(data);
        Ok((reader.u16()?, reader.rest().to_vec()))
    }
}

/// How many records there are.
///
/// # Errors
/// The command's.
pub async fn record_count(bmc: &impl Transport, place: Place) -> Result<u16, CommandError> {
    match place {
        Place::Repository => bmc.run(GetInfo::<false>).await,
        Place::Device => bmc.run(GetInfo::<true>).await,
    }
}

/// Reads all records, [`RECORDS_MAX`] at most, as they are.
///
/// # Errors
/// The commands', and records that lead in a circle or change again and again.
pub async fn read_records(bmc: &impl Transport, place: Place) -> Result<Vec<Vec<u8>>, CommandError> {
    match place {
        Place::Repository => Walk::<_, false>::new(bmc).all().await,
        Place::Device => Walk::<_, true>::new(bmc).all().await,
    }
}

/// A walk over records.
struct Walk<'a, T, const DEVICE: bool> {
    bmc: &'a T,
    reservation: u16,
    reservations: u32,
    /// Index into [`PART_BYTES`]: what this BMC can return.
    part: usize,
}

impl<'a, T: Transport, const DEVICE: bool> Walk<'a, T, DEVICE> {
    fn new(bmc: &'a T) -> Self {
        Self { bmc, reservation: 0, reservations: 0, part: 0 }
    }

    async fn all(mut self) -> Result<Vec<Vec<u8>>, CommandError> {
        let (mut records, mut next, mut seen) = (Vec::new(), FIRST, HashSet::new());
        while next != LAST && records.len() < RECORDS_MAX {
            if !seen.insert(next) {
                return Err(CommandError::Walk("they lead in a circle"));
            }
            let (after, record) = match self.record(next).await {
                // An empty repository has no first record.
                Err(CommandError::Completion(Completion::NOT_PRESENT)) if next == FIRST => break,
                other => other?,
            };
            records.push(record);
            next = after;
        }
        Ok(records)
    }

    /// One record whole. A reservation that others cancelled is renewed, and the record read again.
    async fn record(&mut self, number: u16) -> Result<(u16, Vec<u8>), CommandError> {
        loop {
            match self.try_record(number).await {
                Err(CommandError::Completion(Completion::RESERVATION)) => self.reserve().await?,
                Err(CommandError::Completion(code))
                    if code.is_too_much() && self.part + 1 < PART_BYTES.len() =>
                {
                    self.part += 1;
                    if self.reservation == 0 {
                        self.reserve().await?;
                    }
                }
                other => return other,
            }
        }
    }

    async fn reserve(&mut self) -> Result<(), CommandError> {
        self.reservations += 1;
        if self.reservations > RESERVATIONS_MAX {
            return Err(CommandError::Walk("others change them all the time"));
        }
        self.reservation = self.bmc.run(Reserve::<DEVICE>).await?;
        Ok(())
    }

    async fn try_record(&self, number: u16) -> Result<(u16, Vec<u8>), CommandError> {
        let part = PART_BYTES.get(self.part).copied().unwrap_or(HEADER_BYTES);
        let mut record = Vec::new();
        let mut count = if part == 0xff { part } else { HEADER_BYTES };
        loop {
            let offset = u8::try_from(record.len()).map_err(|_| Malformed("a record is too long"))?;
            let get = GetSdr::<DEVICE> { reservation: self.reservation, record: number, offset, count };
            let (next, bytes) = self.bmc.run(get).await?;
            if bytes.is_empty() {
                return Err(Malformed("a record ends early").into());
            }
            record.extend(bytes);
            let length = usize::from(HEADER_BYTES)
                + usize::from(record.get(4).copied().ok_or(Malformed("a record has no header"))?);
            if record.len() >= length {
                record.truncate(length);
                return Ok((next, record));
            }
            count = u8::try_from(length - record.len()).unwrap_or(u8::MAX).min(part);
        }
    }
}

/// Whose sensor a record describes: its controller, unit and number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SensorKey {
    /// The controller: 20h is the BMC.
    pub owner: u8,
    /// Its unit, 0 to 3.
    pub lun: u8,
    /// The sensor's number there.
    pub number: u8,
}

/// The meaning of a sensor's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unit {
    /// Base unit (table 43-15).
    pub base: u8,
    /// Modifier unit.
    pub modifier: u8,
    /// 1: base / modifier, 2: base × modifier.
    pub operator: u8,
    /// Units of time: 1 µs, 2 ms, 3 s, 4 min, 5 h, 6 day; 0 none.
    pub rate: u8,
    /// It is a percentage.
    pub percent: bool,
}

/// A sensor.
#[derive(Clone, Debug, PartialEq)]
pub struct Sensor {
    /// Which.
    pub key: SensorKey,
    /// The part of the machine: entity and its instance.
    pub entity: (u8, u8),
    /// What it measures (table 42-3).
    pub kind: u8,
    /// How it reports (table 42-1): 01h by thresholds, 6Fh by states specific to its kind.
    pub reading: u8,
    /// Its unit.
    pub unit: Unit,
    /// How its bytes become numbers; `None` for sensors without numbers.
    pub conversion: Option<Conversion>,
    /// Its name.
    pub name: String,
}

/// A part with an inventory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FruLocator {
    /// Address of the controller that has it.
    pub controller: u8,
    /// Its FRU device there.
    pub device: u8,
    /// Commands reach it; otherwise it is a memory chip on a private bus.
    pub logical: bool,
    /// Kind of the device (table 43-12), and its modifier.
    pub kind: (u8, u8),
    /// The part of the machine.
    pub entity: (u8, u8),
    /// Its name.
    pub name: String,
}

/// What a record says.
#[derive(Clone, Debug, PartialEq)]
pub enum Record {
    /// A sensor; a record of several sensors gives several.
    Sensors(Vec<Sensor>),
    /// A sensor that only makes events: its name.
    EventOnly(Vec<(SensorKey, String)>),
    /// A part with an inventory.
    Fru(FruLocator),
    /// Another kind: its number.
    Other(u8),
}

impl Record {
    /// Reads a record.
    ///
    /// # Errors
    /// When it is cut short.
    pub fn parse(record: &[u8]) -> Result<Self, Malformed> {
        let mut body = Reader::new(record);
        let [_, _, _version, kind, _length] = body.array()?;
        match kind {
            0x01 => full(body).map(|sensor| Self::Sensors(vec![sensor])),
            0x02 => compact(body).map(Self::Sensors),
            0x03 => event_only(body).map(Self::EventOnly),
            0x11 => fru_locator(body).map(Self::Fru),
            other => Ok(Self::Other(other)),
        }
    }
}

/// What full and compact records begin with.
fn head(body: &mut Reader<'_>) -> Result<Sensor, Malformed> {
    let [owner, lun, number, entity, instance, _init, _capabilities, kind, reading] = body.array()?;
    body.take(6)?;
    let [units, base, modifier] = body.array()?;
    let unit =
        Unit { base, modifier, operator: units >> 1 & 3, rate: units >> 3 & 7, percent: units & 1 != 0 };
    let conversion = Conversion::of_format(units >> 6);
    let key = SensorKey { owner, lun: lun & 3, number };
    Ok(Sensor { key, entity: (entity, instance), kind, reading, unit, conversion, name: String::new() })
}

fn full(mut body: Reader<'_>) -> Result<Sensor, Malformed> {
    let mut sensor = head(&mut body)?;
    let factors: [u8; 7] = body.array()?;
    if let Some(conversion) = &mut sensor.conversion {
        conversion.set_factors(factors);
    }
    body.take(17)?;
    sensor.name = name(&mut body)?;
    Ok(sensor)
}

fn compact(mut body: Reader<'_>) -> Result<Vec<Sensor>, Malformed> {
    let mut sensor = head(&mut body)?;
    // Without factors bytes are not converted.
    sensor.conversion = None;
    let sharing: [u8; 2] = body.array()?;
    body.take(6)?;
    sensor.name = name(&mut body)?;
    let shared = shared(sharing);
    let one = |(number, instance, suffix): (u8, u8, String)| Sensor {
        key: SensorKey { number: sensor.key.number.wrapping_add(number), ..sensor.key },
        entity: (sensor.entity.0, sensor.entity.1.wrapping_add(instance)),
        name: format!("{}{suffix}", sensor.name),
        ..sensor.clone()
    };
    Ok(shared.into_iter().map(one).collect())
}

fn event_only(mut body: Reader<'_>) -> Result<Vec<(SensorKey, String)>, Malformed> {
    let [owner, lun, number, _entity, _instance, _kind, _reading] = body.array()?;
    let sharing: [u8; 2] = body.array()?;
    body.take(2)?;
    let name = name(&mut body)?;
    let key = |add: u8| SensorKey { owner, lun: lun & 3, number: number.wrapping_add(add) };
    Ok(shared(sharing).into_iter().map(|(add, _, suffix)| (key(add), format!("{name}{suffix}"))).collect())
}

/// What the sensors that share a record differ by: number, instance and end of the name (table 43-2, "record
/// sharing").
fn shared([first, second]: [u8; 2]) -> Vec<(u8, u8, String)> {
    let count = (first & 0x0f).max(1);
    let alphabetic = first >> 4 & 3 == 1;
    let offset = second & 0x7f;
    let suffix = |index: u8| match alphabetic {
        true => char::from(b'A' + offset.saturating_add(index) % 26).to_string(),
        false => offset.saturating_add(index).to_string(),
    };
    let of = |index: u8| {
        let instance = if second & 0x80 != 0 { index } else { 0 };
        (index, instance, if count == 1 { String::new() } else { suffix(index) })
    };
    (0..count).map(of).collect()
}

fn fru_locator(mut body: Reader<'_>) -> Result<FruLocator, Malformed> {
    let [controller, device, access, _channel, _reserved, kind, modifier, entity, instance, _oem] =
        body.array()?;
    Ok(FruLocator {
        controller,
        device,
        logical: access & 0x80 != 0,
        kind: (kind, modifier),
        entity: (entity, instance),
        name: name(&mut body)?,
    })
}

/// A byte for something of the maker's own, then the name: kind and length, characters.
fn name(body: &mut Reader<'_>) -> Result<String, Malformed> {
    let mut rest = body.clone();
    let [kind] = rest.array()?;
    // Some records are shorter than the length of their name says.
    let length = usize::from(kind & 0x1f).min(rest.left());
    let bytes = rest.take(length)?;
    let text: String = match kind >> 6 {
        1 => bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]).map(bcd_plus).collect(),
        2 => six_bit(bytes),
        _ => bytes.iter().map(|byte| char::from(*byte)).collect(),
    };
    Ok(control_as_blanks(&text).trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A full record: 12 V, unsigned, M = 63, Rexp = -3, Bexp = 0.
    pub(crate) fn volts() -> Vec<u8> {
        let body = [
            &[0x20, 0, 7, 0x13, 1, 0x7f, 0x68, 0x02, 0x01][..],
            &[0; 6],
            &[0x00, 0x04, 0x00],
            &[0x00, 63, 0x00, 0x00, 0x00, 0x00, 0xd0],
            &[0; 17],
            b"\xc312V",
        ]
        .concat();
        [&[1, 0, 0x51, 0x01, u8::try_from(body.len()).unwrap()][..], &body].concat()
    }

    #[test]
    fn a_full_record() {
        let Record::Sensors(sensors) = Record::parse(&volts()).unwrap() else { panic!("not a sensor") };
        let [sensor] = &sensors[..] else { panic!("{sensors:?}") };
        assert_eq!((sensor.name.as_str(), sensor.kind, sensor.reading), ("12V", 2, 1));
        assert_eq!(sensor.key, SensorKey { owner: 0x20, lun: 0, number: 7 });
        assert_eq!(sensor.unit.base, 4);
        let value = sensor.conversion.unwrap().value(190).unwrap();
        assert!((value - 11.97).abs() < 1e-9, "{value}");
    }

    #[test]
    fn records_that_stand_for_several_sensors() {
        let body = [
            &[0x20, 0, 0x10, 0x0a, 0x60, 0x7f, 0x68, 0x08, 0x6f][..],
            &[0; 6],
            &[0xc0, 0, 0],
            // Two of them, letters from B on, separate instances.
            &[0x12, 0x81],
            &[0; 6],
            b"\xc4PSU ",
        ]
        .concat();
        let record = [&[2, 0, 0x51, 0x02, u8::try_from(body.len()).unwrap()][..], &body].concat();
        let Record::Sensors(sensors) = Record::parse(&record).unwrap() else { panic!("not a sensor") };
        let told: Vec<_> = sensors
            .iter()
            .map(|s| (s.name.as_str(), s.key.number, s.entity.1, s.conversion.is_some()))
            .collect();
        assert_eq!(told, [("PSUB", 0x10, 0x60, false), ("PSUC", 0x11, 0x61, false)]);
    }

    #[test]
    fn other_records() {
        let event =
            [&[3, 0, 0x51, 0x03, 17][..], &[0x20, 1, 9, 0, 0, 0x12, 0x6f, 1, 0, 0, 0], b"\xc5Event"].concat();
        let key = SensorKey { owner: 0x20, lun: 1, number: 9 };
        assert_eq!(Record::parse(&event), Ok(Record::EventOnly(vec![(key, "Event".to_owned())])));
        let fru =
            [&[4, 0, 0x51, 0x11, 16][..], &[0x20, 3, 0x80, 0, 0, 0x10, 1, 0x20, 2, 0], b"\xc5DIMM1"].concat();
        let Ok(Record::Fru(fru)) = Record::parse(&fru) else { panic!("not a FRU") };
        assert_eq!((fru.device, fru.logical, fru.entity, fru.name.as_str()), (3, true, (0x20, 2), "DIMM1"));
        assert_eq!(Record::parse(&[5, 0, 0x51, 0xc0, 1, 9]), Ok(Record::Other(0xc0)));
    }

    #[test]
    fn cut_short() {
        let good = volts();
        for length in 0..good.len() - 3 {
            assert!(Record::parse(&good[..length]).is_err(), "{length} bytes");
        }
    }
}
