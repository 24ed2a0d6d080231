//! Every option of `litefile` through all that reads it: the parser, the list for `/init`, `liteimg`, what
//! the server puts over a root, and what `/init` does with an untouched, a prepared and a live root. One
//! node, one tree that has the file, a persistent store, a local disk.

use dawn_cluster::{Snapshot, lite_option};
use dawn_statelite::live::Duties;
use expect_test::expect;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

/// Every spelling that a row may have, by option.
const SPELLINGS: [&[&str]; 10] = [
    &["tmpfs", "tempfs", "rw"],
    &["link", "tmpfs,rw", "rw,tmpfs", "tempfs,rw", ""],
    &["persistent"],
    &["link,persistent", "persistent,link"],
    &["localdisk"],
    &["ro"],
    &["link,ro", "ro,link"],
    &["con"],
    &["link,con", "con,link"],
    &["con,persistent", "persistent,con"],
];
const ALL_HERE: Duties = Duties { trees: true, store: true };

fn snapshot(option: &str) -> Snapshot {
    Snapshot::from_rows([
        ("nodelist", &[("node", "cn1")] as &[(&str, &str)]),
        ("nodetype", &[("node", "cn1"), ("provmethod", "img")]),
        ("litefile", &[("image", "img"), ("file", "/etc/x"), ("options", option)]),
        ("litetree", &[("priority", "1"), ("image", ""), ("directory", "s:/t")]),
        ("statelite", &[("node", "cn1"), ("statemnt", "s:/keep")]),
    ])
}

/// An image with `/etc/x` and all mount points, and a tree that has it too.
fn places(dir: &Path) {
    for made in ["image/etc", "image/.statelite", "image/.sllocal/localmnt", "lite/mnt/s/t/etc"] {
        fs::create_dir_all(dir.join(made)).unwrap();
    }
    for made in ["proc", "sys", "dev", "run"] {
        fs::create_dir(dir.join("image").join(made)).unwrap();
    }
    for made in [
        "image/etc/x",
        "lite/mnt/s/t/etc/x",
        "image/etc/hostname",
        "image/etc/resolv.conf",
        "image/etc/machine-id",
    ] {
        fs::write(dir.join(made), "x\n").unwrap();
    }
    std::os::unix::fs::symlink("../proc/self/mounts", dir.join("image/etc/mtab")).unwrap();
}

fn what_becomes_of(option: &str) -> String {
    let dir = tempfile::tempdir().unwrap();
    places(dir.path());
    let (image, lite) = (dir.path().join("image"), dir.path().join("lite"));
    let snapshot = snapshot(option);
    let list = |duties| {
        let list = dawn_statelite::node_list(&snapshot, "cn1", duties).unwrap();
        list.to_string() + "localdisk\t/dev/vda\text4\n"
    };
    let done = |duties, live| {
        let (image, lite) = (image.display().to_string(), lite.display().to_string());
        initrd_init::rehearse(&list(duties), &image, &lite, live).join("; ")
    };
    let mut text = list(ALL_HERE).lines().next().unwrap().replace('\t', " ");
    write!(text, "\n  untouched: {}", done(Duties::default(), false)).unwrap();
    write!(text, "\n  live:      {}", done(ALL_HERE, true)).unwrap();
    let files = dawn_statelite::files(&snapshot, "cn1");
    dawn_statelite::liteimg::liteimg("img", &image, &files, &mut |_| ()).unwrap();
    let path = image.join("etc/x");
    let shape =
        fs::read_link(path).map_or("in place".to_owned(), |target| format!("-> {}", target.display()));
    write!(text, "\n  liteimg:   {shape}").unwrap();
    write!(text, "\n  prepared:  {}", done(Duties::default(), false)).unwrap();
    text
}

#[test]
fn what_each_option_means() {
    let mut table = String::new();
    for spellings in SPELLINGS {
        let option = lite_option(spellings[0]).unwrap();
        assert_eq!(option.as_str(), spellings[0]);
        let meaning = what_becomes_of(spellings[0]);
        for other in spellings {
            assert_eq!(what_becomes_of(other), meaning, "{other}");
        }
        writeln!(table, "{meaning}").unwrap();
    }
    expect![[r#"
        file tmpfs /etc/x
          untouched: copy tree1:/etc/x tmpfs:/etc/x; bind tmpfs:/etc/x /etc/x
          live:      copy tree1:/etc/x tmpfs:/etc/x; bind tmpfs:/etc/x /etc/x
          liteimg:   in place
          prepared:  copy tree1:/etc/x tmpfs:/etc/x; bind tmpfs:/etc/x /etc/x
        file link /etc/x
          untouched: skeleton /etc/x -> ../.statelite/tmpfs/etc/x; copy tree1:/etc/x tmpfs:/etc/x
          live:      copy tree1:/etc/x tmpfs:/etc/x; bind tmpfs:/etc/x /etc/x
          liteimg:   -> ../.statelite/tmpfs/etc/x
          prepared:  copy tree1:/etc/x tmpfs:/etc/x
        file persistent /etc/x served
          untouched: copy tree1:/etc/x persistent:/etc/x; bind persistent:/etc/x /etc/x
          live:      
          liteimg:   in place
          prepared:  copy tree1:/etc/x persistent:/etc/x; bind persistent:/etc/x /etc/x
        file link,persistent /etc/x served
          untouched: skeleton /etc/x -> ../.statelite/tmpfs/etc/x; copy tree1:/etc/x persistent:/etc/x; link tmpfs:/etc/x -> /.statelite/persistent/etc/x
          live:      
          liteimg:   -> ../.statelite/tmpfs/etc/x
          prepared:  copy tree1:/etc/x persistent:/etc/x; link tmpfs:/etc/x -> /.statelite/persistent/etc/x
        file localdisk /etc/x
          untouched: copy tree1:/etc/x local:/etc/x; bind local:/etc/x /etc/x
          live:      copy tree1:/etc/x local:/etc/x; bind local:/etc/x /etc/x
          liteimg:   in place
          prepared:  copy tree1:/etc/x local:/etc/x; bind local:/etc/x /etc/x
        file ro /etc/x served
          untouched: bind-ro tree1:/etc/x /etc/x
          live:      
          liteimg:   in place
          prepared:  bind-ro tree1:/etc/x /etc/x
        file link,ro /etc/x served
          untouched: skeleton /etc/x -> ../.statelite/tmpfs/etc/x; link tmpfs:/etc/x -> /.statelite/mnt/s/t/etc/x
          live:      
          liteimg:   -> ../.statelite/tmpfs/etc/x
          prepared:  link tmpfs:/etc/x -> /.statelite/mnt/s/t/etc/x
        file con /etc/x
          untouched: copy tree1:/etc/x tmpfs:/etc/x; bind tmpfs:/etc/x /etc/x
          live:      copy tree1:/etc/x tmpfs:/etc/x; bind tmpfs:/etc/x /etc/x
          liteimg:   in place
          prepared:  copy tree1:/etc/x tmpfs:/etc/x; bind tmpfs:/etc/x /etc/x
        file link,con /etc/x
          untouched: skeleton /etc/x -> ../.statelite/tmpfs/etc/x; copy tree1:/etc/x tmpfs:/etc/x
          live:      copy tree1:/etc/x tmpfs:/etc/x; bind tmpfs:/etc/x /etc/x
          liteimg:   -> ../.statelite/tmpfs/etc/x
          prepared:  copy tree1:/etc/x tmpfs:/etc/x
        file con,persistent /etc/x served
          untouched: copy tree1:/etc/x tmpfs:/etc/x; copy tmpfs:/etc/x persistent:/etc/x; bind persistent:/etc/x /etc/x
          live:      
          liteimg:   in place
          prepared:  copy tree1:/etc/x tmpfs:/etc/x; copy tmpfs:/etc/x persistent:/etc/x; bind persistent:/etc/x /etc/x
    "#]].assert_eq(&table);
}

/// All other combinations of words are refused.
#[test]
fn nothing_else_is_an_option() {
    let words = ["tmpfs", "rw", "persistent", "localdisk", "ro", "con", "link"];
    let known: Vec<&str> = SPELLINGS.into_iter().flatten().copied().collect();
    for chosen in 1_usize..1 << words.len() {
        let text: Vec<&str> = words
            .iter()
            .enumerate()
            .filter(|(bit, _)| chosen >> bit & 1 == 1)
            .map(|(_, word)| *word)
            .collect();
        let text = text.join(",");
        let legal = known.contains(&text.as_str());
        assert_eq!(lite_option(&text).is_ok(), legal, "{text}");
    }
}
