//! The model on real PostgreSQL and MariaDB servers. Needs the Debian packages `postgresql` and
//! `mariadb-server` and root; without them the tests fail.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests stop at the first surprise")]

#[path = "servers/server.rs"]
mod server;

use dawn_cluster::{
    Change, Edit, Model, ModelError, Snapshot, StoreAddress, StoreError, Text, migrate, schema,
};
use server::{Engine, Server};
use std::sync::Arc;
use std::time::{Duration, Instant};

fn unchecked(_: &Snapshot, _: &[Edit]) -> Result<(), ModelError> {
    Ok(())
}

fn change(edits: Vec<Edit>) -> Change {
    Change::new("root", "test", edits)
}

fn site(key: &str, value: &str) -> Vec<Edit> {
    vec![Edit::set_site(key, value).unwrap()]
}

/// Every row of every table, in an order that no database decides.
fn dump(snapshot: &Snapshot) -> Vec<(&'static str, Vec<Option<Text>>)> {
    let mut rows: Vec<_> = schema()
        .tables()
        .iter()
        .flat_map(|t| snapshot.rows(t.id).map(|row| (t.name, row.cells().to_vec())))
        .collect();
    rows.sort();
    rows
}

fn nodes(count: usize) -> Vec<Edit> {
    let node = |n: usize| {
        let name = format!("n{n:05}");
        [
            Edit::set("nodelist", &[("node", &name)], &[("groups", "compute,all")]).unwrap(),
            Edit::set(
                "mac",
                &[("node", &name)],
                &[("mac", &format!("52:54:00:00:{:02x}:{:02x}", n / 256, n % 256))],
            )
            .unwrap(),
        ]
    };
    (0..count).flat_map(node).collect()
}

fn assert_same(a: &Snapshot, b: &Snapshot) {
    let (a, b) = (dump(a), dump(b));
    if let Some((x, y)) = a.iter().zip(&b).find(|(x, y)| x != y) {
        panic!("rows differ: {x:?} and {y:?}");
    }
    assert_eq!(a.len(), b.len());
}

/// Odd values: quotes, backslashes, line breaks, another alphabet, case, blanks, NULL and empty.
fn odd() -> Vec<Edit> {
    let row = |key: &str, value: &str| Edit::set("site", &[("key", key)], &[("value", value)]).unwrap();
    let mut edits: Vec<Edit> =
        ["it's", "a\\b\\'", "x\ny", "\"q\"", "größe 节点 🖧", "%s ? $1", " blank ", "|a|b|"]
            .iter()
            .enumerate()
            .map(|(n, value)| row(&format!("odd{n}"), value))
            .collect();
    edits.extend([row("Case", "1"), row("case", "2"), row("case ", "3"), row("gone", "4"), row("gone", "")]);
    let event = |text: &str| Edit::Insert {
        table: schema().find("eventlog").unwrap().id,
        cells: vec![(schema().find_col("eventlog.message").unwrap(), Some(text.into()))],
    };
    edits.extend([event("one"), event("two")]);
    edits
}

fn stored_and_loaded(address: &StoreAddress) {
    let model = Model::open_at(address).unwrap();
    assert_eq!(model.engine(), address.engine());
    model.apply(change(odd())).unwrap();
    model.apply(change(nodes(1200))).unwrap();
    let table = |name| schema().find(name).unwrap().id;
    model
        .apply(change(vec![
            Edit::Delete { table: table("mac"), keys: vec![] },
            Edit::set("nodelist", &[("node", "n00007")], &[("node", "renamed")]).unwrap(),
            Edit::delete("eventlog", &[("recid", "1")]).unwrap(),
            Edit::set("switch", &[("node", "a"), ("switch", "s"), ("port", "1")], &[("vlan", "1")]).unwrap(),
            Edit::set("switch", &[("node", "a"), ("switch", "s"), ("port", "1")], &[("port", "2")]).unwrap(),
        ]))
        .unwrap();
    let snapshot = model.snapshot();
    drop(model);
    let again = Model::open_at(address).unwrap();
    assert_eq!(again.snapshot().seq(), 3);
    assert_same(&again.snapshot(), &snapshot);
    assert_eq!(again.log(10, None, |_| true).unwrap().len(), 3);
    let entry = again.newest_undoable().unwrap();
    again.undo(&entry, "root", unchecked).unwrap();
    assert!(again.snapshot().has_node("n00007"));
}

fn refused(address: &StoreAddress) {
    let model = Model::open_at(address).unwrap();
    let before = model.snapshot();
    let too_long = "k".repeat(300);
    let mut edits = site("half", "done");
    edits.extend(site(&too_long, "v"));
    assert!(matches!(model.apply(change(edits)), Err(ModelError::Store(_))));
    assert_same(&model.snapshot(), &before);
    model.apply(change(site("after", "fine"))).unwrap();
    assert_eq!(Model::open_at(address).unwrap().snapshot().site("half"), None);
}

fn two_daemons(address: &StoreAddress) {
    let (a, b) = (Arc::new(Model::open_at(address).unwrap()), Arc::new(Model::open_at(address).unwrap()));
    let _followers = (a.follow().unwrap(), b.follow().unwrap());
    let events = b.subscribe();
    for round in 0..5 {
        let value = round.to_string();
        let start = Instant::now();
        a.apply(change(site("seen", &value))).unwrap();
        while b.snapshot().site("seen").as_deref() != Some(&*value) {
            assert!(start.elapsed() < Duration::from_secs(1), "the other daemon does not see the change");
            std::thread::park_timeout(Duration::from_millis(5));
        }
        println!("{:?}: seen by the other daemon after {:?}", address.engine(), start.elapsed());
    }
    assert!(events.next(Duration::from_secs(1)).is_some());
    let add_one = |now: &Snapshot| {
        let n: u32 = now.site("counter").map_or(0, |t| t.parse().unwrap());
        Ok::<_, ModelError>((site("counter", &(n + 1).to_string()), ()))
    };
    std::thread::scope(|scope| {
        for model in [&a, &b, &a, &b] {
            scope.spawn(|| (0..25).for_each(|_| drop(model.transact(change(vec![]), add_one).unwrap())));
        }
    });
    for model in [&a, &b] {
        model.poll().unwrap();
        assert_eq!(model.snapshot().site("counter").as_deref(), Some("100"));
    }
    assert_same(&a.snapshot(), &b.snapshot());
}

fn moved(address: &StoreAddress) {
    let directory = tempfile::tempdir().unwrap();
    let here = Model::open(directory.path()).unwrap();
    here.apply(change(odd())).unwrap();
    here.apply(change(nodes(300))).unwrap();
    let there = Model::open_at(address).unwrap();
    migrate(&here.snapshot(), &there, "root", false).unwrap();
    assert!(matches!(migrate(&here.snapshot(), &there, "root", false), Err(ModelError::NotEmpty(_))));
    migrate(&here.snapshot(), &there, "root", true).unwrap();
    assert_same(&there.snapshot(), &here.snapshot());
    let back = tempfile::tempdir().unwrap();
    let back = Model::open(back.path()).unwrap();
    migrate(&Model::open_at(address).unwrap().snapshot(), &back, "root", false).unwrap();
    assert_same(&back.snapshot(), &here.snapshot());
}

fn moved_while_running(address: &StoreAddress) {
    let directory = tempfile::tempdir().unwrap();
    let model = Arc::new(Model::open(directory.path()).unwrap());
    let _follower = model.follow().unwrap();
    model.apply(change(nodes(100))).unwrap();
    let add_one = |now: &Snapshot| {
        let n: u32 = now.site("counter").map_or(0, |t| t.parse().unwrap());
        Ok::<_, ModelError>((site("counter", &(n + 1).to_string()), ()))
    };
    std::thread::scope(|scope| {
        scope.spawn(|| (0..200).for_each(|_| drop(model.transact(change(vec![]), add_one).unwrap())));
        scope.spawn(|| model.move_to(address, "root", false).unwrap());
    });
    assert_eq!(model.engine(), address.engine());
    assert_eq!(model.snapshot().site("counter").as_deref(), Some("200"));
    assert_eq!(model.address().as_ref(), Some(address));
    let again = Model::open(directory.path()).unwrap();
    assert_eq!(again.engine(), address.engine());
    assert_same(&again.snapshot(), &model.snapshot());
    again.move_to(&StoreAddress::Sqlite(directory.path().to_owned()), "root", true).unwrap();
    assert_eq!(again.engine(), "SQLite");
    assert_eq!(Model::open(directory.path()).unwrap().engine(), "SQLite");
    assert_same(&again.snapshot(), &model.snapshot());
}

/// The daemon opens and closes its model inside an asynchronous runtime.
fn inside_a_runtime(address: &StoreAddress) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let model = Arc::new(Model::open_at(address).unwrap());
        let follower = model.follow().unwrap();
        model.apply(change(site("a", "1"))).unwrap();
        drop(model);
        drop(follower);
    });
}

fn server_dies(server: &mut Server, address: &StoreAddress) {
    let model = Arc::new(Model::open_at(address).unwrap());
    let _follower = model.follow().unwrap();
    model.apply(change(site("kept", "1"))).unwrap();
    server.kill();
    let error = model.apply(change(site("lost", "1"))).unwrap_err();
    assert!(matches!(error, ModelError::Store(_)), "{error}");
    assert_eq!(model.snapshot().site("lost"), None);
    assert_eq!(model.snapshot().site("kept").as_deref(), Some("1"));
    server.launch();
    model.apply(change(site("again", "1"))).unwrap();
    let fresh = Model::open_at(address).unwrap().snapshot();
    assert_same(&fresh, &model.snapshot());
    assert_eq!(fresh.site("kept").as_deref(), Some("1"));
}

/// A server that no longer answers: every writer gets an error, none waits for ever, reading continues.
fn server_hangs(server: &Server, address: &StoreAddress) {
    let model = Arc::new(Model::open_at(address).unwrap());
    let _follower = model.follow().unwrap();
    model.apply(change(site("kept", "1"))).unwrap();
    server.signal("STOP");
    std::thread::scope(|scope| {
        for n in 0..30 {
            let model = &model;
            scope.spawn(move || {
                let error = model.apply(change(site(&format!("lost{n}"), "1"))).unwrap_err();
                assert!(matches!(error, ModelError::Store(StoreError::Silent)), "{error}");
            });
        }
        assert_eq!(model.snapshot().site("kept").as_deref(), Some("1"));
    });
    server.signal("CONT");
    let deadline = Instant::now() + Duration::from_secs(60);
    while let Err(error) = model.apply(change(site("again", "1"))) {
        assert!(Instant::now() < deadline, "the server is back and not asked: {error}");
        std::thread::park_timeout(Duration::from_millis(100));
    }
    assert_same(&Model::open_at(address).unwrap().snapshot(), &model.snapshot());
}

/// A text of any length the interface takes, also in a database that has xCAT's narrow columns.
fn long_texts(engine: Engine, address: &StoreAddress) {
    drop(Model::open_at(address).unwrap());
    if engine == Engine::Mysql {
        let at = address.server().unwrap();
        let options = mysql::OptsBuilder::new()
            .user(Some(&at.user))
            .pass(Some(at.password.reveal()))
            .db_name(Some(&at.dbname))
            .socket(Some(&at.hosts[0].name));
        let mut connection = mysql::Conn::new(options).unwrap();
        mysql::prelude::Queryable::query_drop(&mut connection, "ALTER TABLE site MODIFY value TEXT").unwrap();
    }
    let long = "ü".repeat(100_000);
    Model::open_at(address).unwrap().apply(change(site("long", &long))).unwrap();
    assert_eq!(Model::open_at(address).unwrap().snapshot().site("long").as_deref(), Some(&*long));
}

fn ten_thousand(address: &StoreAddress) {
    let model = Model::open_at(address).unwrap();
    let start = Instant::now();
    model.apply(change(nodes(10_000))).unwrap();
    let made = start.elapsed();
    let start = Instant::now();
    let again = Model::open_at(address).unwrap();
    println!("{}: 10,000 nodes made in {made:?}, loaded in {:?}", address.engine(), start.elapsed());
    assert_eq!(again.snapshot().node_count(), 10_000);
}

fn everything(engine: Engine) {
    let mut server = Server::start(engine);
    stored_and_loaded(&server.database("stored"));
    refused(&server.database("refused"));
    two_daemons(&server.database("two"));
    moved(&server.database("moved"));
    moved_while_running(&server.database("running"));
    inside_a_runtime(&server.database("runtime"));
    ten_thousand(&server.database("large"));
    long_texts(engine, &server.database("long"));
    server_hangs(&server, &server.database("hangs"));
    let address = server.database("dies");
    server_dies(&mut server, &address);
    let wrong = dawn_cluster::set_up_server(&server.admin(), &StoreAddress::Sqlite("/".into()), &[]);
    assert!(wrong.is_err());
    let rows = |dbname| dawn_cluster::first_table_with_rows(&server.admin(), dbname).unwrap();
    assert_eq!((rows("long"), rows("dawn_first"), rows("no_such")), (Some("site"), None, None));
}

/// The database on several servers, in this order.
fn together(addresses: &[&StoreAddress]) -> StoreAddress {
    let mut all = addresses[0].clone();
    let (StoreAddress::Postgres(server) | StoreAddress::Mysql(server)) = &mut all else { panic!("a server") };
    server.hosts = addresses.iter().flat_map(|one| one.server().unwrap().hosts.clone()).collect();
    // The settings of cfgloc are the ones that are used.
    StoreAddress::parse(&all.cfgloc_line()).unwrap()
}

fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !condition() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

/// One of several servers is used: not the dead one, not the one that can only be read, and after a failover
/// the other one, without a change that fails.
fn several_servers(engine: Engine) {
    let (mut first, mut second) = (Server::start(engine), Server::start(engine));
    let (a, b) = (first.database("pool"), second.database("pool"));
    Model::open_at(&a).unwrap().apply(change(site("kept", "1"))).unwrap();
    migrate(&Model::open_at(&a).unwrap().snapshot(), &Model::open_at(&b).unwrap(), "root", false).unwrap();
    let mut nowhere = a.clone();
    if let StoreAddress::Postgres(server) | StoreAddress::Mysql(server) = &mut nowhere {
        server.hosts[0].name = "/nowhere/at/all".into();
    }
    second.make_read_only(true);
    let pool = together(&[&nowhere, &b, &a]);
    let model = Arc::new(Model::open_at(&pool).unwrap());
    model.apply(change(site("where", "a"))).unwrap();
    assert_eq!(Model::open_at(&a).unwrap().snapshot().site("where").as_deref(), Some("a"));
    // Roles change: what was computed on the first server goes to the second one.
    let _follower = model.follow().unwrap();
    first.make_read_only(true);
    second.make_read_only(false);
    // PostgreSQL takes its settings over a moment later.
    wait_until("the second server is not used", || {
        drop(model.apply(change(site("where", "b"))));
        let there = Model::open_at(&b).unwrap().snapshot();
        there.site("where").as_deref() == Some("b")
    });
    assert_eq!(Model::open_at(&a).unwrap().snapshot().site("where").as_deref(), Some("a"));
    assert_eq!(model.snapshot().site("kept").as_deref(), Some("1"));
    first.make_read_only(false);
    wait_until("the first server cannot be written", || {
        Model::open_at(&a).unwrap().apply(change(site("ready", "1"))).is_ok()
    });
    second.kill();
    model.apply(change(site("where", "a again"))).unwrap();
    assert_eq!(Model::open_at(&a).unwrap().snapshot().site("where").as_deref(), Some("a again"));
    // A server that is frozen is left, and a writer who can wait does not fail.
    second.launch();
    let frozen = together(&[&a, &b]);
    let model = Arc::new(Model::open_at(&frozen).unwrap());
    let _follower = model.follow().unwrap();
    first.signal("STOP");
    let write = |_: &Snapshot| Ok::<_, ModelError>((site("where", "b again"), ()));
    model.transact_patiently(change(vec![]), |_| true, write).unwrap();
    assert_eq!(Model::open_at(&b).unwrap().snapshot().site("where").as_deref(), Some("b again"));
    assert_eq!(Model::open_at(&frozen).unwrap().snapshot().site("where").as_deref(), Some("b again"));
    first.signal("CONT");
    // None of them: the error names each.
    second.make_read_only(true);
    first.kill();
    let mut text = String::new();
    wait_until("a standby is used", || {
        text = Model::open_at(&pool).err().map(|error| error.to_string()).unwrap_or_default();
        text.contains("read-only")
    });
    assert!(text.contains("/nowhere/at/all: ") && text.matches("pool@").count() == 3, "{text}");
}

#[test]
fn several_postgresql_servers() {
    several_servers(Engine::Postgres);
}

#[test]
fn several_mariadb_servers() {
    several_servers(Engine::Mysql);
}

#[test]
fn postgresql() {
    everything(Engine::Postgres);
}

#[test]
fn mariadb() {
    everything(Engine::Mysql);
}
