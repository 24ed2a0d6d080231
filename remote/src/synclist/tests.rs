use super::*;
use expect_test::{Expect, expect};
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io;
use std::path::Path;

/// Files of a machine, directories with a slash at their end.
const MACHINE: &str = "/etc/hosts /etc/foo /etc/foo.post /tmp/a /tmp/b /tmp/.hidden /tmp/b.post /root/dir/one \
    /root/dir/two /root/dir/sub/three /root/tools/run.sh /root/extra.hosts /root/more.hosts /root/merge.passwd \
    /etc/xcat/alt/nodes/sources.list_x86_64 /srv/n1/motd /srv/n2/motd /dev/null!";

struct Machine;

impl Files for Machine {
    fn kind(&self, path: &str) -> io::Result<Option<FileKind>> {
        let below = format!("{path}/").replace("//", "/");
        let kind = |file: &str| match () {
            () if file.strip_suffix('!') == Some(path) => Some(FileKind::Other),
            () if file == path => Some(FileKind::File),
            () => file.starts_with(&below).then_some(FileKind::Directory),
        };
        Ok(MACHINE.split_whitespace().find_map(kind))
    }

    fn names(&self, directory: &str) -> io::Result<Vec<String>> {
        let below = format!("{directory}/").replace("//", "/");
        let inside = MACHINE.split_whitespace().filter_map(|file| file.strip_prefix(&below));
        let names: BTreeSet<&str> = inside.filter_map(|rest| rest.split('/').next()).collect();
        Ok(names.into_iter().map(str::to_owned).collect())
    }
}

fn parsed(text: &str) -> Result<Synclist, SynclistError> {
    read(Path::new("/l/list"), &|path| match path.to_str() {
        Some("/l/list") => Ok(text.to_owned()),
        Some("/l/sub/other") => Ok("/tmp/a -> /from/other\nAPPEND:\n/tmp/b -> /etc/motd\n".to_owned()),
        _ => Err(SynclistError::Missing(path.to_owned())),
    })
}

fn planned(text: &str, node: &str) -> Result<Plan, SynclistError> {
    let value = |name: &str| match name {
        "NODE" => Some(node.to_owned()),
        "ARCH" => Some("x86_64".to_owned()),
        _ => None,
    };
    let is_in = |nodes: &str| nodes.split(',').any(|one| one == node);
    parsed(text)?.plan(&Wanted { is_in: &is_in, value: &value, directory: "/var/x" }, &Machine)
}

fn shown(plan: &Plan) -> String {
    let mut text = String::new();
    for (place, source) in &plan.places {
        let slash = if source.is_directory { "/" } else { "" };
        writeln!(text, "{place}{slash} < {}", source.path).unwrap();
    }
    for (word, joins) in [("append", &plan.appends), ("merge", &plan.merges)] {
        for join in joins {
            writeln!(text, "{word} {} ({}) {}", join.destination, join.original, join.parts.join(" "))
                .unwrap();
        }
    }
    for script in &plan.scripts {
        writeln!(text, "run {} after {:?}", script.path, script.after).unwrap();
    }
    text
}

fn check(text: &str, expected: Expect) {
    let text = match planned(text, "n1") {
        Ok(plan) => shown(&plan),
        Err(error) => error.to_string(),
    };
    expected.assert_eq(&text);
}

#[test]
fn every_form_of_a_line() {
    check(
        "/etc/hosts -> /etc/hosts\n",
        expect![[r#"
        /etc/hosts < /etc/hosts
    "#]],
    );
    check(
        "/tmp/a /tmp/b -> /root/dir/\n",
        expect![[r#"
        /root/dir/a < /tmp/a
        /root/dir/b < /tmp/b
    "#]],
    );
    // A directory although it does not end in a slash.
    check(
        "/tmp/a /tmp/b -> /root/dir\n",
        expect![[r#"
        /root/dir/a < /tmp/a
        /root/dir/b < /tmp/b
    "#]],
    );
    check(
        "/tmp/a -> /new/name\n",
        expect![[r#"
        /new/name < /tmp/a
    "#]],
    );
    check(
        "/etc/xcat/alt/nodes/sources.list_x86_64 -> /etc/apt/sources.list.d/xcat.list",
        expect![[r#"
        /etc/apt/sources.list.d/xcat.list < /etc/xcat/alt/nodes/sources.list_x86_64
    "#]],
    );
    // Names that begin with a dot are not meant.
    check(
        "/root/dir/* -> /opt/dir\n/tmp/[!b]* -> /opt\n/tmp/.h* -> /o",
        expect![[r#"
        /o/.hidden < /tmp/.hidden
        /opt/a < /tmp/a
        /opt/dir/one < /root/dir/one
        /opt/dir/sub/ < /root/dir/sub
        /opt/dir/two < /root/dir/two
    "#]],
    );
    check(
        "/root/dir -> /dest/",
        expect![[r#"
        /dest/dir/ < /root/dir
    "#]],
    );
    check(
        "/root/dir/ -> /dest/",
        expect![[r#"
        /dest/one < /root/dir/one
        /dest/sub/ < /root/dir/sub
        /dest/two < /root/dir/two
    "#]],
    );
    check(
        "/root/dir -> /dest/other",
        expect![[r#"
        /dest/other/ < /root/dir
    "#]],
    );
    check(
        "/etc/foo -> (rack1,n1) /etc/foo.conf;\n/tmp/a -> (n2) /x\n",
        expect![[r#"
        /etc/foo.conf < /etc/foo
    "#]],
    );
    check(
        "#INCLUDE:sub/other#\n# comment\n\n/srv/$NODE/motd -> /etc/motd-${ARCH}\n",
        expect![[r#"
        /etc/motd-x86_64 < /srv/n1/motd
        /from/other < /tmp/a
        /var/x/append/tmp/b < /tmp/b
        append /etc/motd (/var/x/org/etc/motd) /var/x/append/tmp/b
    "#]],
    );
}

#[test]
fn clauses() {
    let text = "/etc/foo /etc/foo.post -> /etc/\n/root/tools/run.sh -> /root/tools/run.sh\n\
        EXECUTEALWAYS:\n/root/tools/run.sh\nEXECUTE:\n/etc/foo.post\nAPPEND:\n/root/extra.hosts -> /etc/hosts\n\
        /root/more.hosts -> /etc/hosts\nMERGE:\n/root/merge.passwd -> /etc/passwd\n";
    check(
        text,
        expect![[r#"
        /etc/foo < /etc/foo
        /etc/foo.post < /etc/foo.post
        /root/tools/run.sh < /root/tools/run.sh
        /var/x/append/root/extra.hosts < /root/extra.hosts
        /var/x/append/root/more.hosts < /root/more.hosts
        /var/x/merge/mergefiles/root/merge.passwd < /root/merge.passwd
        append /etc/hosts (/var/x/org/etc/hosts) /var/x/append/root/extra.hosts /var/x/append/root/more.hosts
        merge /etc/passwd (/var/x/org/etc/passwd) /var/x/merge/mergefiles/root/merge.passwd
        run /root/tools/run.sh after None
        run /etc/foo.post after Some("/etc/foo")
    "#]],
    );
    // A file that is copied whole as well is the original.
    check(
        "/etc/hosts -> /etc/hosts\nAPPEND:\n/root/extra.hosts -> /etc/hosts\n",
        expect![[r#"
        /var/x/append/root/extra.hosts < /root/extra.hosts
        /var/x/org/etc/hosts < /etc/hosts
        append /etc/hosts (/var/x/org/etc/hosts) /var/x/append/root/extra.hosts
    "#]],
    );
    // Where the script is not copied to, it does not run.
    check(
        "/tmp/a -> /a\n/root/tools/run.sh -> (n2) /r\nEXECUTEALWAYS:\n/root/tools/run.sh\n",
        expect![[r#"
        /a < /tmp/a
    "#]],
    );
}

#[test]
fn a_place_below_a_directory_is_kept() {
    check(
        "/root/dir -> /d\n/tmp/a -> /d/sub/three\n",
        expect![[r#"
        /d/one < /root/dir/one
        /d/sub/three < /tmp/a
        /d/two < /root/dir/two
    "#]],
    );
    check(
        "/root/dir -> /etc\nAPPEND:\n/tmp/a -> /etc/one\n",
        expect![[r#"
        /etc/sub/ < /root/dir/sub
        /etc/two < /root/dir/two
        /var/x/append/tmp/a < /tmp/a
        /var/x/org/etc/one < /root/dir/one
        append /etc/one (/var/x/org/etc/one) /var/x/append/tmp/a
    "#]],
    );
    check("/tmp/a -> /x\n/tmp/b -> /x/y\n", expect!["'/x' would be a file and a directory"]);
}

#[test]
fn what_is_wrong_is_said_with_its_line() {
    let mut text = String::new();
    for list in [
        "",
        "# only a comment\n",
        "/tmp/a /tmp/b\n",
        "\n/tmp/a->/tmp/b\n",
        "-> /x\n",
        "/tmp/a ->\n",
        "/tmp/a -> /x y\n",
        "/tmp/a -> (n1 /x\n",
        "tmp/a -> /x\n",
        "/tmp/a -> x\n",
        "/tmp/../etc/shadow -> /x\n",
        "/tmp/a -> /x/../y\n",
        "/tmp/a -> /\n/ -> /x",
        "/ -> /x/\n",
        "/nosuch -> /x\n",
        "/tmp/nosuch* -> /x\n",
        "/dev/null -> /x\n",
        "/tmp/a /root/../a -> /x\n",
        "/tmp/a /tmp/a -> /x\n",
        "/$HOME/a -> /x\n",
        "/$OSVER/a -> /x\n",
        "/tmp/a -> /x$(id)\n",
        "/tmp/a -> /x\nEXECUTE:\n/tmp/a.sh\n",
        "EXECUTE:\n/tmp/a -> /x\n",
        "EXECUTE: /tmp/a.post\n",
        "/tmp/a -> /a\nEXECUTEALWAYS:\n/tmp/b\n",
        "MERGE:\n/tmp/a -> /etc/hosts\n",
        "APPEND:\n/root/dir -> /etc/hosts\n",
        "#INCLUDE:list#\n",
        "#INCLUDE:nosuch#\n",
    ] {
        let error = planned(list, "n1").map(|plan| shown(&plan)).expect_err(list);
        writeln!(text, "{list:?}\n    {error}").unwrap();
    }
    expect![[r##"
        ""
            Found no lines to process in /l/list.
        "# only a comment\n"
            Found no lines to process in /l/list.
        "/tmp/a /tmp/b\n"
            /l/list, line 1: a line is SOURCE... -> DESTINATION, with blanks around the arrow
        "\n/tmp/a->/tmp/b\n"
            /l/list, line 2: a line is SOURCE... -> DESTINATION, with blanks around the arrow
        "-> /x\n"
            /l/list, line 1: a line is SOURCE... -> DESTINATION, with blanks around the arrow
        "/tmp/a ->\n"
            /l/list, line 1: a line is SOURCE... -> DESTINATION, with blanks around the arrow
        "/tmp/a -> /x y\n"
            /l/list, line 1: there is more than one word after the arrow: '/x y'
        "/tmp/a -> (n1 /x\n"
            /l/list, line 1: the list of nodes does not end with ')'
        "tmp/a -> /x\n"
            /l/list, line 1: 'tmp/a' is not an absolute path
        "/tmp/a -> x\n"
            /l/list, line 1: 'x' is not an absolute path
        "/tmp/../etc/shadow -> /x\n"
            /l/list, line 1: '/tmp/../etc/shadow' contains '..'
        "/tmp/a -> /x/../y\n"
            /l/list, line 1: '/x/../y' contains '..'
        "/tmp/a -> /\n/ -> /x"
            /l/list, line 2: '/' does not name a file
        "/ -> /x/\n"
            /l/list, line 1: '/' does not name a file
        "/nosuch -> /x\n"
            /l/list, line 1: File:/nosuch does not exist.
        "/tmp/nosuch* -> /x\n"
            /l/list, line 1: File:/tmp/nosuch* does not exist.
        "/dev/null -> /x\n"
            /l/list, line 1: '/dev/null' is not a file or directory
        "/tmp/a /root/../a -> /x\n"
            /l/list, line 1: '/root/../a' contains '..'
        "/tmp/a /tmp/a -> /x\n"
            /l/list, line 1: two sources of this line would both be '/x/a'
        "/$HOME/a -> /x\n"
            /l/list, line 1: '$HOME' is not a variable of synclists; they are $NODE, $OSVER, $ARCH, $PROFILE
        "/$OSVER/a -> /x\n"
            /l/list, line 1: $OSVER has no value for this node that could be part of a path
        "/tmp/a -> /x$(id)\n"
            /l/list, line 1: '$' is not a variable of synclists; they are $NODE, $OSVER, $ARCH, $PROFILE
        "/tmp/a -> /x\nEXECUTE:\n/tmp/a.sh\n"
            /l/list, line 3: '/tmp/a.sh' does not end with .post: a script of EXECUTE is called as the file it waits for, with .post
        "EXECUTE:\n/tmp/a -> /x\n"
            /l/list, line 2: this is part of EXECUTE, which takes the path of one script a line; files to copy come before it
        "EXECUTE: /tmp/a.post\n"
            /l/list, line 1: EXECUTE: must be alone on its line
        "/tmp/a -> /a\nEXECUTEALWAYS:\n/tmp/b\n"
            /l/list, line 3: '/tmp/b' of EXECUTEALWAYS is not a source of any line before; it runs on nodes that get it
        "MERGE:\n/tmp/a -> /etc/hosts\n"
            /l/list, line 2: /etc/hosts is not either /etc/passwd, /etc/group, /etc/gshadow or /etc/shadow. Those are the only supported files for MERGE
        "APPEND:\n/root/dir -> /etc/hosts\n"
            /l/list, line 2: '/root/dir' is a directory; only files can be appended or merged
        "#INCLUDE:list#\n"
            /l/list: lists include each other more than 8 deep
        "#INCLUDE:nosuch#\n"
            File:/l/nosuch does not exist.
    "##]].assert_eq(&text);
}

#[test]
fn an_image_takes_what_all_nodes_get() {
    let list =
        "/tmp/a -> /a\n/tmp/b -> (n1) /b\n/srv/$NODE/motd -> /etc/motd\nAPPEND:\n/tmp/b -> /etc/hosts\n";
    let list = parsed(list).unwrap().for_image();
    assert_eq!(list.copies.len(), 1);
    assert_eq!(list.lines().count(), 1);
}

#[test]
fn nodes_that_get_the_same_have_the_same_key() {
    let key = |text: &str, node: &str| {
        let value = |name: &str| (name == "NODE").then(|| node.to_owned());
        let is_in = |nodes: &str| nodes == node;
        parsed(text).unwrap().key(&Wanted { is_in: &is_in, value: &value, directory: "/d" })
    };
    let same = "/tmp/a -> /a\n/tmp/b -> (n3) /b\n";
    assert_eq!(key(same, "n1"), key(same, "n2"));
    assert_ne!(key(same, "n1"), key(same, "n3"));
    let own = "/srv/$NODE/motd -> /etc/motd\n";
    assert_ne!(key(own, "n1"), key(own, "n2"));
}

#[test]
fn reports_of_rsync() {
    let text = "<f+++++++++ etc/hosts\ncd+++++++++ opt/\n.f..t...... etc/same\n>f.st...... a b\n\
        rsync: something\n.d..t...... etc/\n";
    let changes = changes(text);
    assert_eq!(changes.files.iter().map(String::as_str).collect::<Vec<_>>(), ["/a b", "/etc/hosts"]);
    assert_eq!(changes.messages, ["rsync: something"]);
}

/// Runs what a node would, on directories of this machine.
fn on_node(top: &Path, plan: &Plan, changed: &[&str]) -> (String, i32) {
    let changed = changed.iter().map(|place| (*place).to_owned()).collect();
    let content = |path: &str| Ok::<_, io::Error>(if path.ends_with("bad.post") { BAD } else { GOOD });
    let Some((line, input)) = follow_up(plan, "n'1", &changed, &content).unwrap() else {
        return (String::new(), 0);
    };
    std::fs::write(top.join("input"), input).unwrap();
    let output = std::process::Command::new("/bin/sh")
        .args(["-c", &line])
        .stdin(std::fs::File::open(top.join("input")).unwrap())
        .output()
        .unwrap();
    let text = [output.stdout, output.stderr].concat();
    (String::from_utf8_lossy(&text).into_owned(), output.status.code().unwrap())
}

const GOOD: &[u8] = b"#!/bin/sh\necho \"good on $NODE\"\n";
const BAD: &[u8] = b"#!/bin/sh\necho bad\nexit 7\n";

#[test]
fn parts_are_appended_and_merged_and_scripts_run() {
    let directory = tempfile::tempdir().unwrap();
    let top = directory.path();
    let at = |name: &str| top.join(name).display().to_string();
    let write = |name: &str, text: &str| std::fs::write(top.join(name), text).unwrap();
    let read = |name: &str| std::fs::read_to_string(top.join(name)).unwrap();
    let join = |name: &str, parts: &[&str]| Join {
        destination: at(name),
        original: at(&format!("org/{name}")),
        parts: parts.iter().map(|part| at(part)).collect(),
    };
    write("hosts $(x)'", "first");
    write("part1", "second");
    write("part2", "third\n");
    write("passwd", "root:x:0\nuser:x:1\nother:x:2\n");
    write("users", "user:y:1\nnew:y:3");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o640);
    std::fs::set_permissions(top.join("passwd"), mode).unwrap();
    std::os::unix::fs::symlink("passwd", top.join("link")).unwrap();
    let plan = Plan {
        appends: vec![join("hosts $(x)'", &["part1", "part2"])],
        merges: vec![join("link", &["users"])],
        scripts: vec![
            Script { path: "/bad.post".to_owned(), after: None },
            Script { path: "/good.post".to_owned(), after: None },
            Script { path: "/never.post".to_owned(), after: Some("/never".to_owned()) },
        ],
        ..Plan::default()
    };
    let new = at("part2");
    assert_eq!(on_node(top, &plan, &[&new]), ("bad\ngood on n'1\n".to_owned(), 7));
    assert_eq!(read("hosts $(x)'"), "first\nsecond\nthird\n");
    assert_eq!(read("org/hosts $(x)'"), "first");
    assert_eq!(read("passwd"), "root:x:0\nother:x:2\nuser:y:1\nnew:y:3\n");
    assert_eq!(read("org/link"), "root:x:0\nuser:x:1\nother:x:2\n");
    use std::os::unix::fs::MetadataExt;
    assert_eq!(std::fs::metadata(top.join("passwd")).unwrap().mode() & 0o777, 0o640);
    assert!(top.join("link").is_symlink());
    // Again, with another part: from the original.
    write("part2", "other\n");
    on_node(top, &plan, &[&new]);
    assert_eq!(read("hosts $(x)'"), "first\nsecond\nother\n");
    assert_eq!(read("org/link"), "root:x:0\nuser:x:1\nother:x:2\n", "nothing was merged, nothing is kept");
    // An empty part takes nothing away, and a missing one changes nothing.
    write("users", "");
    on_node(top, &plan, &[]);
    assert_eq!(read("passwd"), "root:x:0\nother:x:2\nuser:y:1\nnew:y:3\n");
    std::fs::remove_file(top.join("users")).unwrap();
    std::fs::remove_file(top.join("part1")).unwrap();
    let (text, code) = on_node(top, &Plan { scripts: Vec::new(), ..plan }, &[&new]);
    assert!(text.contains("nothing was appended") && text.contains("nothing was merged"), "{text}");
    assert_eq!(code, 1);
    assert_eq!(read("hosts $(x)'"), "first\nsecond\nother\n");
    assert_eq!(read("passwd"), "root:x:0\nother:x:2\nuser:y:1\nnew:y:3\n");
    let left = std::fs::read_dir(top).unwrap().flatten().map(|entry| entry.file_name());
    assert!(!left.into_iter().any(|name| name.to_string_lossy().contains(".dawn.")));
}

#[test]
fn texts_of_all_kinds_keep_their_promises() {
    let words = [
        "/tmp/a",
        "/x/d",
        "->",
        "\n",
        "/",
        "EXECUTE:\n",
        "APPEND:\n",
        "MERGE:\n",
        "EXECUTEALWAYS:\n",
        "*",
        "(n1)",
        "(",
        "$NODE",
        "${",
        "}",
        " ",
        "..",
        "./",
        "/etc/passwd",
        "#INCLUDE:list#\n",
        "/b.post",
        "\u{e9}",
        "'",
    ];
    let mut state = 7_u64;
    let mut next = move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(state >> 33).unwrap()
    };
    for _ in 0..5_000 {
        let count = next() % 24;
        let text: String = (0..count).map(|_| words[next() % words.len()]).collect();
        fuzz(text.as_bytes());
        // Lines that are mostly right.
        let line: Vec<&str> = (0..count).map(|_| words[next() % words.len()]).collect();
        fuzz(format!("/a/d {} -> /x/{}\n", line.join(" "), line.concat()).as_bytes());
    }
}
