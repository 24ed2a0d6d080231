//! The paths under which installers ask for their answers, below `/install/autoinst/`.
//!
//! | path | who asks |
//! |---|---|
//! | `<node>?t=<token>` | anaconda, YaST, debian-installer |
//! | `<node>/<token>/user-data`, `meta-data`, `vendor-data` | cloud-init, which puts the names behind an address |
//! | `<node>/user-data?t=<token>` … | the same |
//!
//! They are views only while the node's state is an installation; otherwise the paths belong to the static
//! tree, as do all other names there. The answers are for the node's address, with the token of a boot file
//! that was rendered not long ago. Not even this machine gets them: they hold secrets, and any user of it
//! could ask. `dawn render` shows them with the secrets masked.

use super::Answer;
use crate::install::{AUTOINST, TOKEN_KEY, installer_of};
use crate::lookup::image_of;
use crate::state::BootState;
use crate::surroundings::Surroundings;
use dawn_cluster::{Advised, Installer, Netboot, Snapshot};
use std::net::IpAddr;

/// A file of answers for a node that has proved who it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnswerFile {
    /// The node.
    pub node: String,
    /// Which file.
    pub part: AnswerPart,
    /// The token that it was asked for with.
    pub token: String,
}

/// A file of answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AnswerPart {
    /// The one file of most installers.
    Whole,
    /// cloud-init's `user-data`.
    UserData,
    /// cloud-init's `meta-data`.
    MetaData,
    /// cloud-init's `vendor-data`.
    VendorData,
}

impl AnswerPart {
    /// Names of the files in a node's directory.
    const NAMES: [(&str, Self); 3] =
        [("user-data", Self::UserData), ("meta-data", Self::MetaData), ("vendor-data", Self::VendorData)];

    /// The file of a name in a node's directory.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::NAMES.iter().find(|(known, _)| *known == name).map(|(_, part)| *part)
    }

    /// Whether an installer asks for it.
    #[must_use]
    pub fn is_of(self, installer: Installer) -> bool {
        (installer == Installer::Autoinstall) == (self != Self::Whole)
    }
}

/// What a path below `autoinst/` names.
fn parse<'a>(inside: &'a str, query: &'a str) -> Option<(&'a str, AnswerPart, &'a str)> {
    let in_query = || {
        let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        pairs.into_iter().find(|(key, _)| *key == TOKEN_KEY).map(|(_, value)| value).unwrap_or_default()
    };
    let parts: Vec<&str> = inside.split('/').filter(|part| !part.is_empty()).collect();
    match parts.as_slice() {
        [node] => Some((node, AnswerPart::Whole, in_query())),
        [node, file] => Some((node, AnswerPart::named(file)?, in_query())),
        [node, token, file] => Some((node, AnswerPart::named(file)?, token)),
        _ => None,
    }
}

/// Answers a request for `path`, relative to the install directory. `None`: the path is not a view and
/// belongs to the static tree.
#[must_use]
pub fn answer_file(
    snapshot: &Snapshot,
    here: Surroundings<'_>,
    path: &str,
    query: &str,
    peer: IpAddr,
) -> Option<Answer> {
    let inside = path.strip_prefix(AUTOINST)?.strip_prefix('/')?;
    let (node, part, token) = parse(inside, query)?;
    let state = BootState::of(snapshot, node);
    if !snapshot.has_node(node)
        || !matches!(state, Some(BootState::Install(_)))
        || Netboot::of(snapshot, node) == Netboot::Onie
    {
        return None;
    }
    if here.addresses.are_of(peer) {
        let text = "answers hold secrets and go to the node alone; look at them with: dawn render";
        return Some(Answer::Refused(format!("{text} {node}")));
    }
    let asking = snapshot.node_by_ip(peer);
    if asking.is_none_or(|asking| &*asking != node) {
        return Some(Answer::Hidden(format!("it is for {node} alone, and {peer} is not its address")));
    }
    let installer = image_of(snapshot, node).and_then(|image| installer_of(&image));
    let proved = here.proof.map(|proof| proof.check(node, token));
    Some(match (installer, proved) {
        (Ok(installer), _) if !part.is_of(installer) => Answer::Missing(None),
        (Ok(_), Some(Ok(()))) => {
            Answer::AnswerFile(AnswerFile { node: node.to_owned(), part, token: token.to_owned() })
        }
        (Err(error), _) => Answer::Refused(error.in_one_line()),
        (_, Some(Err(error))) => Answer::Refused(error.to_string()),
        (_, None) => Answer::Refused("this server gives no answers out".to_owned()),
    })
}

/// A path as a log may show it: the token of one that has it in itself is masked.
#[must_use]
pub fn without_token(path: &str) -> String {
    let inside =
        path.trim_start_matches('/').strip_prefix("install/").and_then(|path| path.strip_prefix(AUTOINST));
    let parts: Vec<&str> = inside.unwrap_or_default().split('/').filter(|part| !part.is_empty()).collect();
    match parts.as_slice() {
        [node, _, file] => format!("install/{AUTOINST}/{node}/…/{file}"),
        _ => path.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::address::LocalAddresses;
    use crate::surroundings::{PackedRoots, Ports};
    use crate::token::{Proof, TokenKey};

    fn snapshot(state: &str, osvers: &str) -> Snapshot {
        Snapshot::from_rows([
            ("nodelist", &[("node", "cn1"), ("groups", "all")][..]),
            ("nodelist", &[("node", "cn2"), ("groups", "all")]),
            ("hosts", &[("node", "all"), ("ip", "|cn(\\d+)|10.1.0.($1+4)|")]),
            ("nodetype", &[("node", "all"), ("provmethod", "disk")]),
            ("chain", &[("node", "cn1"), ("currstate", state)]),
            (
                "osimage",
                &[("imagename", "disk"), ("provmethod", "install"), ("osvers", osvers), ("osarch", "x86_64")],
            ),
        ])
    }

    /// One request, as a word and the reason.
    fn ask(snapshot: &Snapshot, path: &str, query: &str, peer: &str) -> String {
        let key = TokenKey::new([1; 16]);
        let addresses = LocalAddresses::one("eth1", [10, 1, 0, 1], [255, 255, 0, 0]);
        let proof = Some(Proof { key: &key, now_s: 1_800_000_000 });
        let packed = &PackedRoots::default();
        let here = Surroundings { addresses: &addresses, ports: Ports::default(), packed, proof };
        let token = crate::token::token_or_mask(proof, "cn1");
        let (path, query) = (path.replace("TOKEN", &token), query.replace("TOKEN", &token));
        match answer_file(snapshot, here, &path, &query, peer.parse().unwrap()) {
            None => "static".to_owned(),
            Some(Answer::AnswerFile(file)) => format!("{:?}", file.part),
            Some(Answer::Hidden(reason)) => format!("hidden: {reason}"),
            Some(Answer::Refused(reason)) => format!("refused: {reason}"),
            Some(Answer::Missing(_)) => "missing".to_owned(),
            Some(other) => format!("{other:?}"),
        }
    }

    #[test]
    fn answers_are_for_the_node_with_its_token_while_it_installs() {
        let node = "10.1.0.5";
        let not_its = |peer: &str| format!("hidden: it is for cn1 alone, and {peer} is not its address");
        let look =
            "refused: answers hold secrets and go to the node alone; look at them with: dawn render cn1";
        let no_token =
            "refused: the request has no token; only the kernel line of the node's boot file has it";
        let wrong = "refused: the token is not one for this node";
        let (el, ubuntu) = ("rhels9.4", "ubuntu22.04");
        let installs = "install x-x86_64-compute";
        for (state, os, path, query, peer, expected) in [
            (installs, el, "autoinst/cn1", "t=TOKEN", node, "Whole"),
            (installs, el, "autoinst/cn1", "a=b&t=TOKEN", node, "Whole"),
            (installs, el, "autoinst/cn1", "", node, no_token),
            (installs, el, "autoinst/cn1", "t=", node, no_token),
            (installs, el, "autoinst/cn1", "t=1-2", node, wrong),
            (installs, el, "autoinst/cn1", "t=TOKEN", "10.1.0.6", &not_its("10.1.0.6")),
            (installs, el, "autoinst/cn1", "t=TOKEN", "10.1.7.7", &not_its("10.1.7.7")),
            (installs, el, "autoinst/cn1", "t=TOKEN", "10.1.0.1", look),
            (installs, el, "autoinst/cn1", "t=TOKEN", "127.0.0.1", look),
            (installs, el, "autoinst/cn1/TOKEN/user-data", "", node, "missing"),
            (installs, el, "autoinst/cn1.post", "t=TOKEN", node, "static"),
            (installs, el, "autoinst/cn2", "t=TOKEN", node, "static"),
            (installs, el, "autoinst/none", "t=TOKEN", node, "static"),
            (installs, el, "autoinst", "t=TOKEN", node, "static"),
            (installs, el, "autoinstall/cn1", "t=TOKEN", node, "static"),
            (installs, ubuntu, "autoinst/cn1", "t=TOKEN", node, "missing"),
            (installs, ubuntu, "autoinst/cn1/TOKEN/user-data", "", node, "UserData"),
            (installs, ubuntu, "autoinst/cn1/TOKEN/meta-data", "", node, "MetaData"),
            (installs, ubuntu, "autoinst/cn1/TOKEN/vendor-data", "", node, "VendorData"),
            (installs, ubuntu, "autoinst/cn1/TOKEN/network-config", "", node, "static"),
            (installs, ubuntu, "autoinst/cn1/user-data", "t=TOKEN", node, "UserData"),
            (installs, ubuntu, "autoinst/cn1/user-data", "", node, no_token),
            (installs, ubuntu, "autoinst/cn1/1-2/user-data", "", node, wrong),
            ("boot", el, "autoinst/cn1", "t=TOKEN", node, "static"),
            ("netboot x-x86_64-compute", el, "autoinst/cn1", "t=TOKEN", node, "static"),
        ] {
            assert_eq!(
                ask(&snapshot(state, os), path, query, peer),
                expected,
                "{state} {path}?{query} {peer}"
            );
        }
    }

    #[test]
    fn logs_show_no_token() {
        for (path, shown) in [
            ("install/autoinst/cn1/1a-2b/user-data", "install/autoinst/cn1/…/user-data"),
            ("/install/autoinst/cn1/1a-2b/user-data", "install/autoinst/cn1/…/user-data"),
            ("install/autoinst/cn1", "install/autoinst/cn1"),
            ("install/postscripts/a/b/c", "install/postscripts/a/b/c"),
        ] {
            assert_eq!(without_token(path), shown);
        }
    }
}
