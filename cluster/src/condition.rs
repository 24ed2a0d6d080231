//! Conditions `name<op>value`, as command lines and dynamic groups state them: one grammar and one way to
//! compare.
//!
//! Which operators there are depends on the command: the node commands take `==`, `!=`, `=~` and `!~`, `-w`
//! of the object commands and `wherevals` take `=` as well, and `tabdump -w` compares order, too. One
//! difference is xCAT's: for `tabdump -w` the pattern of `=~` and `!~` is one of SQL's LIKE, elsewhere a
//! regular expression, which is unanchored and takes linear time. Slashes around a pattern are taken off, of
//! a regular expression one pair.

use crate::like::like;
use crate::names::excerpt;
use crate::template::{PatternError, linear_regex};
use regex::Regex;
use std::cmp::Ordering;

/// Operators of conditions on the values of nodes.
pub const OF_ITEMS: &[&str] = &["==", "!=", "=~", "!~"];
/// The same for attributes of objects, where `=` means `==`.
pub const OF_ATTRIBUTES: &[&str] = &["!=", "=~", "==", "!~", "="];

/// Operators of conditions on the cells of a table.
const OF_CELLS: &[&str] = &["==", "=~", "!=", "!~", "<=", "<", ">=", ">"];

/// Why a condition cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConditionError {
    /// None of the operators is in it.
    #[error("The '-w' option has an incorrect attr*val pair.")]
    Malformed,
    /// The regular expression does not compile.
    #[error("'{}' is not a valid regular expression: {reason}", excerpt(pattern))]
    Regex {
        /// The expression.
        pattern: String,
        /// What the compiler says.
        reason: PatternError,
    },
}

/// Cuts `name<op>value` at the first of the operators (longer ones first where two begin at one place).
pub fn split_operator<'a>(
    word: &'a str,
    operators: &[&'static str],
) -> Option<(&'a str, &'static str, &'a str)> {
    let found = operators
        .iter()
        .filter_map(|operator| Some((word.find(operator)?, *operator)))
        .min_by_key(|(at, operator)| (*at, std::cmp::Reverse(operator.len())));
    let (at, operator) = found?;
    let (name, rest) = word.split_at(at);
    Some((name, operator, rest.strip_prefix(operator).unwrap_or_default()))
}

/// Attribute and value of a word `attr=value` on the command line of an object command; `None` for a word
/// that names objects: `all@mgt==ipmi` is a noderange, `mgt=ipmi` an attribute. Policy and the commands ask
/// here, so that they agree on what a word names.
pub fn assignment(word: &str) -> Option<(&str, &str)> {
    match split_operator(word, OF_ATTRIBUTES)? {
        (_, "=", _) => word.split_once('='),
        _ => None,
    }
}

/// How a condition compares.
#[derive(Debug, Clone)]
pub(crate) enum Test {
    Equal(String),
    Differ(String),
    Found(Regex),
    NotFound(Regex),
    Like(String),
    NotLike(String),
    Ordered(&'static [Ordering], String),
}

impl Test {
    fn of(operator: &str, value: &str) -> Result<Self, ConditionError> {
        Ok(match operator {
            "!=" => Self::Differ(value.to_owned()),
            "=~" => Self::Found(pattern(value)?),
            "!~" => Self::NotFound(pattern(value)?),
            _ => Self::Equal(value.to_owned()),
        })
    }

    /// As a database compares cells: order is that of the bytes.
    fn of_cells(operator: &str, value: &str) -> Self {
        const LESS: &[Ordering] = &[Ordering::Less];
        const LESS_OR_EQUAL: &[Ordering] = &[Ordering::Less, Ordering::Equal];
        const GREATER: &[Ordering] = &[Ordering::Greater];
        const GREATER_OR_EQUAL: &[Ordering] = &[Ordering::Greater, Ordering::Equal];
        let (text, pattern) = (value.to_owned(), || value.trim_matches('/').to_owned());
        match operator {
            "!=" => Self::Differ(text),
            "<" => Self::Ordered(LESS, text),
            "<=" => Self::Ordered(LESS_OR_EQUAL, text),
            ">" => Self::Ordered(GREATER, text),
            ">=" => Self::Ordered(GREATER_OR_EQUAL, text),
            "=~" => Self::Like(pattern()),
            "!~" => Self::NotLike(pattern()),
            _ => Self::Equal(text),
        }
    }

    pub(crate) fn holds(&self, value: &str) -> bool {
        match self {
            Self::Equal(text) => value == text,
            Self::Differ(text) => value != text,
            Self::Found(re) => re.is_match(value),
            Self::NotFound(re) => !re.is_match(value),
            Self::Like(pattern) => like(value, pattern),
            Self::NotLike(pattern) => !like(value, pattern),
            Self::Ordered(wanted, text) => wanted.contains(&value.cmp(text.as_str())),
        }
    }
}

/// The text to the left of the operator, and the comparison.
#[derive(Debug, Clone)]
pub struct Condition {
    /// Left of the operator.
    pub subject: String,
    pub(crate) test: Test,
}

impl Condition {
    /// Reads a condition with one of `operators`.
    pub fn parse(text: &str, operators: &[&'static str]) -> Result<Self, ConditionError> {
        let (subject, operator, value) = split_operator(text, operators).ok_or(ConditionError::Malformed)?;
        Ok(Self { subject: subject.to_owned(), test: Test::of(operator, value)? })
    }

    /// Reads a condition on a cell, as `tabdump -w` has it.
    pub fn of_cells(text: &str) -> Result<Self, ConditionError> {
        let (subject, operator, value) = split_operator(text, OF_CELLS).ok_or(ConditionError::Malformed)?;
        Ok(Self { subject: subject.to_owned(), test: Test::of_cells(operator, value) })
    }

    /// The value meets the condition.
    pub fn holds(&self, value: &str) -> bool {
        self.test.holds(value)
    }
}

fn pattern(value: &str) -> Result<Regex, ConditionError> {
    let value = value.strip_prefix('/').unwrap_or(value);
    let value = value.strip_suffix('/').unwrap_or(value);
    linear_regex(value).map_err(|reason| ConditionError::Regex { pattern: value.to_owned(), reason })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operators() {
        let operators = &["==", "!=", "=~", "!~", "=", ",=", "^="];
        for (word, expected) in [
            ("a.b=c=d", Some(("a.b", "=", "c=d"))),
            ("a.b==c", Some(("a.b", "==", "c"))),
            ("groups,=x", Some(("groups", ",=", "x"))),
            ("groups^=x", Some(("groups", "^=", "x"))),
            ("a.b!~/x/", Some(("a.b", "!~", "/x/"))),
            ("a.b", None),
        ] {
            assert_eq!(split_operator(word, operators), expected, "{word}");
        }
    }

    #[test]
    fn comparisons() {
        for (text, value, expected) in [
            ("a==b", "b", true),
            ("a!=b", "b", false),
            ("a=~/^b/", "bc", true),
            ("a!~^b", "bc", false),
            ("a=b=c", "b=c", true),
        ] {
            assert_eq!(Condition::parse(text, OF_ATTRIBUTES).unwrap().holds(value), expected, "{text}");
        }
        for (text, value, expected) in [
            ("a==b", "b", true),
            ("a!=b", "b", false),
            ("a=~/B%/", "bc", true),
            ("a=~b", "bc", false),
            ("a!~%c", "bc", false),
            ("a<b", "b", false),
            ("a<=b", "b", true),
            ("a>10", "9", true),
            ("a>=b", "ab", false),
        ] {
            assert_eq!(Condition::of_cells(text).unwrap().holds(value), expected, "{text}");
        }
        assert_eq!(Condition::of_cells("a=b").err(), Some(ConditionError::Malformed));
        assert_eq!(Condition::parse("a=b", OF_ITEMS).err(), Some(ConditionError::Malformed));
        let broken = Condition::parse("a=~(", OF_ITEMS).err().map(|error| error.to_string());
        assert!(broken.is_some_and(|text| text.starts_with("'(' is not a valid regular expression")));
    }
}
