//! ssh keys of a cluster: root's own pair, the list of keys that nodes accept, the host keys that nodes ask
//! for, and the pair of consoles over ssh.
//!
//! `ssh-keygen` makes them, as ssh's own program knows best which forms sshd reads. Existing files are never
//! replaced. Without the program nothing is made and a warning says what will not work.

use anyhow::{Context, Result};
use dawn_bootd::consoles::ssh_directory;
use dawn_hardware::console::program::KEY;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Makes the keys; argument list only, no shell.
const KEYGEN: &str = "ssh-keygen";
/// Kinds of host keys that `getcredentials` hands out.
const HOST_KEYS: [&str; 3] = ["rsa", "ecdsa", "ed25519"];
/// Bits of root's RSA key, as ssh-keygen(1) has them without an option today.
const RSA_BITS: &str = "3072";
/// Below the installation directory: the keys that nodes accept for root. Images and post scripts take it
/// from here.
pub(crate) const AUTHORIZED_KEYS: &str = "postscripts/_ssh/authorized_keys";
/// Below the installation directory: the authority of the cluster, by which nodes know the daemon.
const CA_CERTIFICATE: &str = "postscripts/ca/ca-cert.pem";

/// Makes what is missing. The lines say what was made, or what could not be and why that matters.
///
/// # Errors
/// A directory or file that cannot be written.
pub(crate) fn ensure(data: &Path, home: &Path, installdir: &Path, ca: &Path) -> Result<Vec<String>> {
    let mut lines = Vec::new();
    let hostkeys = data.join("hostkeys");
    directory(&hostkeys, 0o700)?;
    for kind in HOST_KEYS {
        let made = pair(&hostkeys.join(format!("ssh_host_{kind}_key")), kind, "host key of the nodes");
        lines.extend(made?);
    }
    let consoles = ssh_directory(data);
    directory(&consoles, 0o700)?;
    lines.extend(pair(&consoles.join(KEY), "ed25519", "ssh key of consoles")?);
    let own = home.join(".ssh");
    directory(&own, 0o700)?;
    lines.extend(pair(&own.join("id_rsa"), "rsa", "root's ssh key")?);
    publish(&installdir.join(AUTHORIZED_KEYS), public_keys(&own)?.as_bytes())?;
    publish(&installdir.join(CA_CERTIFICATE), &std::fs::read(ca).context("cannot read the authority")?)?;
    Ok(lines)
}

/// A key pair without a passphrase; nothing if it is there.
fn pair(path: &Path, kind: &str, what: &str) -> Result<Option<String>> {
    if path.exists() {
        return Ok(None);
    }
    let mut command = Command::new(KEYGEN);
    command.args(["-q", "-t", kind, "-N", "", "-C", "root@cluster", "-f"]).arg(path);
    if kind == "rsa" {
        command.args(["-b", RSA_BITS]);
    }
    match command.stdin(Stdio::null()).output() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Some(format!(
            "Warning: no {KEYGEN} on this machine, so there is no {what} ({}). \
             Install the package `openssh-client` and run dawn init again.",
            path.display()
        ))),
        Err(error) => Err(error).with_context(|| format!("cannot start {KEYGEN}")),
        Ok(output) if output.status.success() => Ok(Some(format!("made {what}: {}", path.display()))),
        Ok(output) => {
            let reason = String::from_utf8_lossy(&output.stderr);
            anyhow::bail!("{KEYGEN} did not make {}: {}", path.display(), reason.trim())
        }
    }
}

/// All public keys of a user, one a line, sorted by file.
fn public_keys(directory: &Path) -> Result<String> {
    let listed =
        std::fs::read_dir(directory).with_context(|| format!("cannot list {}", directory.display()))?;
    let mut files: Vec<PathBuf> = listed.flatten().map(|entry| entry.path()).collect();
    files.retain(|path| {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        name.starts_with("id_") && name.ends_with(".pub")
    });
    files.sort();
    let mut text = String::new();
    for file in files {
        let key =
            std::fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
        text.push_str(key.trim_end());
        text.push('\n');
    }
    Ok(text)
}

fn directory(path: &Path, mode: u32) -> Result<()> {
    let made = std::fs::DirBuilder::new().recursive(true).mode(mode).create(path);
    made.with_context(|| format!("cannot make the directory {}", path.display()))
}

/// A file that nodes may fetch, replaced as a whole; one of the same content stays.
fn publish(path: &Path, content: &[u8]) -> Result<()> {
    if std::fs::read(path).is_ok_and(|present| present == content) {
        return Ok(());
    }
    let parent = path.parent().context("a path without a directory")?;
    directory(parent, 0o755)?;
    dawn_serving::whole::write(path, content, 0o644)
        .with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    /// Needs the Debian package `openssh-client`.
    #[test]
    fn keys_are_made_once_and_published() {
        let top = tempfile::tempdir().expect("a directory");
        let (data, home, install) = (top.path().join("d"), top.path().join("h"), top.path().join("i"));
        let ca = top.path().join("ca.pem");
        std::fs::write(&ca, "CA").expect("a file");
        let lines = ensure(&data, &home, &install, &ca).expect("keys");
        assert_eq!(lines.len(), 5, "{lines:?}");
        assert!(lines.iter().all(|line| line.starts_with("made ")), "{lines:?}");
        let mode = |path: PathBuf| std::fs::metadata(path).expect("there").permissions().mode() & 0o777;
        assert_eq!(mode(data.join("hostkeys")), 0o700);
        assert_eq!(mode(data.join("hostkeys/ssh_host_ed25519_key")), 0o600);
        assert_eq!(mode(data.join("consoles/id_ed25519")), 0o600);
        assert_eq!(mode(install.join(AUTHORIZED_KEYS)), 0o644);
        let own = std::fs::read_to_string(home.join(".ssh/id_rsa.pub")).expect("a key");
        assert_eq!(std::fs::read_to_string(install.join(AUTHORIZED_KEYS)).expect("a list"), own);
        assert_eq!(std::fs::read_to_string(install.join(CA_CERTIFICATE)).expect("a copy"), "CA");
        // The administrator's own key is accepted, too; nothing is made again.
        std::fs::write(home.join(".ssh/id_ed25519.pub"), "ssh-ed25519 AAAA me\n").expect("a file");
        assert!(ensure(&data, &home, &install, &ca).expect("again").is_empty());
        let all = std::fs::read_to_string(install.join(AUTHORIZED_KEYS)).expect("a list");
        assert_eq!(all, format!("ssh-ed25519 AAAA me\n{own}"));
        assert_eq!(std::fs::read_to_string(home.join(".ssh/id_rsa.pub")).expect("a key"), own);
    }
}
