//! Lists of node names in a short form that a noderange understands: `n[1-3,10],x`.
//!
//! Names that differ in their last number alone are put together. Numbers with leading zeros keep them, and
//! are put together only with numbers of the same width.

use std::collections::BTreeMap;

/// Digits of a number that is counted; a longer one stays as it is.
const DIGITS_MAX: usize = 9;

/// The text before and after the number of a name, and the width of a number with leading zeros.
type Family<'a> = (&'a str, &'a str, usize);

/// The list, sorted and without doubles.
pub fn fold<'a>(names: impl IntoIterator<Item = &'a (impl AsRef<str> + ?Sized + 'a)>) -> String {
    let mut families: BTreeMap<Family<'_>, Vec<u32>> = BTreeMap::new();
    let mut single: Vec<&str> = Vec::new();
    for name in names {
        let name = name.as_ref();
        match split(name) {
            Some((family, number)) => families.entry(family).or_default().push(number),
            None => single.push(name),
        }
    }
    let mut parts: Vec<String> =
        families.into_iter().map(|(family, numbers)| range(family, numbers)).collect();
    single.sort_unstable();
    single.dedup();
    parts.extend(single.into_iter().map(str::to_owned));
    parts.join(",")
}

/// The family of a name and its last number.
fn split(name: &str) -> Option<(Family<'_>, u32)> {
    let end = name.rfind(|c: char| c.is_ascii_digit())? + 1;
    let (head, tail) = name.split_at_checked(end)?;
    let start = head
        .rfind(|c: char| !c.is_ascii_digit())
        .map_or(0, |at| at + head[at..].chars().next().map_or(1, char::len_utf8));
    let (prefix, digits) = head.split_at_checked(start)?;
    if digits.len() > DIGITS_MAX || prefix.contains(['[', ']']) || tail.contains(['[', ']']) {
        return None;
    }
    let width = if digits.len() > 1 && digits.starts_with('0') { digits.len() } else { 0 };
    Some(((prefix, tail, width), digits.parse().ok()?))
}

fn range((prefix, tail, width): Family<'_>, mut numbers: Vec<u32>) -> String {
    numbers.sort_unstable();
    numbers.dedup();
    let mut runs: Vec<(u32, u32)> = Vec::new();
    for number in numbers {
        match runs.last_mut() {
            Some((_, last)) if last.checked_add(1) == Some(number) => *last = number,
            _ => runs.push((number, number)),
        }
    }
    let shown = |(first, last): &(u32, u32)| match first == last {
        true => format!("{first:0width$}"),
        false => format!("{first:0width$}-{last:0width$}"),
    };
    let list: Vec<String> = runs.iter().map(shown).collect();
    match runs.as_slice() {
        [(first, last)] if first == last => format!("{prefix}{}{tail}", list.concat()),
        _ => format!("{prefix}[{}]{tail}", list.join(",")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_put_together() {
        for (names, folded) in [
            ("n1", "n1"),
            ("n1 n2 n3 n10", "n[1-3,10]"),
            ("n10 n1 n1 login", "n[1,10],login"),
            ("n01 n02 n3", "n3,n[01-02]"),
            ("r1n1-ib0 r1n2-ib0", "r1n1-ib0,r1n2-ib0"),
            ("r1n1.a r1n2.a r2n1.a", "r1n[1-2].a,r2n1.a"),
            ("n99999999999 x", "n99999999999,x"),
            ("ü1 ü2", "ü[1-2]"),
        ] {
            let names: Vec<&str> = names.split(' ').collect();
            assert_eq!(fold(&names), folded, "{names:?}");
        }
    }
}
