//! Numbers of sensors as they are printed.

use dawn_hardware::facts::vitals::Value;
use std::fmt::Write as _;

/// Digits of a number that count.
const DIGITS: usize = 15;
/// British thermal units an hour of one watt.
const BTU_OF_WATT: f64 = 3.413;

/// A number without zeros at its end, as `%.15g` prints it.
pub(super) fn number(value: f64) -> String {
    if value == 0.0 {
        return "0".to_owned();
    }
    let scientific = format!("{value:.*e}", DIGITS - 1);
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let limit = i32::try_from(DIGITS).unwrap_or(i32::MAX);
    if !(-4..limit).contains(&exponent) {
        let digits = trimmed(digits);
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{digits}e{sign}{:02}", exponent.unsigned_abs());
    }
    let places = usize::try_from(limit - 1 - exponent).unwrap_or(0);
    trimmed(&format!("{value:.places$}"))
}

fn trimmed(digits: &str) -> String {
    match digits.contains('.') {
        true => digits.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => digits.to_owned(),
    }
}

/// A value as data: a number with its unit, or a word.
#[derive(Debug, serde::Serialize)]
#[serde(untagged)]
pub(super) enum Measured {
    /// A number; its unit may be empty.
    Number { value: f64, unit: &'static str },
    /// Not a number.
    Word { value: String },
}

impl Measured {
    /// From a sensor's value.
    pub(super) fn of(value: &Value) -> Self {
        match value {
            Value::Number(value, unit) => Self::Number { value: *value, unit },
            Value::Raw(byte) => Self::Number { value: f64::from(*byte), unit: "" },
            other => Self::Word { value: shown(other) },
        }
    }
}

/// What a sensor says, with its unit.
pub(super) fn shown(value: &Value) -> String {
    match value {
        Value::Number(value, unit) => {
            let mut text = number(*value);
            let _ = match *unit {
                "" => Ok(()),
                "C" => write!(text, " C ({:.0} F)", value * 1.8 + 32.0),
                "F" => write!(text, " F ({:.0} C)", (value - 32.0) / 1.8),
                "Watts" => write!(text, " Watts ({:.0} BTUs/hr)", value * BTU_OF_WATT),
                unit => write!(text, " {unit}"),
            };
            text
        }
        Value::Raw(byte) => byte.to_string(),
        Value::Unavailable => "N/A".to_owned(),
        Value::Text(text) | Value::Line(text) => (*text).to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers() {
        for (value, text) in [
            (12.0, "12"),
            (3.296, "3.296"),
            (0.0, "0"),
            (-5.25, "-5.25"),
            (4200.0, "4200"),
            (0.1 + 0.2, "0.3"),
            (1e20, "1e+20"),
            (0.00001, "1e-05"),
            (123_456_789_012_345.0, "123456789012345"),
        ] {
            assert_eq!(number(value), text);
        }
    }

    #[test]
    fn units() {
        for (value, unit, text) in [
            (28.0, "C", "28 C (82 F)"),
            (12.0, "Volts", "12 Volts"),
            (240.0, "Watts", "240 Watts (819 BTUs/hr)"),
            (4200.0, "RPM", "4200 RPM"),
            (50.0, "", "50"),
        ] {
            assert_eq!(shown(&Value::Number(value, unit)), text);
        }
    }
}
