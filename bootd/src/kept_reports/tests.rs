use super::*;
use dawn_cluster::Model;

fn status(word: &str) -> NodeReport {
    NodeReport::Status(vec![word.to_owned()])
}

fn waiting(kept: &KeptReports) -> usize {
    lock(&kept.waiting).reports.len()
}

fn cluster() -> Model {
    let model = Model::in_memory().unwrap();
    let node = |name: &str| Edit::set("nodelist", &[("node", name)], &[("groups", "all")]).unwrap();
    let chain = [("currstate", "install d-x-c"), ("currchain", "boot")];
    let edits = vec![node("n1"), node("n2"), Edit::set("chain", &[("node", "n1")], &chain).unwrap()];
    model.apply(Change::new("root", "test", edits)).unwrap();
    model
}

fn no_trouble(node: &str, reason: &str) {
    panic!("{node}: {reason}");
}

fn cell(model: &Model, node: &str, column: Col) -> String {
    model.snapshot().attr(node, column).map(|text| text.to_string()).unwrap_or_default()
}

#[test]
fn what_was_kept_is_written_by_the_next_daemon() {
    let data = tempfile::tempdir().unwrap();
    let model = cluster();
    let first = KeptReports::open(data.path());
    for (node, report) in [
        ("n1", NodeReport::Status(vec!["failed".into(), "synced".into(), "booting".into()])),
        ("n2", status("netbooting")),
        ("n1", status("booted")),
        ("gone", status("booted")),
        ("n2", NodeReport::AppStatus(vec![("gpfs".into(), "up".into()), ("ll".into(), "up".into())])),
        ("n2", NodeReport::AppStatus(vec![("ll".into(), "down".into())])),
        ("n1", NodeReport::Next),
        ("n1", NodeReport::Monitor),
    ] {
        first.keep(&model.snapshot(), node, &report);
    }
    assert_eq!(waiting(&first), 6);
    drop(first);
    let second = KeptReports::open(data.path());
    second.write(&model, &no_trouble);
    assert_eq!(waiting(&second), 0);
    let expected = [
        ("n1", col::nodelist::UPDATESTATUS, "synced"),
        ("n2", col::nodelist::STATUS, "netbooting"),
        ("n2", col::nodelist::APPSTATUS, "gpfs=up,ll=down"),
        ("n1", col::chain::CURRSTATE, "boot"),
        ("n1", col::nodelist::STATUS, "booting"),
    ];
    for (node, column, value) in expected {
        assert_eq!(cell(&model, node, column), value, "{node} {column}");
    }
    let file = data.path().join("reports.journal");
    assert_eq!(file.metadata().unwrap().len(), 0);
    assert_eq!(waiting(&KeptReports::open(data.path())), 0);
}

#[test]
fn a_late_report_does_not_undo_newer_ones() {
    let data = tempfile::tempdir().unwrap();
    let model = cluster();
    let kept = KeptReports::open(data.path());
    kept.keep(&model.snapshot(), "n1", &status("booting"));
    kept.keep(&model.snapshot(), "n1", &NodeReport::Next);
    drop(kept);
    let newer = [("status", "booted"), ("statustime", "01-01-2999 00:00:00")];
    let edits = vec![
        Edit::set("nodelist", &[("node", "n1")], &newer).unwrap(),
        Edit::set("chain", &[("node", "n1")], &[("currstate", "install other")]).unwrap(),
    ];
    model.apply(Change::new("root", "test", edits)).unwrap();
    let before = model.snapshot().seq();
    KeptReports::open(data.path()).write(&model, &no_trouble);
    assert_eq!(cell(&model, "n1", col::nodelist::STATUS), "booted");
    assert_eq!(cell(&model, "n1", col::chain::CURRSTATE), "install other");
    assert_eq!(model.snapshot().seq(), before);
}

#[test]
fn damage_costs_the_damaged_record() {
    let data = tempfile::tempdir().unwrap();
    let model = cluster();
    let kept = KeptReports::open(data.path());
    kept.keep(&model.snapshot(), "n1", &status("booting"));
    kept.keep(&model.snapshot(), "n2", &status("booted"));
    drop(kept);
    let path = data.path().join("reports.journal");
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[12] ^= 1;
    bytes.extend(b"half a rec");
    std::fs::write(&path, bytes).unwrap();
    let again = KeptReports::open(data.path());
    again.keep(&model.snapshot(), "n1", &status("shell"));
    drop(again);
    KeptReports::open(data.path()).write(&model, &no_trouble);
    assert_eq!(cell(&model, "n1", col::nodelist::STATUS), "shell");
    assert_eq!(cell(&model, "n2", col::nodelist::STATUS), "booted");
}

/// The node that cannot be moved on is named, with what an administrator can do.
#[test]
fn a_chain_that_cannot_go_on_is_reported() {
    let data = tempfile::tempdir().unwrap();
    let model = cluster();
    let chain = [("currstate", "shell"), ("currchain", "nosuch=word,boot")];
    let edits = vec![Edit::set("chain", &[("node", "n2")], &chain).unwrap()];
    model.apply(Change::new("root", "test", edits)).unwrap();
    let kept = KeptReports::open(data.path());
    kept.keep(&model.snapshot(), "n2", &NodeReport::Next);
    let heard = Mutex::new(Vec::new());
    kept.write(&model, &|node, reason| heard.lock().unwrap().push(format!("{node}: {reason}")));
    let heard = heard.into_inner().unwrap();
    assert_eq!(heard.len(), 1);
    assert!(heard[0].starts_with("n2: the chain cannot go on: Unknown state nosuch=word"), "{heard:?}");
    assert!(heard[0].contains("`nodeset n2 next`"), "{heard:?}");
    assert_eq!(cell(&model, "n2", col::nodelist::STATUS), "failed");
}

#[test]
fn what_is_no_file_of_reports_is_left_alone() {
    let data = tempfile::tempdir().unwrap();
    let path = data.path().join("reports.journal");
    let victim = data.path().join("victim");
    std::fs::write(&victim, "untouched").unwrap();
    std::os::unix::fs::symlink(&victim, &path).unwrap();
    let model = cluster();
    let kept = KeptReports::open(data.path());
    kept.keep(&model.snapshot(), "n1", &status("booted"));
    drop(kept);
    assert_eq!(std::fs::read_to_string(&victim).unwrap(), "untouched");
    assert_eq!(waiting(&KeptReports::open(data.path())), 1);
}

/// Reports of one node say the same over and over: the file does not grow with their number.
#[test]
fn the_file_stays_small() {
    let data = tempfile::tempdir().unwrap();
    let model = cluster();
    let kept = KeptReports::open(data.path());
    let snapshot = model.snapshot();
    let apps: Vec<_> = (0..32).map(|n| (format!("app{n}"), "u".repeat(100))).collect();
    for _ in 0..2000 {
        let mut all = lock(&kept.waiting);
        let reports = all.reports_of(&snapshot, "n1", &NodeReport::AppStatus(apps.clone()));
        reports.iter().for_each(|report| all.insert(report.clone(), false));
        all.file.as_mut().unwrap().append(&reports).unwrap();
        let living: Vec<Report> = all.reports.values().map(|waiting| waiting.report.clone()).collect();
        all.file.as_mut().unwrap().shorten(living.iter()).unwrap();
    }
    assert!(data.path().join("reports.journal").metadata().unwrap().len() < 2 << 20);
}

#[test]
fn what_the_fuzzer_asks_holds() {
    for text in ["", "x\n", r#"{"node":"n1","kind":"status","value":"booted","time":""}"#] {
        fuzz(text.as_bytes());
        fuzz(dawn_serving::sealed::seal(text).as_bytes());
    }
}
