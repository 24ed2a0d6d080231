//! The Debian packages, by `dpkg-deb`.
//!
//! deb-control(5), deb-changelog(5) and Debian Policy chapters 5, 6 and 12 say what is in them. The package
//! depends on nothing: the executable is static, and the daemon reports missing programs.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use dawn_qemu::paths;
use dawn_qemu::process::run;

use super::stage::{Tree, Trees, read};
use super::{DESCRIPTION, MAINTAINER, NAMES_DESCRIPTION, NAMES_SUMMARY, REVISION, SUMMARY, VERSION};

/// What one package says about itself.
struct About {
    name: &'static str,
    architecture: &'static str,
    relations: String,
    summary: &'static str,
    description: &'static [&'static str],
    conffiles: &'static str,
    /// Maintainer scripts, files of `dist/deb`.
    scripts: &'static [&'static str],
}

/// Both packages into `out`.
pub(super) fn build(trees: &Trees, epoch: u64, out: &Path) -> Result<()> {
    let main = About {
        name: "dawn",
        architecture: "amd64",
        relations: "Recommends: ipxe, mmdebstrap, openssh-client\n\
                    Suggests: shim-signed, grub-efi-amd64-signed, qemu-system-x86\n"
            .to_owned(),
        summary: SUMMARY,
        description: DESCRIPTION,
        conffiles: "/etc/default/dawn\n",
        scripts: &["postinst", "prerm", "postrm"],
    };
    let names = About {
        name: "dawn-xcat-names",
        architecture: "all",
        relations: format!("Depends: dawn (>= {VERSION})\nConflicts: xcat-client\n"),
        summary: NAMES_SUMMARY,
        description: NAMES_DESCRIPTION,
        conffiles: "",
        scripts: &[],
    };
    package(&main, &trees.main, epoch, out)?;
    package(&names, &trees.names, epoch, out)
}

fn package(about: &About, tree: &Tree, epoch: u64, out: &Path) -> Result<()> {
    let tree = tree.copy(tree.root.with_file_name(format!("deb-{}", about.name)))?;
    let overrides = paths::workspace().join("dist/deb").join(format!("{}.overrides", about.name));
    if overrides.exists() {
        tree.file(&format!("usr/share/lintian/overrides/{}", about.name), 0o644, &read(&overrides)?)?;
    }
    let doc = format!("usr/share/doc/{}", about.name);
    tree.packed(&format!("{doc}/changelog.Debian.gz"), changelog(about.name, epoch)?.as_bytes())?;
    let (bytes, sums) = (tree_bytes(&tree)?, digests(&tree)?);
    tree.file("DEBIAN/control", 0o644, control(about, bytes.div_ceil(1024)).as_bytes())?;
    tree.file("DEBIAN/md5sums", 0o644, sums.as_bytes())?;
    if !about.conffiles.is_empty() {
        tree.file("DEBIAN/conffiles", 0o644, about.conffiles.as_bytes())?;
    }
    for script in about.scripts {
        let text = read(&paths::workspace().join("dist/deb").join(script))?;
        tree.file(&format!("DEBIAN/{script}"), 0o755, &text)?;
    }
    let file = out.join(format!("{}_{VERSION}-{REVISION}_{}.deb", about.name, about.architecture));
    let mut dpkg = Command::new("dpkg-deb");
    dpkg.env("SOURCE_DATE_EPOCH", epoch.to_string()).args(["--root-owner-group", "-Zxz", "-b"]);
    run(dpkg.arg(&tree.root).arg(file)).map(drop)
}

fn control(about: &About, kibibytes: u64) -> String {
    let About { name, architecture, relations, summary, description, .. } = about;
    let description: String = description.iter().map(|line| format!(" {line}\n")).collect();
    format!(
        "Package: {name}\nVersion: {VERSION}-{REVISION}\nArchitecture: {architecture}\nMaintainer: {MAINTAINER}\n\
         Installed-Size: {kibibytes}\nSection: admin\nPriority: optional\n{relations}Description: {summary}\n{description}"
    )
}

fn changelog(name: &str, epoch: u64) -> Result<String> {
    let date = run(Command::new("date").env("LC_ALL", "C").args(["-u", "-R", "-d", &format!("@{epoch}")]))?;
    let date = date.trim();
    Ok(format!(
        "{name} ({VERSION}-{REVISION}) unstable; urgency=medium\n\n  * Release {VERSION}; its changes are in \
         /usr/share/doc/dawn/changelog.gz.\n\n -- {MAINTAINER}  {date}\n"
    ))
}

fn tree_bytes(tree: &Tree) -> Result<u64> {
    let size = |path: &String| {
        let path = tree.root.join(path.trim_start_matches('/'));
        let data =
            fs::symlink_metadata(&path).with_context(|| format!("cannot look at {}", path.display()))?;
        Ok(data.len())
    };
    tree.paths()?.iter().map(size).sum()
}

/// The digests that `dpkg --verify` compares with.
fn digests(tree: &Tree) -> Result<String> {
    let paths = tree.paths()?;
    let own = |path: &&str| *path != "etc/default/dawn" && !tree.root.join(path).is_symlink();
    let files: Vec<&str> = paths.iter().map(|path| path.trim_start_matches('/')).filter(own).collect();
    run(Command::new("md5sum").args(files).current_dir(&tree.root))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    /// What `prerm` prints before an upgrade, with stand-ins for the programs of a machine.
    fn upgrade(top: &Path, version: &str, dawn: &str, service: &str) -> String {
        fs::create_dir_all(top.join("bin")).unwrap();
        for (name, text) in [("dawn", dawn), ("systemctl", service)] {
            let file = top.join("bin").join(name);
            fs::write(&file, format!("#!/bin/sh\n{text}\n")).unwrap();
            fs::set_permissions(&file, PermissionsExt::from_mode(0o755)).unwrap();
        }
        let mut script = Command::new("sh");
        script.arg(paths::workspace().join("dist/deb/prerm")).args(["upgrade", version]);
        script.env("PATH", format!("{}:/usr/bin:/bin", top.join("bin").display())).env("DPKG_ROOT", top);
        let output = script.output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    #[test]
    fn an_upgrade_makes_a_backup_of_a_running_service_and_never_fails() {
        let top = tempfile::tempdir().unwrap();
        let top = top.path();
        let backups = top.join("var/lib/dawn/backups");
        let (writes, fails) = ("[ \"$1\" = backup ] && mkdir \"$2\"", "exit 1");
        assert_eq!(upgrade(top, "0.2", writes, "exit 3"), "");
        assert!(!backups.exists());
        for number in 1..=4 {
            let said = upgrade(top, &format!("0.{number}"), writes, "exit 0");
            assert!(said.contains("of before the upgrade are in"), "{said}");
            // Which is older is seen by the time of the directory.
            for entry in fs::read_dir(&backups).unwrap().flatten() {
                let name = entry.file_name().to_string_lossy().into_owned();
                let age = 10 * u64::from(9 - name.as_bytes()[9].wrapping_sub(b'0'));
                let time = std::time::SystemTime::now() - std::time::Duration::from_secs(age);
                fs::File::open(entry.path()).unwrap().set_modified(time).unwrap();
            }
        }
        let mut names: Vec<String> = fs::read_dir(&backups)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().to_string_lossy()[..10].to_owned())
            .collect();
        names.sort();
        assert_eq!(names, ["before-0.2", "before-0.3", "before-0.4"]);
        assert!(upgrade(top, "0.5", fails, "exit 0").contains("no backup was made before the upgrade"));
        assert_eq!(fs::read_dir(&backups).unwrap().count(), 3);
    }
}
