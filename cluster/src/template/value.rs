//! The values of template expressions, and why an expression has none.

/// Why an expression has no value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExprError {
    /// Not an expression.
    #[error("syntax error at byte {0}")]
    Syntax(usize),
    /// `/` or `%` by zero.
    #[error("division by zero")]
    DivisionByZero,
    /// A number does not fit 64 bits.
    #[error("number too large")]
    Overflow,
    /// Nested deeper than 64 levels.
    #[error("nested too deeply")]
    TooDeep,
    /// A text longer than 64 KiB.
    #[error("result too long")]
    TooLong,
    /// Wrong number or kind of arguments.
    #[error("wrong arguments for {0}")]
    Arguments(String),
}

/// A number or a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Value {
    Number(i64),
    Text(String),
}

impl Value {
    pub(super) fn number(&self) -> i64 {
        match self {
            Self::Number(n) => *n,
            Self::Text(text) => leading_number(text),
        }
    }

    pub(super) fn text(&self) -> String {
        match self {
            Self::Number(n) => n.to_string(),
            Self::Text(text) => text.clone(),
        }
    }

    /// Appends its text.
    pub(super) fn write_to(&self, text: &mut String) {
        match self {
            Self::Number(n) => {
                use std::fmt::Write as _;
                // Writing to a String cannot fail.
                let _ = write!(text, "{n}");
            }
            Self::Text(own) => text.push_str(own),
        }
    }

    pub(super) fn truth(&self) -> bool {
        match self {
            Self::Number(n) => *n != 0,
            Self::Text(text) => !text.is_empty() && text != "0",
        }
    }

    pub(super) fn from_truth(truth: bool) -> Self {
        if truth { Self::Number(1) } else { Self::Text(String::new()) }
    }
}

/// The number at the start of a text, 0 if there is none; saturates.
pub(super) fn leading_number(text: &str) -> i64 {
    let text = text.trim_start();
    let (sign, digits) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    let digits = digits.bytes().take_while(u8::is_ascii_digit);
    sign * digits.fold(0i64, |n, d| n.saturating_mul(10).saturating_add(i64::from(d - b'0')))
}
