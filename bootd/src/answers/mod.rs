//! Answers for installers: rendered when the node asks, and given only to that node.
//!
//! [`dawn_plan::view::answer_file`] decides who may ask; [`dawn_deploy::render()`] makes the text. Here are
//! the key of the tokens, the files of templates ([`Templates`]), and the memory of which tokens were used:
//! one counts for [`READ_AGAIN_S`] from its first use, which is enough for an installer that reads several
//! files, or one file again. A restart of the daemon forgets what was used, not the key.

mod templates;

use crate::boot_services::{RenderedFile, RenderedValue};
use crate::unready::Unready;
use crate::watch::Watcher;
use dawn_cluster::{Advised, Secret, Snapshot, col};
use dawn_deploy::{Answers, DeployError, Job};
use dawn_events::now_ms;
use dawn_imagebuilder::password::RootPassword;
use dawn_plan::install::installer_of;
use dawn_plan::view::{AnswerFile, AnswerPart};
use dawn_plan::{Proof, Surroundings, TOKEN_AGE_MINUTES_MAX, TokenKey, image_of};
use dawn_serving::{Answer, Rendered, whole};
use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use templates::{Access, Templates};

/// How long a token counts after its first use, in seconds.
const READ_AGAIN_S: u64 = 600;
/// The file of the key in the data directory.
const KEY_FILE: &str = "install-token.key";

/// A token that was used too long ago, in minutes. The text is for the node's screen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the token of this boot was used {0} minutes ago; boot the node again for another one")]
struct Spent(u64);

/// What renders answers and gives them out.
pub struct InstallAnswers {
    key: TokenKey,
    templates: Templates,
    /// Tokens that were used, by node: one for each node at most.
    used: Mutex<HashMap<String, Used>>,
    watcher: Arc<Watcher>,
}

/// A token and when it was first used, in seconds since 1970.
struct Used {
    token: String,
    first_s: u64,
}

impl InstallAnswers {
    /// Reads or makes the key in the data directory. Where it cannot be kept, tokens end with this process.
    #[must_use]
    pub fn open(data: &Path, watcher: Arc<Watcher>) -> Self {
        let key = read_or_make_key(&data.join(KEY_FILE)).unwrap_or_else(|error| {
            tracing::warn!(%error, "{KEY_FILE} cannot be read or written: nodes that begin to install during a restart \
                                    of the daemon must be booted again");
            let mut key = [0; 16];
            if let Err(error) = getrandom::fill(&mut key) {
                tracing::error!(%error, "there is no randomness: tokens of installers can be guessed");
            }
            key
        });
        let (templates, used) = Default::default();
        Self { key: TokenKey::new(key), templates, used, watcher }
    }

    /// What tokens are made with at this moment.
    #[must_use]
    pub fn proof(&self) -> Proof<'_> {
        Proof { key: &self.key, now_s: now_ms() / 1000 }
    }

    /// The answers for a node that has proved who it is. On a thread that may wait for disks.
    #[must_use]
    pub fn give(&self, snapshot: &Snapshot, here: Surroundings<'_>, file: &AnswerFile) -> Answer {
        if let Err(reason) = self.use_token(file, now_ms() / 1000) {
            return Answer::Refused(reason.to_string());
        }
        match render(snapshot, here, &file.node, file.part, &self.templates, Access::Direct) {
            Ok(answers) => Answer::Bytes(Rendered::text(answers.text.reveal())),
            Err(error) => Answer::Refused(error.in_one_line()),
        }
    }

    /// Whether the token still counts.
    fn use_token(&self, file: &AnswerFile, now_s: u64) -> Result<(), Spent> {
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        used.retain(|_, used| now_s.saturating_sub(used.first_s) <= 2 * 60 * TOKEN_AGE_MINUTES_MAX);
        match used.get(&file.node).filter(|used| used.token == file.token) {
            Some(used) if now_s.saturating_sub(used.first_s) > READ_AGAIN_S => {
                Err(Spent(now_s.saturating_sub(used.first_s) / 60))
            }
            Some(_) => Ok(()),
            None => {
                used.insert(file.node.clone(), Used { token: file.token.clone(), first_s: now_s });
                Ok(())
            }
        }
    }

    /// A machine that is not the node has asked for the node's answers.
    pub fn asked_from_elsewhere(&self, node: &str, address: IpAddr) {
        self.watcher.answers_asked(node, address);
    }

    /// What on disk the answers of a node are made of.
    #[must_use]
    pub fn place(snapshot: &Snapshot, node: &str) -> PathBuf {
        let image = image_of(snapshot, node).ok();
        let template =
            image.and_then(|image| image.get(col::linuximage::TEMPLATE).map(|path| path.to_string()));
        dawn_plan::local_path(snapshot, template.as_deref().unwrap_or(dawn_deploy::LOCAL_DIRECTORY))
    }

    /// Whether the answers of a node can be rendered.
    ///
    /// # Errors
    /// The reason, with what to do.
    pub fn check(&self, snapshot: &Snapshot, here: Surroundings<'_>, node: &str) -> Result<(), Unready> {
        let part = part_named(snapshot, node, None)?;
        render(snapshot, here, node, part, &self.templates, Access::Pool).map(|_| ()).map_err(Unready::from)
    }
}

/// A file that a node's installer would get, with the secrets masked. Without a name it is the one with the
/// answers.
///
/// # Errors
/// The reason, with what to do.
pub fn preview(
    snapshot: &Snapshot,
    here: Surroundings<'_>,
    node: &str,
    file: Option<&str>,
) -> Result<RenderedFile, Unready> {
    let part = part_named(snapshot, node, file)?;
    let answers = render(snapshot, here, node, part, &Templates::default(), Access::Pool)?;
    let values = answers.text.values().iter().map(|value| RenderedValue {
        file: value.file.clone(),
        line: value.line,
        directive: value.directive.clone(),
        source: value.source.clone(),
        value: value.shown.clone(),
    });
    Ok(RenderedFile {
        template: answers.template,
        text: answers.text.masked(),
        values: values.collect(),
        unknown: answers.text.unknown().to_vec(),
    })
}

fn render(
    snapshot: &Snapshot,
    here: Surroundings<'_>,
    node: &str,
    part: AnswerPart,
    templates: &Templates,
    access: Access,
) -> Result<Answers, DeployError> {
    let files = templates.files(snapshot, access);
    let hash = |text: &str| RootPassword::from_table(text).shadow_field(node).map(Secret::new);
    dawn_deploy::render(&Job { snapshot, node, here, files: &files, hash: &hash }, part)
}

/// The file of a name; `None` is the one with the answers.
fn part_named(snapshot: &Snapshot, node: &str, file: Option<&str>) -> Result<AnswerPart, Unready> {
    let image = image_of(snapshot, node)?;
    if image.provmethod().is_none_or(|method| &**method != "install") {
        return Err(Unready::NotInstalled { node: node.to_owned(), image: image.name.to_string() });
    }
    let installer = installer_of(&image)?;
    let answers = [AnswerPart::Whole, AnswerPart::UserData].into_iter().find(|part| part.is_of(installer));
    let part = match file {
        None => answers,
        Some(name) if name == node => answers,
        Some(name) => AnswerPart::named(name).filter(|part| part.is_of(installer)),
    };
    part.ok_or_else(|| {
        let asked = match AnswerPart::UserData.is_of(installer) {
            true => "user-data, meta-data and vendor-data",
            false => node,
        };
        let file = file.unwrap_or_default().to_owned();
        Unready::NotAsked { node: node.to_owned(), file, asked: asked.to_owned() }
    })
}

fn read_or_make_key(path: &Path) -> io::Result<[u8; 16]> {
    match std::fs::read(path) {
        Ok(bytes) => bytes.try_into().map_err(|_| io::Error::other("it is not 16 bytes long")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let mut key = [0; 16];
            getrandom::fill(&mut key).map_err(io::Error::other)?;
            whole::write(path, &key, 0o600).map(|()| key)
        }
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dawn_cluster::Model;

    #[test]
    fn a_token_counts_for_some_minutes_and_the_key_stays() {
        let dir = tempfile::tempdir().unwrap();
        let watcher = Arc::new(Watcher::new(Arc::new(Model::in_memory().unwrap()), Arc::default()));
        let answers = InstallAnswers::open(dir.path(), Arc::clone(&watcher));
        let file = |node: &str, token: &str| AnswerFile {
            node: node.to_owned(),
            part: AnswerPart::Whole,
            token: token.to_owned(),
        };
        for (node, token, now_s, expected) in [
            ("cn1", "a", 1000, true),
            ("cn1", "a", 1000 + READ_AGAIN_S, true),
            ("cn1", "a", 1001 + READ_AGAIN_S, false),
            ("cn2", "a", 1001 + READ_AGAIN_S, true),
            ("cn1", "b", 1001 + READ_AGAIN_S, true),
        ] {
            assert_eq!(
                answers.use_token(&file(node, token), now_s).is_ok(),
                expected,
                "{node} {token} {now_s}"
            );
        }
        assert_eq!(answers.use_token(&file("cn3", "c"), 100_000), Ok(()));
        assert_eq!(answers.used.lock().unwrap().len(), 1, "what is too old to count is forgotten");
        let key = std::fs::read(dir.path().join(KEY_FILE)).unwrap();
        drop(InstallAnswers::open(dir.path(), watcher));
        assert_eq!(std::fs::read(dir.path().join(KEY_FILE)).unwrap(), key);
    }
}
