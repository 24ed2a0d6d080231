//! The output of many nodes, put together: by node, and nodes with the same output as one.
//!
//! Two readers of `node: text` lines, because xCAT's two programs split them in two ways ([`Separator`]).
//! Everything else is the same for the commands that read lines and those that have the output of each node
//! at hand. Lists of names are short ([`fold()`]), and what differs can be shown as a difference ([`diff`]).

pub mod diff;
pub mod fold;

use std::collections::{BTreeMap, HashMap};

pub use fold::fold;

/// Where a line's node ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Separator {
    /// A colon and a blank; a line without them belongs to no node and is left out (`xdshbak`).
    ColonBlank,
    /// The first colon; one blank after it goes with it, and lines without a colon are of the node `UNKNOWN`
    /// (`xdshcoll`, `xcoll`).
    Colon,
}

/// The node of lines that name none.
pub const UNKNOWN: &str = "UNKNOWN";

/// The text of each node, its lines in order, each with `\n`. Nodes are in plain order of their letters.
pub fn by_node(text: &str, separator: Separator) -> BTreeMap<&str, String> {
    let mut nodes: HashMap<&str, String> = HashMap::new();
    for line in text.lines() {
        let (node, rest) = match separator {
            Separator::ColonBlank => match line.split_once(": ") {
                Some(parts) => parts,
                None => continue,
            },
            Separator::Colon => match line.split_once(':') {
                Some((node, rest)) => (node, rest.strip_prefix(' ').unwrap_or(rest)),
                None => (UNKNOWN, line),
            },
        };
        let text = nodes.entry(node).or_default();
        text.push_str(rest);
        text.push('\n');
    }
    nodes.into_iter().collect()
}

/// Nodes with the same text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group<'a> {
    /// The nodes, in the order in which they came.
    pub nodes: Vec<&'a str>,
    /// What each of them printed.
    pub text: &'a str,
}

/// Nodes with the same text together; groups in the order of their first node.
pub fn groups<'a>(outputs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Vec<Group<'a>> {
    let mut places: HashMap<&str, usize> = HashMap::new();
    let mut groups: Vec<Group<'a>> = Vec::new();
    for (node, text) in outputs {
        match places.get(text).and_then(|at| groups.get_mut(*at)) {
            Some(group) => group.nodes.push(node),
            None => {
                places.insert(text, groups.len());
                groups.push(Group { nodes: vec![node], text });
            }
        }
    }
    groups
}

/// Letters in the rules around a list of nodes.
const RULE_LETTERS: usize = 36;

/// The outputs, gathered: the text that most nodes have in full, every other one as its difference to that,
/// if this is shorter than the text itself. Lines without an end.
pub fn gathered<'a>(outputs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Vec<String> {
    let mut groups = groups(outputs);
    // The order is stable: among equals the first node's group stays first.
    groups.sort_by_key(|group| std::cmp::Reverse(group.nodes.len()));
    let mut lines = Vec::new();
    let mut groups = groups.iter();
    let Some(common) = groups.next() else { return lines };
    head(common, None, &mut lines);
    lines.extend(common.text.lines().map(str::to_owned));
    for group in groups {
        lines.push(String::new());
        let own = group.text.lines().count();
        match diff::diff(common.text, group.text).filter(|lines| lines.len() < own) {
            Some(difference) => {
                head(group, Some(common), &mut lines);
                lines.extend(difference);
            }
            None => {
                head(group, None, &mut lines);
                lines.extend(group.text.lines().map(str::to_owned));
            }
        }
    }
    lines
}

fn head(group: &Group<'_>, compared_with: Option<&Group<'_>>, lines: &mut Vec<String>) {
    let rule = "-".repeat(RULE_LETTERS);
    let mut name = format!("{} ({})", fold(&group.nodes), group.nodes.len());
    if let Some(common) = compared_with {
        name.push_str(&format!(", compared with {}", fold(&common.nodes)));
    }
    lines.extend([rule.clone(), name, rule]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;
    use std::time::Instant;

    #[test]
    fn lines_find_their_node() {
        let text = "n2: b\nn1: a: c\nn2:d\nloose\nn2: e\nn1: \n";
        let show = |separator| format!("{:?}", by_node(text, separator));
        expect![[r#"{"n1": "a: c\n\n", "n2": "b\ne\n"}"#]].assert_eq(&show(Separator::ColonBlank));
        expect![[r#"{"UNKNOWN": "loose\n", "n1": "a: c\n\n", "n2": "b\nd\ne\n"}"#]]
            .assert_eq(&show(Separator::Colon));
    }

    #[test]
    fn what_is_the_same_is_shown_once() {
        let common = "kernel 6.1\nmemory 64\ndisk sda\nload low\n";
        let other = "kernel 6.1\nmemory 32\ndisk sda\nload low\n";
        let all = [("n3", other), ("n1", common), ("n2", common), ("n10", common), ("n4", "down\n")];
        expect![[r#"
            ------------------------------------
            n[1-2,10] (3)
            ------------------------------------
            kernel 6.1
            memory 64
            disk sda
            load low

            ------------------------------------
            n3 (1), compared with n[1-2,10]
            ------------------------------------
            -memory 64
            +memory 32

            ------------------------------------
            n4 (1)
            ------------------------------------
            down"#]]
        .assert_eq(&gathered(all).join("\n"));
    }

    #[test]
    fn ten_thousand_nodes_are_read_in_one_pass() {
        let mut text = String::new();
        for line in 0..20 {
            for node in 0..10_000 {
                text.push_str(&format!("node{node:05}: line {line} of {}\n", node % 3));
            }
        }
        let begin = Instant::now();
        let nodes = by_node(&text, Separator::ColonBlank);
        let groups = groups(nodes.iter().map(|(node, text)| (*node, text.as_str())));
        let folded: Vec<String> = groups.iter().map(|group| fold(&group.nodes)).collect();
        assert_eq!((nodes.len(), groups.len(), folded.len()), (10_000, 3, 3));
        println!("{} bytes in {:?}", text.len(), begin.elapsed());
    }
}
