//! What a user who is not root may do, and may not.

use std::fs::{self, OpenOptions, Permissions};
use std::io::ErrorKind;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;

use anyhow::{Context, Result, ensure};

/// As root: files of root and of `user` to try things on.
pub(crate) fn prepare(dir: &Path, user: u32) -> Result<()> {
    let set = |path: &Path, mode: u32| fs::set_permissions(path, Permissions::from_mode(mode));
    set(dir, 0o755)?;
    fs::create_dir(dir.join("sticky"))?;
    set(&dir.join("sticky"), 0o1777)?;
    for (name, mode, owner, group) in [
        ("secret", 0o600, 0, 0),
        ("public", 0o644, 0, 0),
        ("shared", 0o660, 0, user),
        ("own", 0o600, user, user),
        ("sticky/root", 0o666, 0, 0),
        ("suid", 0o4777, 0, 0),
    ] {
        let path = dir.join(name);
        fs::write(&path, name)?;
        chown(&path, Some(owner), Some(group))?;
        set(&path, mode)?;
    }
    Ok(())
}

/// As the user.
pub(crate) fn main(dir: &Path) -> Result<()> {
    let at = |name: &str| dir.join(name);
    let append = |name: &str| OpenOptions::new().append(true).open(at(name)).map(drop);
    let refused = |what: &str, result: std::io::Result<()>| {
        let denied = result.as_ref().is_err_and(|e| e.kind() == ErrorKind::PermissionDenied);
        ensure!(denied, "{what}: {result:?}");
        Ok(())
    };
    refused("reads a secret", fs::read(at("secret")).map(drop))?;
    refused("writes what is public", append("public"))?;
    refused("creates in root's directory", fs::write(at("new"), ""))?;
    refused("removes from root's directory", fs::remove_file(at("public")))?;
    refused("removes root's file from a sticky directory", fs::remove_file(at("sticky/root")))?;
    refused("renames it", fs::rename(at("sticky/root"), at("sticky/mine")))?;
    refused(
        "changes the mode of root's file",
        fs::set_permissions(at("public"), Permissions::from_mode(0o666)),
    )?;
    refused("gives its file away", chown(at("own"), Some(0), None))?;
    fs::read(at("public")).context("reading what is public")?;
    append("shared").context("a file of the user's group")?;
    fs::set_permissions(at("own"), Permissions::from_mode(0o400)).context("the mode of an own file")?;
    refused("writes a file it made read-only", append("own"))?;
    fs::write(at("sticky/own"), "mine").context("a file in a sticky directory")?;
    ensure!(fs::metadata(at("sticky/own"))?.uid() == fs::metadata(at("own"))?.uid(), "somebody else's file");
    fs::remove_file(at("sticky/own")).context("removing an own file")?;
    fs::write(at("suid"), "changed").context("a file open to all")?;
    let mode = fs::metadata(at("suid"))?.mode() & 0o7777;
    ensure!(mode & 0o4000 == 0, "writing as a user left the set-user-id bit: {mode:o}");
    Ok(())
}
