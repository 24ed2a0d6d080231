//! What may be typed at the cursor: the engine behind the completion scripts of all shells.
//!
//! The scripts call `dawn complete -- WORDS`; the words and options of commands come from the same source as
//! their help, names from the daemon. A daemon that does not answer only means that no names are offered.
//!
//! What is offered lands on a command line, and not every shell quotes it. So a name that a shell could read
//! as more than a word is never offered: a person who may write into a table must not be able to type for
//! another who presses Tab.

use clap::Arg;
use dawn_bootd::command::Registry;
use dawn_cluster::{object_type, object_types, schema};

/// States of `nodeset`, without images.
const STATES: [&str; 12] = [
    "osimage",
    "osimage=",
    "boot",
    "shell",
    "standby",
    "shutdown",
    "offline",
    "stat",
    "next",
    "enact",
    "runcmd=",
    "runimage=",
];
/// Items of `nodels` and similar commands that are not a `table.column`.
const SHORT_ITEMS: [&str; 3] = ["groups", "tags", "mgt"];
/// Commands of the client that are not entries.
const OWN: [&str; 3] = ["serve", "init", "help"];

/// Names that only the daemon knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Names<'a> {
    /// Nodes.
    Nodes,
    /// Objects of a type.
    Objects(&'a str),
    /// Keys of the site table.
    SiteKeys,
    /// Numbers of changes, each followed by [`DESCRIBED_BY`] and its command line.
    Changes,
}

/// The separator between a word and its description.
pub(crate) const DESCRIBED_BY: char = '\t';

/// The words that could replace the last one. `words` begins with the program's name. What `ask`
/// finds is offered as far as it [is safe](is_plain).
pub(crate) fn candidates(
    words: &[String],
    registry: &Registry,
    ask: &dyn Fn(Names<'_>) -> Vec<String>,
) -> Vec<String> {
    let ask = &|names: Names<'_>| -> Vec<String> {
        let mut found = ask(names);
        found.retain(|line| is_plain(line.split(DESCRIBED_BY).next().unwrap_or_default()));
        found
    };
    let Some((program, rest)) = words.split_first() else { return Vec::new() };
    let program = program.rsplit('/').next().unwrap_or(program);
    let (name, rest) = if registry.find(program).is_some() {
        (program, rest)
    } else {
        match rest {
            [] => return Vec::new(),
            [current] => return matching(current, command_names(registry)),
            [name, rest @ ..] => (name.as_str(), rest),
        }
    };
    let Some((current, before)) = rest.split_last() else { return Vec::new() };
    if name == "help" {
        return matching(current, command_names(registry));
    }
    let dawn = registry.program();
    let Some(command) = dawn.find_subcommand(name) else { return Vec::new() };
    let mut line = Line::read(registry, command, before);
    line.current = current;
    matching(current, line.offer(ask))
}

/// Letters, digits and signs that have no special meaning to any shell, and do not begin an option.
fn is_plain(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '+' | ':' | '/');
    !name.is_empty() && !name.starts_with('-') && name.chars().all(plain)
}

fn command_names(registry: &Registry) -> Vec<String> {
    registry.all().iter().map(|entry| entry.name).chain(OWN).map(str::to_owned).collect()
}

/// Those that begin with what the user has typed: sorted, each once.
fn matching(current: &str, mut list: Vec<String>) -> Vec<String> {
    list.retain(|word| {
        word.starts_with(current) && word != current || word == current && !current.is_empty()
    });
    list.sort();
    list.dedup();
    list
}

/// Architectures of nodes and images, as xCAT writes them.
const ARCHITECTURES: [&str; 3] = ["aarch64", "ppc64le", "x86_64"];

/// A command line up to the cursor.
struct Line<'a> {
    registry: &'a Registry,
    command: &'a clap::Command,
    current: &'a str,
    /// The option whose value is expected.
    pending: Option<&'a Arg>,
    /// Words that are neither options nor their values.
    words: Vec<&'a str>,
    /// Value of `-t`.
    kind: &'a str,
    /// `-o` was given.
    named: bool,
    /// `-d` was given.
    delete: bool,
}

impl<'a> Line<'a> {
    fn read(registry: &'a Registry, command: &'a clap::Command, before: &'a [String]) -> Line<'a> {
        let mut line = Line {
            registry,
            command,
            current: "",
            pending: None,
            words: Vec::new(),
            kind: "node",
            named: false,
            delete: false,
        };
        for word in before {
            match line.pending.take() {
                Some(option) => line.value(option, word),
                None if word.starts_with('-') => line.option(word),
                None => line.words.push(word),
            }
        }
        line
    }

    fn option(&mut self, word: &'a str) {
        let takes_value = |arg: &&Arg| arg.get_action().takes_values();
        if let Some(long) = word.strip_prefix("--") {
            let found = self.command.get_arguments().find(|arg| arg.get_long() == Some(long));
            self.pending = found.filter(takes_value);
            return;
        }
        self.delete |= word == "-d";
        let last = word.chars().last();
        let found = self.command.get_arguments().find(|arg| arg.get_short() == last);
        self.pending = found.filter(takes_value);
    }

    fn value(&mut self, option: &Arg, word: &'a str) {
        match option.get_short() {
            Some('t') => self.kind = word,
            Some('o') => self.named = true,
            _ => {}
        }
    }

    fn offer(&self, ask: &dyn Fn(Names<'_>) -> Vec<String>) -> Vec<String> {
        if let Some(option) = self.pending {
            return self.values_of(option, ask);
        }
        if self.current.starts_with('-') {
            return self.options();
        }
        let positionals: Vec<&Arg> = self.command.get_positionals().collect();
        let at = self.words.len().min(positionals.len().saturating_sub(1));
        match positionals.get(at) {
            Some(arg) => self.values_of(arg, ask),
            None => Vec::new(),
        }
    }

    fn options(&self) -> Vec<String> {
        let arguments = self.command.get_arguments().filter(|arg| !arg.is_hide_set());
        let mut list: Vec<String> = vec!["--help".into()];
        for arg in arguments {
            list.extend(arg.get_long().map(|long| format!("--{long}")));
            list.extend(arg.get_short().map(|short| format!("-{short}")));
        }
        list
    }

    /// What an argument takes follows from the name that its help gives it.
    fn values_of(&self, arg: &Arg, ask: &dyn Fn(Names<'_>) -> Vec<String>) -> Vec<String> {
        let possible = arg.get_possible_values();
        if !possible.is_empty() {
            return possible.iter().map(|value| value.get_name().to_owned()).collect();
        }
        let name = arg.get_value_names().and_then(|names| names.first()).map(ToString::to_string);
        match name.unwrap_or_default().as_str() {
            "NODERANGE" | "NODE" => self.noderange(ask),
            "GROUPS" => self.list(&ask(Names::Objects("group"))),
            "IMAGE" => ask(Names::Objects("osimage")),
            "TABLE" | "TABLES" => self.list(&table_names()),
            "TYPE" => self.list(&object_types().iter().map(|kind| kind.name.to_owned()).collect::<Vec<_>>()),
            "ATTRIBUTES" => self.list(&self.attributes()),
            "CONDITION" if self.command.get_name() == "tabdump" => Vec::new(),
            "CONDITION" => self.attributes(),
            "NAMES" => self.objects(ask),
            "ITEM" => self.item(self.command.get_name() == "nodels", ask),
            "KEYS" => key_columns(self.current, ask),
            "STATE" => self.states(ask),
            "COMMAND" => command_names(self.registry),
            "CHANGE" => ask(Names::Changes),
            "WORD" => self.word(ask),
            _ => Vec::new(),
        }
    }

    /// The words of `chtab` and `tabch`, and of `mkdef` and `chdef`.
    fn word(&self, ask: &dyn Fn(Names<'_>) -> Vec<String>) -> Vec<String> {
        if matches!(self.command.get_name(), "chtab" | "tabch") {
            return match self.words.len() {
                0 => key_columns(self.current, ask),
                _ if self.delete => table_names(),
                _ => self.item(false, ask).into_iter().map(assignable).collect(),
            };
        }
        if let Some((attr, _)) = self.current.split_once('=') {
            return self.values_of_attribute(attr, ask);
        }
        let named = self.named || self.words.iter().any(|word| !word.contains('='));
        let attributes = || self.attributes().into_iter().map(|attr| format!("{attr}=")).collect();
        if named || self.kind == "site" { attributes() } else { self.objects(ask) }
    }

    fn values_of_attribute(&self, attr: &str, ask: &dyn Fn(Names<'_>) -> Vec<String>) -> Vec<String> {
        match attr {
            "groups" => self.list(&ask(Names::Objects("group"))),
            "members" => self.noderange(ask),
            "provmethod" if self.kind != "osimage" => {
                prefixed("provmethod=", &ask(Names::Objects("osimage")))
            }
            _ => self.words_of_attribute(attr).iter().map(|word| format!("{attr}={word}")).collect(),
        }
    }

    /// The words that an attribute takes, where they are known.
    fn words_of_attribute(&self, attr: &str) -> &'static [&'static str] {
        if matches!(attr, "arch" | "osarch") {
            return &ARCHITECTURES;
        }
        let lines = self.kind.split(',').filter_map(object_type).flat_map(|kind| &kind.attrs);
        let mut words =
            lines.filter(|line| line.name == attr).map(|line| dawn_cluster::known_words(line.col));
        words.find(|words| !words.is_empty()).unwrap_or_default()
    }

    fn attributes(&self) -> Vec<String> {
        let kinds = self.kind.split(',').filter_map(object_type);
        kinds.flat_map(|kind| kind.attr_names()).map(str::to_owned).collect()
    }

    fn objects(&self, ask: &dyn Fn(Names<'_>) -> Vec<String>) -> Vec<String> {
        match self.kind {
            "node" => self.noderange(ask),
            kind => {
                self.list(&kind.split(',').flat_map(|kind| ask(Names::Objects(kind))).collect::<Vec<_>>())
            }
        }
    }

    /// Names after the last operator of a noderange.
    fn noderange(&self, ask: &dyn Fn(Names<'_>) -> Vec<String>) -> Vec<String> {
        let mut names = ask(Names::Nodes);
        names.extend(ask(Names::Objects("group")));
        let current = self.current;
        let at = current.rfind([',', '@', '=', '(']).map_or(0, |at| at + 1);
        let start = current.get(..at).unwrap_or_default();
        let minus = if current.get(at..).is_some_and(|rest| rest.starts_with('-')) { "-" } else { "" };
        prefixed(&format!("{start}{minus}"), &names)
    }

    /// Names after the last comma.
    fn list(&self, names: &[String]) -> Vec<String> {
        let at = self.current.rfind([',', '=']).map_or(0, |at| at + 1);
        prefixed(self.current.get(..at).unwrap_or_default(), names)
    }

    /// `table.` first, then the columns of the table. Of `nodels` also whole tables and short names.
    fn item(&self, whole_tables: bool, ask: &dyn Fn(Names<'_>) -> Vec<String>) -> Vec<String> {
        if self.current.starts_with("groups=") || self.current.starts_with("groups,=") {
            return self.list(&ask(Names::Objects("group")));
        }
        if let Some((table, _)) = self.current.split_once('.') {
            let columns = schema().find(table).into_iter().flat_map(|table| table.cols());
            return columns.map(|col| self.assign(col.to_string())).collect();
        }
        let mut list: Vec<String> =
            schema().tables_by_name().map(|table| format!("{}.", table.name)).collect();
        if whole_tables {
            list.extend(SHORT_ITEMS.map(str::to_owned));
        }
        list
    }

    /// Commands that write get the `=` with the column.
    fn assign(&self, column: String) -> String {
        if matches!(self.command.get_name(), "nodech" | "nodeadd" | "nodegrpch") {
            format!("{column}=")
        } else {
            column
        }
    }

    fn states(&self, ask: &dyn Fn(Names<'_>) -> Vec<String>) -> Vec<String> {
        let at = self.current.rfind(',').map_or(0, |at| at + 1);
        let (start, rest) = self.current.split_at_checked(at).unwrap_or_default();
        if rest.starts_with("osimage=") {
            return prefixed(&format!("{start}osimage="), &ask(Names::Objects("osimage")));
        }
        prefixed(start, &STATES.map(str::to_owned))
    }
}

fn assignable(item: String) -> String {
    if item.ends_with('.') { item } else { format!("{item}=") }
}

fn prefixed(start: &str, names: &[String]) -> Vec<String> {
    names.iter().map(|name| format!("{start}{name}")).collect()
}

fn table_names() -> Vec<String> {
    schema().tables_by_name().map(|table| table.name.to_owned()).collect()
}

/// `node=`, `key=` …, and what may follow these two.
fn key_columns(current: &str, ask: &dyn Fn(Names<'_>) -> Vec<String>) -> Vec<String> {
    match current.split_once('=') {
        Some(("node", _)) => {
            let mut names = ask(Names::Nodes);
            names.extend(ask(Names::Objects("group")));
            prefixed("node=", &names)
        }
        Some(("key", _)) => prefixed("key=", &ask(Names::SiteKeys)),
        Some(("imagename", _)) => prefixed("imagename=", &ask(Names::Objects("osimage"))),
        Some(_) => Vec::new(),
        None => schema()
            .tables()
            .iter()
            .flat_map(|table| table.key_names())
            .map(|key| format!("{key}="))
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fmt::Write;

    fn names(names: Names<'_>) -> Vec<String> {
        let list: &[&str] = match names {
            Names::Nodes => {
                &["cn1", "cn2", "sw1", "cn$(id)", "cn`id`", "-f", "cn 3", "cn;id", "~root", "cn\nid"]
            }
            Names::Objects("group") => &["all", "compute"],
            Names::Objects("osimage") => &["deb12", "deb13-lite"],
            Names::Objects("network") => &["prov"],
            Names::Objects(_) => &[],
            Names::SiteKeys => &["domain", "master", "m$IFS"],
            Names::Changes => &["7\troot: chdef cn1 arch=x86_64", "12\tbob: noderm cn2"],
        };
        list.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn what_is_offered() {
        let mut text = String::new();
        let registry = crate::registry::registry();
        for line in include_str!("tests/complete.lines").lines() {
            let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
            let mut found = candidates(&words, &registry, &names);
            let more = found.len().saturating_sub(12);
            found.truncate(12);
            let _ = write!(text, "{line}|\n    {}", found.join(" ").replace(DESCRIBED_BY, " -- "));
            let _ = writeln!(text, "{}", if more > 0 { format!(" … {more} more") } else { String::new() });
        }
        expect_test::expect_file!["tests/complete.txt"].assert_eq(&text);
    }
}
