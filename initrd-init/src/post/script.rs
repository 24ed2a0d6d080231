//! `mypostscript`, taken apart: its variables, and the scripts between its marks.
//!
//! The variables stay a text for the node's shell: the server has quoted every value, and an administrator's
//! own template may hold any commands. The lines between the marks are not given to a shell: a line is the
//! name of a file below `postscripts` and words for it, and quotes keep words together. `$NAME` stays as it
//! is.

use dawn_wire::script::Half;
use dawn_wire::words::split;

/// Scripts of one node.
pub(super) const SCRIPTS_MAX: usize = 256;

/// A script with its words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Script {
    /// The list that names it.
    pub half: Half,
    /// Its path below `postscripts`.
    pub name: String,
    /// Its arguments.
    pub words: Vec<String>,
    /// The line, for people.
    pub text: String,
}

impl Script {
    /// Reads a line; none if it names no file below the directory.
    pub(crate) fn parse(half: Half, line: &str) -> Option<Self> {
        let mut words = split(line)?.into_iter();
        let name = words.next().filter(|name| is_below(name))?;
        Some(Self { half, name, words: words.collect(), text: line.trim().to_owned() })
    }
}

/// What a node is to run.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct MyPostScript {
    /// What a shell reads before each script.
    pub variables: String,
    /// The scripts in their order.
    pub scripts: Vec<Script>,
    /// Lines that are not scripts and are therefore not run.
    pub refused: Vec<String>,
}

impl MyPostScript {
    /// Takes the text apart.
    pub(crate) fn parse(text: &str) -> Self {
        let mut taken = Self::default();
        let mut inside: Option<Half> = None;
        for line in text.lines() {
            // A site's own template may indent its marks.
            let mark = line.trim();
            if let Some(half) = Half::ALL.into_iter().find(|half| mark == half.start()) {
                inside = Some(half);
            } else if inside.is_some_and(|half| mark == half.end()) {
                inside = None;
            } else if let Some(half) = inside {
                taken.script(half, line);
            } else {
                taken.variables.push_str(line);
                taken.variables.push('\n');
            }
        }
        taken
    }

    fn script(&mut self, half: Half, line: &str) {
        // Marks of the groups are comments.
        if line.trim().is_empty() || line.trim_start().starts_with('#') {
            return;
        }
        match Script::parse(half, line).filter(|_| self.scripts.len() < SCRIPTS_MAX) {
            Some(script) => self.scripts.push(script),
            None => self.refused.push(line.to_owned()),
        }
    }
}

/// A relative path that stays below its directory.
pub(super) fn is_below(path: &str) -> bool {
    !path.starts_with('-')
        && !path.contains(char::is_control)
        && path.split('/').all(|part| !matches!(part, "" | "." | ".."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_and_scripts() {
        let text = "NODE='cn1'\nexport NODE\n# postscripts-start-here\n# defaults-postscripts-start-here\n\
                    syslog\ncustom/x.sh -a 'b  c' \"\"\n../../bin/sh\n# defaults-postscripts-end-here\n\
                    # postscripts-end-here\n  # postbootscripts-start-here\notherpkgs\nbad 'x\n\
                    # postbootscripts-end-here\nLAST=1\n";
        let taken = MyPostScript::parse(text);
        assert_eq!(taken.variables, "NODE='cn1'\nexport NODE\nLAST=1\n");
        let shown: Vec<_> =
            taken.scripts.iter().map(|one| (one.half, one.name.as_str(), one.words.join("|"))).collect();
        let expected = [
            (Half::Post, "syslog", String::new()),
            (Half::Post, "custom/x.sh", "-a|b  c|".to_owned()),
            (Half::PostBoot, "otherpkgs", String::new()),
        ];
        assert_eq!(shown, expected);
        assert_eq!(taken.refused, ["../../bin/sh", "bad 'x"]);
        assert_eq!(
            MyPostScript::parse("A=1\n"),
            MyPostScript { variables: "A=1\n".into(), ..Default::default() }
        );
    }

    #[test]
    fn paths_stay_below() {
        for (path, good) in [
            ("a", true),
            ("a/b.sh", true),
            ("/a", false),
            ("a/../b", false),
            ("-x", false),
            ("a//b", false),
            ("", false),
        ] {
            assert_eq!(is_below(path), good, "{path}");
        }
        let many = format!("# postscripts-start-here\n{}", "x\n".repeat(SCRIPTS_MAX + 1));
        let taken = MyPostScript::parse(&many);
        assert_eq!((taken.scripts.len(), taken.refused.len()), (SCRIPTS_MAX, 1));
    }
}
