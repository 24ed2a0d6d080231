//! genimage with real `dnf` and `zypper` and a repository that is made here.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "tests")]

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use dawn_imagebuilder::genimage::{self, Options, Outcome};
use dawn_imagebuilder::image::ImageDef;

/// The release of the kernel package.
const KERNEL: &str = "6.1.0-1.x86_64";

/// Packages: name, what its spec says besides the head, as rpmbuild reads it.
fn specs() -> [(&'static str, String); 5] {
    let busybox = "/usr/bin/busybox";
    [
        (
            "base",
            format!(
                "%description\nx\n%install\ncd %{{buildroot}}\nmkdir -p proc sys dev etc bin root tmp var\n\
                 echo 'root:x:0:0::/root:/bin/sh' >etc/passwd\necho 'root:*:1::::::' >etc/shadow\n\
                 echo 'root:x:0:' >etc/group\ncp {busybox} bin/busybox\nln -s busybox bin/sh\n\
                 %files\n%attr(0555,root,root) %dir /proc\n%attr(0555,root,root) %dir /sys\n%dir /dev\n\
                 /bin\n/etc\n/root\n%dir /tmp\n%dir /var\n"
            ),
        ),
        (
            "kernel",
            format!(
                "Requires: base\nProvides: kernel-default\n%description\nx\n%install\n\
                 d=%{{buildroot}}/usr/lib/modules/{KERNEL}\nmkdir -p $d\necho kernel >$d/vmlinuz\n\
                 echo >$d/modules.dep\n%files\n/usr/lib/modules\n"
            ),
        ),
        (
            "tool",
            "Requires: base\n%description\nx\n%install\nmkdir -p %{buildroot}/usr/share/tool\n%post\n\
             test -c /dev/null && test -d /proc/self && echo \"$PASS\" >/etc/tool-ran\n%files\n/usr/share/tool\n"
                .to_owned(),
        ),
        ("first", "%description\nx\n%install\nmkdir -p %{buildroot}/usr/share/first\n%files\n/usr/share/first\n".into()),
        (
            "fails",
            "Requires: base\n%description\nx\n%install\nmkdir -p %{buildroot}/usr/share/fails\n%pre\nexit 3\n\
             %files\n/usr/share/fails\n"
                .into(),
        ),
    ]
}

/// Builds the packages and the repository in `dir/repo`.
fn repository(dir: &Path) -> PathBuf {
    let repo = dir.join("repo");
    for (name, rest) in specs() {
        let spec = dir.join(format!("{name}.spec"));
        let head = format!("Name: {name}\nVersion: 1\nRelease: 1\nSummary: x\nLicense: MIT\n");
        fs::write(&spec, format!("%define debug_package %{{nil}}\n{head}{rest}")).unwrap();
        let define = |name: &str, at: &Path| format!("{name} {}", at.display());
        let (top, out) = (define("_topdir", &dir.join("top")), define("_rpmdir", &repo));
        let spec = spec.to_str().unwrap();
        common::run("rpmbuild", &["--quiet", "--define", &top, "--define", &out, "-bb", spec]);
    }
    common::run("createrepo_c", &["--quiet", repo.to_str().unwrap()]);
    repo
}

fn def(dir: &Path, osvers: &str, list: &str) -> ImageDef {
    let pkglist = dir.join(format!("{osvers}.pkglist"));
    fs::write(&pkglist, list).unwrap();
    ImageDef {
        name: format!("{osvers}-x86_64-netboot-test"),
        osvers: osvers.into(),
        arch: "x86_64".into(),
        profile: "test".into(),
        provmethod: "netboot".into(),
        rootimgdir: dir.join("netboot").join(osvers),
        installdir: dir.to_owned(),
        pkglist: vec![pkglist],
        pkgdir: vec![dir.join("repo").display().to_string()],
        ..ImageDef::default()
    }
}

fn build(def: &ImageDef) -> (Result<Outcome, genimage::GenimageError>, String) {
    let mut lines = Vec::new();
    let outcome =
        genimage::run(def, &Options::default(), &common::FakeInitrd, &mut |line| lines.push(line.to_owned()));
    (outcome, lines.join("\n"))
}

#[test]
fn distributions_of_rpm_packages_are_built() {
    let dir = tempfile::Builder::new().prefix("genimage-rpm").tempdir().unwrap();
    repository(dir.path());
    for osvers in ["rhels9.4", "opensuse-leap15.6"] {
        let list = "base first\n#NEW_INSTALL_LIST#\n#ENV:PASS=two#\n-first\ntool\n";
        let def = def(dir.path(), osvers, list);
        let (outcome, text) = build(&def);
        let outcome = outcome.unwrap_or_else(|error| panic!("{osvers}: {error}\n{text}"));
        assert_eq!(outcome, Outcome::Built { kernel: KERNEL.into() });
        let root = def.paths().rootimg;
        assert_eq!(fs::read_to_string(root.join("etc/tool-ran")).unwrap(), "two\n", "{osvers}: {text}");
        assert!(!root.join("usr/share/first").exists(), "{osvers}: {text}");
        // Directories that were mount points have the mode of their package, or are unchanged.
        assert!(fs::metadata(root.join("proc")).unwrap().permissions().mode() & 0o7777 >= 0o555);
        let cache = fs::read_dir(root.join("var/cache/zypp")).into_iter().flatten();
        assert_eq!(cache.count(), 0, "{osvers}");
        assert!(fs::read_dir(root.join("dev")).unwrap().all(|entry| !entry.unwrap().path().is_file()));
        let mut top: Vec<String> =
            fs::read_dir(&root).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        top.retain(|name| name != "run");
        top.sort();
        let expected = [
            ".sllocal",
            ".statelite",
            "bin",
            "dev",
            "etc",
            "proc",
            "root",
            "sys",
            "tmp",
            "usr",
            "var",
            "xcatpost",
        ];
        assert_eq!(top, expected, "{osvers}");
        assert_eq!(fs::read_to_string(def.paths().kernel).unwrap(), "kernel\n");
        assert!(!def.paths().dir.join(".building").exists());
    }
    // Failures are reported with the program's words, and nothing is left or replaced.
    let before = fs::read(dir.path().join("netboot/rhels9.4/.fingerprint")).unwrap();
    for (list, why) in [("base missing-package\n", "missing-package"), ("base fails\n", "fails")] {
        let def = def(dir.path(), "rhels9.4", list);
        let (outcome, text) = build(&def);
        let error = outcome.expect_err(&text);
        assert!(error.to_string().contains(why), "{error}");
        assert!(!def.paths().dir.join(".building").exists());
        assert_eq!(fs::read(def.paths().dir.join(".fingerprint")).unwrap(), before);
    }
    // Other test programs mount at the same time: only what is mounted below this directory counts.
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounts.contains(dir.path().to_str().unwrap()), "{mounts}");
}

#[test]
fn command_lines_are_shown() {
    let dir = tempfile::tempdir().unwrap();
    let repodata = dir.path().join("repo/repodata");
    fs::create_dir_all(&repodata).unwrap();
    fs::write(repodata.join("repomd.xml"), "").unwrap();
    let shown = |osvers: &str, change: &dyn Fn(&mut ImageDef)| {
        let mut def = def(dir.path(), osvers, "a\n@group\n--b\n");
        change(&mut def);
        let lines = genimage::dryrun(&def, &Options::default()).unwrap();
        lines.join("\n").replace(&dir.path().display().to_string(), "D")
    };
    let building = |osvers: &str| format!("D/netboot/{osvers}/.building");
    let b = building("rhels9.4");
    let dnf = format!(
        "env HOME={b} dnf --assumeyes --config {b}/dnf.conf --installroot={b}/rootimg --releasever=9.4 --forcearch=x86_64"
    );
    assert_eq!(
        shown("rhels9.4", &|_| ()),
        format!("{dnf} install a kernel @group\n{dnf} remove b\n  dawn-1 file://D/repo")
    );
    let b = building("sles15.5");
    let zypper = format!(
        "env HOME={b} zypper --non-interactive --no-gpg-checks --root {b}/rootimg --reposd-dir {b}/repos.d"
    );
    assert_eq!(
        shown("sles15.5", &|_| ()),
        format!(
            "{zypper} install --no-recommends --auto-agree-with-licenses a kernel-default pattern:group\n\
             {zypper} remove b\n  dawn-1 file://D/repo"
        )
    );
    let b = building("alt");
    let list = dir.path().join("sources.list_x86");
    fs::write(&list, "# comment\nrpm file:/srv/alt i586 main\n").unwrap();
    let alt = |def: &mut ImageDef| {
        def.pkgdir.clear();
        def.arch = "x86".into();
        def.aptsrclist = Some(list.clone());
    };
    let apt = format!(
        "env HOME={b} apt-get --yes -o RPM::RootDir={b}/rootimg -o APT::Architecture=i586 -o \
         Dir::Etc::SourceList={b}/sources.list -o Dir::Etc::SourceParts={b}/none -o Dir::State={b}/apt/state -o \
         Dir::Cache={b}/apt/cache"
    );
    assert_eq!(
        shown("alt", &alt),
        format!(
            "env HOME={b} rpm --root {b}/rootimg --initdb\n{apt} update\n{apt} install a kernel-image-un-def group\n\
             {apt} remove b\n  rpm file:/srv/alt i586 main"
        )
    );
    // Debian's apt-get would install into this machine.
    let mut def = def(dir.path(), "alt", "a\n");
    alt(&mut def);
    assert!(matches!(build(&def).0, Err(genimage::GenimageError::NotAlt)));
}
