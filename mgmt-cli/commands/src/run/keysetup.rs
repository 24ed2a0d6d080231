//! `xdsh -K`: makes nodes accept root's key.
//!
//! The daemon logs in with the password and adds root's public keys to the user's `authorized_keys`; then it
//! tries to log in with the key. A host whose key is not known is refused before the password is sent. No
//! private key is copied: nodes of our images fetch what they may have (`getcredentials`).

use super::options::{Variables, guard, on_progress, reason};
use super::targets::Verified;
use dawn_bootd::command::Ctx;
use dawn_bootd::output::{CommandError, Deed, Done, Out, Stop};
use dawn_bootd::zones::login_keys;
use dawn_remote::event::{End, Event};
use dawn_remote::run::{Job, Settings, Work, run};
use dawn_remote::session::Command;
use dawn_remote::target::Target;
use dawn_serving::bounded_read;
use dawn_wire::Secret;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

/// Bytes of a public key.
const KEY_BYTES_MAX: u64 = 64 << 10;
/// Adds the lines of its input to the authorized keys, each once.
const ADD_KEYS: &str = "exec /bin/sh -c 'umask 077; mkdir -p ~/.ssh && cd ~/.ssh && touch authorized_keys && \
    while IFS= read -r key; do grep -qxF \"$key\" authorized_keys || printf \"%s\\n\" \"$key\" >> authorized_keys; done'";

/// Carries it out.
pub(super) fn set_up(
    ctx: &Ctx<'_>,
    verified: Verified,
    variables: &Variables<'_>,
    settings: Settings,
    out: &mut Out<'_>,
) -> Done {
    let password = variables.get("DSH_REMOTE_PASSWORD");
    let password =
        password.ok_or_else(|| Stop::usage("Did not enter a password must abort the key exchange"))?;
    let mut jobs = Vec::new();
    for target in &verified.targets {
        let keys = public_keys(&login_keys(&ctx.snapshot, &target.node))?;
        let command =
            Command { line: ADD_KEYS.to_owned(), input: Arc::new(keys.into_bytes()), ..Command::default() };
        jobs.push(Job {
            target: target.clone(),
            work: Work::SshWithPassword(command, Secret::new(password)),
        });
    }
    let mut failed = failures(jobs, settings, variables, out)?;
    let test = |target: &Target| Job {
        target: target.clone(),
        work: Work::Ssh(Command { line: "true".to_owned(), ..Command::default() }),
    };
    let tests = verified.targets.iter().filter(|target| !failed.contains_key(&target.node)).map(test);
    for (node, why) in failures(tests.collect(), settings, variables, out)? {
        failed.insert(node.clone(), format!("Testing the ssh connection to {node} failed:{why}"));
    }
    if failed.is_empty() && verified.silent == 0 {
        let done = Deed::new("set up", "ssh keys", ctx.nodes().join(","));
        return out.report(&done.line("/usr/bin/ssh setup is complete.").line("return code = 0"));
    }
    failed.values().try_for_each(|why| out.error(CommandError::unavailable(why.as_str())))?;
    let names: Vec<&str> = failed.keys().map(String::as_str).collect();
    Err(Stop::unavailable(format!("SSH setup failed for the following nodes: {}.", names.join(","))))
}

/// All public keys that belong to the private keys of a directory.
fn public_keys(directory: &Path) -> Result<String, Stop> {
    let mut text = String::new();
    for file in ["id_ed25519.pub", "id_ecdsa.pub", "id_rsa.pub"] {
        if let Ok(key) = bounded_read::read_text(&directory.join(file), KEY_BYTES_MAX) {
            text.push_str(key.trim_end());
            text.push('\n');
        }
    }
    match text.is_empty() {
        false => Ok(text),
        true => {
            let text = format!("there is no public key in {}", directory.display());
            Err(CommandError::not_found(text).hint("`dawn init` makes root's key.").into())
        }
    }
}

/// Runs jobs; why each that failed did.
fn failures(
    jobs: Vec<Job>,
    settings: Settings,
    variables: &Variables<'_>,
    out: &mut Out<'_>,
) -> Result<BTreeMap<String, String>, Stop> {
    let (mut failed, mut stop) = (BTreeMap::new(), None);
    let progress = variables.wants_progress();
    let settings = Settings { stream: false, ..settings };
    let ran = run(jobs, settings, &mut |event| {
        guard(&mut stop, || match event {
            Event::Ended(ended) if !ended.end.is_success() => {
                let code = |end: &End| format!("exit code {end:?}");
                let why = reason(&ended.end).map_or_else(|| code(&ended.end), |why| why.to_string());
                failed.insert(ended.node, format!("{why}{}", ended.kept.err));
                Ok(())
            }
            Event::Progress(counts) => on_progress(out, counts, progress),
            _ => Ok(()),
        })
    });
    if let Some(stop) = stop {
        return Err(stop);
    }
    ran.map_err(|error| Stop::usage(error.to_string()))?;
    Ok(failed)
}
