//! The caller of a command: what it may name, and which node it is.

use crate::output::{CommandError, Stop};
use dawn_cluster::secrets::{self, Sensitivity};
use dawn_cluster::{Col, Noderange, NoderangeError, PolicyRequest, Reach, Snapshot, Text, is_open_to_nodes};
use dawn_serving::bounded_read::{self, Refused, Rights};
use dawn_xcatd::dispatch::NODERANGE_WITHOUT_NAME;
use dawn_xcatd::{Call, Expanded};
use std::cell::RefCell;
use std::path::Path;

/// Bytes of a file that a noderange may name.
const FILE_BYTES_MAX: u64 = 4 << 20;

/// Items of one command at most: more than there are columns.
const ITEMS_MAX: usize = 10_000;
/// Conditions of one command at most.
const CONDITIONS_MAX: usize = 1000;
/// The same for a user who is limited to some nodes: a regular expression may take a tenth of a second.
const CONDITIONS_LIMITED_MAX: usize = 16;

/// What a caller may name, and with whose rights the files of its noderanges are read.
#[derive(Clone, Debug)]
pub enum View {
    /// No name: nothing that the caller writes is evaluated.
    Nameless,
    /// A user other than root: nodes that policy does not allow do not exist.
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
            // A node with a certificate asks about itself.
            Some(name) if is_open_to_nodes(&call.request.command) => {
                View::User(Self::given_by_name(snapshot, call).and(name))
            }
            Some(_) => View::User(snapshot.reach(&request(call, &[], false))),
        }
    }

    /// The nodes that rows of the policy give to this caller by name: what is open to every caller, as the
    /// requests of nodes are, does not count.
    pub fn given_by_name(snapshot: &Snapshot, call: &Call) -> Reach {
        match call.peer_name.as_deref() {
            None => Reach::default(),
            Some(_) => snapshot.reach_by_name(&request(call, &[], false)),
        }
    }

    /// Nothing is kept from the caller.
    pub fn is_root(&self) -> bool {
        matches!(self, View::Root)
    }

    /// Whether policy allows the caller another command with these arguments, for any purpose.
    pub fn may_use_for_all(snapshot: &Snapshot, call: &Call, command: &str, args: &[String]) -> bool {
        snapshot.reach(&PolicyRequest { command, args, ..request(call, &[], true) }).is_whole()
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

    /// Refuses to compare with the values of a column that may be secret: a caller other than root would
    /// learn the value from the matches.
    pub fn may_compare(&self, col: Col) -> Result<(), Stop> {
        match self {
            View::Root => Ok(()),
            _ if !secrets::may_hold_secrets(col) => Ok(()),
            _ => Err(Stop::refused(format!("'{col}' holds secrets: only root may select by it"))),
        }
    }

    /// Refuses to add to a value that may be secret, or to remove from it: whether an element is there, or
    /// how long the value has become, would say what it is.
    pub fn may_extend(&self, col: Col) -> Result<(), Stop> {
        match self {
            View::Root => Ok(()),
            _ if !secrets::may_hold_secrets(col) => Ok(()),
            _ => Err(Stop::refused(format!(
                "'{col}' holds secrets: only root may add to it or remove from it"
            ))),
        }
    }

    /// The same for a key of the table `site`.
    pub fn may_extend_setting(&self, key: &str) -> Result<(), Stop> {
        match self {
            View::Root => Ok(()),
            _ if secrets::of_site_key(key) == Sensitivity::Open => Ok(()),
            _ => Err(Stop::refused(format!(
                "'site.{key}' may hold a secret: only root may add to it or remove from it"
            ))),
        }
    }

    /// Refuses to compare with, or to show, what a key of the table `site` holds. A key that is not declared
    /// may hold a secret.
    pub fn may_use_setting(&self, key: &str) -> Result<(), Stop> {
        match self {
            View::Root => Ok(()),
            _ if secrets::of_site_key(key) == Sensitivity::Open => Ok(()),
            _ => Err(Stop::refused(format!("'site.{key}' may hold a secret: only root may use it here"))),
        }
    }

    /// Refuses more items, or more conditions among them, than one command of this caller may have.
    pub fn may_ask(&self, items: usize, conditions: usize) -> Result<(), Stop> {
        let conditions_max = match self.limits() {
            Some(_) => CONDITIONS_LIMITED_MAX,
            None => CONDITIONS_MAX,
        };
        let over = |count: usize, max: usize, what: &str| match count > max {
            true => {
                Err(Stop::refused(format!("a command of yours may have {max} {what} at most, not {count}")))
            }
            false => Ok(()),
        };
        over(items, ITEMS_MAX, "items")?;
        over(conditions, conditions_max, "conditions")
    }

    /// The members of a group that exist for the caller. Only root may know which nodes are in a group by a
    /// secret value.
    pub fn members(&self, snapshot: &Snapshot, group: &str) -> Vec<Text> {
        if !matches!(self, View::Root) && snapshot.selects_by_secret(group) {
            return Vec::new();
        }
        snapshot.group_members(group).into_iter().filter(|node| self.covers(node)).collect()
    }

    /// Nodes sorted, names that are for this caller neither node nor group apart.
    pub fn expand(&self, snapshot: &Snapshot, noderange: &str) -> Expanded {
        match self.evaluate(snapshot, Noderange::new(noderange)) {
            Ok(found) => Expanded { nodes: strings(&found.nodes), unknown: found.missing, fatal: None },
            Err(fatal) => Expanded { fatal: Some(fatal.to_string()), ..Expanded::default() },
        }
    }

    /// Nodes of a noderange whose names need not exist.
    ///
    /// # Errors
    /// The noderange cannot be evaluated.
    pub fn expand_unverified(&self, snapshot: &Snapshot, noderange: &str) -> Result<Vec<String>, RangeError> {
        let found = self.evaluate(snapshot, Noderange::new(noderange).unverified().with_excluded())?;
        Ok(strings(&found.nodes))
    }

    fn evaluate(
        &self,
        snapshot: &Snapshot,
        how: Noderange<'_>,
    ) -> Result<dawn_cluster::Expanded, RangeError> {
        let rights = if matches!(self, View::Root) { Rights::Daemon } else { Rights::Nobody };
        let files = Files { rights, refused: RefCell::new(None) };
        let read = |path: &str| files.read(path);
        let how = match self {
            View::Nameless => return Err(RangeError::Nameless),
            View::User(reach) => how.seen_by(reach),
            View::Root => how,
        };
        let found = how.files(&read).expand(snapshot);
        match files.refused.take() {
            Some(refused) => Err(refused),
            None => Ok(found?),
        }
    }
}

fn strings(names: &[Text]) -> Vec<String> {
    names.iter().map(|name| name.to_string()).collect()
}

/// Why a noderange of a caller is not evaluated.
#[derive(Debug, thiserror::Error)]
pub enum RangeError {
    /// A caller without a name asks for nodes.
    #[error("{NODERANGE_WITHOUT_NAME}")]
    Nameless,
    /// A file that it names exists and was not read: leaving it out would change the meaning of the
    /// noderange.
    #[error("the file {path} of the noderange was not read: {why}")]
    File {
        /// The file.
        path: String,
        /// Why.
        why: Refused,
    },
    /// The noderange itself is wrong.
    #[error(transparent)]
    Noderange(#[from] NoderangeError),
}

impl From<RangeError> for CommandError {
    fn from(error: RangeError) -> Self {
        Self::usage(error.to_string())
    }
}

/// The files that a noderange names.
struct Files {
    rights: Rights,
    /// The first that was not read although it is there.
    refused: RefCell<Option<RangeError>>,
}

impl Files {
    /// The text; `None` for a file that does not exist, which a noderange ignores, and for a refused one.
    fn read(&self, path: &str) -> Option<String> {
        match bounded_read::read(Path::new(path), FILE_BYTES_MAX, self.rights) {
            Ok(bytes) => Some(String::from_utf8_lossy(&bytes).into_owned()),
            // Only root learns which private files there are.
            Err(Refused::Missing | Refused::Io(_) | Refused::Private) => None,
            Err(why) => {
                self.refused.borrow_mut().get_or_insert(RangeError::File { path: path.to_owned(), why });
                None
            }
        }
    }
}

/// What policy looks at.
pub(crate) fn request<'a>(call: &'a Call, nodes: &'a [String], beyond_nodes: bool) -> PolicyRequest<'a> {
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

/// Whether nodes that ask for boot and script must show a certificate with their name
/// (`site.nodeauthentication`).
pub fn wants_certificates(snapshot: &Snapshot) -> bool {
    snapshot.site("nodeauthentication").is_some_and(|value| !value.trim().is_empty())
}

/// The node that asks for its boot or script: by its address, or by its certificate where the site wants one;
/// `None` for a caller that is not a node.
pub fn booting_node(snapshot: &Snapshot, call: &Call) -> Result<Option<String>, Stop> {
    if !wants_certificates(snapshot) {
        let node = call.peer.ip.and_then(|ip| snapshot.node_by_ip(ip));
        return Ok(node.map(|node| node.to_string()));
    }
    match call.peer.certificate_name.as_deref() {
        Some(name) => Ok(snapshot.has_node(name).then(|| name.to_owned())),
        None => Err(Stop::refused(
            "site.nodeauthentication asks nodes for a certificate with their name, and the caller shows none",
        )),
    }
}

/// The node that asks, known by its address. No certificate and no word of the request changes who that is.
pub fn calling_node(snapshot: &Snapshot, call: &Call) -> Result<String, Stop> {
    let node = call.peer.ip.and_then(|ip| snapshot.node_by_ip(ip));
    node.map(|node| node.to_string()).ok_or_else(|| {
        Stop::refused(format!("{} asks for nodes only, and the caller is none", call.request.command))
    })
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
