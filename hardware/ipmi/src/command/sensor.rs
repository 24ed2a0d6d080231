//! What sensors say now (IPMI 2.0, 35.5 and 35.14).

use super::conversion::Conversion;
use super::sdr::Sensor;
use super::{CommandError, Completion, Transport};
use crate::engine::Request;
use crate::wire::Reader;
use crate::wire::message::Code;

/// Network function of sensors.
const SENSOR: u8 = 0x04;
const GET_FACTORS: u8 = 0x23;
const GET_READING: u8 = 0x2d;

/// What a sensor says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading {
    /// Its byte.
    pub raw: u8,
    /// Whether the byte and the states mean anything now.
    pub available: bool,
    /// States: thresholds that are crossed (bits 0 to 2 lower, 3 to 5 upper, from non-critical on), or states
    /// of a discrete sensor, 15 bits.
    pub states: u16,
}

async fn ask(bmc: &impl Transport, lun: u8, cmd: u8, data: Vec<u8>) -> Result<Vec<u8>, CommandError> {
    let answer = bmc.call(Request { code: Code { netfn: SENSOR, lun, cmd }, data }).await?;
    match answer.completion {
        0 => Ok(answer.data),
        code => Err(CommandError::Completion(Completion(code))),
    }
}

/// Get Sensor Reading.
///
/// # Errors
/// The command's.
pub async fn read_sensor(bmc: &impl Transport, sensor: &Sensor) -> Result<Reading, CommandError> {
    let data = ask(bmc, sensor.key.lun, GET_READING, vec![sensor.key.number]).await?;
    parse(&data)
}

fn parse(data: &[u8]) -> Result<Reading, CommandError> {
    const SCANNING: u8 = 0x40;
    const UNAVAILABLE: u8 = 0x20;
    let mut reader = Reader::new(data);
    let [raw, flags] = reader.array()?;
    let [low, high] = [reader.u8().unwrap_or(0), reader.u8().unwrap_or(0)];
    let available = flags & SCANNING != 0 && flags & UNAVAILABLE == 0;
    Ok(Reading { raw, available, states: u16::from_le_bytes([low, high & 0x7f]) })
}

/// The number of a reading. Sensors whose factors depend on the reading are asked for them.
///
/// # Errors
/// That command's.
pub async fn value(bmc: &impl Transport, sensor: &Sensor, raw: u8) -> Result<Option<f64>, CommandError> {
    let Some(mut conversion) = sensor.conversion else { return Ok(None) };
    if conversion.is_nonlinear() {
        factors(bmc, sensor, raw, &mut conversion).await?;
    }
    Ok(conversion.value(raw))
}

/// Get Sensor Reading Factors.
async fn factors(
    bmc: &impl Transport,
    sensor: &Sensor,
    raw: u8,
    conversion: &mut Conversion,
) -> Result<(), CommandError> {
    let data = ask(bmc, sensor.key.lun, GET_FACTORS, vec![sensor.key.number, raw]).await?;
    let mut reader = Reader::new(&data);
    let _next_reading = reader.u8()?;
    conversion.set_nonlinear(reader.array()?);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readings() {
        for (data, raw, available, states) in [
            (&[28, 0xc0, 0xc0][..], 28, true, 0xc0),
            (&[0, 0xe0, 0], 0, false, 0),
            (&[0, 0x80], 0, false, 0),
            (&[1, 0x40, 0x01, 0x80], 1, true, 1),
        ] {
            assert_eq!(parse(data).unwrap(), Reading { raw, available, states }, "{data:?}");
        }
        assert!(parse(&[1]).is_err());
    }
}
