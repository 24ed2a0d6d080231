//! Renderings as text files: `tests/renderings/*.txt`, in parts that begin with `--- NAME`.
//!
//! | part | meaning |
//! |---|---|
//! | `rows` | rows of the tables, `TABLE COLUMN=VALUE…`; `~` stands for a blank, `^` for a line break |
//! | `file PATH` | a file of the server |
//! | `text` | the rendered text with the secrets masked |
//! | `revealed` | the rendered text as the node gets it |
//! | `values` | `FILE:LINE DIRECTIVE = VALUE (SOURCE)` |
//! | `unknown` | what looks like a directive |
//! | `error` | why there is no text, and the hint |
//!
//! `UPDATE_EXPECT=1 cargo test -p dawn-deploy` writes the last five again.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use dawn_cluster::{Advised, Secret, Snapshot, col};
use dawn_deploy::{FileError, Files, Job, render};
use dawn_plan::install::installer_of;
use dawn_plan::view::AnswerPart;
use dawn_plan::{LocalAddresses, PackedRoots, Ports, Surroundings, image_of};
use dawn_texts::texts;
use std::collections::BTreeMap;

/// Rows that every file has; a row of the file's own comes first where both would count.
const ROWS: &str = "\
nodelist node=cn1 groups=compute,all
nodelist node=cn2 groups=all
hosts node=cn1 ip=10.1.0.5
mac node=cn1 mac=52:54:00:00:00:01
networks netname=prov net=10.1.0.0 mask=255.255.0.0 domain=prov.example
nodetype node=all provmethod=disk
passwd key=system username=root password=hush
chain node=cn1 currstate=install~x
";

struct Tree(BTreeMap<String, String>);

impl Files for Tree {
    fn read(&self, path: &str) -> Result<String, FileError> {
        if path.starts_with("/etc") {
            return Err(FileError::Outside("/install/custom".to_owned()));
        }
        self.0.get(path).cloned().ok_or(FileError::Absent)
    }
}

fn snapshot(text: &str) -> Snapshot {
    let rows: Vec<(&str, Vec<(String, String)>)> = text
        .lines()
        .filter(|line| !line.trim().is_empty())
        .map(|line| {
            let (table, rest) = line.split_once(' ').unwrap();
            let cell = |word: &str| {
                let (column, value) = word.split_once('=').unwrap();
                (column.to_owned(), value.replace('~', " ").replace('^', "\n"))
            };
            (table, rest.split_whitespace().map(cell).collect())
        })
        .collect();
    let cells: Vec<Vec<(&str, &str)>> =
        rows.iter().map(|(_, row)| row.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect()).collect();
    Snapshot::from_rows(rows.iter().zip(&cells).map(|((table, _), row)| (*table, row.as_slice())))
}

/// One rendering: the parts it may expect.
fn results(snapshot: &Snapshot, files: &Tree) -> BTreeMap<&'static str, String> {
    let addresses = LocalAddresses::one("eth1", [10, 1, 0, 1], [255, 255, 0, 0]);
    let packed = &PackedRoots::default();
    let here = Surroundings { addresses: &addresses, ports: Ports::default(), packed, proof: None };
    let hash = |text: &str| Some(Secret::new(format!("$6$of${text}")));
    assert!(snapshot.attr("cn1", col::chain::CURRSTATE).is_some());
    let installer = image_of(snapshot, "cn1").and_then(|image| installer_of(&image));
    let parts = [AnswerPart::Whole, AnswerPart::UserData];
    let part = parts.into_iter().find(|part| installer.as_ref().is_ok_and(|found| part.is_of(*found)));
    let job = Job { snapshot, node: "cn1", here, files, hash: &hash };
    match render(&job, part.unwrap_or(AnswerPart::Whole)) {
        Ok(answers) => {
            let value = |value: &dawn_deploy::Value| {
                let (directive, shown, source) = (&value.directive, &value.shown, &value.source);
                format!("{}:{} {directive} = {shown} ({source})\n", value.file, value.line)
            };
            let unknown = answers.text.unknown().iter().map(|text| format!("{text}\n")).collect();
            BTreeMap::from([
                ("text", answers.text.masked()),
                ("revealed", answers.text.reveal()),
                ("values", answers.text.values().iter().map(value).collect()),
                ("unknown", unknown),
            ])
        }
        Err(error) => {
            let hint = error.hint().map(|hint| format!("hint: {hint}\n")).unwrap_or_default();
            BTreeMap::from([("error", format!("{error}\n{hint}"))])
        }
    }
}

/// The parts of a file: heading and text.
fn parts(text: &str) -> Vec<(String, String)> {
    let mut parts: Vec<(String, String)> = Vec::new();
    for line in text.lines() {
        match line.strip_prefix("--- ") {
            Some(heading) => parts.push((heading.to_owned(), String::new())),
            None => {
                let part = &mut parts.last_mut().unwrap().1;
                part.push_str(line);
                part.push('\n');
            }
        }
    }
    parts
}

#[test]
fn texts_are_rendered_as_the_files_say() {
    let update = std::env::var_os("UPDATE_EXPECT").is_some();
    let mut wrong = Vec::new();
    for file in texts(env!("CARGO_MANIFEST_DIR"), "tests/renderings") {
        let mut rows = String::new();
        let mut files = BTreeMap::new();
        let mut all = parts(&file.text);
        for (heading, text) in &all {
            match heading.strip_prefix("file ") {
                Some(path) => drop(files.insert(path.to_owned(), text.clone())),
                None if heading == "rows" => rows.push_str(text),
                None => {}
            }
        }
        let results = results(&snapshot(&format!("{rows}{ROWS}")), &Tree(files));
        let mut seen = 0;
        for (heading, text) in &mut all {
            let is_result = ["text", "revealed", "values", "unknown", "error"].contains(&heading.as_str());
            if !is_result {
                continue;
            }
            seen += 1;
            let mut result =
                results.get(heading.as_str()).cloned().unwrap_or_else(|| format!("{results:?}\n"));
            if !result.is_empty() && !result.ends_with('\n') {
                result.push('\n');
            }
            if *text != result {
                wrong.push(format!("{}: {heading}:\n{result}", file.name));
                *text = result;
            }
        }
        assert!(seen > 0, "{} expects nothing", file.name);
        if update {
            let text: String = all.iter().map(|(heading, text)| format!("--- {heading}\n{text}")).collect();
            std::fs::write(&file.path, text).unwrap();
        }
    }
    assert!(update || wrong.is_empty(), "{}", wrong.join("\n"));
}
