//! Where commands touch parts of the model that have their own grammar: noderange, policy, store.

use crate::commands;
use crate::defs::stanza;
use crate::frame::{Entry, Kind};
use crate::items::split_operator;
use dawn_cluster::{Col, Edit, Noderange, PolicyRequest, Reach, Snapshot, Text, Verdict, schema};
use dawn_serving::bounded_read::{self, Refused, Rights};
use dawn_xcatd::dispatch::NODERANGE_WITHOUT_NAME;
use dawn_xcatd::{Call, Expanded};
use std::cell::RefCell;
use std::collections::HashSet;
use std::path::Path;

/// Bytes of a file that a noderange may name.
const FILE_BYTES_MAX: u64 = 4 << 20;

/// What a caller may name, and with whose rights the files of its noderanges are read.
#[derive(Clone, Debug)]
pub enum View {
    /// No name: nothing that the caller writes is evaluated.
    Nameless,
    /// A user below root: nodes out of reach do not exist.
    User(Reach),
    /// Root sees all, and may read any file by `^path`.
    Root,
}

impl View {
    /// The view of a call's caller on the nodes for which policy allows the command.
    pub fn of(snapshot: &Snapshot, call: &Call) -> View {
        match call.peer_name.as_deref() {
            None => View::Nameless,
            Some("root") => View::Root,
            Some(_) => View::User(snapshot.reach(&request(call, &[], false))),
        }
    }

    /// The caller may use the command for a node of this name, whether it exists or not.
    pub fn covers(&self, node: &str) -> bool {
        self.limits().is_none_or(|reach| reach.covers(node))
    }

    /// The nodes that the caller is limited to; `None`: to none.
    pub fn limits(&self) -> Option<&Reach> {
        match self {
            View::User(reach) if !reach.is_whole() => Some(reach),
            _ => None,
        }
    }

    /// Nodes sorted, names that are for this caller neither node nor group apart.
    pub fn expand(&self, snapshot: &Snapshot, noderange: &str) -> Expanded {
        match self.evaluate(snapshot, Noderange::new(noderange)) {
            Ok(found) => Expanded { nodes: strings(&found.nodes), unknown: found.missing, fatal: None },
            Err(fatal) => Expanded { fatal: Some(fatal), ..Expanded::default() },
        }
    }

    /// Nodes of a noderange whose names need not exist.
    pub fn expand_unverified(&self, snapshot: &Snapshot, noderange: &str) -> Result<Vec<String>, String> {
        let found = self.evaluate(snapshot, Noderange::new(noderange).unverified().with_excluded())?;
        Ok(strings(&found.nodes))
    }

    fn evaluate(&self, snapshot: &Snapshot, how: Noderange<'_>) -> Result<dawn_cluster::Expanded, String> {
        let rights = if matches!(self, View::Root) { Rights::Daemon } else { Rights::Nobody };
        let files = Files { rights, refused: RefCell::new(None) };
        let read = |path: &str| files.read(path);
        let how = match self {
            View::Nameless => return Err(NODERANGE_WITHOUT_NAME.to_owned()),
            View::User(reach) => how.seen_by(reach),
            View::Root => how,
        };
        let found = how.files(&read).expand(snapshot);
        match files.refused.take() {
            Some(refused) => Err(refused),
            None => found.map_err(|error| error.to_string()),
        }
    }
}

fn strings(names: &[Text]) -> Vec<String> {
    names.iter().map(|name| name.to_string()).collect()
}

/// The files that a noderange names.
struct Files {
    rights: Rights,
    /// The first that was not read although it is there: leaving it out would change what the noderange
    /// means.
    refused: RefCell<Option<String>>,
}

impl Files {
    /// The text; `None` for a file that does not exist, which a noderange ignores, and for a refused one.
    fn read(&self, path: &str) -> Option<String> {
        match bounded_read::read(Path::new(path), FILE_BYTES_MAX, self.rights) {
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

/// Policy's decision on a call, and why. `unknown` are the names of its noderange that are not nodes: a
/// caller who is limited to some nodes hears the same of the others, whether they exist or not.
pub fn decide(snapshot: &Snapshot, call: &Call, unknown: &[String]) -> Verdict {
    let mut scope = Scope::of(snapshot, call);
    let keeps_to_nodes =
        commands::find_request(&call.request.command).is_some_and(|entry| entry.kind == Kind::Nodes);
    if keeps_to_nodes {
        scope.nodes.extend(unknown.iter().cloned());
    }
    snapshot.policy(&request(call, &scope.nodes, scope.beyond_nodes))
}

/// The refusal of a command that no row allows to the caller, for whatever nodes: nothing but caller, command
/// and words is looked at.
pub fn refusal(snapshot: &Snapshot, call: &Call) -> Option<Verdict> {
    let request = request(call, &[], false);
    snapshot.reach(&request).is_nothing().then(|| snapshot.policy(&request))
}

fn request<'a>(call: &'a Call, nodes: &'a [String], beyond_nodes: bool) -> PolicyRequest<'a> {
    PolicyRequest {
        peer_name: call.peer_name.as_deref(),
        peer_host: &call.peer_host,
        remote_client: call.request.remote_client.as_deref(),
        command: &call.request.command,
        args: &call.request.args,
        nodes,
        beyond_nodes,
    }
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
        match commands::find_request(&call.request.command) {
            // No rule about some nodes is for somebody without a name: the words need not be evaluated for
            // it.
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

    /// An object command touches, beside the nodes of its request, every name it is given in whatever way:
    /// names that do not exist yet, the new name of a renamed object, the members of a group, the object that
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
            match split_operator(&word, &["+=", ",=", "^=", "-=", "="]) {
                Some(("members", _, members)) => touched.extend(named(&members.to_owned())),
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

    fn cluster() -> Snapshot {
        Snapshot::from_rows([
            ("nodelist", &[("node", "n1"), ("groups", "all,odd")][..]),
            ("nodelist", &[("node", "n2"), ("groups", "all,even")]),
            ("ipmi", &[("node", "n1"), ("password", "hush1")]),
            ("ipmi", &[("node", "n2"), ("password", "hush2")]),
            ("nodehm", &[("node", "all"), ("mgt", "ipmi")]),
            (
                "nodegroup",
                &[("groupname", "dyn"), ("grouptype", "dynamic"), ("wherevals", "bmcpassword=~hush")],
            ),
            ("policy", &[("priority", "1"), ("name", "alice"), ("noderange", "n[1,5]"), ("rule", "allow")]),
            ("policy", &[("priority", "2"), ("name", "bob"), ("rule", "allow")]),
            ("policy", &[("priority", "3"), ("commands", "litefile"), ("rule", "allow")]),
        ])
    }

    fn show(peer: Option<&str>, noderange: &str) -> String {
        let snapshot = cluster();
        let request = dawn_xcatd::Request { command: "nodels".into(), ..Default::default() };
        let peer_name = peer.map(str::to_owned);
        let call = Call {
            request,
            nodes: Vec::new(),
            username: peer_name.clone(),
            peer_name,
            peer: dawn_xcatd::Peer::default(),
            peer_host: "h".into(),
        };
        let found = View::of(&snapshot, &call).expand(&snapshot, noderange);
        match found.fatal {
            Some(fatal) => format!("! {fatal}"),
            None => format!("{}? {}", found.nodes.join(","), found.unknown.join(",")),
        }
    }

    #[test]
    fn nodes_out_of_reach_do_not_exist() {
        const SECRET: &str = "! 'ipmi.password' holds secrets: only root may select nodes by it";
        for (peer, noderange, expected) in [
            (Some("root"), "all", "n1,n2? "),
            (Some("root"), "ipmi.password=~2", "n2? "),
            (Some("root"), "dyn", "n1,n2? "),
            (Some("bob"), "all", "n1,n2? "),
            (Some("bob"), "even", "n2? "),
            (Some("bob"), "ipmi.password=~2", SECRET),
            (Some("bob"), "dyn", "? dyn"),
            (Some("alice"), "all", "n1? "),
            (Some("alice"), "n[1-3]", "n1? n2,n3"),
            (Some("alice"), "n5", "? n5"),
            (Some("alice"), "even", "? even"),
            (Some("alice"), "nosuch", "? nosuch"),
            (Some("alice"), "/n.*", "n1? "),
            (Some("alice"), "nodelist.groups=~even", "? "),
            (Some("alice"), "all,-n2", "n1? n2"),
            (Some("alice"), "n2@ipmi.password=~hush", SECRET),
            (
                None,
                "n1",
                "! a noderange needs a client certificate: without one, a node asks about itself only",
            ),
        ] {
            assert_eq!(show(peer, noderange), expected, "{peer:?} {noderange}");
        }
    }
}
