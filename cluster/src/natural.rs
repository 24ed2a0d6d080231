//! The order in which people count: `cn2` comes before `cn10`.

use std::cmp::Ordering;

/// Compares so that runs of digits count as numbers: `6.1.0-9` is older than `6.1.0-40`. Texts that differ
/// are never equal.
#[must_use]
pub fn natural_order(a: &str, b: &str) -> Ordering {
    pieces(a).cmp(pieces(b)).then_with(|| a.cmp(b))
}

/// Runs of digits, as numbers of any length, each with the text after it.
fn pieces(text: &str) -> impl Iterator<Item = (usize, &str, &str)> {
    let mut rest = text;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let (digits, after) = split(rest, |c| !c.is_ascii_digit());
        let (word, after) = split(after, |c| c.is_ascii_digit());
        rest = after;
        let number = digits.trim_start_matches('0');
        Some((number.len(), number, word))
    })
}

fn split(text: &str, ends: impl Fn(char) -> bool) -> (&str, &str) {
    text.split_at(text.find(ends).unwrap_or(text.len()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn numbers_count_as_numbers() {
        let mut all =
            ["cn10", "cn2", "cn", "cn02", "b100000000000000000000001", "b99999999999999999999999", "6.1"];
        all.sort_by(|a, b| natural_order(a, b));
        assert_eq!(
            all,
            ["b99999999999999999999999", "b100000000000000000000001", "cn", "cn02", "cn2", "cn10", "6.1"]
        );
    }

    proptest! {
        #[test]
        fn it_is_an_order(texts in proptest::collection::vec("[a-c0-2.é]{0,6}", 3)) {
            let [a, b, c] = texts.as_slice() else { unreachable!() };
            prop_assert_eq!(natural_order(a, b), natural_order(b, a).reverse());
            prop_assert_eq!(natural_order(a, b) == Ordering::Equal, a == b);
            if natural_order(a, b).is_le() && natural_order(b, c).is_le() {
                prop_assert!(natural_order(a, c).is_le());
            }
        }
    }
}
