//! The layout on real trees: as the format says, taken back completely, and completed after any interruption.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use super::*;

/// Every path with its kind, mode and content.
fn picture(root: &Path) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    let mut todo = vec![root.to_owned()];
    while let Some(dir) = todo.pop() {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            let stat = fs::symlink_metadata(&path).unwrap();
            let name = path.strip_prefix(root).unwrap().display().to_string();
            let text = if stat.is_dir() {
                todo.push(path);
                format!("dir {:o}", stat.permissions().mode())
            } else if stat.is_symlink() {
                format!("-> {}", fs::read_link(&path).unwrap().display())
            } else {
                format!("{:o} {}", stat.permissions().mode(), fs::read_to_string(&path).unwrap())
            };
            all.insert(name, text);
        }
    }
    all
}

fn tree(root: &Path) {
    for dir in ["etc/foo", "var/log/app", "var/lib", "usr/bin"] {
        fs::create_dir_all(root.join(dir)).unwrap();
    }
    for file in ["etc/hosts", "etc/foo/bar", "etc/foo/other", "var/log/app/log", "var/log/messages"] {
        fs::write(root.join(file), format!("original {file}\n")).unwrap();
    }
    fs::set_permissions(root.join("etc/foo/bar"), fs::Permissions::from_mode(0o600)).unwrap();
    fs::write(root.join("etc/fstab"), "# c\nnfs:/x / nfs rw,nolock 0 0\nproc /proc proc rw 0 0\n").unwrap();
    symlink("../proc/self/mounts", root.join("etc/mtab")).unwrap();
    symlink("../run/resolv", root.join("etc/resolv.conf")).unwrap();
    symlink("usr/bin", root.join("bin")).unwrap();
}

fn items(list: &[(&str, &str)]) -> Vec<Item> {
    let lines: String = list.iter().map(|(option, path)| format!("i {option} {path}\n")).collect();
    let items = parse_saved(&lines);
    assert_eq!(items.len(), list.len());
    items
}

fn run(root: &Path, list: &[(&str, &str)]) {
    change("img", &mut Disk::open(root).unwrap(), &items(list)).unwrap();
}

const FULL: &[(&str, &str)] = &[
    ("link", "/etc/foo/"),
    ("link,persistent", "/etc/foo/bar"),
    ("link", "/etc/foo/new"),
    ("link", "/etc/hosts"),
    ("link,ro", "/etc/missing"),
    ("link", "/etc/mtab"),
    ("link", "/etc/resolv.conf"),
    ("persistent", "/var/log/"),
    ("persistent", "/var/log/app/log"),
    ("tmpfs", "/var/lib/new/"),
];

#[test]
fn the_layout_is_the_documented_one() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    tree(root);
    run(root, FULL);
    let found = picture(root);
    for (path, expected) in [
        ("etc/hosts", "-> ../.statelite/tmpfs/etc/hosts"),
        (".statelite/tmpfs/etc/hosts", "-> ../../../.default/etc/hosts"),
        (".default/etc/hosts", "100644 original etc/hosts\n"),
        ("etc/foo", "-> ../.statelite/tmpfs/etc/foo"),
        (".statelite/tmpfs/etc/foo", "-> ../../../.default/etc/foo"),
        (".default/etc/foo/bar", "100600 original etc/foo/bar\n"),
        (".default/etc/foo/new", "100644 "),
        ("etc/missing", "-> ../.statelite/tmpfs/etc/missing"),
        (".default/etc/missing", "100644 "),
        ("etc/mtab", "-> ../proc/self/mounts"),
        (".default/etc/resolv.conf", "-> /run/resolv"),
        ("var/log/messages", "100644 original var/log/messages\n"),
        (".default/var/log/app/log", "100644 original var/log/app/log\n"),
        ("var/lib/new", "dir 40755"),
        (".default/var/lib/new", "dir 40755"),
        ("etc/fstab", "100644 # c\nnfs:/x / nfs ro,nolock 0 0\nproc /proc proc rw 0 0\n"),
    ] {
        assert_eq!(found.get(path).map(String::as_str), Some(expected), "{path}");
    }
    assert_eq!(
        fs::read_to_string(root.join("etc/foo/bar")).unwrap(),
        "original etc/foo/bar\n",
        "links lead there"
    );
    let saved = fs::read_to_string(root.join(SAVE_FILE)).unwrap();
    assert!(
        saved.contains("img link,persistent /etc/foo/bar\n") && saved.lines().count() == FULL.len(),
        "{saved}"
    );
    assert!(!found.contains_key(".statelite/.work/new"));
}

#[test]
fn again_changes_nothing_and_undo_gives_the_tree_back() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("rootimg");
    tree(&root);
    let mut before = picture(&root);
    run(&root, FULL);
    let once = picture(&root);
    run(&root, FULL);
    assert_eq!(picture(&root), once);
    undo(&root).unwrap();
    let mut after = picture(&root);
    after.retain(|path, _| !path.starts_with(".statelite"));
    for map in [&mut before, &mut after] {
        // Changed on purpose.
        map.remove("etc/fstab");
        // A relative link comes back as an absolute one to the same place.
        map.remove("etc/resolv.conf");
    }
    assert_eq!(after, before);
}

#[test]
fn removed_and_changed_entries_are_taken_back() {
    let direct = |list: &[(&str, &str)]| {
        let dir = tempfile::tempdir().unwrap();
        tree(dir.path());
        run(dir.path(), list);
        picture(dir.path())
    };
    let steps: &[&[(&str, &str)]] = &[
        &[("link", "/etc/hosts"), ("link", "/etc/foo/bar")],
        &[("tmpfs", "/etc/hosts"), ("link", "/etc/foo/")],
        &[("link", "/etc/foo/"), ("link,con", "/etc/foo/bar")],
        &[("persistent", "/etc/foo/bar"), ("link", "/etc/hosts")],
        &[("tmpfs", "/etc/foo/"), ("tmpfs", "/etc/foo/bar")],
        &[("link", "/etc/foo/other")],
    ];
    let dir = tempfile::tempdir().unwrap();
    tree(dir.path());
    for list in steps {
        run(dir.path(), list);
        let clean = |mut map: BTreeMap<String, String>| {
            // Empty directories may stay in the two side trees.
            map.retain(|path, text| !(path.starts_with('.') && text.starts_with("dir")));
            map
        };
        assert_eq!(clean(picture(dir.path())), clean(direct(list)), "{list:?}");
    }
}

#[test]
fn an_interrupted_run_is_completed_by_the_next() {
    let first: &[(&str, &str)] = &[("link", "/etc/hosts"), ("link", "/etc/foo/bar"), ("tmpfs", "/var/log/")];
    let finished = |stop: Option<usize>| {
        let dir = tempfile::tempdir().unwrap();
        tree(dir.path());
        run(dir.path(), first);
        if let Some(stop) = stop {
            let mut disk = Disk::open(dir.path()).unwrap();
            disk.changes_left = Some(stop);
            if change("img", &mut disk, &items(FULL)).is_ok() {
                return None;
            }
        }
        run(dir.path(), FULL);
        Some(picture(dir.path()))
    };
    let expected = finished(None);
    let mut stops = 0;
    while let Some(found) = finished(Some(stops)) {
        assert_eq!(Some(found), expected, "stopped after {stops} changes");
        stops += 1;
    }
    assert!(stops > 20, "only {stops} changes");
}

#[test]
fn what_was_made_stays_once_it_is_used() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    tree(root);
    run(root, &[("link", "/new/deep/file"), ("tmpfs", "/new/other/"), ("link", "/srv/a"), ("ro", "/srv/b")]);
    fs::write(root.join("srv/b"), "used").unwrap();
    run(root, &[("tmpfs", "/new/deep/file")]);
    assert!(root.join("new/deep/file").is_file());
    assert!(!root.join("new/other").exists() && !root.join("srv/a").exists());
    run(root, &[]);
    assert!(!root.join("new").exists());
    assert_eq!(fs::read_to_string(root.join("srv/b")).unwrap(), "used");
}

#[test]
fn refusals_change_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("rootimg");
    tree(&root);
    let before = picture(&root);
    let file = |path: &str, options: &str| {
        let snapshot = dawn_cluster::Snapshot::from_rows([(
            "litefile",
            &[("image", "img"), ("file", path), ("options", options)] as &[(&str, &str)],
        )]);
        crate::files_of_image(&snapshot, "img")
    };
    let error = |files: &[LiteFile]| liteimg("img", &root, files, &mut |_| {}).unwrap_err().to_string();
    assert_eq!(
        error(&[]),
        "There are no files to sync for img.  You have to have some files read/write filled out in the synclist table."
    );
    assert!(error(&file("/etc/../x", "ro")).contains("is not one absolute path"));
    assert!(error(&file("/bin/tool", "tmpfs")).contains("/bin is a symbolic link"));
    assert!(error(&file("/etc/foo", "tmpfs")).contains("with a / at the end"));
    assert_eq!(picture(&root), before);
    assert!(matches!(
        liteimg("img", &dir.path().join("none"), &file("/etc/hosts", "link"), &mut |_| {}),
        Err(LiteimgError::NoTree(_))
    ));
    let mut lines = Vec::new();
    liteimg("img", &root, &file("/etc/hosts", "link"), &mut |line| lines.push(line.to_owned())).unwrap();
    let root = root.display();
    assert_eq!(
        lines,
        [
            format!("Modifying {root} ..."),
            format!("creating {root}/.statelite"),
            format!("Modifying {root} done.")
        ]
    );
}

/// An image whose directories lead to the server's own.
#[test]
fn nothing_is_written_through_a_link_of_the_image() {
    let hostile: &[(&str, &str)] = &[
        (".statelite", "outside"),
        (".default", "outside"),
        (".default/etc", "outside"),
        (".statelite/tmpfs", "outside"),
        ("etc", "outside"),
        ("var/lib", "outside"),
    ];
    for (link, to) in hostile {
        let top = tempfile::tempdir().unwrap();
        let (root, outside) = (top.path().join("rootimg"), top.path().join(to));
        fs::create_dir(&outside).unwrap();
        for name in ["hosts", "fstab", "litefile.save"] {
            fs::write(outside.join(name), "x / y rw\n").unwrap();
        }
        let before = picture(&outside);
        tree(&root);
        let at = root.join(link);
        let _ = fs::remove_dir_all(&at);
        fs::create_dir_all(at.parent().unwrap()).unwrap();
        symlink(&outside, &at).unwrap();
        let list = items(&[("link", "/etc/hosts"), ("tmpfs", "/var/lib/new/"), ("tmpfs", "/etc/foo/")]);
        let refused = change("img", &mut Disk::open(&root).unwrap(), &list);
        assert!(refused.is_err(), "{link}");
        assert_eq!(picture(&outside), before, "{link}");
        // Nor is anything taken back through it.
        let _ = undo(&root);
        assert_eq!(picture(&outside), before, "{link}");
    }
}
