//! `import xcat`: a dump of an xCAT server with what such dumps have: values that Dawn refuses,
//! contradictions, tables and columns of one's own. The dump is `xcat-dump`, the session `import.txt`.

use crate::testbed::Bed;
use dawn_cluster::{csv, schema};
use expect_test::expect_file;
use std::fs;
use std::path::Path;

/// A bed with a copy of the dump in `dump`.
fn bed() -> Bed {
    let bed = Bed::new("policy priority=1 name=root rule=allow\nnodelist node=mine groups=all");
    let to = bed.directory.path().join("dump");
    fs::create_dir(&to).expect("a directory");
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/tests/xcat-dump");
    for entry in fs::read_dir(from).expect("the dump").flatten() {
        fs::copy(entry.path(), to.join(entry.file_name())).expect("a copy");
    }
    bed
}

fn tables(bed: &Bed) -> String {
    // The failed command itself is in the log.
    let tables = schema().tables_by_name().filter(|table| table.name != "auditlog");
    tables.map(|table| bed.run(&format!("tabdump {}", table.name))).collect()
}

#[test]
fn a_dump_becomes_one_change() {
    let bed = bed();
    let mut text = String::new();
    for line in [
        "import xcat dump --dry-run",
        "nodels",
        "import xcat dump",
        "nodels all hosts.ip mac.mac",
        "tabdump nodelist",
        "tabdump noderes",
        "undo",
        "nodels",
    ] {
        text.push_str(&format!("$ {line}\n{}", bed.run(line)));
    }
    let text = text.replace(&*bed.directory.path().to_string_lossy(), "TOP");
    expect_file!["import.txt"].assert_eq(&text);
}

#[test]
fn a_dump_with_errors_changes_nothing() {
    type Damage = (&'static str, &'static str, &'static str);
    let cases: [Damage; 5] = [
        ("mac.csv", "no header\n", "mac.csv: Data missing header line"),
        (
            "mac.csv",
            "#node,mac\n\"cn1\",\"52:54:00:00:00:01\",\"more\"\n",
            "mac.csv: line 2 has 3 fields, the header 2",
        ),
        ("mac.csv", "#node,mac\n\"cn1\",\"52:54\n", "mac.csv: "),
        ("policy.csv", "#priority,name,rule\n\"1\",\"root\",\"deny\"\n", "root could no longer run"),
        ("mac.csv", "#node,mac,mac\n", "has the column 'mac' twice"),
    ];
    for (file, text, reason) in cases {
        let bed = bed();
        let before = tables(&bed);
        fs::write(bed.directory.path().join("dump").join(file), text).expect("written");
        let said = bed.run("import xcat dump");
        assert!(said.contains(reason) && said.contains("rc=1"), "{file}: {said}");
        assert!(tables(&bed) == before, "{file}: something was changed");
    }
    let bed = bed();
    assert!(bed.run("import xcat nowhere").contains("Hint: Run `dumpxCATdb -p DIR`"));
    fs::create_dir(bed.directory.path().join("empty")).expect("a directory");
    assert!(bed.run("import xcat empty").contains("it holds no TABLE.csv"));
    fs::remove_file(bed.directory.path().join("dump/site.csv")).expect("removed");
    assert!(bed.run("import xcat dump").contains("it is not a complete dump"));
    assert!(bed.run_as("import xcat dump", None, Some("bob"), None).contains("rc="));
}

/// As many nodes as a large cluster has, with a group for each rack and a contradiction among them.
#[test]
fn a_large_dump_is_taken() {
    let bed = bed();
    let dump = bed.directory.path().join("dump");
    let (mut nodes, mut hosts) = ("#node,groups\n".to_owned(), "#node,ip\n".to_owned());
    for number in 0..2_000 {
        let name = format!("n{number:05}");
        nodes.push_str(&format!("\"{name}\",\"rack{},all\"\n", number / 40));
        hosts.push_str(&format!("\"{name}\",\"10.2.{}.{}\"\n", number / 250, number % 250 + 1));
    }
    hosts.push_str("\"n01999\",\"10.2.0.1\"\n");
    fs::write(dump.join("nodelist.csv"), nodes).expect("written");
    fs::write(dump.join("hosts.csv"), hosts).expect("written");
    let said = bed.run("import xcat dump");
    assert!(said.contains("nodelist: 2000 rows") && said.contains("Imported as one change."), "{said}");
    assert!(said.contains("the second row n01999 of hosts left out"), "{said}");
    assert_eq!(bed.run("nodels rack49").lines().count(), 40);
}

/// xCAT's own SQLite: the same tables in files of a database give the same report.
#[test]
fn a_directory_of_sqlite_files_is_read_as_it_is() {
    let bed = bed();
    let from_dump = bed.run("import xcat dump --dry-run");
    let top = bed.directory.path();
    fs::create_dir(top.join("xcat")).expect("a directory");
    let mut before = Vec::new();
    for entry in fs::read_dir(top.join("dump")).expect("the dump").flatten() {
        let name = entry.file_name().to_string_lossy().replace(".csv", "");
        let text = fs::read_to_string(entry.path()).expect("a table");
        let columns = csv::read_header(text.lines().next().unwrap_or_default()).expect("a header");
        let quoted: Vec<String> = columns.iter().map(|column| format!("\"{column}\" TEXT")).collect();
        let file = top.join(format!("xcat/{name}.sqlite"));
        let database = rusqlite::Connection::open(&file).expect("a database");
        database.execute_batch(&format!("CREATE TABLE \"{name}\" ({})", quoted.join(","))).expect("made");
        for record in csv::read_records(text.lines().skip(1)) {
            let mut fields = record.fields.expect("a record");
            fields.resize(columns.len(), None);
            let marks = vec!["?"; columns.len()].join(",");
            let insert = format!("INSERT INTO \"{name}\" VALUES ({marks})");
            database.execute(&insert, rusqlite::params_from_iter(fields)).expect("inserted");
        }
        drop(database);
        before.push((fs::read(&file).expect("read"), file));
    }
    assert_eq!(bed.run("import xcat xcat --dry-run"), from_dump);
    assert!(bed.run("import xcat xcat").contains("Imported as one change."));
    assert!(before.iter().all(|(bytes, file)| fs::read(file).expect("read") == *bytes));
    fs::remove_file(top.join("xcat/site.sqlite")).expect("removed");
    fs::write(top.join("xcat/cfgloc"), "SQLite:nowhere").expect("written");
    let said = bed.run("import xcat xcat");
    assert!(said.contains("cannot read the database of") && said.contains("rc=1"), "{said}");
}
