//! Where commands touch parts of the model that have their own grammar: noderange, policy, store.

use crate::defs::stanza;
use crate::frame::{Entry, Kind};
use crate::items::split_operator;
use dawn_cluster::{Col, Edit, Noderange, PolicyRequest, Snapshot, Text, Verdict, schema};
use dawn_serving::bounded_read::{self, Refused};
use dawn_xcatd::{Call, Expanded};
use std::cell::RefCell;
use std::collections::HashSet;
use std::path::Path;

/// Bytes of a file that a noderange may name.
const FILE_BYTES_MAX: u64 = 4 << 20;

/// Names that a noderange of a peer without certificate may produce, examined nodes counting a quarter: such a peer has
/// no business but its own.
const WORK_ANONYMOUS_MAX: usize = 10_000;

/// Expands a noderange for a peer: nodes sorted, unknown names apart. Root may read any file by `^path`; others only
/// what everybody on this machine may read.
pub fn expand_for(snapshot: &Snapshot, noderange: &str, peer_name: Option<&str>) -> Expanded {
    let files = Files::of(peer_name == Some("root"));
    let read = |path: &str| files.read(path);
    let how = Noderange::new(noderange).files(&read);
    let how = if peer_name.is_some() { how } else { how.work_max(WORK_ANONYMOUS_MAX) };
    let found = how.expand(snapshot);
    match (found, files.refused.take()) {
        (_, Some(fatal)) => Expanded { fatal: Some(fatal), ..Expanded::default() },
        (Ok(found), None) => Expanded { nodes: strings(&found.nodes), unknown: found.missing, fatal: None },
        (Err(error), None) => Expanded { fatal: Some(error.to_string()), ..Expanded::default() },
    }
}

/// Expands without files.
pub fn expand(snapshot: &Snapshot, noderange: &str) -> Expanded {
    match snapshot.noderange(noderange) {
        Ok(found) => Expanded { nodes: strings(&found.nodes), unknown: found.missing, fatal: None },
        Err(error) => Expanded { fatal: Some(error.to_string()), ..Expanded::default() },
    }
}

/// Expands a noderange whose names need not exist.
pub fn expand_unverified(snapshot: &Snapshot, noderange: &str) -> Result<Vec<String>, String> {
    let files = Files::of(false);
    let read = |path: &str| files.read(path);
    let found = Noderange::new(noderange).unverified().with_excluded().files(&read).expand(snapshot);
    match files.refused.take() {
        Some(refused) => Err(refused),
        None => found.map(|found| strings(&found.nodes)).map_err(|error| error.to_string()),
    }
}

fn strings(names: &[Text]) -> Vec<String> {
    names.iter().map(|name| name.to_string()).collect()
}

/// The files that a noderange names.
struct Files {
    root: bool,
    /// The first that was not read although it is there: leaving it out would change what the noderange means.
    refused: RefCell<Option<String>>,
}

impl Files {
    fn of(root: bool) -> Self {
        Self { root, refused: RefCell::new(None) }
    }

    /// The text; `None` for a file that does not exist, which a noderange ignores, and for a refused one.
    fn read(&self, path: &str) -> Option<String> {
        match bounded_read::read(Path::new(path), FILE_BYTES_MAX, self.root) {
            Ok(bytes) => Some(String::from_utf8_lossy(&bytes).into_owned()),
            // Others than root are not told which private files there are.
            Err(Refused::Io(_) | Refused::Private) => None,
            Err(why) => {
                self.refused
                    .borrow_mut()
                    .get_or_insert_with(|| format!("the file {path} of the noderange was not read: {why}"));
                None
            }
        }
    }
}

/// Policy's decision on a call, and why.
pub fn decide(snapshot: &Snapshot, call: &Call) -> Verdict {
    let scope = Scope::of(snapshot, call);
    snapshot.policy(&PolicyRequest {
        peer_name: call.peer_name.as_deref(),
        peer_host: &call.peer_host,
        remote_client: call.request.remote_client.as_deref(),
        command: &call.request.command,
        args: &call.request.args,
        nodes: &scope.nodes,
        beyond_nodes: scope.beyond_nodes,
    })
}

/// What a call touches, as far as policy tells calls apart by it.
struct Scope {
    nodes: Vec<String>,
    /// Other objects or whole tables as well.
    beyond_nodes: bool,
}

impl Scope {
    /// A client may put a noderange into any request; it counts for commands that keep to it.
    fn of(snapshot: &Snapshot, call: &Call) -> Self {
        match crate::commands::find_request(&call.request.command) {
            // No rule about some nodes is for somebody without a name: the words need not be evaluated for it.
            Some(entry) if entry.names_objects && call.peer_name.is_none() => {
                Self { nodes: call.nodes.clone(), beyond_nodes: true }
            }
            Some(entry) if entry.names_objects => Self::of_objects(snapshot, call, entry),
            Some(entry) if entry.kind == Kind::Words => {
                Self { nodes: call.nodes.clone(), beyond_nodes: true }
            }
            _ => Self { nodes: call.nodes.clone(), beyond_nodes: false },
        }
    }

    /// An object command touches, beside the nodes of its request, every name it is given in whatever way: names that do
    /// not exist yet, the new name of a renamed object, the members of a group, the object that values are copied from.
    fn of_objects(snapshot: &Snapshot, call: &Call, entry: &Entry) -> Self {
        let mut scope = Self { nodes: call.nodes.clone(), beyond_nodes: false };
        let words = std::iter::once(&call.request.command).chain(&call.request.args);
        // Words that cannot be read are refused by the command.
        let Ok(given) = (entry.clap)().try_get_matches_from(words) else { return scope };
        let values = |id: &str| -> Vec<String> {
            given
                .try_get_many::<String>(id)
                .ok()
                .flatten()
                .map(|all| all.cloned().collect())
                .unwrap_or_default()
        };
        let flag = |id: &str| matches!(given.try_get_one::<bool>(id), Ok(Some(true)));
        let of_nodes = |kind: &str| matches!(kind.trim(), "node" | "group");
        let kinds = values("kind");
        // `-u` is about images, also without -t.
        scope.beyond_nodes =
            flag("all") || flag("update") || !kinds.iter().flat_map(|list| list.split(',')).all(of_nodes);
        let named = |noderange: &String| match entry.writes {
            true => expand_unverified(snapshot, noderange).unwrap_or_default(),
            false => expand(snapshot, noderange).nodes,
        };
        let mut touched = values("rename");
        touched.extend(values("objects").iter().flat_map(named));
        for word in values("words") {
            match split_operator(&word, &["+=", ",=", "^=", "-=", "="]) {
                Some(("members", _, members)) => touched.extend(named(&members.to_owned())),
                Some(_) => {}
                None => touched.extend(named(&word)),
            }
        }
        touched.extend(values("template").iter().flat_map(|source| expand(snapshot, source).nodes));
        if entry.reads_stdin {
            // Stanzas that cannot be read are refused by the command.
            for stanza in stanza::read(call.request.stdin.as_deref().unwrap_or_default()).unwrap_or_default()
            {
                scope.beyond_nodes |= !of_nodes(&stanza.kind);
                touched.extend(named(&stanza.name));
            }
        }
        let mut known: HashSet<String> = scope.nodes.iter().cloned().collect();
        scope.nodes.extend(touched.into_iter().filter(|name| known.insert(name.clone())));
        scope
    }
}

/// A new row by column names; `None` if table or columns do not exist. Empty values are left out.
pub fn insert_row(table: &str, values: &[(&str, &str)]) -> Option<Edit> {
    let table = schema().find(table)?;
    let filled = values.iter().filter(|(_, value)| !value.is_empty());
    let cell = |(name, value): &(&str, &str)| -> Option<(Col, Option<Text>)> {
        Some((table.col(name)?, Some(Text::from(*value))))
    };
    Some(Edit::Insert { table: table.id, cells: filled.map(cell).collect::<Option<_>>()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_without_certificate_gets_little_work_done() {
        let snapshot = Snapshot::from_rows([("nodelist", &[("node", "n1"), ("groups", "all")][..])]);
        let fatal = |peer| expand_for(&snapshot, "x[1-20000]", peer).fatal;
        assert!(fatal(None).is_some_and(|text| text.contains("10000")));
        assert_eq!(fatal(Some("bob")), None);
        assert_eq!(expand_for(&snapshot, "all", None).nodes, ["n1"]);
    }
}
