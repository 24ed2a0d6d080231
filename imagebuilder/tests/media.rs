//! copycds: media that xorriso writes, as each distribution lays them out.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "tests")]

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use dawn_cluster::Advised;
use dawn_imagebuilder::media::{self, Job, MediaError, Watch};

const ROCKY: &[(&str, &str)] =
    &[(".discinfo", "1.5\nRocky Linux 9.3\nx86_64\n1\n"), ("images/pxeboot/vmlinuz", "kernel")];

/// Stops the copy by a panic after so many bytes.
struct Until(u64);

impl Watch for Until {
    fn begins(&mut self, _: &Path) {}

    fn progress(&mut self, done: u64, all: u64) {
        assert!(done <= all);
        if done > self.0 {
            std::panic::resume_unwind(Box::new("interrupted"));
        }
    }
}

fn to_the_end() -> Until {
    Until(u64::MAX)
}

fn tree(at: &Path, files: &[(&str, &str)]) {
    for (path, text) in files {
        let path = at.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
}

/// An ISO file of these files, with Rock Ridge names.
fn iso(dir: &Path, name: &str, files: &[(&str, &str)]) -> PathBuf {
    let source = dir.join(format!("{name}.d"));
    tree(&source, files);
    image(dir, name, &source, &["-R"])
}

fn image(dir: &Path, name: &str, source: &Path, options: &[&str]) -> PathBuf {
    let file = dir.join(format!("{name}.iso"));
    let words =
        [&["-as", "mkisofs", "-quiet"], options, &["-o", file.to_str().unwrap(), source.to_str().unwrap()]];
    common::run("xorriso", &words.concat());
    file
}

/// Path, mode and content of everything in a tree.
fn contents(top: &Path) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    let mut folders = vec![top.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let metadata = fs::symlink_metadata(&path).unwrap();
            let mode = metadata.permissions().mode() & 0o7777;
            let text = match () {
                () if metadata.is_symlink() => format!("-> {}", fs::read_link(&path).unwrap().display()),
                () if metadata.is_dir() => {
                    folders.push(path.clone());
                    format!("{mode:o} directory")
                }
                () => format!("{mode:o} {} {}", metadata.mtime(), fs::read_to_string(&path).unwrap()),
            };
            all.insert(path.strip_prefix(top).unwrap().display().to_string(), text);
        }
    }
    all
}

fn job(dir: &Path, source: PathBuf) -> Job {
    Job { source, installdir: dir.join("install"), ..Job::default() }
}

/// Name of the distribution, architecture, place, or the error and its hint.
#[track_caller]
fn check(job: &Job, expected: &str) {
    fs::create_dir_all(&job.installdir).unwrap();
    let found = match media::copy(job, &mut to_the_end()) {
        Ok(copied) => {
            let place = copied.directory.strip_prefix(&job.installdir).unwrap_or(&copied.directory);
            format!("{} {} {}", copied.medium.name, copied.medium.arch, place.display())
        }
        Err(error) => error.to_string(),
    };
    assert_eq!(found, expected);
}

#[test]
fn media_of_every_family_go_to_their_places() {
    let dir = tempfile::tempdir().unwrap();
    let top = dir.path();
    let run = |name: &str, files: &[(&str, &str)], expected: &str| {
        check(&job(top, iso(top, name, files)), expected);
    };
    run("el", ROCKY, "rocky9.3 x86_64 rocky9.3/x86_64");
    run(
        "sle",
        &[("media.1/media", "SUSE\nSLE-15-SP5-Full-x86_64-Build1-Media1\n1\n"), ("repodata/repomd.xml", "")],
        "sle15.5 x86_64 sle15.5/x86_64/1",
    );
    run(
        "debian",
        &[
            (".disk/info", "Debian GNU/Linux 12.5.0 \"Bookworm\" - Official amd64 NETINST 20240210-11:27"),
            ("install.amd/vmlinuz", "kernel"),
            ("install.amd/initrd.gz", "initrd"),
            ("install.amd/gtk/vmlinuz", "gtk"),
        ],
        "debian12.5.0 x86_64 debian12.5.0/x86_64",
    );
    let netboot = top.join("install/debian12.5.0/x86_64/install/netboot");
    assert_eq!(fs::read_to_string(netboot.join("vmlinuz")).unwrap(), "kernel");
    assert_eq!(fs::read_to_string(netboot.join("initrd.gz")).unwrap(), "initrd");
    run(
        "ubuntu",
        &[(".disk/info", "Ubuntu-Server 24.04.1 LTS \"Noble Numbat\" - Release amd64 (20240827)")],
        "ubuntu24.04.1 x86_64 ubuntu24.04.1/x86_64",
    );
    let unknown = "copycds could not identify the ISO supplied, you may wish to try -n <osver>";
    run("other", &[("README", "music")], unknown);
    let alt =
        Job { name: Some("alt10".into()), arch: Some("x86_64".into()), ..job(top, top.join("other.iso")) };
    check(&alt, "alt10 x86_64 alt10/x86_64");
}

#[test]
fn names_and_architectures_that_are_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let top = dir.path();
    let el = job(top, iso(top, "el", ROCKY));
    let with = |name: &str, arch: &str| Job {
        name: Some(name.to_owned()).filter(|name| !name.is_empty()),
        arch: Some(arch.to_owned()).filter(|arch| !arch.is_empty()),
        ..el.clone()
    };
    check(&with("rocky9-site", ""), "rocky9-site x86_64 rocky9-site/x86_64");
    check(&with("", "x86_64"), "rocky9.3 x86_64 rocky9.3/x86_64");
    check(&with("", "ppc64le"), "Requested distribution architecture ppc64le, but media is x86_64");
    check(&with("debian12", ""), "debian12 is not a name for this medium, which is rocky9.3");
    check(
        &with("rocky/../../etc", ""),
        "\"rocky/../../etc\" is not a name of letters, digits, dots, hyphens and underscores",
    );
    let no_arch = job(top, iso(top, "noarch", &[(".discinfo", "1\nRocky Linux 9.3\n")]));
    check(&no_arch, "copycds could not identify the ARCH, you may wish to try -a <arch>.");
    check(&Job { arch: Some("i686".into()), ..no_arch }, "rocky9.3 x86 rocky9.3/x86");
    check(
        &Job { directory: Some(top.join("elsewhere")), ..el.clone() },
        &format!("rocky9.3 x86_64 {}", top.join("elsewhere").display()),
    );
    let missing = job(top, top.join("nosuch.iso"));
    check(&missing, &format!("{} cannot be read", top.join("nosuch.iso").display()));
    fs::write(top.join("text.iso"), "x".repeat(100_000)).unwrap();
    let error = media::inspect(&top.join("text.iso")).unwrap_err();
    assert!(matches!(error, MediaError::NotIso { .. }) && error.hint().is_some(), "{error}");
    assert_eq!(media::inspect(&el.source).unwrap().disc.as_deref(), Some("1"));
}

#[test]
fn a_copy_is_the_medium() {
    let dir = tempfile::tempdir().unwrap();
    let top = dir.path();
    let source = top.join("source");
    tree(&source, ROCKY);
    tree(
        &source,
        &[("Packages/a/b/c/d/e/f/g/h/i/deep.rpm", "deep"), (&format!("{}.rpm", "long".repeat(50)), "l")],
    );
    tree(&source, &[("run.sh", "#!/bin/sh\n"), ("empty", ""), ("with blank é", "b"), ("secret", "s")]);
    fs::write(source.join("big"), "0123456789".repeat(400_000)).unwrap();
    fs::set_permissions(source.join("run.sh"), fs::Permissions::from_mode(0o4711)).unwrap();
    fs::set_permissions(source.join("secret"), fs::Permissions::from_mode(0o600)).unwrap();
    symlink("../images/pxeboot", source.join("Packages/pxe")).unwrap();
    symlink(".", source.join("self")).unwrap();
    symlink("/etc/shadow", source.join("absolute")).unwrap();
    symlink("../../etc/shadow", source.join("Packages/out")).unwrap();
    common::run("find", &[source.to_str().unwrap(), "-exec", "touch", "-h", "-d", "@1700000000", "{}", "+"]);
    let file = image(top, "el", &source, &["-R", "-iso-level", "3"]);
    let job_of_file = job(top, file);
    fs::create_dir_all(&job_of_file.installdir).unwrap();
    let copied = media::copy(&job_of_file, &mut to_the_end()).unwrap();
    assert_eq!(copied.left_out, [PathBuf::from("Packages/out"), "absolute".into()]);
    assert_eq!(copied, media::plan(&job_of_file).unwrap());
    let mut found = contents(&copied.directory);
    found.remove(".fingerprint").unwrap();
    let mut expected = contents(&source);
    expected.retain(|path, _| path != "Packages/out" && path != "absolute");
    // What nodes load is readable, and has no bits that a file server would lose.
    let as_copied = |text: &mut String| {
        for (from, to) in [("4711 ", "755 "), ("600 ", "644 ")] {
            *text = text.strip_prefix(from).map_or(text.clone(), |rest| format!("{to}{rest}"));
        }
    };
    expected.values_mut().for_each(as_copied);
    assert_eq!(found, expected);

    // The directory where a medium is mounted gives the same.
    let of_directory = Job { installdir: top.join("second"), ..job(top, source) };
    fs::create_dir_all(&of_directory.installdir).unwrap();
    let copied = media::copy(&of_directory, &mut to_the_end()).unwrap();
    let mut found = contents(&copied.directory);
    found.remove(".fingerprint").unwrap();
    assert_eq!(found, expected);
}

#[test]
fn an_interrupted_copy_is_continued_and_a_second_disc_is_added() {
    let dir = tempfile::tempdir().unwrap();
    let top = dir.path();
    let block = "x".repeat(1_500_000);
    let mut files: Vec<(String, &str)> =
        (0..8).map(|number| (format!("Packages/{number}.rpm"), &*block)).collect();
    files.extend(ROCKY.iter().map(|(path, text)| ((*path).to_owned(), *text)));
    let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (path.as_str(), *text)).collect();
    let first = job(top, iso(top, "first", &files));
    fs::create_dir_all(&first.installdir).unwrap();
    let place = first.installdir.join("rocky9.3/x86_64");
    for bytes in [0, 3_000_000, 7_000_000] {
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            media::copy(&first, &mut Until(bytes)).map(drop)
        }));
        result.unwrap_err();
        assert!(!place.exists());
    }
    let kept = first.installdir.join("rocky9.3/.x86_64.copying/tree/Packages/0.rpm");
    let inode = fs::metadata(&kept).unwrap().ino();
    media::copy(&first, &mut to_the_end()).unwrap();
    assert_eq!(fs::metadata(place.join("Packages/0.rpm")).unwrap().ino(), inode);
    assert!(!kept.exists() && contents(&place).len() == files.len() + 4);

    // Refused if only new media are wanted; otherwise the second one comes beside the first.
    let again = Job { only_new: true, ..first.clone() };
    assert!(matches!(media::copy(&again, &mut to_the_end()), Err(MediaError::Known)));
    fs::write(place.join("of-the-site"), "kept").unwrap();
    let second =
        [(".discinfo", "2\nRocky Linux 9.3\nx86_64\n2\n"), ("Packages/0.rpm", "newer"), ("Extra/9.rpm", "9")];
    media::copy(&job(top, iso(top, "second", &second)), &mut to_the_end()).unwrap();
    let found = contents(&place);
    assert!(found["Packages/0.rpm"].ends_with(" newer") && found["Extra/9.rpm"].ends_with(" 9"));
    assert!(found["of-the-site"].ends_with(" kept") && found.contains_key("Packages/7.rpm"));
    assert_eq!(fs::read_to_string(place.join(".fingerprint")).unwrap().matches(',').count(), 2);
    assert!(matches!(media::copy(&again, &mut to_the_end()), Err(MediaError::Known)));
}

#[test]
fn damaged_media_are_refused_and_leave_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let top = dir.path();
    let whole = fs::read(iso(top, "el", &[("big", &*"y".repeat(400_000)), ROCKY[0], ROCKY[1]])).unwrap();
    let damaged = job(top, top.join("damaged.iso"));
    fs::create_dir_all(&damaged.installdir).unwrap();
    let mut refused = 0;
    // Cut off, and with bytes of its directories overwritten.
    for cut in (0..whole.len()).step_by(50_000) {
        fs::write(&damaged.source, &whole[..cut]).unwrap();
        refused += usize::from(media::copy(&damaged, &mut to_the_end()).is_err());
    }
    assert!(refused > 5);
    for at in (0x8000..0xc000).step_by(97) {
        let mut bytes = whole.clone();
        for (offset, value) in [(0, 0xff), (1, 0x2f), (2, 0x00)] {
            bytes[at + offset] = value;
        }
        fs::write(&damaged.source, &bytes).unwrap();
        let _ = media::copy(&damaged, &mut to_the_end());
    }
    let names: Vec<String> =
        fs::read_dir(top).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    assert_eq!(names.len(), 4, "{names:?}");
}
