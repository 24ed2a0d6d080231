//! Package lists in answer files: packages, patterns (`@name`) and removals (`-name`), one a line.

/// Which lines of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    Packages,
    Patterns,
    Removals,
}

impl Part {
    /// The name in a line, if the line is of this part.
    fn name(self, line: &str) -> Option<&str> {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            return None;
        }
        match self {
            Self::Packages => (!line.starts_with(['@', '-'])).then_some(line),
            Self::Patterns => line.strip_prefix('@').map(str::trim_start),
            Self::Removals => line.strip_prefix('-').map(|rest| rest.trim_start_matches('-')),
        }
    }

    /// The elements of an AutoYaST file. YaST wants at least one pattern, so an empty list becomes an empty
    /// pattern.
    pub(crate) fn elements(self, lines: &[String]) -> String {
        let tag = if self == Self::Patterns { "pattern" } else { "package" };
        let element = |name: &str| format!("<{tag}>{}</{tag}>", escaped(name));
        let elements: Vec<String> = lines.iter().filter_map(|line| self.name(line)).map(element).collect();
        match elements.is_empty() && self == Self::Patterns {
            true => element(""),
            false => elements.join("\n"),
        }
    }
}

/// Names of packages in one line; groups and removals are left out, as debian-installer has no word for them.
pub(crate) fn names(lines: &[String]) -> String {
    let lines = lines.iter().filter_map(|line| Part::Packages.name(line));
    lines.flat_map(str::split_whitespace).collect::<Vec<_>>().join(" ")
}

/// The file of an `#INCLUDE:file#` line.
pub(crate) fn included(line: &str) -> Option<&str> {
    let name = line.trim().strip_prefix("#INCLUDE:")?.strip_suffix('#')?.trim();
    (!name.is_empty()).then_some(name)
}

/// Text between tags of XML.
pub(crate) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::{Part, names};

    #[test]
    fn lines_by_their_first_character() {
        let lines: Vec<String> =
            ["# x", "", "bash", "@ base", "-nano", "a<b", "@min"].map(str::to_owned).into();
        let all = "<package>bash</package>\n<package>a&lt;b</package>";
        assert_eq!(Part::Packages.elements(&lines), all);
        assert_eq!(Part::Patterns.elements(&lines), "<pattern>base</pattern>\n<pattern>min</pattern>");
        assert_eq!(Part::Removals.elements(&lines), "<package>nano</package>");
        assert_eq!(
            (Part::Patterns.elements(&[]).as_str(), Part::Packages.elements(&[]).as_str()),
            ("<pattern></pattern>", "")
        );
        assert_eq!(names(&lines), "bash a<b");
    }
}
