//! The Debian packages, by `dpkg-deb`.
//!
//! deb-control(5), deb-changelog(5) and Debian Policy chapters 5, 6 and 12 say what is in them. Nothing is
//! depended on: the executable is static, and the daemon says what it misses.

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
pub fn build(trees: &Trees, epoch: u64, out: &Path) -> Result<()> {
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
