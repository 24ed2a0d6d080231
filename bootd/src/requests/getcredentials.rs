//! `getcredentials`: a node fetches secrets that only its root may have.
//!
//! The answer is about the node whose address the request comes from, after [`super::consent`]; a failed
//! proof is answered with nothing, as in xCAT. Files come from `/root/.ssh` or the zone's directory,
//! and from `hostkeys` of the data directory. Secrets that it hands out are logged by name, never by content.

use super::consent;
use crate::caller::calling_node;
use crate::command::{Command, Ctx, Kind};
use crate::host_keys::{self, read_key};
use crate::output::{CommandError, Done, Out};
use crate::root_password::root_hash;
use crate::zones::{default_zone, keys_of, lets_nodes_log_in, own_zone, zone_row};
use dawn_cluster::Snapshot;
use dawn_xcatd::{Data, Element, Response};
use std::path::{Path, PathBuf};

/// Items of one request.
const ITEMS_MAX: usize = 32;

/// Give the calling node its keys
#[derive(Debug, clap::Args)]
pub struct Args {
    /// What: ssh_root_key, ssh_root_pub_key (`:ZONE`), ssh_rsa_hostkey ..., xcat_secure_pw:root
    items: Vec<String>,
}

impl Command for Args {
    const NAME: &'static str = "getcredentials";
    const KIND: Kind = Kind::Words;

    fn run(self, ctx: &Ctx<'_>, out: &mut Out<'_>) -> Done {
        let node = calling_node(&ctx.snapshot, ctx.call)?;
        let (ip, port) = (ctx.call.peer.ip, ctx.call.request.callback_port);
        let proved = ip.zip(port).is_some_and(|(ip, port)| consent::is_given(ip, port));
        if !proved {
            tracing::warn!(
                node,
                "credentials were asked for without proof of root's consent; nothing was given"
            );
            return Ok(());
        }
        let answers: Vec<(&String, Result<String, CommandError>)> =
            self.items.iter().take(ITEMS_MAX).map(|item| (item, content(ctx, &node, item))).collect();
        let mut response = Response::default();
        for (item, answer) in &answers {
            if let Ok(text) = answer {
                tracing::info!(node, item, "credentials were given to a node");
                let content = Element::text("content", format!("\n{text}\n"));
                response.data.push(Data::Parts(vec![content, Element::text("desc", item.as_str())]));
            }
        }
        if response.data.is_empty() {
            return answers
                .into_iter()
                .filter_map(|(_, answer)| answer.err())
                .try_for_each(|error| out.error(error));
        }
        response.errorcode.push(0);
        out.send(response)
    }
}

fn content(ctx: &Ctx<'_>, node: &str, item: &str) -> Result<String, CommandError> {
    let (name, parameter) = item.split_once(':').map_or((item, None), |(name, rest)| (name, Some(rest)));
    let snapshot = &ctx.snapshot;
    match name {
        "ssh_root_key" => {
            let folder = zone_keys(snapshot, node, parameter, true);
            let key = folder.and_then(|folder| read_key(&folder.join("id_rsa")));
            key.ok_or_else(|| CommandError::refused("Unable to read root's private ssh key"))
        }
        "ssh_root_pub_key" => {
            let folder = zone_keys(snapshot, node, parameter, false);
            let key = folder.and_then(|folder| read_key(&folder.join("id_rsa.pub")));
            key.ok_or_else(|| CommandError::refused("Unable to read root's public ssh key"))
        }
        "ssh_dsa_hostkey" | "ssh_rsa_hostkey" | "ssh_ecdsa_hostkey" | "ssh_ed25519_hostkey" => {
            host_key(ctx.data, node, name)
        }
        "xcat_secure_pw" if parameter == Some("root") => root_hash(snapshot, node)
            .ok_or_else(|| CommandError::not_found("Unable to find root's password in the passwd table")),
        "x509cert" => Err(CommandError::refused(
            "Dawn makes no certificates for nodes: they are known by their address",
        )),
        "krb5_keytab" => Err(CommandError::refused("Dawn makes no Kerberos keytabs: the KDC's own tools do")),
        "xcat_server_cred" | "xcat_client_cred" | "xcat_root_cred" | "xcat_cfgloc" => {
            Err(CommandError::refused(format!(
                "Dawn has no service nodes, so no node gets {name}: one daemon serves all nodes"
            )))
        }
        _ => Err(CommandError::refused(format!("Dawn does not hand out {item:.64}"))),
    }
}

/// The directory of the keys a node may have. Without a zone in the request the node must be in the default
/// zone; a private key is for nodes of a zone whose nodes may log in to each other.
fn zone_keys(snapshot: &Snapshot, node: &str, asked: Option<&str>, private: bool) -> Option<PathBuf> {
    let default = default_zone(snapshot);
    let own = own_zone(snapshot, node);
    match asked {
        Some(asked) if own.as_deref() != Some(asked) => return None,
        None if own != default => return None,
        _ => {}
    }
    let Some(own) = own else { return Some(keys_of(None)) };
    let row = zone_row(snapshot, &own)?;
    if private && asked.is_some() && !lets_nodes_log_in(&row) {
        return None;
    }
    Some(keys_of(Some(&row)))
}

fn host_key(data: Option<&Path>, node: &str, item: &str) -> Result<String, CommandError> {
    let kind = item.trim_start_matches("ssh_").trim_end_matches("_hostkey");
    data.and_then(|data| host_keys::private_key(data, node, kind)).ok_or_else(|| {
        let shown = data.map(|data| host_keys::directory(data).display().to_string()).unwrap_or_default();
        CommandError::not_found(format!("Unable to read private {} key from {shown}", kind.to_uppercase()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zones() {
        let snapshot = Snapshot::from_rows([
            ("nodelist", &[("node", "a"), ("groups", "all")][..]),
            ("nodelist", &[("node", "b"), ("groups", "all"), ("zonename", "red")]),
            ("zone", &[("zonename", "base"), ("defaultzone", "yes"), ("sshkeydir", "/k/base")]),
            ("zone", &[("zonename", "red"), ("sshbetweennodes", "yes"), ("sshkeydir", "/k/red")]),
        ]);
        for (node, asked, private, expected) in [
            ("a", None, true, Some("/k/base")),
            ("a", Some("base"), false, Some("/k/base")),
            ("a", Some("base"), true, None),
            ("a", Some("red"), false, None),
            ("b", None, false, None),
            ("b", Some("red"), true, Some("/k/red")),
        ] {
            let found = zone_keys(&snapshot, node, asked, private);
            assert_eq!(found.as_deref(), expected.map(Path::new), "{node} {asked:?} {private}");
        }
    }
}
