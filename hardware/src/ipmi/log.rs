//! The event log in words.

use std::collections::HashMap;
use std::time::{SystemTime, UNIX_EPOCH};

use dawn_ipmi::command::sdr::{Record, Sensor, SensorKey};
use dawn_ipmi::command::sel::{self, Entry, Event, GetSelInfo, GetSelTime};
use dawn_ipmi::command::{CommandError, Transport};

use super::{Machine, texts};
use crate::error::Error;
use crate::facts::log::{Log, LogEntry, Time, What};
use crate::facts::vitals::Value;

/// The version of logs that is read.
const VERSION: u8 = 0x51;
/// Bit of Get SEL Info: the log can be reserved, and so be cleared.
const RESERVES: u8 = 0x02;
/// Times below this count from the start of the BMC (IPMI 2.0, 37).
const UPTIME_BELOW: u32 = 0x2000_0000;

type Sensors = HashMap<SensorKey, (String, Option<Sensor>)>;

impl Machine {
    pub(super) async fn read_log(&self) -> Result<Log, Error> {
        let info = self.run(GetSelInfo).await?;
        if info.version != VERSION {
            return Ok(Log::OtherVersion(info.version));
        }
        let records = sel::read_sel(&self.session).await.map_err(Error::command)?;
        if records.is_empty() {
            return Ok(Log::Entries(Vec::new()));
        }
        let ahead = self.clock_ahead().await?;
        let sensors = self.sensor_names().await?;
        let entries = records.iter().map(|record| entry(&Entry::of(record), ahead, &sensors)).collect();
        Ok(Log::Entries(entries))
    }

    pub(super) async fn erase_log(&self) -> Result<bool, Error> {
        let info = self.run(GetSelInfo).await?;
        if info.records == 0 {
            return Ok(false);
        }
        if info.support & RESERVES == 0 {
            return Err(Error::Machine("SEL reservation not supported".to_owned()));
        }
        sel::clear_sel(&self.session).await.map_err(Error::command)?;
        Ok(true)
    }

    /// How far the BMC's clock is ahead of this machine's, seconds. A BMC without a clock is not.
    async fn clock_ahead(&self) -> Result<i64, Error> {
        match self.session.run(GetSelTime).await {
            Ok(time) if time >= UPTIME_BELOW => Ok(i64::from(time) - now()),
            Ok(_) | Err(CommandError::Completion(_)) => Ok(0),
            Err(error) => Err(Error::command(error)),
        }
    }

    async fn sensor_names(&self) -> Result<Sensors, Error> {
        let (_, records) = self.records().await?;
        let mut names = HashMap::new();
        for record in records.iter() {
            match record {
                Record::Sensors(sensors) => names.extend(
                    sensors.iter().map(|sensor| (sensor.key, (sensor.name.clone(), Some(sensor.clone())))),
                ),
                Record::EventOnly(list) => {
                    names.extend(list.iter().map(|(key, name)| (*key, (name.clone(), None))));
                }
                Record::Fru(_) | Record::Other(_) => {}
            }
        }
        Ok(names)
    }
}

fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

fn entry(entry: &Entry, ahead: i64, sensors: &Sensors) -> LogEntry {
    match entry {
        Entry::Event(event) => LogEntry { time: time(event.time, ahead), what: of_event(event, sensors) },
        Entry::OemTimed(kind, at, rest) => {
            LogEntry { time: time(*at, ahead), what: What::Oem(*kind, rest.to_vec()) }
        }
        Entry::Oem(kind, rest) => LogEntry { time: Time::Unknown, what: What::Oem(*kind, rest.to_vec()) },
    }
}

fn time(seconds: u32, ahead: i64) -> Time {
    match seconds {
        u32::MAX => Time::Unknown,
        seconds if seconds < UPTIME_BELOW => Time::Uptime(seconds),
        seconds => Time::Clock(i64::from(seconds) - ahead),
    }
}

fn of_event(event: &Event, sensors: &Sensors) -> What {
    let known = sensors.get(&event.key);
    let sensor = known.map_or_else(|| format!("Sensor 0x{:02x}", event.key.number), |(name, _)| name.clone());
    let (kind, text) = texts::event(event.kind, event.reading, event.offset());
    let record = known.and_then(|(_, sensor)| sensor.as_ref());
    let (reading, threshold) = event.threshold();
    let number = |byte: Option<u8>| {
        let record = record?;
        let value = record.conversion.as_ref().filter(|c| !c.is_nonlinear())?.value(byte?)?;
        Some(Value::Number(value, super::sensors::unit_of(record)))
    };
    let reading = number(reading).zip(number(threshold));
    What::Event { kind, event: text, sensor, reading, recovered: event.recovered }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        assert_eq!(time(0x4000_0000, 10), Time::Clock(0x4000_0000 - 10));
        assert_eq!(time(99, 10), Time::Uptime(99));
        assert_eq!(time(u32::MAX, 0), Time::Unknown);
    }

    #[test]
    fn events_in_words() {
        let key = SensorKey { owner: 0x20, lun: 0, number: 0x2a };
        let named = HashMap::from([(key, ("Ambient Temp".to_owned(), None))]);
        let event = Event { time: 1, key, kind: 1, reading: 1, recovered: true, data: [0x57, 30, 28] };
        let What::Event { kind, event: text, sensor, reading, recovered } = of_event(&event, &named) else {
            panic!("not an event")
        };
        assert_eq!((kind.as_str(), text.as_str()), ("Temperature", "Upper Non-critical - going high"));
        assert_eq!((sensor.as_str(), reading, recovered), ("Ambient Temp", None, true));
        let What::Event { sensor, .. } = of_event(&event, &HashMap::new()) else { panic!("not an event") };
        assert_eq!(sensor, "Sensor 0x2a");
    }
}
