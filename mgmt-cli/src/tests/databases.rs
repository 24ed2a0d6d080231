//! The tables of a daemon on a real database server, moved there and back by the commands.

#[path = "../../../cluster/tests/servers/server.rs"]
#[allow(
    dead_code,
    clippy::unwrap_used,
    missing_docs,
    reason = "shared with the tests of the model, which use more of it"
)]
mod server;

use crate::testbed::Bed;
use dawn_cluster::{Change, Edit, Model, StoreAddress};
use server::{Engine, Server};

/// To a real server and back, by the commands. Needs the Debian packages `postgresql` and
/// `mariadb-server`, and root.
fn there_and_back(engine: Engine, command: &str, admin: &str) {
    let server = Server::start(engine);
    let admin_address = server.admin();
    let host = admin_address.server().expect("a server").host_names();
    let bed = Bed::on_disk("nodelist node=n1 groups=all\npolicy priority=1 name=root rule=allow");
    let set_up = format!("{command} --host={host} --admin={admin}");
    for refused in ["-o", if engine == Engine::Postgres { "-a 10.0.0.2" } else { "-u" }] {
        let text = bed.run(&format!("{set_up} {refused}"));
        assert!(
            text.contains(refused.split(' ').next().expect("an option")) && text.contains("rc=1"),
            "{text}"
        );
    }
    if engine == Engine::Postgres {
        let made = bed.run_with(&format!("{set_up} -i -N"), Some("hush hush\n\n"));
        assert_eq!(made, "xCAT PostgreSQL database is setup.\n");
        assert_eq!(bed.run("lsxcatd -d"), "dbengine=SQLite\n");
    }
    let no_password = bed.run(&set_up);
    assert!(no_password.contains("pipe it in") && no_password.contains("rc=1"), "{no_password}");
    assert_eq!(bed.run("lsxcatd -d"), "dbengine=SQLite\n");
    let done = bed.run_with(&set_up, Some("hush hush\n\n"));
    assert!(done.contains("database.") && !done.contains("rc="), "{done}");
    let shown = bed.run("lsxcatd -d");
    assert!(shown.contains("dbname=xcatdb") && !shown.contains("hush"), "{shown}");
    let again = bed.run_with(&set_up, Some("other\n\n"));
    assert!(again.contains("already") && again.contains("rc=1"), "{again}");
    assert_eq!(bed.run("nodels"), "n1\n");
    assert_eq!(bed.run("nodech n1 groups,=new"), "");
    let noted = StoreAddress::read(bed.directory.path()).expect("readable").expect("noted");
    assert_eq!(noted.engine(), admin_address.engine());
    let back = bed.run(&format!("{command} --back"));
    assert!(back.contains("SQLite"), "{back}");
    assert_eq!(bed.run("lsxcatd -d"), "dbengine=SQLite\n");
    assert_eq!(bed.run("nodels n1 groups"), "n1: new,all\n");
    let back = bed.run(&format!("{command} --back"));
    assert!(back.contains("already") && back.contains("rc=1"), "{back}");
    let again = bed.run_with(&set_up, Some("other\n\n"));
    assert!(again.contains("not empty") && again.contains("rc="), "{again}");
    // The password is the one of before (PostgreSQL's server of the tests trusts everybody).
    assert!(dawn_cluster::Model::open_at(&noted).is_ok());
    assert!(!bed.run_with(&format!("{set_up} --replace"), Some("hush hush\n\n")).contains("rc="));
}

#[test]
fn postgresql() {
    there_and_back(Engine::Postgres, "pgsqlsetup", "postgres");
}

#[test]
fn mariadb() {
    there_and_back(Engine::Mysql, "mysqlsetup", "root");
}

/// The tables of an xCAT server whose `cfgloc` names a database server.
fn imported(engine: Engine) {
    let server = Server::start(engine);
    let address = server.database("xcatdb");
    let there = Model::open_at(&address).expect("a database");
    let edits = vec![
        Edit::set("nodelist", &[("node", "there1")], &[("groups", "all")]).expect("an edit"),
        Edit::set("policy", &[("priority", "1")], &[("name", "root"), ("rule", "allow")]).expect("an edit"),
        Edit::set_site("domain", "there.example").expect("an edit"),
    ];
    there.apply(Change::new("root", "test", edits)).expect("applied");
    let bed = Bed::on_disk("nodelist node=n1 groups=all\npolicy priority=1 name=root rule=allow");
    let settings = bed.directory.path().join("xcat");
    std::fs::create_dir(&settings).expect("a directory");
    address.write(&settings).expect("written");
    let said = bed.run("import xcat xcat");
    assert!(said.contains("nodelist: 1 row\n") && said.contains("Imported as one change."), "{said}");
    assert!(!said.contains("dawn_change"), "{said}");
    assert_eq!(bed.run("nodels"), "there1\n");
    let now = Model::open_at(&address).expect("a database").snapshot().seq();
    assert_eq!(now, there.snapshot().seq(), "the database is only read");
}

#[test]
fn tables_are_imported_from_postgresql() {
    imported(Engine::Postgres);
}

#[test]
fn tables_are_imported_from_mariadb() {
    imported(Engine::Mysql);
}
