//! Numbers among the words of a command: one way of reading them, and one wording of what is wrong.

use std::ops::RangeInclusive;

/// Why a word is not the number that a command takes.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum WrongNumber {
    /// It is not a number at all.
    #[error("'{0}' is not a number")]
    NotANumber(String),
    /// It is too small, or larger than any count is.
    #[error("'{word}' is not a number from {least} up")]
    OutOfRange {
        /// The word.
        word: String,
        /// The smallest number that is taken.
        least: i64,
    },
    /// It is outside of a range with two ends.
    #[error("'{word}' is not a number from {least} to {most}")]
    Outside {
        /// The word.
        word: String,
        /// The smallest number that is taken.
        least: i64,
        /// The largest one.
        most: i64,
    },
}

/// Ports of TCP and UDP.
pub const PORTS: RangeInclusive<i64> = 1..=65_535;

/// Reads numbers from `least` up: a `value_parser` of clap.
pub fn at_least<N: TryFrom<i64> + 'static>(
    least: i64,
) -> impl Fn(&str) -> Result<N, WrongNumber> + Clone + Send + Sync + 'static {
    within(least..=i64::MAX)
}

/// Reads numbers of a range: a `value_parser` of clap.
pub fn within<N: TryFrom<i64> + 'static>(
    range: RangeInclusive<i64>,
) -> impl Fn(&str) -> Result<N, WrongNumber> + Clone + Send + Sync + 'static {
    move |word| {
        let digits = word.strip_prefix('-').unwrap_or(word);
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(WrongNumber::NotANumber(word.to_owned()));
        }
        let number = word.parse::<i64>().ok().filter(|number| range.contains(number));
        let (word, least, most) = (word.to_owned(), *range.start(), *range.end());
        number.and_then(|number| N::try_from(number).ok()).ok_or(match most {
            i64::MAX => WrongNumber::OutOfRange { word, least },
            most => WrongNumber::Outside { word, least, most },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_and_what_is_said() {
        let said = |result: Result<u16, WrongNumber>| result.map_err(|wrong| wrong.to_string());
        assert_eq!(said(at_least(1)("7")), Ok(7));
        for (result, text) in [
            (at_least(1)("x"), "'x' is not a number"),
            (at_least(1)(""), "'' is not a number"),
            (at_least(1)("-"), "'-' is not a number"),
            (at_least(1)("1.5"), "'1.5' is not a number"),
            (at_least(1)("0"), "'0' is not a number from 1 up"),
            (at_least(0)("-1"), "'-1' is not a number from 0 up"),
            (at_least(1)("99999999999999999999"), "'99999999999999999999' is not a number from 1 up"),
            (within(PORTS)("65536"), "'65536' is not a number from 1 to 65535"),
            (within(PORTS)("x"), "'x' is not a number"),
        ] {
            assert_eq!(said(result), Err(text.to_owned()));
        }
    }
}
