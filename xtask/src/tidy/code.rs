//! The lines of code of all sources but tests: no comments.

use anyhow::Result;

use super::files;

/// Calls `look` with file, number and text of each line. Tests are left out, those in separate files and
/// those beside the code.
pub(super) fn each_line(look: &mut dyn FnMut(&str, usize, &str)) -> Result<()> {
    for (file, text) in files::like("*.rs")?.iter().filter(|(file, _)| !is_test(file)) {
        lines(text).for_each(|(number, line)| look(file, number, line));
    }
    Ok(())
}

/// Whether this file holds nothing but tests.
fn is_test(file: &str) -> bool {
    file.starts_with("tests/") || file.contains("/tests/") || file.ends_with("tests.rs")
}

/// The lines of a file, with their numbers, that are neither comments nor part of an item under
/// `#[cfg(test)]`.
fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut test_at = None;
    (1..).zip(text.lines()).filter(move |(_, line)| {
        let code = line.trim_start();
        let indent = line.len() - code.len();
        let begins = test_at.is_none() && code.starts_with("#[cfg(test)]");
        if begins {
            test_at = Some(indent);
        }
        let is_test = test_at.is_some();
        // As rustfmt writes it, the item ends in the column where it begins.
        if test_at == Some(indent) && !code.is_empty() && code.ends_with([';', '}']) {
            test_at = None;
        }
        !is_test && !code.starts_with("//")
    })
}

#[cfg(test)]
mod tests {
    use super::lines;

    #[test]
    fn only_the_items_of_tests_are_left_out() {
        let text = "use a;\n#[cfg(test)]\nuse b;\n// c\nfn d() {\n    #[cfg(test)]\n    e();\n    f();\n}\n\
                    #[cfg(test)]\n#[allow(x)]\nmod g {\n    use h;\n}\nfn i() {}\n";
        let kept: Vec<&str> = lines(text).map(|(_, line)| line.trim()).collect();
        assert_eq!(kept, ["use a;", "fn d() {", "f();", "}", "fn i() {}"]);
    }
}
