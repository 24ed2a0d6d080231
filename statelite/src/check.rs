//! What cannot work in a list of special paths, found before a node finds it.

use crate::entry::LiteFile;
use crate::resolve;
use dawn_wire::LiteOption;
use dawn_wire::list::Entry;

/// One thing that is wrong. The texts are those that scripts of administrators look for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// The option is none.
    #[error(
        " {0} has invalid option. The valid options: tmpfs persistent localdisk rw ro con link tmpfs,rw link,ro link,persistent link,con con,persistent"
    )]
    InvalidOption(String),
    /// The path is not absolute, or leads upwards.
    #[error(" {0} is not one absolute path. ")]
    NotAbsolute(String),
    /// Directories cannot be joined.
    #[error(" {0} is directory, don't use \"con\" as its option ")]
    ConDirectory(String),
    /// Entries below an `ro` or `con` directory.
    #[error("the directory \"{parent}\" should not be with \"ro\" or \"con\" as its option")]
    ChildrenUnderReadOnly {
        /// The directory above.
        parent: String,
        /// The entry, which the text leaves out.
        child: String,
    },
    /// `link,ro` below another entry.
    #[error("Based on the option of {parent}, {child} should not use \"link,ro\" as its option")]
    LinkRoChild {
        /// The directory above.
        parent: String,
        /// The entry.
        child: String,
    },
    /// Not a link below a link.
    #[error("Based on the option of {parent}, {child} can only use \"link\"-based options")]
    MustLink {
        /// The directory above.
        parent: String,
        /// The entry.
        child: String,
    },
    /// A link below something that is none.
    #[error("Based on the option of {parent}, {child} should not use \"link\"-based options")]
    MustNotLink {
        /// The directory above.
        parent: String,
        /// The entry.
        child: String,
    },
    /// Gone after a reboot below something that stays.
    #[error("{child} should have persistent option like {parent} ")]
    MustPersist {
        /// The directory above.
        parent: String,
        /// The entry.
        child: String,
    },
}

/// Everything that is wrong with a list sorted by path, as [`crate::files`] gives it.
#[must_use]
pub fn check(files: &[LiteFile]) -> Vec<Problem> {
    let mut problems: Vec<Problem> = files.iter().filter_map(alone).collect();
    for child in files {
        for parent in files.iter().filter(|parent| is_below(child, parent)) {
            problems.extend(below(parent, child));
        }
    }
    problems
}

fn alone(file: &LiteFile) -> Option<Problem> {
    let path = file.path.to_string();
    let sound = Entry::new(LiteOption::Tmpfs, &path, false).is_some();
    if !sound || path.chars().any(char::is_control) {
        return Some(Problem::NotAbsolute(path));
    }
    match &file.option {
        Err(_) => Some(Problem::InvalidOption(path)),
        Ok(option) if option.is_con() && file.is_dir() => Some(Problem::ConDirectory(path)),
        Ok(_) => None,
    }
}

/// Whether `child` is below the directory `parent`.
pub(crate) fn is_below(child: &LiteFile, parent: &LiteFile) -> bool {
    parent.is_dir() && resolve::is_below(&child.path, &parent.path)
}

/// Pairs of entries of which one is below the other, although that is not written as a directory.
pub(crate) fn below_files(files: &[LiteFile]) -> impl Iterator<Item = (&LiteFile, &LiteFile)> {
    let below = |child: &LiteFile, parent: &LiteFile| resolve::is_below(&child.path, &parent.path);
    files.iter().filter(|parent| !parent.is_dir()).flat_map(move |parent| {
        files.iter().filter(move |child| below(child, parent)).map(move |child| (parent, child))
    })
}

fn below(parent: &LiteFile, child: &LiteFile) -> Option<Problem> {
    let (Ok(above), Ok(option)) = (&parent.option, &child.option) else { return None };
    let (parent, child) = (parent.path.to_string(), child.path.to_string());
    if above.is_ro() || above.is_con() {
        return Some(Problem::ChildrenUnderReadOnly { parent, child });
    }
    if above.is_link() && *option == LiteOption::LinkRo {
        return Some(Problem::LinkRoChild { parent, child });
    }
    if above.is_link() && !option.is_link() {
        return Some(Problem::MustLink { parent, child });
    }
    if !above.is_link() && option.is_link() && child != "/etc/mtab" {
        return Some(Problem::MustNotLink { parent, child });
    }
    (above.is_persistent() && !option.is_persistent()).then_some(Problem::MustPersist { parent, child })
}

#[cfg(test)]
mod tests {
    use super::*;
    use dawn_cluster::Snapshot;

    fn problems(rows: &[(&str, &str)]) -> Vec<String> {
        let cells: Vec<[(&str, &str); 3]> = rows
            .iter()
            .map(|(file, options)| [("image", "img"), ("file", *file), ("options", *options)])
            .collect();
        let snapshot = Snapshot::from_rows(cells.iter().map(|row| ("litefile", row.as_slice())));
        check(&crate::files_of_image(&snapshot, "img")).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn legal_combinations_pass() {
        for rows in [
            &[("/etc/hosts", "tmpfs"), ("/var/", "persistent"), ("/var/log/", "persistent")][..],
            &[("/etc/", "link"), ("/etc/a", "link,con"), ("/etc/b", "link,persistent")],
            &[("/var/", "tmpfs"), ("/var/a", "ro"), ("/var/b", "con"), ("/var/c/", "persistent")],
        ] {
            assert_eq!(problems(rows), Vec::<String>::new(), "{rows:?}");
        }
    }

    #[test]
    fn each_illegal_combination_has_its_reason() {
        for (rows, reason) in [
            (&[("/a", "bogus")][..], "has invalid option"),
            (&[("a/b", "ro")], "is not one absolute path"),
            (&[("/a/../b", "ro")], "is not one absolute path"),
            (&[("//", "ro")], "is not one absolute path"),
            (&[("/a/", "con")], "is directory, don't use \"con\""),
            (&[("/a/", "ro"), ("/a/b", "tmpfs")], "should not be with \"ro\" or \"con\""),
            (&[("/a/", "link"), ("/a/b", "link,ro")], "should not use \"link,ro\""),
            (&[("/a/", "link"), ("/a/b", "tmpfs")], "can only use \"link\"-based options"),
            (&[("/a/", "tmpfs"), ("/a/b", "link")], "should not use \"link\"-based options"),
            (&[("/a/", "persistent"), ("/a/b", "tmpfs")], "should have persistent option like /a/"),
        ] {
            let found = problems(rows);
            assert!(found.iter().any(|text| text.contains(reason)), "{rows:?}: {found:?}");
        }
    }
}
