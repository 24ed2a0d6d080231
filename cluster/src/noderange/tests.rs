use super::*;
use proptest::prelude::*;
use std::time::{Duration, Instant};

type Cells = &'static [(&'static str, &'static str)];

const ROWS: &[(&str, Cells)] = &[
    ("nodelist", &[("node", "n1"), ("groups", "all,compute,rack1")]),
    ("nodelist", &[("node", "n2"), ("groups", "all,compute,rack2")]),
    ("nodelist", &[("node", "n3"), ("groups", "all,racks")]),
    ("nodelist", &[("node", "n10"), ("groups", "all,racks,compute")]),
    ("nodelist", &[("node", "node7"), ("groups", "numbers")]),
    ("nodelist", &[("node", "node8")]),
    ("nodelist", &[("node", "f1n1"), ("groups", "f")]),
    ("nodelist", &[("node", "f1n2"), ("groups", "f")]),
    ("nodelist", &[("node", "f2n1"), ("groups", "f")]),
    ("nodelist", &[("node", "foo-1"), ("groups", "dash")]),
    ("nodelist", &[("node", "foo-2"), ("groups", "dash")]),
    ("nodelist", &[("node", "foo-3"), ("groups", "dash")]),
    ("nodelist", &[("node", "p098"), ("groups", "pad")]),
    ("nodelist", &[("node", "p099"), ("groups", "pad")]),
    ("nodelist", &[("node", "p100"), ("groups", "pad")]),
    ("nodehm", &[("node", "compute"), ("mgt", "ipmi")]),
    ("nodegroup", &[("groupname", "dyn"), ("grouptype", "dynamic"), ("wherevals", "mgt==ipmi")]),
    ("nodegroup", &[("groupname", "empty"), ("grouptype", "static")]),
    ("switch", &[("node", "n1"), ("switch", "s1"), ("port", "1")]),
    ("switch", &[("node", "n1"), ("switch", "s2"), ("port", "2")]),
];

fn cluster() -> Snapshot {
    Snapshot::from_rows(ROWS.iter().copied())
}

fn show(result: Result<Expanded, NoderangeError>) -> String {
    match result {
        Err(error) => format!("! {error}"),
        Ok(found) if found.missing.is_empty() => found.nodes.join(","),
        Ok(found) => format!("{} ? {}", found.nodes.join(","), found.missing.join(",")),
    }
}

const UNREADABLE: &str =
    "! the file ^/missing cannot be read; without it the noderange would name other nodes than you mean";

#[test]
fn expressions() {
    let snapshot = cluster();
    let read = |path: &str| match path {
        "/list" => Some("# c\nn1 comment\nn2:x\n\n^/list\n-n2\n".to_owned()),
        "/loop" => Some("compute\n".to_owned()),
        _ => None,
    };
    for (text, expect) in [
        ("", ""),
        ("n1", "n1"),
        ("n3,n1,n3", "n1,n3"),
        ("'n1',\"n2\"", "n1,n2"),
        (" n1", " ?  n1"),
        ("n1,,n2", "n1,n2"),
        ("compute", "n1,n10,n2"),
        ("empty", ""),
        ("dyn", "n1,n10,n2"),
        ("compute@n1,racks", "n1,n10,n3"),
        ("n1,racks@compute", "n1,n10"),
        ("all,@compute", "n1,n10,n2"),
        ("@compute", ""),
        ("-n1,all", "n10,n2,n3"),
        ("all,-n1", "n10,n2,n3"),
        ("all,-n1,n1", "n10,n2,n3"),
        ("all,-n9", "n1,n10,n2,n3 ? n9"),
        ("(n1,n2)", "n1,n2"),
        ("(n1,n2),n3", "n1,n2,n3"),
        ("all,-(n1,n2)", "n10,n3"),
        ("all@(n1,n2,node7)", "n1,n2"),
        ("(all,-n1)@compute", "n10,n2"),
        ("((n1))", "n1"),
        ("(n1", "! Unbalanced parentheses in noderange"),
        ("n1)", "! Unbalanced parentheses in noderange"),
        ("(n1)(n2)", "! cannot read '(n1)(n2)' in noderange"),
        ("n1-n3", "n1,n2,n3"),
        ("n1:n3", "n1,n2,n3"),
        ("n1-n1", "n1"),
        ("n1-n03", "n1,n2,n3"),
        (
            "n3-n1",
            "! the range 'n3-n1' goes down or its numbers differ in width; write the smaller name first",
        ),
        (
            "n01-n3",
            "! the range 'n01-n3' goes down or its numbers differ in width; write the smaller name first",
        ),
        ("p098-p100", "p098,p099,p100"),
        ("p[098-100]", "p098,p099,p100"),
        ("f1n1-f2n1", "f1n1,f2n1"),
        ("f1n1-f2n2", " ? f1n1-f2n2"),
        ("n1-n3x", " ? n1-n3x"),
        ("foo-1", "foo-1"),
        ("foo-1-foo-3", "foo-1,foo-2,foo-3"),
        ("foo-1-foo", " ? foo-1-foo"),
        ("rack1-rack2", "n1,n2"),
        ("f[1-2]n[1]", "f1n1,f2n1"),
        ("f[1-2]n[1-2]", "f1n1,f1n2,f2n1 ? f2n2"),
        ("n[1-2,10]", "n1,n10,n2"),
        ("n[1:2]", "n1,n2"),
        ("foo-[1-2],n1", "foo-1,foo-2,n1"),
        ("[1-3]", " ? [1-3]"),
        ("n[1-2", "! a bracket ([) of the noderange is not closed"),
        ("n1+2", "n1,n2,n3"),
        ("p098+2", "p098,p099,p100"),
        ("7", "node7"),
        ("7-8", "node7,node8"),
        ("7+1", "node7,node8"),
        ("9", " ? node9"),
        ("/n[12]", "n1,n2"),
        ("/n.*", "n1,n10,n2,n3,node7,node8"),
        ("/n1|node7", "n1,n10,node7"),
        ("/n(1|2)", "n1,n2"),
        ("/compute", ""),
        ("/n1/", ""),
        ("/n(1", "! Unbalanced parentheses in noderange"),
        ("/n{99999}", "!"),
        ("/n[1", "! the regular expression /n[1 in noderange is not valid: unclosed character class"),
        ("/n1{1,2}0?,n3", "n1,n10,n3"),
        ("mgt==ipmi", "n1,n10,n2"),
        ("mgt=ipmi@racks", "n10"),
        ("mgt!=ipmi,-f,-pad,-dash", "n3,node7,node8"),
        ("groups==numbers", "node7"),
        ("groups=~/rack/", "n1,n10,n2,n3"),
        ("nodelist.groups!~all,@/n.*", "node7,node8"),
        ("switch.switch==s2", "n1"),
        ("switch.switch!=s2,@compute", "n1,n10,n2"),
        ("nodehm.nothing==x", "! 'nodehm.nothing' is not a valid table.column description"),
        ("all,-mtg==ipmi", "! 'mtg' is not a valid table.column description"),
        ("^/list", "n1"),
        ("^/missing", ""),
        ("n1,^/missing", "n1"),
        ("all,-^/missing", UNREADABLE),
        ("all,@^/missing", UNREADABLE),
        ("all,-(n1,^/missing)", UNREADABLE),
        ("all,-^/list", "n10,n2,n3"),
        ("^/loop,@rack1", "n1"),
        ("nosuch,n1", "n1 ? nosuch"),
    ] {
        let got = show(Noderange::new(text).files(&read).expand(&snapshot));
        assert!(
            got == expect || (expect == "!" && got.starts_with("! the regular")),
            "{text}: {got} != {expect}"
        );
    }
}

#[test]
fn without_verification() {
    let snapshot = cluster();
    for (text, expect) in [
        ("x1-x3", "x1,x2,x3"),
        ("x-1", "x-1"),
        ("x[08-11]", "x08,x09,x10,x11"),
        ("x08-x11", "x08,x09,x10,x11"),
        ("x1.dom+1", "x1.dom,x2.dom"),
        ("f[1-2]m[1-2]", "f1m1,f1m2,f2m1,f2m2"),
        ("compute,new", "n1,n10,n2,new"),
        ("10.0.0.1", "10.0.0.1"),
        ("new,-new", ""),
        ("x99-x101", "x100,x101,x99"),
    ] {
        assert_eq!(show(Noderange::new(text).unverified().expand(&snapshot)), expect, "{text}");
    }
}

#[test]
fn less_work_is_allowed() {
    let snapshot = cluster();
    let little = |text| show(Noderange::new(text).work_max(10).expand(&snapshot));
    assert_eq!(little("n1-n3"), "n1,n2,n3");
    let refusal = "! the noderange names or examines more than 10 nodes";
    assert_eq!(little("n1-n11"), refusal);
    assert_eq!(little("mgt!=x0,mgt!=x1,mgt!=x2,mgt!=x3,mgt!=x4"), refusal);
}

#[test]
fn patterns_are_counted() {
    let snapshot = cluster();
    let many = |count: usize| (0..count).map(|n| format!("mgt==x{n}")).collect::<Vec<_>>().join(",");
    let all = Noderange::new(&many(PATTERNS_MAX)).expand(&snapshot);
    assert!(all.is_ok(), "{all:?}");
    let refusal = Noderange::new(&many(PATTERNS_MAX + 1)).expand(&snapshot).unwrap_err();
    assert_eq!(refusal, NoderangeError::TooManyPatterns(PATTERNS_MAX));
    // The same one over and over is one.
    let same = vec!["/n1"; 5000].join(",");
    assert!(Noderange::new(&same).expand(&snapshot).is_ok());
    let nobody = Reach::default();
    let limited = |text: &str| Noderange::new(text).seen_by(&nobody).expand(&snapshot).err();
    assert_eq!(limited(&many(PATTERNS_LIMITED_MAX)), None);
    let refusal = Some(NoderangeError::TooManyPatterns(PATTERNS_LIMITED_MAX));
    assert_eq!(limited(&many(PATTERNS_LIMITED_MAX + 1)), refusal);
    let expressions: Vec<String> = (0..=PATTERNS_LIMITED_MAX).map(|n| format!("/x{n}")).collect();
    assert_eq!(limited(&expressions.join(",")), refusal);
}

#[test]
fn excluded_by_the_site() {
    let rows = ROWS.iter().copied().chain([("site", &[("key", "excludenodes"), ("value", "n1,ghost")][..])]);
    let snapshot = Snapshot::from_rows(rows);
    assert_eq!(show(snapshot.noderange("compute")), "n10,n2");
    assert_eq!(show(snapshot.noderange("compute,what")), "n10,n2 ? what");
    assert_eq!(show(Noderange::new("compute").with_excluded().expand(&snapshot)), "n1,n10,n2");
}

#[test]
fn complaint_and_short_form() {
    let snapshot = cluster();
    let found = snapshot.noderange("a,n1,b").unwrap();
    assert_eq!(found.complaint().unwrap(), "Invalid nodes and/or groups in noderange: a,b");
    let nodes = snapshot.noderange("f,n1,dash,-foo-3").unwrap().nodes;
    assert_eq!(snapshot.shorten(&nodes), "f,foo-1,foo-2,n1");
}

#[test]
fn hostile_input_ends_soon() {
    let snapshot = cluster();
    let cases = [
        "(".repeat(100_000),
        format!("{}n1{}", "(".repeat(1000), ")".repeat(1000)),
        "n1-n99999999999".to_owned(),
        "n[1-9999][1-9999][1-9999]".to_owned(),
        "x[0-9]".repeat(100),
        format!("n1-n200000,{}", "n1-n900000,".repeat(100)),
        "n1+18446744073709551615".to_owned(),
        format!("/{}", "(a+)+".repeat(50)),
        "/(((((a{50}){50}){50}){50}){50})".to_owned(),
        format!("n1{}", ",@n1".repeat(200_000)),
        "groups=~(x+x+)+y,".repeat(10_000),
        "@".repeat(100_000),
        "-".repeat(100_001),
        "n1".repeat(200_000),
        "[".repeat(100_000),
        "1-".repeat(99_999),
    ];
    for text in cases {
        let start = Instant::now();
        let _ = snapshot.noderange(&text);
        let _ = Noderange::new(&text).unverified().expand(&snapshot);
        let name: String = text.chars().take(30).collect();
        assert!(start.elapsed() < Duration::from_secs(20), "{name} took {:?}", start.elapsed());
    }
}

proptest! {
    #[test]
    fn any_text_ends(text in r"[n123a-c,@()\[\]/=~!+:^*.-]{0,40}") {
        let snapshot = cluster();
        if let Ok(found) = snapshot.noderange(&text) {
            prop_assert!(found.nodes.windows(2).all(|w| w[0] < w[1]));
            prop_assert!(found.nodes.iter().all(|n| snapshot.has_node(n)));
        }
    }

    /// Set algebra: difference and intersection are what their names say.
    #[test]
    fn algebra(a in 0usize..6, b in 0usize..6) {
        let snapshot = cluster();
        let names = ["all", "compute", "n1", "f", "racks", "(n1,f)"];
        let of = |text: &str| snapshot.noderange(text).unwrap().nodes;
        let (x, y) = (of(names[a]), of(names[b]));
        let minus: Vec<Text> = x.iter().filter(|n| !y.contains(n)).cloned().collect();
        let common: Vec<Text> = x.iter().filter(|n| y.contains(n)).cloned().collect();
        prop_assert_eq!(of(&format!("{},-{}", names[a], names[b])), minus);
        prop_assert_eq!(of(&format!("{}@{}", names[a], names[b])), common);
    }
}
