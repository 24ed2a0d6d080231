//! Which keys hosts show: for an administrator who decides that they are right. There is no log-in.

use crate::failure::Failure;
use crate::names::host_name;
use crate::session::{fingerprint, offered_key};
use crate::target::Target;
use dawn_fanout::{CancellationToken, Fanout, Outcome};
use std::io;
use std::time::Duration;

/// Hosts that are asked at once.
const WIDTH: usize = 64;

/// The key of a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// Kind and key, as a known_hosts line has them after the names.
    pub key: String,
    /// Kind and fingerprint, as `ssh-keygen -l` prints them.
    pub fingerprint: String,
}

/// Asks each host, `limit` each; in the order of the targets.
///
/// # Errors
/// No runtime could be made.
pub fn scan(targets: &[Target], limit: Duration) -> io::Result<Vec<(String, Result<Shown, Failure>)>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let fanout = Fanout::default().width(WIDTH).map_err(io::Error::other)?;
    let mut results = runtime.block_on(async {
        let all: Vec<(usize, Target)> = targets.iter().cloned().enumerate().collect();
        let mut running = fanout.start(all, CancellationToken::new(), move |(_, target), _| {
            let target = target.clone();
            async move { ask(&target, limit).await }
        });
        let mut results = Vec::with_capacity(targets.len());
        while let Some(finished) = running.next().await {
            let (at, target) = finished.target;
            let result = match finished.outcome {
                Outcome::Done(shown) => Ok(shown),
                Outcome::Failed(failure) => Err(failure),
                _ => Err(Failure::Stopped),
            };
            results.push((at, target.node, result));
        }
        results
    });
    runtime.shutdown_background();
    results.sort_by_key(|(at, ..)| *at);
    Ok(results.into_iter().map(|(_, node, result)| (node, result)).collect())
}

async fn ask(target: &Target, limit: Duration) -> Result<Shown, Failure> {
    host_name(&target.node)?;
    host_name(&target.host)?;
    let key = offered_key(target, limit).await?;
    let unreadable = |error: russh::keys::ssh_key::Error| Failure::Protocol {
        node: target.node.clone(),
        reason: error.to_string(),
    };
    let text = key.to_openssh().map_err(unreadable)?;
    let words: Vec<&str> = text.split(' ').take(2).collect();
    Ok(Shown { key: words.join(" "), fingerprint: fingerprint(&key) })
}
