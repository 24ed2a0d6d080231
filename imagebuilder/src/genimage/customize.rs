//! Fixed changes that make an installed tree a network-booted one.
//!
//! `/init` has mounted the root and holds the DHCP lease when systemd starts, so nothing may mount a root
//! again or take the interface down. What identifies one machine (machine-id, host name, ssh host keys) is
//! taken out, as all nodes share the tree. Works on the new tree under construction, never on one in use;
//! paths are resolved inside the tree without following links out of it.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use super::{GenimageError, file_error};
use crate::image::ImageDef;
use crate::password;

const SSH_HOSTKEYS: &str = include_str!("../../share/ssh-hostkeys");

const FSTAB: &str = "# The root comes from the network and is mounted before systemd starts.\n";
const RESOLV_CONF: &str = "# Written at boot from the DHCP lease.\n";
const HOSTS: &str = "127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n";
const LOCALE: &str = "LANG=C.UTF-8\n";
/// If networkd is used: take the boot interface as it is and keep its address, the root hangs on it.
const NETWORKD: &str = "[Match]\nType=ether\n\n[Network]\nDHCP=yes\nKeepConfiguration=yes\n\n\
                        [DHCPv4]\nSendRelease=no\nUseMTU=yes\n";
const NETWORK_MANAGER: &str = "[device-dawn]\nmatch-device=type:ethernet\nkeep-configuration=yes\n";
const SSH_DROPIN: &str = "[Service]\nExecStartPre=\nExecStartPre=/usr/lib/dawn/ssh-hostkeys\n\
                          ExecStartPre=/usr/sbin/sshd -t\n";
/// Work for a machine that keeps its disk; on a node it costs memory and is gone at the next boot.
const MASKED: [&str; 6] = [
    "apt-daily.timer",
    "apt-daily-upgrade.timer",
    "dpkg-db-backup.timer",
    "e2scrub_all.timer",
    "e2scrub_reap.service",
    "fstrim.timer",
];
/// Below the installation directory: the keys that nodes let in as root, written by `dawn init`.
const AUTHORIZED_KEYS: &str = "postscripts/_ssh/authorized_keys";
/// Directories that a statelite boot mounts on.
const EMPTY_DIRS: [&str; 4] = [".statelite", ".sllocal/localmnt", ".sllocal/log", "xcatpost"];

/// Change the tree at `rootimg`.
pub(super) fn apply(def: &ImageDef, rootimg: &Path) -> Result<(), GenimageError> {
    let tree = Dir(rootimg);
    for dir in EMPTY_DIRS {
        tree.make_dir(dir)?;
    }
    tree.write("etc/fstab", 0o644, FSTAB)?;
    tree.write("etc/resolv.conf", 0o644, RESOLV_CONF)?;
    tree.write("etc/default/locale", 0o644, LOCALE)?;
    tree.write("etc/machine-id", 0o444, "")?;
    // Empty, so that a node of a shared root has something to mount its own on.
    tree.write("etc/hostname", 0o644, "")?;
    if !tree.has("etc/hosts") {
        tree.write("etc/hosts", 0o644, HOSTS)?;
    }
    tree.remove("etc/apt/apt.conf.d/99mmdebstrap")?;
    tree.remove("etc/dpkg/dpkg.cfg.d/99mmdebstrap")?;
    if tree.has("var/lib/dbus") {
        tree.link("var/lib/dbus/machine-id", "/etc/machine-id")?;
    }
    tree.write("etc/systemd/network/50-dawn.network", 0o644, NETWORKD)?;
    if tree.has("etc/NetworkManager") {
        tree.write("etc/NetworkManager/conf.d/50-dawn.conf", 0o644, NETWORK_MANAGER)?;
    }
    for unit in MASKED {
        tree.link(&format!("etc/systemd/system/{unit}"), "/dev/null")?;
    }
    own_ssh_keys(&tree)?;
    root_keys(def, &tree)?;
    if let Some(hash) = &def.root_hash {
        let shadow = fs::read(rootimg.join("etc/shadow")).unwrap_or_default();
        let text = password::with_root(&String::from_utf8_lossy(&shadow), hash);
        tree.write("etc/shadow", 0o640, &text)?;
    }
    Ok(())
}

/// The keys of the management node come in as root; a list that a package brought is kept before them.
fn root_keys(def: &ImageDef, tree: &Dir<'_>) -> Result<(), GenimageError> {
    let Ok(keys) = fs::read_to_string(def.installdir.join(AUTHORIZED_KEYS)) else { return Ok(()) };
    let path = "root/.ssh/authorized_keys";
    let present = if tree.is_file(path) {
        fs::read_to_string(tree.0.join(path)).unwrap_or_default()
    } else {
        String::new()
    };
    let mut lines: Vec<&str> = present.lines().collect();
    let new =
        keys.lines().filter(|key| !key.trim().is_empty() && !present.lines().any(|known| known == *key));
    lines.extend(new);
    if lines.is_empty() {
        return Ok(());
    }
    tree.write(path, 0o600, &(lines.join("\n") + "\n"))?;
    let dir = tree.0.join("root/.ssh");
    fs::set_permissions(&dir, Permissions::from_mode(0o700)).map_err(|source| file_error(&dir, source))
}

/// A host key in a shared image would be no secret: nodes make their own.
fn own_ssh_keys(tree: &Dir<'_>) -> Result<(), GenimageError> {
    if !tree.has("usr/sbin/sshd") {
        return Ok(());
    }
    for entry in fs::read_dir(tree.0.join("etc/ssh")).into_iter().flatten().flatten() {
        let name = entry.file_name();
        if name.to_string_lossy().starts_with("ssh_host_") {
            tree.remove(&format!("etc/ssh/{}", name.to_string_lossy()))?;
        }
    }
    tree.write("usr/lib/dawn/ssh-hostkeys", 0o755, SSH_HOSTKEYS)?;
    tree.write("etc/systemd/system/ssh.service.d/50-dawn.conf", 0o644, SSH_DROPIN)
}

/// A tree whose entries are made and replaced, never followed when they are links.
struct Dir<'a>(&'a Path);

impl Dir<'_> {
    /// A regular file, and no link to one.
    fn is_file(&self, path: &str) -> bool {
        fs::symlink_metadata(self.0.join(path)).is_ok_and(|found| found.is_file())
    }

    fn has(&self, path: &str) -> bool {
        fs::symlink_metadata(self.0.join(path)).is_ok()
    }

    fn make_dir(&self, path: &str) -> Result<(), GenimageError> {
        let mut at = self.0.to_owned();
        for part in path.split('/') {
            at.push(part);
            match fs::create_dir(&at) {
                Ok(()) => {
                    let mode = Permissions::from_mode(0o755);
                    fs::set_permissions(&at, mode).map_err(|source| file_error(&at, source))?;
                }
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
                Err(source) => return Err(file_error(&at, source)),
            }
        }
        Ok(())
    }

    /// Replace whatever is at `path` by a file; a link there is replaced and not written through.
    fn write(&self, path: &str, mode: u32, text: &str) -> Result<(), GenimageError> {
        self.parent(path)?;
        self.remove(path)?;
        let at = self.0.join(path);
        fs::write(&at, text).map_err(|source| file_error(&at, source))?;
        if path == "etc/shadow" {
            // Group shadow, as Debian has it.
            let _ = std::os::unix::fs::chown(&at, Some(0), Some(42));
        }
        fs::set_permissions(&at, Permissions::from_mode(mode)).map_err(|source| file_error(&at, source))
    }

    fn link(&self, path: &str, target: &str) -> Result<(), GenimageError> {
        self.parent(path)?;
        self.remove(path)?;
        let at = self.0.join(path);
        symlink(target, &at).map_err(|source| file_error(&at, source))
    }

    fn parent(&self, path: &str) -> Result<(), GenimageError> {
        path.rsplit_once('/').map_or(Ok(()), |(dir, _)| self.make_dir(dir))
    }

    fn remove(&self, path: &str) -> Result<(), GenimageError> {
        let at = self.0.join(path);
        match fs::remove_file(&at) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => Err(file_error(&at, source)),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_lets_the_management_node_in() {
        let top = tempfile::tempdir().expect("a directory");
        let (install, tree) = (top.path().join("install"), top.path().join("tree"));
        fs::create_dir_all(install.join("postscripts/_ssh")).expect("a directory");
        fs::create_dir_all(tree.join("root")).expect("a directory");
        let def = ImageDef { installdir: install.clone(), ..ImageDef::default() };
        let list = tree.join("root/.ssh/authorized_keys");
        root_keys(&def, &Dir(&tree)).expect("no keys");
        assert!(!list.exists());
        fs::write(install.join(AUTHORIZED_KEYS), "ssh-rsa AAAA root\n").expect("a file");
        root_keys(&def, &Dir(&tree)).expect("keys");
        let mode = |path: &Path| fs::metadata(path).expect("there").permissions().mode() & 0o7777;
        assert_eq!((mode(&list), mode(&tree.join("root/.ssh"))), (0o600, 0o700));
        fs::write(&list, "ssh-rsa BBBB package\n").expect("a file");
        root_keys(&def, &Dir(&tree)).expect("keys");
        root_keys(&def, &Dir(&tree)).expect("again");
        assert_eq!(fs::read_to_string(&list).expect("a list"), "ssh-rsa BBBB package\nssh-rsa AAAA root\n");
        // What is behind a link of the tree is not read and not written.
        let outside = top.path().join("outside");
        fs::write(&outside, "secret\n").expect("a file");
        fs::remove_file(&list).expect("removed");
        symlink(&outside, &list).expect("a link");
        root_keys(&def, &Dir(&tree)).expect("keys");
        assert_eq!(fs::read_to_string(&list).expect("a list"), "ssh-rsa AAAA root\n");
        assert_eq!(fs::read_to_string(&outside).expect("text"), "secret\n");
    }
}
