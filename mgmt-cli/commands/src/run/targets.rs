//! How the daemon reaches nodes by ssh: addresses and host keys from what it knows, keys of root or of the
//! node's zone.

use dawn_bootd::command::Ctx;
use dawn_bootd::host_keys::Issued;
use dawn_bootd::output::{CommandError, Stop};
use dawn_bootd::zones::login_keys;
use dawn_cluster::Snapshot;
use dawn_remote::host_keys::{HostKeys, KnownHosts};
use dawn_remote::identity::Identity;
use dawn_remote::names::user_name;
use dawn_remote::target::Target;
use dawn_serving::disks::within;
use std::collections::HashMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Root on nodes, and the only caller who may be another user there.
const ROOT: &str = "root";
/// File of a directory of keys.
pub const KNOWN_HOSTS: &str = "known_hosts";
/// The same.
pub const CONFIGURATION: &str = "config";

/// The node's address, if the tables have one.
pub fn address(snapshot: &Snapshot, node: &str) -> Option<IpAddr> {
    snapshot.attr(node, dawn_cluster::col::hosts::IP)?.trim().parse().ok()
}

/// Directories of keys, each read once.
#[derive(Default)]
pub struct Keys {
    directories: HashMap<PathBuf, (Arc<Identity>, Arc<KnownHosts>)>,
}

impl Keys {
    fn of(&mut self, directory: PathBuf) -> (Arc<Identity>, Arc<KnownHosts>) {
        let read = |directory: &Path| {
            let known = KnownHosts::of_file(&directory.join(KNOWN_HOSTS));
            let identity = within(directory, Identity::of_directory).unwrap_or_else(|late| {
                tracing::warn!(directory = %directory.display(), %late, "no keys of ours are read");
                Identity::default()
            });
            (Arc::new(identity), Arc::new(known))
        };
        let (identity, known) = self.directories.entry(directory.clone()).or_insert_with(|| read(&directory));
        (Arc::clone(identity), Arc::clone(known))
    }
}

/// The host keys of a node: those it has from the daemon, and those that a known_hosts file has.
pub fn host_keys(
    issued: &Issued,
    known: &KnownHosts,
    node: &str,
    address: Option<IpAddr>,
    port: u16,
) -> Arc<HostKeys> {
    let own = issued.of(node);
    let address = address.map(|address| address.to_string()).unwrap_or_default();
    let recorded = known.of(&[node, &address], port);
    if recorded.is_empty() {
        return own;
    }
    let mut all = (*own).clone();
    all.extend(&recorded);
    Arc::new(all)
}

/// The nodes of a call as targets.
pub fn targets(ctx: &Ctx<'_>, user: &str, port: u16) -> Vec<Target> {
    let issued = Issued::new(ctx.data);
    let mut keys = Keys::default();
    let target = |node: &String| {
        let (identity, known) = keys.of(login_keys(&ctx.snapshot, node));
        let address = address(&ctx.snapshot, node);
        Target {
            node: node.clone(),
            host: node.clone(),
            address,
            port,
            user: user.to_owned(),
            host_keys: host_keys(&issued, &known, node, address, port),
            identity,
        }
    };
    ctx.nodes().iter().map(target).collect()
}

/// The user on the nodes. The daemon logs in with root's keys, which most nodes accept for any user: a caller
/// other than root may log in only under its own name.
///
/// # Errors
/// Another user is asked for, or the name is not one of a user.
pub fn remote_user(ctx: &Ctx<'_>, asked: Option<&str>) -> Result<String, Stop> {
    let caller = ctx.call.username.as_deref().unwrap_or_default();
    let user = asked.unwrap_or(caller);
    if caller != ROOT && user != caller {
        let text = format!("only root may run commands as another user: you are {caller}, not {user}");
        let hint = format!("`psh -l {user}` logs in with your own keys.");
        return Err(CommandError::refused(text).hint(hint).into());
    }
    user_name(user).map(str::to_owned).map_err(|error| Stop::usage(error.to_string()))
}

/// Refuses words that make the daemon run or read something on its own machine with root's rights.
///
/// # Errors
/// The caller is not root, and something was given.
pub fn only_root(ctx: &Ctx<'_>, option: &str, is_given: bool) -> Result<(), Stop> {
    if !is_given || ctx.call.peer_name.as_deref() == Some(ROOT) {
        return Ok(());
    }
    let text = format!("{option} is for root: the daemon would use it with root's rights on its own machine");
    Err(CommandError::refused(text).hint("`psh`, `pscp` and `prsync` run as yourself.").into())
}

/// The nodes that are left after it was asked which of them answer, and how many did not.
pub struct Verified {
    /// Those that answer.
    pub targets: Vec<Target>,
    /// Number of the others.
    pub silent: usize,
}
