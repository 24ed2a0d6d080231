//! Patterns of SQL.

/// SQL LIKE as SQLite does it: `%` any text, `_` any character, ASCII letters in any case. Linear in
/// text times pattern at worst.
pub(crate) fn like(text: &str, pattern: &str) -> bool {
    let text: Vec<char> = text.chars().map(|c| c.to_ascii_lowercase()).collect();
    let mut reachable = vec![false; text.len() + 1];
    if let Some(first) = reachable.first_mut() {
        *first = true;
    }
    for c in pattern.chars().map(|c| c.to_ascii_lowercase()) {
        let mut next = vec![false; text.len() + 1];
        let mut open = false;
        for at in 0..=text.len() {
            let here = reachable.get(at).copied().unwrap_or(false);
            open |= here;
            if c == '%' {
                set(&mut next, at, open);
            } else if here && text.get(at).is_some_and(|t| c == '_' || *t == c) {
                set(&mut next, at + 1, true);
            }
        }
        reachable = next;
    }
    reachable.last().copied().unwrap_or(false)
}

fn set(flags: &mut [bool], at: usize, value: bool) {
    if let Some(flag) = flags.get_mut(at) {
        *flag |= value;
    }
}
