//! The request that xCAT's client would send for a command line.

use crate::environment::Environment;
use dawn_bootd::command::{Entry, Kind, split_noderange};
use dawn_xcatd::Request;

/// The request xCAT's client would send.
pub(crate) fn request_for(entry: &Entry, words: &[String], environment: &Environment) -> Request {
    let (noderange, args) = match entry.kind {
        Kind::Nodes => split_noderange(&(entry.clap)(), words),
        _ => (None, words.to_vec()),
    };
    let directory = environment.directory.to_string_lossy().into_owned();
    let forwarded = environment.variables.iter().filter(|(name, _)| name.starts_with("XCAT_"));
    let sent = |name: &&str| Some(format!("{name}={}", environment.variable(name)?));
    Request {
        command: entry.name.to_owned(),
        args,
        noderange: noderange.map(|noderange| absolute_files(&noderange, &directory)),
        cwd: Some(directory),
        environment: forwarded.map(|(name, value)| (name.clone(), value.clone())).collect(),
        env: entry.sends_variables.iter().filter_map(sent).collect(),
        client_type: Some("cli".into()),
        ..Request::default()
    }
}

/// `^file` with a relative path is read by the daemon, which has another directory.
fn absolute_files(noderange: &str, directory: &str) -> String {
    let element = |part: &str| match part.strip_prefix('^') {
        Some(path) if !path.starts_with('/') => format!("^{directory}/{path}"),
        _ => part.to_owned(),
    };
    noderange.split(',').map(element).collect::<Vec<_>>().join(",")
}
