//! Cutting an expression at its operators.

use super::NoderangeError;

/// What an element does to the set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Add,
    Exclude,
    Intersect,
}

/// Cuts at a separator that is outside of parentheses, brackets and the braces of a regular expression.
pub(super) fn split_top(text: &str, separator: char) -> Result<Vec<&str>, NoderangeError> {
    let mut parts = Vec::new();
    let (mut start, mut round, mut square) = (0, 0usize, 0usize);
    for (at, c) in text.char_indices() {
        match c {
            '(' => round += 1,
            ')' => round = round.checked_sub(1).ok_or(NoderangeError::Unbalanced)?,
            '[' | '{' => square += 1,
            // A bracket expression of a regular expression may close one that it did not open.
            ']' | '}' => square = square.saturating_sub(1),
            c if c == separator && round == 0 && square == 0 => {
                parts.push(text.get(start..at).unwrap_or(""));
                start = at + c.len_utf8();
            }
            _ => {}
        }
    }
    if round > 0 {
        return Err(NoderangeError::Unbalanced);
    }
    parts.push(text.get(start..).unwrap_or(""));
    Ok(parts)
}

/// The elements of an expression with their roles; empty ones are skipped.
pub(super) fn elements(text: &str) -> Result<Vec<(Role, &str)>, NoderangeError> {
    let element = |part: &'_ str| match part.chars().next() {
        Some('-') => (Role::Exclude, 1),
        Some('@') => (Role::Intersect, 1),
        _ => (Role::Add, 0),
    };
    let parts = split_top(text, ',')?.into_iter();
    Ok(parts
        .map(|part| {
            let (role, skip) = element(part);
            (role, part.get(skip..).unwrap_or(""))
        })
        .filter(|(_, operand)| !operand.is_empty())
        .collect())
}

/// The inside of an operand that is one parenthesised range.
pub(super) fn parenthesised(operand: &str) -> Option<&str> {
    let inner = operand.strip_prefix('(')?.strip_suffix(')')?;
    let mut depth = 0usize;
    for c in inner.chars() {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.checked_sub(1)?,
            _ => {}
        }
    }
    (depth == 0).then_some(inner)
}
