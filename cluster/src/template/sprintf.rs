//! `sprintf` with the conversions `% c s d i u x X o b`, flags `-`, `0`, `+`, blank, width and precision.

use super::RESULT_BYTES_MAX;
use super::value::{ExprError, Value};

/// Width and precision at most.
const WIDTH_MAX: usize = 1024;

#[derive(Default)]
struct Spec {
    left: bool,
    zero: bool,
    plus: bool,
    blank: bool,
    alternate: bool,
    width: usize,
    precision: Option<usize>,
}

pub(super) fn format(format: &str, arguments: &[Value]) -> Result<String, ExprError> {
    let wrong = || ExprError::Arguments("sprintf".to_owned());
    let mut out = String::new();
    let mut arguments = arguments.iter();
    let mut rest = format;
    while let Some((before, after)) = rest.split_once('%') {
        out.push_str(before);
        let (spec, after) = parse(after).ok_or_else(wrong)?;
        let mut after_conversion = after.chars();
        let conversion = after_conversion.next().ok_or_else(wrong)?;
        rest = after_conversion.as_str();
        if conversion == '%' {
            out.push('%');
            continue;
        }
        let empty = Value::Text(String::new());
        let value = arguments.next().unwrap_or(&empty);
        out.push_str(&convert(conversion, &spec, value).ok_or_else(wrong)?);
        if out.len() > RESULT_BYTES_MAX {
            return Err(ExprError::TooLong);
        }
    }
    out.push_str(rest);
    Ok(out)
}

fn parse(text: &str) -> Option<(Spec, &str)> {
    let mut spec = Spec::default();
    let flags = text.find(|c| !"-0+ #".contains(c)).unwrap_or(text.len());
    let (flag_text, rest) = text.split_at(flags);
    for flag in flag_text.chars() {
        match flag {
            '-' => spec.left = true,
            '0' => spec.zero = true,
            '+' => spec.plus = true,
            ' ' => spec.blank = true,
            _ => spec.alternate = true,
        }
    }
    let (width, rest) = number(rest)?;
    spec.width = width.unwrap_or(0);
    let rest = match rest.strip_prefix('.') {
        None => rest,
        Some(rest) => {
            let (precision, rest) = number(rest)?;
            spec.precision = Some(precision.unwrap_or(0));
            rest
        }
    };
    Some((spec, rest.trim_start_matches(['l', 'h', 'q'])))
}

fn number(text: &str) -> Option<(Option<usize>, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, rest) = text.split_at(end);
    if digits.is_empty() {
        return Some((None, rest));
    }
    let n: usize = digits.parse().ok().filter(|n| *n <= WIDTH_MAX)?;
    Some((Some(n), rest))
}

fn convert(conversion: char, spec: &Spec, value: &Value) -> Option<String> {
    let n = value.number();
    let radix = |digits: String, prefix: &str| {
        let prefix = if spec.alternate && n != 0 { prefix } else { "" };
        Some(integer(spec, prefix.to_owned(), digits))
    };
    match conversion {
        's' => {
            let text: String = value.text().chars().take(spec.precision.unwrap_or(usize::MAX)).collect();
            Some(pad(spec, String::new(), text, false))
        }
        'c' => {
            let c = u32::try_from(n).ok().and_then(char::from_u32)?;
            Some(pad(spec, String::new(), c.to_string(), false))
        }
        'd' | 'i' => {
            let sign = match n {
                ..0 => "-",
                _ if spec.plus => "+",
                _ if spec.blank => " ",
                _ => "",
            };
            Some(integer(spec, sign.to_owned(), n.unsigned_abs().to_string()))
        }
        'u' => radix(n.cast_unsigned().to_string(), ""),
        'x' => radix(format!("{n:x}"), "0x"),
        'X' => radix(format!("{n:X}"), "0X"),
        'o' => radix(format!("{n:o}"), "0"),
        'b' => radix(format!("{n:b}"), "0b"),
        _ => None,
    }
}

fn integer(spec: &Spec, sign: String, digits: String) -> String {
    let zeros = spec.precision.unwrap_or(0).saturating_sub(digits.len());
    pad(spec, sign, "0".repeat(zeros) + &digits, spec.precision.is_none())
}

/// Pads to the width; zeros go between sign and digits.
fn pad(spec: &Spec, sign: String, text: String, zeros_allowed: bool) -> String {
    let missing = spec.width.saturating_sub(sign.chars().count() + text.chars().count());
    match (spec.left, spec.zero && zeros_allowed) {
        (true, _) => sign + &text + &" ".repeat(missing),
        (false, true) => sign + &"0".repeat(missing) + &text,
        (false, false) => " ".repeat(missing) + &sign + &text,
    }
}
