//! Plans as data: a list, what exists, and the expected lines.

use std::collections::BTreeMap;

use super::super::paths::{NEEDED_DIRS, NEEDED_FILES};
use super::*;

/// What exists: `place:/path` lines; a trailing `/` is a full directory, `/.` an empty one, ` -> x` a link.
struct Fake(BTreeMap<String, Kind>);

impl Fake {
    fn new(text: &str) -> Self {
        let base = "image:/proc/.\nimage:/sys/.\nimage:/dev/.\nimage:/run/.\nimage:/.statelite/.\n\
                    image:/etc/hostname\nimage:/etc/resolv.conf\nimage:/etc/machine-id\n";
        let lines = base.lines().chain(text.lines()).map(str::trim).filter(|line| !line.is_empty());
        Self(lines.map(entry).collect())
    }
}

fn entry(line: &str) -> (String, Kind) {
    if let Some((path, target)) = line.split_once(" -> ") {
        return (path.to_owned(), Kind::Link(target.to_owned()));
    }
    if let Some(path) = line.strip_suffix("/.") {
        return (path.to_owned(), Kind::Dir { empty: true });
    }
    match line.strip_suffix('/') {
        Some(path) => (path.to_owned(), Kind::Dir { empty: false }),
        None => (line.to_owned(), Kind::File),
    }
}

impl Probe for Fake {
    fn kind(&self, at: &At) -> Kind {
        self.0.get(&at.to_string()).cloned().unwrap_or(Kind::Missing)
    }

    fn real_path(&self, path: &str) -> String {
        path.replace("/var/run/", "/run/").replace("/lib/", "/usr/lib/").replace("/var/usr/lib/", "/var/lib/")
    }

    fn follow(&self, path: &str) -> Option<String> {
        match self.kind(&image(path)) {
            Kind::Link(target) => self.follow(&target),
            Kind::Missing => None,
            _ => Some(path.to_owned()),
        }
    }
}

fn check(list: &str, exists: &str, expected: &str) {
    let list: String = list.lines().map(|line| format!("{}\n", line.trim().replace(' ', "\t"))).collect();
    let list = List::parse(&list);
    assert_eq!(list.complaints, Vec::<String>::new());
    let plan = plan(&list, &Fake::new(exists));
    let mut got: Vec<String> = plan.skeleton.iter().map(ToString::to_string).collect();
    got.extend(plan.actions.iter().map(ToString::to_string));
    got.extend(plan.notes.iter().map(|note| format!("note {note}")));
    let expected: Vec<&str> = expected.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    assert_eq!(got, expected);
}

#[test]
fn files_of_an_untouched_image() {
    check(
        "file tmpfs /etc/hosts
         file persistent /var/lib/data/
         file link /etc/motd
         file link,persistent /root/",
        "image:/etc/hosts
         image:/var/lib/data/
         image:/etc/motd
         image:/root/",
        "skeleton /etc/motd -> ../.statelite/tmpfs/etc/motd
         skeleton /root -> .statelite/tmpfs/root
         copy image:/etc/hosts tmpfs:/etc/hosts
         bind tmpfs:/etc/hosts /etc/hosts
         copy image:/var/lib/data persistent:/var/lib/data
         bind persistent:/var/lib/data /var/lib/data
         copy image:/etc/motd tmpfs:/etc/motd
         copy image:/root persistent:/root
         link tmpfs:/root -> /.statelite/persistent/root",
    );
}

#[test]
fn what_the_server_shows_is_left_alone() {
    check(
        "file tmpfs /var/
         file ro /var/fixed served
         file ro /var/gone served
         file persistent /var/kept/ served
         file persistent /srv/ served
         file persistent /srv/sub/ served
         file ro /etc/issue served",
        "image:/var/
         image:/srv/
         live:/var/fixed
         live:/var/kept/",
        "copy image:/var tmpfs:/var
         bind tmpfs:/var /var
         link tmpfs:/var/fixed -> /.statelite/live/var/fixed
         create tmpfs:/var/kept/
         bind live:/var/kept /var/kept",
    );
}

#[test]
fn files_of_a_prepared_image() {
    check(
        "file link /etc/foo/bar
         file tmpfs /etc/hosts
         file link,persistent /etc/p
         file link,ro /etc/r
         tree s:/a",
        "image:/etc/foo/bar -> ../../.statelite/tmpfs/etc/foo/bar
         image:/.default/etc/foo/bar
         image:/etc/hosts
         image:/.default/etc/hosts
         image:/etc/p -> ../.statelite/tmpfs/etc/p
         image:/.default/etc/p
         persistent:/etc/p
         image:/etc/r -> ../.statelite/tmpfs/etc/r
         image:/.default/etc/r
         tree1:/etc/r",
        "copy image:/.default/etc/foo/bar tmpfs:/etc/foo/bar
         copy image:/.default/etc/hosts tmpfs:/etc/hosts
         bind tmpfs:/etc/hosts /etc/hosts
         link tmpfs:/etc/p -> /.statelite/persistent/etc/p
         link tmpfs:/etc/r -> /.statelite/mnt/s/a/etc/r",
    );
}

#[test]
fn missing_files_get_mount_points() {
    check(
        "file tmpfs /var/lib/new/
         file persistent /etc/key
         file tmpfs /etc/adjtime",
        "image:/etc/adjtime -> /no/where
         persistent:/etc/key",
        "skeleton /var/lib/new/
         skeleton /etc/key
         skeleton /etc/adjtime
         create tmpfs:/var/lib/new/
         bind tmpfs:/var/lib/new /var/lib/new
         bind persistent:/etc/key /etc/key
         create tmpfs:/etc/adjtime
         bind tmpfs:/etc/adjtime /etc/adjtime
         note /var/lib/new is neither in a tree nor in the image: made empty
         note /etc/adjtime is neither in a tree nor in the image: made empty",
    );
}

#[test]
fn trees_by_priority() {
    check(
        "file tmpfs /etc/hosts
         file tmpfs /opt/conf/
         file con /etc/passwd
         file ro /usr/share/x
         tree s:/a
         tree s:/b",
        "image:/etc/hosts
         image:/opt/conf/
         image:/etc/passwd
         image:/usr/share/x
         tree1:/etc/hosts
         tree2:/etc/hosts
         tree1:/opt/conf/
         tree2:/opt/conf/
         tree1:/etc/passwd
         tree2:/etc/passwd
         tree2:/usr/share/x",
        "copy tree1:/etc/hosts tmpfs:/etc/hosts
         bind tmpfs:/etc/hosts /etc/hosts
         copy tree1:/opt/conf tmpfs:/opt/conf
         copy tree2:/opt/conf tmpfs:/opt/conf
         bind tmpfs:/opt/conf /opt/conf
         copy tree1:/etc/passwd tmpfs:/etc/passwd
         append tree2:/etc/passwd tmpfs:/etc/passwd
         bind tmpfs:/etc/passwd /etc/passwd
         bind-ro tree2:/usr/share/x /usr/share/x",
    );
}

#[test]
fn children_come_after_parents() {
    check(
        "file tmpfs /var/log/a
         file persistent /var/log/keep/
         file tmpfs /var/log/
         tree s:/t",
        "image:/var/log/
         image:/var/log/a
         tree1:/var/log/
         tree1:/var/log/a",
        "copy image:/var/log tmpfs:/var/log
         bind tmpfs:/var/log /var/log
         copy tree1:/var/log/a tmpfs:/var/log/a
         create persistent:/var/log/keep/
         create tmpfs:/var/log/keep/
         bind persistent:/var/log/keep /var/log/keep
         note /var/log/keep is neither in a tree nor in the image: made empty",
    );
}

#[test]
fn children_of_persistent_and_linked_directories() {
    check(
        "file persistent /srv/
         file persistent /srv/db/
         file link /opt/
         file link /opt/conf
         file link,persistent /opt/data/",
        "image:/srv/
         image:/srv/db/
         image:/opt/
         image:/opt/conf
         image:/opt/data/
         persistent:/srv/",
        "skeleton /opt -> .statelite/tmpfs/opt
         bind persistent:/srv /srv
         copy image:/opt tmpfs:/opt
         copy image:/srv/db persistent:/srv/db
         copy image:/opt/conf tmpfs:/opt/conf
         copy image:/opt/data persistent:/opt/data
         create tmpfs:/opt/data/
         bind persistent:/opt/data tmpfs:/opt/data",
    );
}

#[test]
fn empty_tree_directories_do_not_count() {
    check(
        "file tmpfs /etc/d/
         tree s:/a",
        "image:/etc/d/
         tree1:/etc/d/.",
        "copy image:/etc/d tmpfs:/etc/d
         bind tmpfs:/etc/d /etc/d",
    );
}

#[test]
fn links_of_directories_and_volatile_places() {
    check(
        "file tmpfs /lib/x
         file tmpfs /var/run/y
         file tmpfs /etc/issue
         file link /etc/mtab
         file localdisk /scratch/",
        "image:/lib/x
         image:/etc/issue -> /usr/lib/issue
         image:/usr/lib/issue
         image:/etc/mtab -> ../proc/self/mounts
         image:/scratch/",
        "skeleton /etc/issue
         copy image:/lib/x tmpfs:/lib/x
         bind tmpfs:/lib/x /usr/lib/x
         copy image:/usr/lib/issue tmpfs:/etc/issue
         bind tmpfs:/etc/issue /etc/issue
         copy image:/scratch tmpfs:/scratch
         bind tmpfs:/scratch /scratch
         note /var/run/y is in memory anyway (/run/y), its entry has no effect
         note /scratch: no local disk, kept in memory instead",
    );
}

#[test]
fn an_image_without_mount_points() {
    let list = List::parse("");
    let plan = plan(&list, &Fake(BTreeMap::new()));
    assert_eq!(plan.skeleton.len(), NEEDED_DIRS.len() + NEEDED_FILES.len());
}

/// The disk is filled once; what is below a directory of the disk needs its mount points there.
#[test]
fn entries_of_a_local_disk() {
    check(
        "file localdisk /scratch/
         file localdisk /scratch/a
         file tmpfs /scratch/b
         file con /scratch/c
         file localdisk /var/kept
         file tmpfs /opt/
         file localdisk /opt/d/
         localdisk /dev/vda ext4",
        "image:/scratch/
         image:/scratch/a
         image:/scratch/b
         image:/scratch/c
         image:/var/kept
         image:/opt/
         image:/opt/d/.
         local:/var/kept",
        "skeleton /.sllocal/localmnt/
         copy image:/scratch local:/scratch
         bind local:/scratch /scratch
         bind local:/var/kept /var/kept
         copy image:/opt tmpfs:/opt
         bind tmpfs:/opt /opt
         copy image:/scratch/a local:/scratch/a
         copy image:/scratch/b local:/scratch/b
         copy image:/scratch/c tmpfs:/scratch/c
         create local:/scratch/c
         bind tmpfs:/scratch/c /scratch/c
         copy image:/opt/d local:/opt/d
         create tmpfs:/opt/d/
         bind local:/opt/d /opt/d",
    );
}

/// A directory cannot be a part of a joined file.
#[test]
fn parts_that_cannot_be_joined() {
    check(
        "file con /etc/passwd
         tree s:/a
         tree s:/b",
        "image:/etc/passwd
         tree1:/etc/passwd/
         tree2:/etc/passwd",
        "copy tree2:/etc/passwd tmpfs:/etc/passwd
         bind tmpfs:/etc/passwd /etc/passwd
         note tree1:/etc/passwd is not a regular file: /etc/passwd is joined without it",
    );
}

/// A tree that has a listed path directly below a listed directory means that path, even if it is empty
/// there.
#[test]
fn a_tree_with_a_child_does_not_count_for_the_directory() {
    check(
        "file tmpfs /var/log/
         file tmpfs /var/log/keep/
         tree s:/a
         tree s:/b",
        "image:/var/log/
         image:/var/log/keep/
         tree1:/var/log/
         tree1:/var/log/keep/.
         tree2:/var/log/",
        "copy tree2:/var/log tmpfs:/var/log
         bind tmpfs:/var/log /var/log
         copy image:/var/log/keep tmpfs:/var/log/keep",
    );
}

/// Which part of a list a root of either kind leaves to the node.
#[test]
fn roots_with_and_without_the_servers_files() {
    let text = "file\tro\t/etc/a\tserved\nfile\tlink\t/etc/b\nfile\tpersistent\t/srv/\tserved\n\
                tree\t10.1.0.1:/state\t\tserved\nnote\t/etc/c is%0Anowhere\n";
    let mut list = List::parse(text);
    assert!(wants_trees(&list) && !wants_storage(&list));
    on_live_root(&mut list);
    let kinds: Vec<_> = list.entries.iter().map(|entry| (entry.option, entry.served)).collect();
    let live = [(LiteOption::Ro, true), (LiteOption::Tmpfs, false), (LiteOption::Persistent, true)];
    assert_eq!(kinds, live);
    on_plain_root(&mut list);
    assert!(wants_storage(&list) && list.notes.is_empty());
    assert!(list.entries.iter().all(|entry| !entry.served) && list.trees.iter().all(|tree| !tree.served));
}
