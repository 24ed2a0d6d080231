//! The policy gate: what a call touches, and whether policy lets its caller do that.

use crate::caller::{View, request};
use crate::command::{Entry, Kind, Registry};
use dawn_cluster::condition::assignment;
use dawn_cluster::stanza;
use dawn_cluster::{Col, Edit, Snapshot, Text, Verdict, schema};
use dawn_xcatd::Call;
use std::collections::HashSet;

/// Policy's decision on a call, and why. `unknown` are the names of its noderange that are not nodes: a
/// caller who is limited to some nodes gets the same answer for all others, whether they exist or not.
pub(super) fn decide(registry: &Registry, snapshot: &Snapshot, call: &Call, unknown: &[String]) -> Verdict {
    let mut scope = Scope::of(registry, snapshot, call);
    let keeps_to_nodes =
        registry.find_request(&call.request.command).is_some_and(|entry| entry.kind == Kind::Nodes);
    if keeps_to_nodes {
        scope.nodes.extend(unknown.iter().cloned());
    }
    snapshot.policy(&request(call, &scope.nodes, scope.beyond_nodes))
}

/// The refusal of a command that no row allows to the caller for any node: only caller, command and words are
/// looked at.
pub(super) fn refusal(snapshot: &Snapshot, call: &Call) -> Option<Verdict> {
    let request = request(call, &[], false);
    snapshot.reach(&request).is_nothing().then(|| snapshot.policy(&request))
}

/// What a call touches, as far as policy distinguishes calls by it.
struct Scope {
    nodes: Vec<String>,
    /// Other objects or whole tables as well.
    beyond_nodes: bool,
}

impl Scope {
    /// A client may put a noderange into any request; it counts for commands that keep to it.
    fn of(registry: &Registry, snapshot: &Snapshot, call: &Call) -> Self {
        match registry.find_request(&call.request.command) {
            // Rules about some nodes never apply to a caller without a name, so the words need not be
            // evaluated.
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

    /// An object command touches, besides the nodes of its request, every name it is given in any way: names
    /// that do not exist yet, the new name of a renamed object, the members of a group, the object that
    /// values are copied from.
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
        // A group's row acts on all its members, present and future: a caller limited to some nodes has no
        // business there.
        let view = View::of(snapshot, call);
        let limited = view.limits().is_some_and(|reach| !reach.is_open());
        let of_nodes = |kind: &str| kind.trim() == "node" || kind.trim() == "group" && !limited;
        let kinds = values("kind");
        // `-u` is about images, also without -t.
        scope.beyond_nodes =
            flag("all") || flag("update") || !kinds.iter().flat_map(|list| list.split(',')).all(of_nodes);
        let named = |noderange: &String| view.expand_unverified(snapshot, noderange).unwrap_or_default();
        let mut touched = values("rename");
        touched.extend(values("objects").iter().flat_map(named));
        for word in values("words") {
            match assignment(&word)
                .map(|(attr, value)| (attr.trim_end_matches(['+', ',', '^', '-']).trim(), value))
            {
                Some(("members", members)) => touched.extend(named(&members.to_owned())),
                Some(_) => {}
                None => touched.extend(named(&word)),
            }
        }
        touched.extend(values("template").iter().flat_map(named));
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
pub(super) fn insert_row(table: &str, values: &[(&str, &str)]) -> Option<Edit> {
    let table = schema().find(table)?;
    let filled = values.iter().filter(|(_, value)| !value.is_empty());
    let cell = |(name, value): &(&str, &str)| -> Option<(Col, Option<Text>)> {
        Some((table.col(name)?, Some(Text::from(*value))))
    };
    Some(Edit::Insert { table: table.id, cells: filled.map(cell).collect::<Option<_>>()? })
}
