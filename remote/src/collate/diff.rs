//! The lines that two texts do not share, for people: Myers' algorithm with a bound on its work.

/// Lines that may differ; with more there is no difference worth showing.
const DIFFERENCES_MAX: usize = 500;
/// Lines of a text that is compared.
const LINES_MAX: usize = 100_000;

/// The difference as lines with `-` (only in `old`) or `+` (only in `new`) in front; `None` if the texts are
/// too long or too different.
pub fn diff(old: &str, new: &str) -> Option<Vec<String>> {
    let (old, new): (Vec<&str>, Vec<&str>) = (old.lines().collect(), new.lines().collect());
    if old.len() > LINES_MAX || new.len() > LINES_MAX {
        return None;
    }
    let path = shortest(&old, &new)?;
    Some(walk_back(&old, &new, &path))
}

/// How far one gets into `old` on each diagonal, for each number of differences.
fn shortest(old: &[&str], new: &[&str]) -> Option<Vec<Vec<usize>>> {
    let bound = DIFFERENCES_MAX.min(old.len() + new.len());
    let mut reached = vec![0usize; 2 * bound + 3];
    let mut path = Vec::new();
    for d in 0..=bound {
        path.push(reached.clone());
        for step in 0..=d {
            // Diagonal k = 2 * step - d, at place k + bound + 1.
            let at = bound + 1 + 2 * step - d;
            let (down, right) = (*reached.get(at + 1)?, *reached.get(at - 1)?);
            let mut x = if step == 0 || (step != d && right < down) { down } else { right + 1 };
            let mut y = (x + bound + 1).checked_sub(at)?;
            while let (Some(a), Some(b)) = (old.get(x), new.get(y)) {
                if a != b {
                    break;
                }
                x += 1;
                y += 1;
            }
            *reached.get_mut(at)? = x;
            if x >= old.len() && y >= new.len() {
                return Some(path);
            }
        }
    }
    None
}

/// The differing lines, found from the end.
fn walk_back(old: &[&str], new: &[&str], path: &[Vec<usize>]) -> Vec<String> {
    let mut lines = Vec::new();
    let (mut x, mut y) = (old.len(), new.len());
    for (d, reached) in path.iter().enumerate().skip(1).rev() {
        let bound = (reached.len() - 3) / 2;
        let at = (x + bound + 1).saturating_sub(y);
        let of = |at: usize| reached.get(at).copied().unwrap_or_default();
        let is_lowest = at + d == bound + 1;
        let is_highest = at == bound + 1 + d;
        let is_insertion = is_lowest || (!is_highest && of(at.saturating_sub(1)) < of(at + 1));
        if is_insertion {
            x = of(at + 1);
            y = (x + bound + 1).saturating_sub(at + 1);
            lines.extend(new.get(y).map(|line| format!("+{line}")));
        } else {
            x = of(at.saturating_sub(1));
            y = (x + bound + 2).saturating_sub(at);
            lines.extend(old.get(x).map(|line| format!("-{line}")));
        }
    }
    lines.reverse();
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn show(old: &str, new: &str) -> String {
        let lines = |text: &str| {
            text.split(' ')
                .filter(|word| !word.is_empty())
                .map(|word| format!("{word}\n"))
                .collect::<String>()
        };
        diff(&lines(old), &lines(new)).expect("a difference").join(" ")
    }

    #[test]
    fn differences() {
        for (old, new, expected) in [
            ("a b c", "a b c", ""),
            ("a b c", "a x c", "-b +x"),
            ("a b c", "a c", "-b"),
            ("a c", "a b c d", "+b +d"),
            ("", "a", "+a"),
            ("a", "", "-a"),
            ("a b", "c d", "-a -b +c +d"),
        ] {
            assert_eq!(show(old, new), expected, "{old} | {new}");
        }
        let long = |letter: &str| format!("{letter}\n").repeat(DIFFERENCES_MAX);
        assert_eq!(diff(&long("a"), &long("b")), None, "everything differs");
    }

    proptest! {
        #[test]
        fn applying_the_difference_gives_the_new_text(old in "[ab]{0,12}", new in "[abc]{0,12}") {
            let lines = |text: &str| text.chars().map(|c| format!("{c}\n")).collect::<String>();
            let difference = diff(&lines(&old), &lines(&new)).expect("a difference");
            let removed = difference.iter().filter(|line| line.starts_with('-')).count();
            let added = difference.iter().filter(|line| line.starts_with('+')).count();
            prop_assert_eq!(old.len() + added, new.len() + removed);
            // Without what differs, both have the same letters.
            let rest = |text: &str, sign: char| {
                let mut letters: Vec<char> = text.chars().collect();
                for line in difference.iter().filter(|line| line.starts_with(sign)) {
                    let gone = line.chars().nth(1).expect("a letter");
                    let at = letters.iter().position(|letter| *letter == gone).expect("a line of the text");
                    letters.remove(at);
                }
                letters.sort_unstable();
                letters
            };
            prop_assert_eq!(rest(&old, '-'), rest(&new, '+'));
        }
    }
}
