//! Inventories compared with templates, as `sinv` does.
//!
//! A template is a block as `xdshcoll` prints it: a rule, the nodes, a rule, the text. It *matches* a text if
//! each of its lines is somewhere in it (the text may have more), or, exactly, if both have the same lines.
//! Blank lines, rules and the line of the nodes do not count. The caller reads and writes the files.

use crate::collate::Group;

/// Letters of a rule.
const RULE_LETTERS: usize = 36;
/// Templates that may be made besides the first.
pub const TEMPLATES_MAX: usize = 10_000;

/// A template by its name, with the lines that count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    /// Path of its file.
    pub name: String,
    /// Lines that count.
    pub lines: Vec<String>,
}

impl Template {
    /// Reads the text of a file.
    pub fn read(name: impl Into<String>, text: &str) -> Self {
        let mut lines: Vec<String> = counting(text).map(str::to_owned).collect();
        // A block begins with the line of its nodes.
        if text.lines().find(|line| !line.trim().is_empty()).is_some_and(is_rule) && !lines.is_empty() {
            lines.remove(0);
        }
        Self { name: name.into(), lines }
    }

    /// Whether a node's text fits.
    pub fn matches(&self, text: &str, exact: bool) -> bool {
        if exact {
            return counting(text).eq(self.lines.iter().map(String::as_str));
        }
        let there: std::collections::HashSet<&str> = counting(text).collect();
        self.lines.iter().all(|line| there.contains(line.as_str()))
    }
}

fn counting(text: &str) -> impl Iterator<Item = &str> {
    text.lines().map(str::trim_end).filter(|line| !line.is_empty() && !is_rule(line))
}

fn is_rule(line: &str) -> bool {
    let line = line.trim_end();
    line.len() >= RULE_LETTERS && line.bytes().all(|byte| byte == b'=')
}

/// The text of a template's file.
pub fn template_text(nodes: &[&str], text: &str) -> String {
    let rule = "=".repeat(RULE_LETTERS);
    format!("{rule}\n{}\n{rule}\n{text}", nodes.join(","))
}

/// What the comparison found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Nodes of each template, in the order of the templates.
    pub nodes: Vec<Vec<String>>,
    /// Templates that were made: number and text of the file.
    pub made: Vec<(usize, String)>,
    /// Nodes that match none.
    pub none: Vec<String>,
}

/// Compares each group with the templates. One that matches none becomes a template itself, as long as there
/// are at most `more` besides the first; `name` gives the name of the template of a number.
pub fn compare(
    templates: &mut Vec<Template>,
    groups: &[Group<'_>],
    more: usize,
    exact: bool,
    name: impl Fn(usize) -> String,
) -> Found {
    let mut found = Found { nodes: vec![Vec::new(); templates.len()], ..Found::default() };
    for group in groups {
        let nodes = group.nodes.iter().map(|node| (*node).to_owned());
        let at = templates.iter().position(|template| template.matches(group.text, exact));
        match at.and_then(|at| found.nodes.get_mut(at)) {
            Some(list) => list.extend(nodes),
            None if templates.len() <= more.min(TEMPLATES_MAX) => {
                let text = template_text(&group.nodes, group.text);
                templates.push(Template::read(name(templates.len()), &text));
                found.made.push((templates.len() - 1, text));
                found.nodes.push(nodes.collect());
            }
            None => found.none.extend(nodes),
        }
    }
    found.nodes.iter_mut().for_each(|list| list.sort());
    found.none.sort();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group<'a>(nodes: &[&'a str], text: &'a str) -> Group<'a> {
        Group { nodes: nodes.to_vec(), text }
    }

    #[test]
    fn nearest_and_exact_match() {
        let template = Template::read("t", &template_text(&["n1"], "a\n\nb\n"));
        assert_eq!(template.lines, ["a", "b"]);
        for (text, nearest, exact) in [
            ("a\nb\n", true, true),
            ("b\nx\na\n", true, false),
            ("a\n", false, false),
            ("a\n\nb  \n", true, true),
            ("", false, false),
        ] {
            assert_eq!(
                (template.matches(text, false), template.matches(text, true)),
                (nearest, exact),
                "{text:?}"
            );
        }
        assert_eq!(Template::read("t", "a\nb\n").lines, ["a", "b"], "a text without the head of a block");
    }

    #[test]
    fn what_matches_nothing_becomes_a_template_while_there_may_be_more() {
        let groups = [
            group(&["n1", "n2"], "a\n"),
            group(&["n3"], "b\n"),
            group(&["n4"], "c\n"),
            group(&["n5"], "b\nx\n"),
        ];
        let mut templates = vec![Template::read("t", "a\n")];
        let found = compare(&mut templates, &groups, 1, false, |number| format!("t_{number}"));
        assert_eq!(found.nodes, [vec!["n1", "n2"], vec!["n3", "n5"]]);
        assert_eq!((found.none, found.made.len()), (vec!["n4".to_owned()], 1));
        assert_eq!(templates[1].name, "t_1");
        let found = compare(&mut vec![Template::read("t", "a\n")], &groups, 0, true, |_| String::new());
        assert_eq!(
            (found.nodes, found.none),
            (vec![vec!["n1".to_owned(), "n2".to_owned()]], ["n3", "n4", "n5"].map(str::to_owned).to_vec())
        );
    }
}
