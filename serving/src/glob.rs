//! Shell patterns as `find -path` matches them: `*` and `?` also match `/` and a leading dot.
//!
//! `*`, `?`, `[set]` with ranges and `!` or `^`, and a backslash before any character. A `[` without its `]`
//! is an ordinary character. Matching is on bytes; the time is at most pattern length times text length, so
//! that a hostile list cannot hold the builder.

/// Does the whole of `text` match `pattern`?
pub fn matches(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    loop {
        match (pattern.get(p), text.get(t)) {
            (None, None) => return true,
            (Some(b'*'), _) => {
                star = Some((p + 1, t));
                p += 1;
                continue;
            }
            (Some(_), Some(byte)) => {
                if let Some(next) = step(pattern, p, *byte) {
                    (p, t) = (next, t + 1);
                    continue;
                }
            }
            _ => {}
        }
        // A mismatch: let the last star take one byte more.
        match star {
            Some((after, from)) if from < text.len() => {
                (p, t) = (after, from + 1);
                star = Some((after, from + 1));
            }
            _ => return false,
        }
    }
}

/// Match one byte with the pattern element at `p`; the index after the element if it fits.
fn step(pattern: &[u8], p: usize, byte: u8) -> Option<usize> {
    match *pattern.get(p)? {
        b'?' => Some(p + 1),
        b'\\' => match pattern.get(p + 1) {
            Some(literal) => (*literal == byte).then_some(p + 2),
            None => (byte == b'\\').then_some(p + 1),
        },
        b'[' => match set(pattern, p + 1, byte) {
            Some((true, next)) => Some(next),
            Some((false, _)) => None,
            None => (byte == b'[').then_some(p + 1),
        },
        literal => (literal == byte).then_some(p + 1),
    }
}

/// Is `byte` in the set that starts at `p` (after `[`)? With the index after `]`; `None` without `]`.
fn set(pattern: &[u8], mut p: usize, byte: u8) -> Option<(bool, usize)> {
    let negated = matches!(pattern.get(p), Some(b'!' | b'^'));
    p += usize::from(negated);
    let (first, mut found) = (p, false);
    loop {
        let low = *pattern.get(p)?;
        if low == b']' && p > first {
            return Some((found != negated, p + 1));
        }
        let high = match (pattern.get(p + 1), pattern.get(p + 2)) {
            (Some(b'-'), Some(high)) if *high != b']' => {
                p += 2;
                *high
            }
            _ => low,
        };
        found |= (low..=high).contains(&byte);
        p += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn patterns_match_like_find_path() {
        let table: &[(&str, &str, bool)] = &[
            ("./boot*", "./boot", true),
            ("./boot*", "./boot/vmlinuz", true),
            ("./boot", "./boot/vmlinuz", false),
            ("./usr/share/man*", "./usr/share/man/de/man1/x", true),
            ("./usr/share/man*", "./usr/share/maps", false),
            ("*/.git*", "./a/.gitignore", true),
            ("./a?c", "./a/c", true),
            ("./[a-c]x", "./bx", true),
            ("./[!a-c]x", "./bx", false),
            ("./[^a-c]x", "./dx", true),
            ("./[]x]", "./]", true),
            ("./[ab", "./[ab", true),
            ("./\\*", "./*", true),
            ("./\\*", "./x", false),
            ("*", "", true),
            ("", "", true),
            ("", "a", false),
            ("a*b*c", "aXbXbXc", true),
            ("a*b*c", "aXbXbX", false),
            ("end\\", "end\\", true),
        ];
        for (pattern, text, expected) in table {
            assert_eq!(matches(pattern.as_bytes(), text.as_bytes()), *expected, "{pattern} on {text}");
        }
    }

    #[test]
    fn many_stars_are_not_exponential() {
        let pattern = "*a".repeat(200);
        assert!(!matches(pattern.as_bytes(), "a".repeat(199).as_bytes()));
    }
}
