//! The RPM packages, by `rpmbuild` from a spec that is written here.
//!
//! There is nothing to build in it: the staged trees are copied, and no script of the building machine's
//! distribution may touch them.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use dawn_qemu::paths;
use dawn_qemu::process::run;

use super::stage::{Tree, Trees};
use super::{DESCRIPTION, MAINTAINER, NAMES_DESCRIPTION, NAMES_SUMMARY, REVISION, SUMMARY, VERSION};

/// The directories that belong to the package itself.
pub(super) const OWN_DIRECTORIES: [&str; 2] = ["/usr/share/dawn", "/usr/share/doc/dawn"];

/// Both packages into `out`.
pub(super) fn build(trees: &Trees, epoch: u64, out: &Path) -> Result<()> {
    let top = trees.main.root.with_file_name("rpm");
    let main = trees.main.copy(top.with_file_name("rpm-main"))?;
    // The directory for completions that zsh searches on these distributions.
    fs::rename(
        main.root.join("usr/share/zsh/vendor-completions"),
        main.root.join("usr/share/zsh/site-functions"),
    )
    .context("cannot rename the directory of zsh's completions")?;
    fs::create_dir_all(&top).with_context(|| format!("cannot make {}", top.display()))?;
    let spec = top.join("dawn.spec");
    fs::write(&spec, text(&main, &trees.names, epoch)?)
        .with_context(|| format!("cannot write {}", spec.display()))?;
    let mut rpmbuild = Command::new("rpmbuild");
    rpmbuild.env("SOURCE_DATE_EPOCH", epoch.to_string()).args(["-bb", "--quiet", "--target", "x86_64"]);
    for (name, value) in [
        ("_topdir", top.display().to_string()),
        ("_rpmdir", out.display().to_string()),
        ("_rpmfilename", "%%{NAME}-%%{VERSION}-%%{RELEASE}.%%{ARCH}.rpm".to_owned()),
        ("_binary_payload", "w19.zstdio".to_owned()),
        ("_buildhost", "dawn".to_owned()),
        ("use_source_date_epoch_as_buildtime", "1".to_owned()),
        ("clamp_mtime_to_source_date_epoch", "1".to_owned()),
    ] {
        rpmbuild.arg("--define").arg(format!("{name} {value}"));
    }
    run(rpmbuild.arg(&spec)).map(drop)
}

fn text(main: &Tree, names: &Tree, epoch: u64) -> Result<String> {
    let (main_root, names_root) = (main.root.display(), names.root.display());
    let scripts = fs::read_to_string(paths::workspace().join("dist/rpm/scripts.spec"))
        .context("cannot read dist/rpm/scripts.spec")?;
    let date = run(Command::new("date").env("LC_ALL", "C").args([
        "-u",
        "-d",
        &format!("@{epoch}"),
        "+%a %b %d %Y",
    ]))?;
    let (description, names_description) = (DESCRIPTION.join("\n"), NAMES_DESCRIPTION.join("\n"));
    let (main_files, names_files) = (list(main)?, list(names)?);
    Ok(format!(
        "%global debug_package %{{nil}}\n%global __os_install_post %{{nil}}\n%global _build_id_links none\n\
         Name: dawn\nVersion: {VERSION}\nRelease: {REVISION}\nSummary: {}\nLicense: Apache-2.0\nGroup: System/Base\n\
         Packager: {MAINTAINER}\nAutoReqProv: no\nRecommends: ipxe-bootimgs-x86, openssh-clients\n\
         \n%description\n{description}\n\
         \n%package -n dawn-xcat-names\nSummary: {}\nGroup: System/Base\nBuildArch: noarch\nAutoReqProv: no\n\
         Requires: dawn >= {VERSION}\nConflicts: xCAT-client\n\
         \n%description -n dawn-xcat-names\n{names_description}\n\
         \n%install\nmkdir -p %{{buildroot}}\ncp -a {main_root}/. %{{buildroot}}/\ncp -a {names_root}/. %{{buildroot}}/\n\
         \n{scripts}\n%files\n%defattr(-,root,root)\n{main_files}\
         \n%files -n dawn-xcat-names\n%defattr(-,root,root)\n{names_files}\
         \n%changelog\n* {} {MAINTAINER} {VERSION}-{REVISION}\n- Release {VERSION}; its changes are in \
         /usr/share/doc/dawn/changelog.gz.\n",
        capitalized(SUMMARY),
        capitalized(NAMES_SUMMARY),
        date.trim(),
    ))
}

/// The lines of `%files`.
fn list(tree: &Tree) -> Result<String> {
    let own = OWN_DIRECTORIES.into_iter().filter(|dir| tree.root.join(dir.trim_start_matches('/')).is_dir());
    let directories = own.map(|dir| format!("%dir {dir}\n"));
    let files = tree.paths()?.into_iter().map(|path| match path.as_str() {
        "/etc/default/dawn" => format!("%config(noreplace) {path}\n"),
        _ if path.starts_with("/usr/share/doc/") => format!("%doc {path}\n"),
        _ => format!("{path}\n"),
    });
    Ok(directories.chain(files).collect())
}

fn capitalized(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}
