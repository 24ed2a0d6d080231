//! `xdshbak`, `xdshcoll` and `xcoll`: lines of many nodes, put together.

use super::LocalCommand;
use crate::builder::ask;
use crate::environment::Environment;
use dawn_bootd::command::Registry;
use dawn_bootd::output::{Done, Lines, Out, Report, Stop};
use dawn_remote::collate::{Separator, by_node, groups};
use dawn_xcatd::Data;
use std::collections::BTreeMap;
use std::io::Read;

/// Bytes of input.
const INPUT_BYTES_MAX: u64 = 4 << 30;
/// Letters of the rules of `xdshbak -c`.
const HOSTS_RULE: usize = 73;
const TEXT_RULE: usize = 79;
/// Letters of the rules of `xdshcoll`.
const COLL_RULE: usize = 36;

/// Show the output of xdsh by node
///
/// Lines without `NODE: ` are left out.
#[derive(Debug, clap::Args)]
pub(super) struct Bak {
    /// Nodes with the same output together
    #[arg(short = 'c')]
    collapse: bool,
    /// Lines with their nodes, sorted by node
    #[arg(short = 'x', conflicts_with = "collapse")]
    lines: bool,
    /// With -x: without the nodes
    #[arg(short = 'b', requires = "lines")]
    bare: bool,
    /// Accepted for compatibility
    #[arg(short = 'q')]
    quiet: bool,
}

impl LocalCommand for Bak {
    const NAME: &'static str = "xdshbak";

    fn run(self, environment: &Environment, _: &Registry, out: &mut Out<'_>) -> Done {
        let text = input(environment)?;
        let nodes = by_node(&text, Separator::ColonBlank);
        let list = collated(&nodes, !self.collapse);
        let text = || match () {
            () if self.collapse => collapsed(&nodes),
            () if self.lines => lines(&nodes, !self.bare),
            () => by_host(&nodes),
        };
        out.report(&Collated { list, text: &text })
    }
}

fn by_host(nodes: &BTreeMap<&str, String>) -> String {
    let one = |(node, text): (&&str, &String)| {
        // As long as the name and six more, as scripts know it.
        let rule = "-".repeat(node.chars().count() + 6);
        format!("HOST:{node}\n{rule}\n{text}")
    };
    nodes.iter().map(one).collect::<Vec<_>>().join("\n")
}

fn collapsed(nodes: &BTreeMap<&str, String>) -> String {
    let mut all = String::new();
    for group in groups(nodes.iter().map(|(node, text)| (*node, text.as_str()))) {
        let (head, rule) = ("-".repeat(HOSTS_RULE), "-".repeat(TEXT_RULE));
        all.push_str(&format!("HOSTS {head}\n{}\n{rule}\n{}\n", group.nodes.join(", "), group.text));
    }
    all
}

fn lines(nodes: &BTreeMap<&str, String>, named: bool) -> String {
    let mut all = String::new();
    for (node, text) in nodes {
        for line in text.lines() {
            if named {
                all.push_str(node);
                all.push_str(": ");
            }
            all.push_str(line);
            all.push('\n');
        }
    }
    all
}

/// Show nodes with the same output together
#[derive(Debug, clap::Args)]
pub(super) struct Dshcoll {}

impl LocalCommand for Dshcoll {
    const NAME: &'static str = "xdshcoll";

    fn run(self, environment: &Environment, _: &Registry, out: &mut Out<'_>) -> Done {
        let text = input(environment)?;
        let nodes = by_node(&text, Separator::Colon);
        let text = || blocks(&nodes, false, |nodes| (nodes.join(","), None));
        out.report(&Collated { list: collated(&nodes, false), text: &text })
    }
}

/// Show nodes with the same output together, with groups for their names
#[derive(Debug, clap::Args)]
pub(super) struct Coll {
    /// Names of nodes, not of groups
    #[arg(short = 'n')]
    names: bool,
    /// A block for each node
    #[arg(short = 'i')]
    single: bool,
    /// Add the number of nodes
    #[arg(short = 'c')]
    count: bool,
}

impl LocalCommand for Coll {
    const NAME: &'static str = "xcoll";

    fn run(self, environment: &Environment, _: &Registry, out: &mut Out<'_>) -> Done {
        let text = input(environment)?;
        let nodes = by_node(&text, Separator::Colon);
        let text = || {
            blocks(&nodes, self.single, |nodes| {
                let list = nodes.join(",");
                let list = if self.names || self.single { list } else { shortened(environment, list) };
                (list, self.count.then_some(nodes.len()))
            })
        };
        out.report(&Collated { list: collated(&nodes, self.single), text: &text })
    }
}

/// The list as groups and nodes. Without the daemon it stays a list of nodes.
fn shortened(environment: &Environment, list: String) -> String {
    let Ok(answers) = ask(environment, "rnoderange", vec![list.clone()]) else { return list };
    let short = answers.iter().flat_map(|answer| &answer.data).find_map(|data| match data {
        Data::Text(text) if !text.is_empty() => Some(text.clone()),
        _ => None,
    });
    short.unwrap_or(list)
}

/// Blocks of nodes with the same text, sorted by their heads.
fn blocks(
    nodes: &BTreeMap<&str, String>,
    single: bool,
    head: impl Fn(&[&str]) -> (String, Option<usize>),
) -> String {
    let all = collated(nodes, single);
    let mut all: Vec<_> = all.iter().map(|output| (head(&output.nodes), output.text)).collect();
    all.sort();
    let rule = "=".repeat(COLL_RULE);
    let block = |((list, count), text): ((String, Option<usize>), &str)| {
        let count = count.map(|count| format!("Node count = {count} \n{rule}\n")).unwrap_or_default();
        format!("{rule}\n{list}\n{rule}\n{count}{text}\n")
    };
    all.into_iter().map(block).collect()
}

/// What nodes have printed: an element of the list of `--json`.
#[derive(serde::Serialize)]
struct Output<'t> {
    nodes: Vec<&'t str>,
    text: &'t str,
}

/// All outputs, and how they are printed as text.
#[derive(serde::Serialize)]
#[serde(transparent)]
struct Collated<'t> {
    list: Vec<Output<'t>>,
    #[serde(skip)]
    text: &'t dyn Fn() -> String,
}

impl Report for Collated<'_> {
    const MANY: bool = true;

    fn print(&self, lines: &mut Lines<'_, '_>) -> Done {
        let text = (self.text)();
        match text.strip_suffix('\n') {
            Some(text) => lines.line(text),
            None => Ok(()),
        }
    }
}

/// The outputs; `single`: nodes with the same output stay apart.
fn collated<'t>(nodes: &'t BTreeMap<&str, String>, single: bool) -> Vec<Output<'t>> {
    let outputs = nodes.iter().map(|(node, text)| (*node, text.as_str()));
    if single {
        return outputs.map(|(node, text)| Output { nodes: vec![node], text }).collect();
    }
    groups(outputs).into_iter().map(|group| Output { nodes: group.nodes, text: group.text }).collect()
}

/// All of standard input.
fn input(environment: &Environment) -> Result<String, Stop> {
    if let Some(text) = &environment.piped {
        return Ok(text.clone());
    }
    let mut bytes = Vec::new();
    let read = std::io::stdin().lock().take(INPUT_BYTES_MAX).read_to_end(&mut bytes);
    read.map_err(|error| Stop::unavailable(format!("standard input: {error}")))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    #[test]
    fn the_forms_of_xcat() {
        let text = "n10: a\nn2: b\nn1: a\nn1: c\nn10: c\nn4:x\nloose\n";
        let bak = by_node(text, Separator::ColonBlank);
        expect![[r#"
            HOST:n1
            --------
            a
            c

            HOST:n10
            ---------
            a
            c

            HOST:n2
            --------
            b
        "#]]
        .assert_eq(&by_host(&bak));
        expect![[r#"
            HOSTS -------------------------------------------------------------------------
            n1, n10
            -------------------------------------------------------------------------------
            a
            c

            HOSTS -------------------------------------------------------------------------
            n2
            -------------------------------------------------------------------------------
            b

        "#]]
        .assert_eq(&collapsed(&bak));
        assert_eq!(lines(&bak, true), "n1: a\nn1: c\nn10: a\nn10: c\nn2: b\n");
        assert_eq!(lines(&bak, false), "a\nc\na\nc\nb\n");
        let coll = by_node(text, Separator::Colon);
        expect![[r#"
            ====================================
            UNKNOWN
            ====================================
            loose

            ====================================
            n1,n10
            ====================================
            Node count = 2 
            ====================================
            a
            c

            ====================================
            n2
            ====================================
            b

            ====================================
            n4
            ====================================
            x

        "#]]
        .assert_eq(&blocks(&coll, false, |nodes| {
            (nodes.join(","), (nodes.len() > 1).then_some(nodes.len()))
        }));
        assert_eq!(blocks(&coll, true, |nodes| (nodes.join(","), None)).matches("n10\n").count(), 1);
    }
}
