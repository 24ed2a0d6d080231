//! Fixed changes that make an installed tree a network-booted one.
//!
//! `/init` has mounted the root and holds the DHCP lease when systemd starts, so nothing may mount a root
//! again or take the interface down. What identifies one machine (machine-id, host name, ssh host keys) is
//! taken out, as all nodes share the tree. Works on the new tree under construction, never on one in use;
//! paths are resolved inside the tree without following links out of it.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use dawn_serving::beneath::{Beneath, Kind};

use super::{GenimageError, file_error};
use crate::image::ImageDef;
use crate::password;

const SSH_HOSTKEYS: &str = include_str!("../../share/ssh-hostkeys");

const FSTAB: &str = "# The root comes from the network and is mounted before systemd starts.\n";
const RESOLV_CONF: &str = "# Written at boot from the DHCP lease.\n";
const HOSTS: &str = "127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n";
const LOCALE: &str = "LANG=C.UTF-8\n";
/// If networkd is used: leave the boot interface configured and keep its address, because the root depends on
/// it.
const NETWORKD: &str = "[Match]\nType=ether\n\n[Network]\nDHCP=yes\nKeepConfiguration=yes\n\n\
                        [DHCPv4]\nSendRelease=no\nUseMTU=yes\n";
const NETWORK_MANAGER: &str = "[device-dawn]\nmatch-device=type:ethernet\nkeep-configuration=yes\n";
const SSH_DROPIN: &str = "[Service]\nExecStartPre=\nExecStartPre=/usr/lib/dawn/ssh-hostkeys\n\
                          ExecStartPre=/usr/sbin/sshd -t\n";
/// Units that a node does without, with the reasons.
const MASKED_UNITS: &str = include_str!("../../share/masked-units");
const UNITS: &str = "etc/systemd/system";
const GENERATORS: &str = "etc/systemd/system-generators";
/// systemd rebuilds what packages have built already unless these are younger than `/usr`
/// (`systemd-update-done.service(8)`).
const UPDATED: [&str; 2] = ["etc/.updated", "var/.updated"];
/// Below the installation directory: the keys that nodes accept for root, written by `dawn init`.
const AUTHORIZED_KEYS: &str = "postscripts/_ssh/authorized_keys";
/// Directories that a statelite boot mounts on.
const EMPTY_DIRS: [&str; 4] = [".statelite", ".sllocal/localmnt", ".sllocal/log", "xcatpost"];

/// Mode and group of `/etc/shadow` on Debian, where the group `shadow` may read it, and elsewhere.
const SHADOW_OF_DEBIAN: (u32, u32) = (0o640, 42);
const SHADOW: (u32, u32) = (0, 0);
/// A shared root cannot store SELinux labels.
const SELINUX: &str = "SELINUX=disabled\nSELINUXTYPE=targeted\n";

/// Change the tree at `rootimg`.
pub(super) fn apply(def: &ImageDef, rootimg: &Path) -> Result<(), GenimageError> {
    let tree = Dir::open(rootimg)?;
    for dir in EMPTY_DIRS {
        tree.make_dir(dir, 0o755)?;
    }
    tree.write("etc/fstab", 0o644, FSTAB)?;
    tree.write("etc/resolv.conf", 0o644, RESOLV_CONF)?;
    // A container image may be of any distribution, so the tree says what it is.
    let is_debian = tree.has("etc/debian_version");
    tree.write(if is_debian { "etc/default/locale" } else { "etc/locale.conf" }, 0o644, LOCALE)?;
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
    for unit in masked_units() {
        let directory = if unit.ends_with("-generator") { GENERATORS } else { UNITS };
        tree.link(&format!("{directory}/{unit}"), "/dev/null")?;
    }
    for path in UPDATED {
        tree.write(path, 0o644, "")?;
    }
    if tree.has("etc/selinux/config") {
        tree.write("etc/selinux/config", 0o644, SELINUX)?;
    }
    own_ssh_keys(&tree, if is_debian { "ssh" } else { "sshd" })?;
    root_keys(def, &tree)?;
    if let Some(hash) = &def.root_hash {
        let text = password::with_root(&tree.read("etc/shadow"), hash);
        let (mode, group) = if is_debian { SHADOW_OF_DEBIAN } else { SHADOW };
        tree.write_of("etc/shadow", mode, &text, Some(group))?;
    }
    Ok(())
}

fn masked_units() -> impl Iterator<Item = &'static str> {
    let lines = MASKED_UNITS.lines().filter(|line| !line.starts_with('#'));
    lines.filter_map(|line| line.split_whitespace().next())
}

/// The keys of the management node come in as root; a list that a package brought is kept before them.
fn root_keys(def: &ImageDef, tree: &Dir) -> Result<(), GenimageError> {
    let Ok(keys) = fs::read_to_string(def.installdir.join(AUTHORIZED_KEYS)) else { return Ok(()) };
    let path = "root/.ssh/authorized_keys";
    let present = tree.read(path);
    let mut lines: Vec<&str> = present.lines().collect();
    let new =
        keys.lines().filter(|key| !key.trim().is_empty() && !present.lines().any(|known| known == *key));
    lines.extend(new);
    if lines.is_empty() {
        return Ok(());
    }
    tree.make_dir("root", 0o700)?;
    tree.make_dir("root/.ssh", 0o700)?;
    tree.write(path, 0o600, &(lines.join("\n") + "\n"))
}

/// A host key in a shared image would be no secret: nodes make their own.
fn own_ssh_keys(tree: &Dir, unit: &str) -> Result<(), GenimageError> {
    if !tree.has("usr/sbin/sshd") {
        return Ok(());
    }
    for name in tree.top.names(Path::new("etc/ssh")).unwrap_or_default() {
        if name.to_string_lossy().starts_with("ssh_host_") {
            tree.remove(&format!("etc/ssh/{}", name.to_string_lossy()))?;
        }
    }
    tree.write("usr/lib/dawn/ssh-hostkeys", 0o755, SSH_HOSTKEYS)?;
    tree.write(&format!("etc/systemd/system/{unit}.service.d/50-dawn.conf"), 0o644, SSH_DROPIN)
}

/// A tree whose entries are made and replaced, never followed when they are links.
struct Dir {
    top: Beneath,
}

impl Dir {
    fn open(path: &Path) -> Result<Self, GenimageError> {
        Ok(Self { top: Beneath::open(path).map_err(|source| file_error(path, source))? })
    }

    fn at(&self, path: &str) -> PathBuf {
        self.top.path().join(path)
    }

    fn has(&self, path: &str) -> bool {
        matches!(self.top.find(Path::new(path)), Ok(Some(_)))
    }

    /// The text of a regular file; empty when there is none, or a link to one.
    fn read(&self, path: &str) -> String {
        match self.top.kind(Path::new(path)) {
            Ok(Some(Kind::File)) => {
                let bytes = self.top.read(Path::new(path)).unwrap_or_default();
                String::from_utf8_lossy(&bytes).into_owned()
            }
            _ => String::new(),
        }
    }

    /// Directories that are there keep their mode.
    fn make_dir(&self, path: &str, mode: u32) -> Result<(), GenimageError> {
        let made = self.top.make_directories(Path::new(path), mode);
        made.map(drop).map_err(|source| file_error(&self.at(path), source))
    }

    /// Replace the entry at `path` by a file; a link there is replaced and not written through.
    fn write(&self, path: &str, mode: u32, text: &str) -> Result<(), GenimageError> {
        self.write_of(path, mode, text, None)
    }

    /// [`Dir::write`] of a file that belongs to a group.
    fn write_of(&self, path: &str, mode: u32, text: &str, group: Option<u32>) -> Result<(), GenimageError> {
        self.parent(path)?;
        let fill = |file: &mut fs::File| {
            file.write_all(text.as_bytes())?;
            if group.is_some() {
                // Without root's rights, as in tests, it stays with the caller's group.
                let _ = std::os::unix::fs::fchown(&*file, Some(0), group);
            }
            Ok(())
        };
        let written = self.top.write_with(Path::new(path), mode, fill);
        written.map_err(|source| file_error(&self.at(path), source))
    }

    fn link(&self, path: &str, target: &str) -> Result<(), GenimageError> {
        self.parent(path)?;
        self.remove(path)?;
        let made = self.top.symlink(Path::new(target), Path::new(path));
        made.map_err(|source| file_error(&self.at(path), source))
    }

    fn parent(&self, path: &str) -> Result<(), GenimageError> {
        path.rsplit_once('/').map_or(Ok(()), |(dir, _)| self.make_dir(dir, 0o755))
    }

    fn remove(&self, path: &str) -> Result<(), GenimageError> {
        match self.top.remove_file(Path::new(path)) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                Err(file_error(&self.at(path), source))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    /// A unit without a reason, or one that no longer exists under that name, is a mistake of the list.
    #[test]
    fn every_masked_unit_has_a_reason() {
        let lines = MASKED_UNITS.lines().filter(|line| !line.starts_with('#'));
        for line in lines {
            let (unit, reason) = line.split_once("  ").expect("a unit and a reason");
            let kind = unit.rsplit_once(['.', '-']).map(|(_, kind)| kind);
            assert!(matches!(kind, Some("timer" | "service" | "generator")), "{line}");
            assert!(reason.trim().len() > 10, "{line}");
        }
        assert!(masked_units().any(|unit| unit == "systemd-gpt-auto-generator"));
    }

    #[test]
    fn root_lets_the_management_node_in() {
        let top = tempfile::tempdir().expect("a directory");
        let (install, tree) = (top.path().join("install"), top.path().join("tree"));
        fs::create_dir_all(install.join("postscripts/_ssh")).expect("a directory");
        fs::create_dir_all(tree.join("root")).expect("a directory");
        let def = ImageDef { installdir: install.clone(), ..ImageDef::default() };
        let list = tree.join("root/.ssh/authorized_keys");
        root_keys(&def, &Dir::open(&tree).expect("a tree")).expect("no keys");
        assert!(!list.exists());
        fs::write(install.join(AUTHORIZED_KEYS), "ssh-rsa AAAA root\n").expect("a file");
        root_keys(&def, &Dir::open(&tree).expect("a tree")).expect("keys");
        let mode = |path: &Path| fs::metadata(path).expect("there").permissions().mode() & 0o7777;
        assert_eq!((mode(&list), mode(&tree.join("root/.ssh"))), (0o600, 0o700));
        fs::write(&list, "ssh-rsa BBBB package\n").expect("a file");
        root_keys(&def, &Dir::open(&tree).expect("a tree")).expect("keys");
        root_keys(&def, &Dir::open(&tree).expect("a tree")).expect("again");
        assert_eq!(fs::read_to_string(&list).expect("a list"), "ssh-rsa BBBB package\nssh-rsa AAAA root\n");
        // Targets of links of the tree are neither read nor written.
        let outside = top.path().join("outside");
        fs::write(&outside, "secret\n").expect("a file");
        fs::remove_file(&list).expect("removed");
        symlink(&outside, &list).expect("a link");
        root_keys(&def, &Dir::open(&tree).expect("a tree")).expect("keys");
        assert_eq!(fs::read_to_string(&list).expect("a list"), "ssh-rsa AAAA root\n");
        assert_eq!(fs::read_to_string(&outside).expect("text"), "secret\n");
    }

    /// A tree whose directory leads to the server's own, for every directory that is written in.
    #[test]
    fn no_link_of_the_tree_leads_a_change_out() {
        for hostile in
            ["etc", "etc/systemd", "etc/default", "root", "root/.ssh", "var/lib/dbus", "usr/lib/dawn"]
        {
            let top = tempfile::tempdir().expect("a directory");
            let (install, tree, outside) =
                (top.path().join("install"), top.path().join("tree"), top.path().join("outside"));
            for dir in ["postscripts/_ssh"].map(|dir| install.join(dir)) {
                fs::create_dir_all(dir).expect("a directory");
            }
            fs::write(install.join(AUTHORIZED_KEYS), "ssh-rsa AAAA root\n").expect("a file");
            fs::create_dir_all(tree.join("usr/sbin")).expect("a directory");
            fs::create_dir_all(tree.join("var/lib")).expect("a directory");
            fs::write(tree.join("usr/sbin/sshd"), "").expect("a file");
            fs::create_dir(&outside).expect("a directory");
            for name in ["shadow", "ssh_host_rsa_key", "authorized_keys"] {
                fs::write(outside.join(name), "the server's").expect("a file");
            }
            let link = tree.join(hostile);
            fs::create_dir_all(link.parent().expect("a parent")).expect("a directory");
            symlink(&outside, &link).expect("a link");
            if hostile != "etc" {
                fs::create_dir_all(tree.join("etc")).expect("a directory");
                fs::write(tree.join("etc/debian_version"), "12\n").expect("a file");
            }
            let def =
                ImageDef { installdir: install, root_hash: Some("$6$x$y".to_owned()), ..ImageDef::default() };
            let refused = apply(&def, &tree).expect_err(hostile);
            assert!(refused.to_string().contains("symbolic link"), "{hostile}: {refused}");
            let mut left: Vec<_> = fs::read_dir(&outside)
                .expect("a directory")
                .map(|entry| fs::read_to_string(entry.expect("an entry").path()).expect("a text"))
                .collect();
            left.dedup();
            assert_eq!(
                (left.len(), fs::read_dir(&outside).expect("a directory").count()),
                (1, 3),
                "{hostile}"
            );
        }
    }
}
