use super::*;
use crate::exports::TableExports;
use crate::live::LiveRoots;
use crate::testing::model;
use dawn_nfs::Exports;
use std::net::IpAddr;
use std::sync::Arc;

const NOW: u64 = 2_000_000_000;

fn tree(dir: &Path, name: &str, text: &str) {
    fs::create_dir_all(dir.join(name)).unwrap();
    fs::write(dir.join(name).join("version"), text).unwrap();
}

/// What `genimage` does at its end.
fn exchange(dir: &Path, old: &str, text: &str) {
    tree(dir, "new", text);
    fs::rename(dir.join("rootimg"), dir.join(old)).unwrap();
    fs::rename(dir.join("new"), dir.join("rootimg")).unwrap();
}

fn open(dir: &Path) -> Generations {
    Generations::open(dir.join("state"))
}

fn present(generations: &Generations, node: &str, image: &Path) -> Generation {
    generations.of_node(node, Some(image), |_| true).swap_remove(0)
}

/// An image whose first tree two nodes run from while another one is in place.
fn two_nodes_of_the_first_tree(image: &Path, top: &Path) -> Generation {
    tree(image, "rootimg", "one");
    let generations = open(top);
    let first = present(&generations, "cn1", image);
    generations.mounted("cn1", &first, NOW).unwrap();
    generations.mounted("cn2", &first, NOW).unwrap();
    exchange(image, "rootimg.1", "two");
    first
}

#[test]
fn a_node_keeps_its_tree_and_an_unused_one_goes() {
    let top = tempfile::tempdir().unwrap();
    let image = top.path().join("R");
    let first = two_nodes_of_the_first_tree(&image, top.path());
    tree(&image, "rootimg.mine", "an administrator's");

    // After a restart, too.
    let generations = open(top.path());
    let trees = generations.of_node("cn1", Some(&image), |_| true);
    let texts: Vec<String> =
        trees.iter().map(|one| fs::read_to_string(one.root.join("version")).unwrap()).collect();
    assert_eq!(texts, ["two", "one"]);
    assert_eq!(trees[1].identity, first.identity);
    assert_eq!(generations.of_node("cn3", Some(&image), |_| true).len(), 1);

    // The set-aside tree is changed `ctime` ago, so the clock of the test runs from there.
    let dirs = || [image.clone()];
    let later = changed_at(&image.join("rootimg.1")).unwrap().max(NOW) + GRACE_SECONDS;
    let second = present(&generations, "cn1", &image);
    generations.used("cn2", &first, later).unwrap();
    generations.mounted("cn1", &second, later).unwrap();
    assert_eq!(generations.tidy(dirs(), later + GRACE_SECONDS), [] as [PathBuf; 0], "cn2 runs from it");
    generations.mounted("cn2", &second, later).unwrap();
    assert_eq!(generations.tidy(dirs(), later + GRACE_SECONDS - 1), [] as [PathBuf; 0], "grace");
    assert_eq!(generations.tidy(dirs(), later + GRACE_SECONDS), [image.join("rootimg.1")]);
    let left: BTreeSet<_> = fs::read_dir(&image).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(left, ["rootimg".into(), "rootimg.mine".into()].into());
}

#[test]
fn a_tree_mounted_twice_is_not_left() {
    let top = tempfile::tempdir().unwrap();
    let image = top.path().join("R");
    tree(&image, "rootimg", "one");
    let generations = open(top.path());
    let first = present(&generations, "cn1", &image);
    generations.mounted("cn1", &first, NOW).unwrap();
    exchange(&image, "rootimg.1", "two");
    let second = present(&generations, "cn1", &image);
    // The running node looks at the new tree, and keeps running from the old one.
    generations.mounted("cn1", &second, NOW + 10).unwrap();
    generations.used("cn1", &first, NOW + 100).unwrap();
    assert!(generations.tidy([image.clone()], NOW + 100 + 2 * GRACE_SECONDS).is_empty());
    assert_eq!(generations.users(&image.join("rootimg.1"), NOW + 100 + 2 * GRACE_SECONDS), ["cn1"]);
    // It sends no more calls.
    let silent = NOW + 100 + UNUSED_SECONDS_MAX;
    assert_eq!(generations.tidy([], silent), [image.join("rootimg.1")], "known from the record alone");
    assert_eq!(generations.tidy([], silent), [] as [PathBuf; 0]);
    assert_eq!(fs::read_dir(top.path().join("state")).unwrap().count(), 0, "records go with their trees");
}

#[test]
fn records_of_any_text_are_read() {
    let dir = PathBuf::from("/install/a b");
    let identity = Identity { inode: 7, born_ns: 1_700_000_000_123_456_789 };
    let one = Use { last: 5, written: 5, left: Some(6) };
    let trees = BTreeMap::from([((dir, identity), one)]);
    assert_eq!(parse(render(&trees).as_bytes()), (trees, 0));
    for text in ["", "7\t1\t0\t/x", "7.1\tx\t0\t/x", "7.1\t1\t0\trelative", "7.1\t1\t0", "\t"] {
        assert_eq!(parse(sealed::seal(text).as_bytes()), (BTreeMap::new(), 1), "{text:?}");
    }
}

#[test]
fn exports_lead_to_the_tree_a_node_has_mounted() {
    let top = tempfile::tempdir().unwrap();
    let image = top.path().join("R");
    tree(&image, "rootimg", "one");
    let directory = image.display().to_string();
    let exports = || exports_of(top.path(), &directory);
    let cn1: IpAddr = [10, 1, 0, 1].into();
    let cn2: IpAddr = [10, 1, 0, 2].into();
    let path = format!("{directory}/rootimg");
    let read = |export: &dawn_nfs::Export| fs::read_to_string(export.root.join("version")).unwrap();

    let one = exports().mount(cn1, &path).unwrap().export;
    exchange(&image, "rootimg.old-by-hand", "two");
    let after = exports();
    assert_eq!(read(&after.by_id(cn1, one.id).unwrap()), "one");
    let two = after.mount(cn2, &path).unwrap().export;
    assert_eq!(read(&two), "two");
    assert_ne!(one.id, two.id);
    assert_eq!(read(&after.by_id(cn2, two.id).unwrap()), "two");
    // Without the record the handle itself still shows it.
    fs::remove_dir_all(top.path().join("state")).unwrap();
    assert_eq!(read(&exports().by_id(cn1, one.id).unwrap()), "one");
    // A tree of an image that the node no longer has: it still runs from it, and another node does not.
    let other = exports_of(top.path(), "/nowhere");
    assert_eq!(read(&other.by_id(cn1, one.id).unwrap()), "one");
    assert!(other.by_id(cn2, one.id).is_err());
    assert!(other.mount(cn2, &path).is_err());
}

fn exports_of(top: &Path, image_dir: &str) -> TableExports {
    let model = Arc::new(model(&[
        ("nodelist", &[("node", "cn1")], &[("groups", "all")]),
        ("nodelist", &[("node", "cn2")], &[("groups", "all")]),
        ("hosts", &[("node", "all")], &[("ip", "|cn(\\d+)|10.1.0.($1+0)|")]),
        ("nodetype", &[("node", "all")], &[("provmethod", "img")]),
        ("osimage", &[("imagename", "img")], &[("provmethod", "statelite")]),
        ("linuximage", &[("imagename", "img")], &[("rootimgdir", image_dir)]),
    ]));
    let live = LiveRoots::new(model.clone(), Arc::default(), Arc::default(), &top.join("data"));
    TableExports::new(model, Arc::new(Generations::open(top.join("state"))), Arc::new(live))
}

/// A damaged note may be the only one of a running node's tree.
#[test]
fn after_damage_no_tree_goes_for_a_day() {
    let top = tempfile::tempdir().unwrap();
    let image = top.path().join("R");
    two_nodes_of_the_first_tree(&image, top.path());
    let notes = top.path().join("state/cn1");
    let good = fs::read(&notes).unwrap();
    let later = changed_at(&image.join("rootimg.1")).unwrap().max(NOW) + 2 * UNUSED_SECONDS_MAX;
    for place in 0..good.len() {
        let mut bytes = good.clone();
        bytes[place] ^= 0x15;
        fs::write(&notes, &bytes).unwrap();
        let generations = open(top.path());
        assert_eq!(generations.damaged, 1, "{place}");
        // What another node uses is still known.
        assert_eq!(generations.of_node("cn2", None, |_| true).len(), 1);
        assert_eq!(generations.tidy([], later), [] as [PathBuf; 0], "{place}");
        assert!(image.join("rootimg.1").exists(), "{place}");
    }
    let generations = open(top.path());
    assert_eq!(generations.tidy([image.clone()], later), [] as [PathBuf; 0]);
    assert_eq!(generations.tidy([image.clone()], later + UNUSED_SECONDS_MAX), [image.join("rootimg.1")]);
    // No directory at all keeps no service from starting.
    fs::remove_dir_all(top.path().join("state")).unwrap();
    fs::write(top.path().join("state"), "a file").unwrap();
    assert_eq!(open(top.path()).damaged, 1);
}
