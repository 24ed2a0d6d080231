//! How a sensor's byte becomes a number (IPMI 2.0, 36.3): `y = L((M·x + B·10^k1) · 10^k2)`.

/// The factors of a sensor.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Conversion {
    format: Format,
    linearization: u8,
    m: i16,
    b: i16,
    /// Exponent of B (k1), and of the result (k2), -8 to 7.
    exponents: (i8, i8),
}

/// How the byte is to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Unsigned,
    OnesComplement,
    TwosComplement,
}

/// The linearizations (table 43-1, byte 24) from 70h on: factors depend on the reading.
const NONLINEAR: std::ops::RangeInclusive<u8> = 0x70..=0x7f;

impl Conversion {
    /// By the format bits of a record; `None` for sensors that have no analog reading.
    pub(crate) fn of_format(bits: u8) -> Option<Self> {
        let format = match bits & 3 {
            0 => Format::Unsigned,
            1 => Format::OnesComplement,
            2 => Format::TwosComplement,
            _ => return None,
        };
        Some(Self { format, linearization: 0, m: 1, b: 0, exponents: (0, 0) })
    }

    /// The seven bytes of a full record from "linearization" on.
    pub(crate) fn set_factors(&mut self, bytes: [u8; 7]) {
        let [linearization, factors @ ..] = bytes;
        self.linearization = linearization & 0x7f;
        self.set_nonlinear(factors);
    }

    /// The six bytes of factors alone, as Get Sensor Reading Factors gives them for a reading.
    pub fn set_nonlinear(&mut self, [m, m_high, b, b_high, _accuracy, exponents]: [u8; 6]) {
        self.m = ten_bits(m, m_high);
        self.b = ten_bits(b, b_high);
        self.exponents = (four_bits(exponents), four_bits(exponents >> 4));
    }

    /// Whether the factors are to be asked for with each reading.
    pub fn is_nonlinear(&self) -> bool {
        NONLINEAR.contains(&self.linearization)
    }

    /// The number; `None` where there is none (a division by zero, the logarithm of nothing).
    pub fn value(&self, byte: u8) -> Option<f64> {
        let raw = match self.format {
            Format::Unsigned => f64::from(byte),
            Format::TwosComplement => f64::from(byte.cast_signed()),
            Format::OnesComplement if byte & 0x80 != 0 => -f64::from(!byte),
            Format::OnesComplement => f64::from(byte),
        };
        let (k1, k2) = self.exponents;
        let y = scale(f64::from(self.m) * raw + scale(f64::from(self.b), k1), k2);
        let value = match self.linearization {
            0x01 => y.ln(),
            0x02 => y.log10(),
            0x03 => y.log2(),
            0x04 => y.exp(),
            0x05 => 10_f64.powf(y),
            0x06 => y.exp2(),
            0x07 => 1.0 / y,
            0x08 => y.powi(2),
            0x09 => y.powi(3),
            0x0a => y.sqrt(),
            0x0b => y.cbrt(),
            _ => y,
        };
        value.is_finite().then_some(value)
    }
}

/// `value · 10^exponent`, by a division for negative exponents: 3296 / 1000 is 3.296, 3296 · 0.001 is not.
fn scale(value: f64, exponent: i8) -> f64 {
    let power = 10_f64.powi(i32::from(exponent.unsigned_abs()));
    if exponent < 0 { value / power } else { value * power }
}

/// A signed number of ten bits: the low eight, and two on top of another byte.
fn ten_bits(low: u8, high: u8) -> i16 {
    let number = i16::from(low) | i16::from(high >> 6) << 8;
    if number & 0x200 != 0 { number - 0x400 } else { number }
}

/// A signed number of four bits.
fn four_bits(byte: u8) -> i8 {
    let number = (byte & 0x0f).cast_signed();
    if number & 8 != 0 { number - 16 } else { number }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Format bits, linearization, M, B, k1, k2, reading, expected.
    type Case = (u8, u8, i16, i16, i8, i8, u8, Option<f64>);

    #[test]
    fn all_linearizations() {
        #[rustfmt::skip]
        let cases: [Case; 20] = [
            (0, 0, 1, 0, 0, 0, 28, Some(28.0)),
            (0, 0, 16, 0, 0, -3, 206, Some(3.296)),
            (0, 0, -2, 5, 1, 0, 3, Some(44.0)),
            (0, 0, 511, -512, 0, 0, 1, Some(-1.0)),
            (1, 0, 1, 0, 0, 0, 0xfe, Some(-1.0)),
            (2, 0, 1, 0, 0, 0, 0xfe, Some(-2.0)),
            (0, 0, 20, 0, 0, 1, 21, Some(4200.0)),
            (0, 1, 1, 0, 0, 0, 1, Some(0.0)),
            (0, 1, 1, 0, 0, 0, 0, None),
            (0, 2, 1, 0, 0, 0, 100, Some(2.0)),
            (0, 3, 1, 0, 0, 0, 8, Some(3.0)),
            (0, 4, 1, 0, 0, 0, 0, Some(1.0)),
            (0, 5, 1, 0, 0, 0, 3, Some(1000.0)),
            (0, 6, 1, 0, 0, 0, 10, Some(1024.0)),
            (0, 7, 1, 0, 0, 0, 4, Some(0.25)),
            (0, 7, 1, 0, 0, 0, 0, None),
            (0, 8, 1, 0, 0, 0, 12, Some(144.0)),
            (0, 9, 1, 0, 0, 0, 3, Some(27.0)),
            (0, 10, 1, 0, 0, 0, 81, Some(9.0)),
            (0, 11, 1, 0, 0, 0, 27, Some(3.0)),
        ];
        for (format, linearization, m, b, k1, k2, byte, expected) in cases {
            let mut conversion = Conversion::of_format(format).unwrap();
            let [m_low, m_high] = m.to_le_bytes();
            let [b_low, b_high] = b.to_le_bytes();
            let exponents = (k1.cast_unsigned() & 15) | (k2.cast_unsigned() & 15) << 4;
            conversion.set_factors([linearization, m_low, m_high << 6, b_low, b_high << 6, 0, exponents]);
            let value = conversion.value(byte);
            let near = match (value, expected) {
                (Some(value), Some(expected)) => (value - expected).abs() < 1e-9,
                (value, expected) => value == expected,
            };
            assert!(near, "{conversion:?} of {byte}: {value:?}, not {expected:?}");
        }
        assert_eq!(Conversion::of_format(3), None);
    }

    #[test]
    fn factors_of_one_reading() {
        let mut conversion = Conversion::of_format(0).unwrap();
        conversion.set_factors([0x70, 0, 0, 0, 0, 0, 0]);
        assert!(conversion.is_nonlinear());
        conversion.set_nonlinear([2, 0, 1, 0, 0, 0]);
        assert_eq!(conversion.value(10), Some(21.0));
    }
}
