//! The real executable under its clients: killed under load, two hundred writers over TLS, a full disk, a
//! database that cannot be written, two daemons on one database server.
//!
//! Needs root (a tmpfs is mounted) and the Debian packages `postgresql` and `mariadb-server`; without them
//! the tests fail. Traffic stays on loopback. Waits have a bound and end with the condition; nothing is
//! asserted about how long it took.

#![allow(clippy::unwrap_used, reason = "tests stop at the first surprise")]

#[allow(dead_code, reason = "shared with the other tests of the executable")]
mod common;
#[path = "../../cluster/tests/servers/server.rs"]
#[allow(dead_code, reason = "shared with the tests of the model, which use more of it")]
mod server;

use common::{Daemon, Site, ask, first_line, printed, ready, wait_for};
use dawn_test_ports::free_port;
use dawn_xcatd::client::ClientSettings;
use server::{Engine, Server};
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

const WRITERS: usize = 8;
const KILLS: u64 = 6;

/// The same site in another data directory.
fn copy(site: &Site, data: &Path) -> Site {
    let copied = Command::new("cp").arg("-a").arg(&site.data).arg(data).status().unwrap();
    assert!(copied.success());
    Site { data: data.to_owned(), home: site.home.clone(), database: site.database.clone() }
}

/// After SIGKILL the tables have every change that was acknowledged, and no other.
#[test]
fn killed_under_load() {
    let directory = tempfile::tempdir().unwrap();
    let site = Site::new(directory.path(), None);
    let acknowledged: Vec<AtomicU64> = (0..WRITERS).map(|_| AtomicU64::new(0)).collect();
    for round in 1..=KILLS {
        let daemon = site.start();
        for (writer, last) in acknowledged.iter().enumerate() {
            let found: u64 = daemon.site(&format!("w{writer}")).parse().unwrap_or(0);
            let last = last.load(Ordering::Acquire);
            assert!(
                found == last || found == last + 1,
                "round {round}: w{writer} is {found}, {last} was acknowledged"
            );
        }
        let before: u64 = acknowledged.iter().map(|last| last.load(Ordering::Acquire)).sum();
        let settings = daemon.settings.clone();
        std::thread::scope(|scope| {
            for (writer, last) in acknowledged.iter().enumerate() {
                let start: u64 = daemon.site(&format!("w{writer}")).parse().unwrap_or(0);
                last.store(start, Ordering::Release);
                let settings = &settings;
                scope.spawn(move || {
                    for n in start + 1.. {
                        if !write(settings, &format!("chtab key=w{writer} site.value={n}")) {
                            return;
                        }
                        last.store(n, Ordering::Release);
                    }
                });
            }
            wait_for("nothing is written", || {
                acknowledged.iter().map(|last| last.load(Ordering::Acquire)).sum::<u64>()
                    > before + 20 * round
            });
            daemon.kill();
        });
    }
}

fn write(settings: &ClientSettings, line: &str) -> bool {
    ask(settings, line, &AtomicBool::new(false)).1 == 0
}

/// The client itself, with its own files: bytes that are not UTF-8 are refused before anything is sent.
#[test]
fn files_of_the_caller() {
    let directory = tempfile::tempdir().unwrap();
    let site = Site::new(directory.path(), None);
    let daemon = site.start();
    daemon.ok("nodeadd n1 groups=all nodelist.comments=here");
    let dump = directory.path().join("dump");
    let client = |words: &[&str]| {
        let mut command = site.command();
        command.env("XCATHOST", &daemon.settings.host).current_dir(directory.path()).args(words);
        let output = command.output().unwrap();
        (printed(&output), output.status.code().unwrap())
    };
    assert_eq!(client(&["dumpxCATdb", "-p", "dump"]).1, 0);
    std::fs::write(dump.join("nodelist.csv"), b"#node,groups,comments\n\"n1\",\"all\",\"K\xf6ln\"\n")
        .unwrap();
    let lossy: [&[&str]; 2] = [&["tabrestore", "dump/nodelist.csv"], &["restorexCATdb", "-p", "dump"]];
    for (words, expected) in lossy.into_iter().zip([4, 1]) {
        let (text, code) = client(words);
        assert!(text.contains("line 2 has the byte 0xf6") && code == expected, "{words:?}: {text} {code}");
        assert_eq!(daemon.ok("nodels n1 nodelist.comments"), "n1: here\n");
    }
    // What they write is logged as what was typed.
    std::fs::write(dump.join("nodelist.csv"), "#node,groups,comments\n\"n1\",\"all\",\"there\"\n").unwrap();
    assert_eq!(client(&["restorexCATdb", "-p", "dump"]).1, 0);
    let editor = directory.path().join("editor");
    std::fs::write(&editor, "#!/bin/sh\nsed -i s/there/elsewhere/ \"$1\"\n").unwrap();
    std::fs::set_permissions(&editor, std::fs::Permissions::from_mode(0o700)).unwrap();
    let edited = site
        .command()
        .env("XCATHOST", &daemon.settings.host)
        .env("EDITOR", &editor)
        .args(["tabedit", "nodelist"])
        .output()
        .unwrap();
    assert!(edited.status.success(), "{}", printed(&edited));
    assert_eq!(daemon.ok("nodels n1 nodelist.comments"), "n1: elsewhere\n");
    let logged = daemon.ok("log -s");
    let last: Vec<&str> = logged.lines().rev().take(2).filter_map(|line| line.rsplit(": ").next()).collect();
    assert_eq!(last, ["tabedit nodelist", "restorexCATdb -p dump"], "{logged}");
    // A signal ends it, and no file is left; lines that cannot be stored are shown, like the prompt.
    for (script, said) in [
        ("sed -i s/elsewhere/nowhere/ \"$1\"; kill -TERM $PPID", "interrupted"),
        ("sed -i s/n1/-n/ \"$1\"", "Above errors occured"),
        ("sed -i s/elsewhere/nowhere/ \"$1\"; exit 3", "exit status: 3; nothing was changed"),
    ] {
        std::fs::write(&editor, format!("#!/bin/sh\n{script}\n")).unwrap();
        let mut command = site.command();
        command.env("XCATHOST", &daemon.settings.host).env("EDITOR", &editor).env("TMPDIR", &site.home);
        let output = command.args(["tabedit", "nodelist"]).output().unwrap();
        assert!(printed(&output).contains(said) && output.status.code() == Some(1), "{}", printed(&output));
        let left: Vec<_> =
            std::fs::read_dir(&site.home).unwrap().flatten().map(|entry| entry.file_name()).collect();
        assert!(!left.iter().any(|name| name.to_string_lossy().starts_with("tabedit")), "{left:?}");
        assert_eq!(daemon.ok("nodels n1 nodelist.comments"), "n1: elsewhere\n");
    }
    let (text, code) = client(&["tabedit", "-h"]);
    assert!(text.contains("--dry-run") && code == 1, "{text} {code}");
    // A password that is not piped in comes by the environment; no server listens on port 1.
    let set_up = |command: &mut Command| {
        let command = command.env("XCATHOST", &daemon.settings.host);
        printed(&command.args(["pgsqlsetup", "--host=127.0.0.1", "--port=1"]).output().unwrap())
    };
    assert!(set_up(&mut site.command()).contains("no password"));
    let refused = set_up(site.command().env("XCATPGPW", "hush"));
    assert!(!refused.contains("no password") && refused.contains("127.0.0.1"), "{refused}");
}

/// Two hundred clients at once, each with a separate row and all with one row together.
#[test]
fn two_hundred_clients_lose_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let site = Site::new(directory.path(), None);
    let daemon = site.start();
    daemon.ok("nodeadd n1 groups=all");
    std::thread::scope(|scope| {
        for client in 0..200 {
            let daemon = &daemon;
            scope.spawn(move || {
                daemon.ok(&format!("chtab key=c{client} site.value=v{client}"));
                daemon.ok(&format!("nodech n1 groups,=g{client}"));
            });
        }
    });
    let check = |daemon: &Daemon| {
        let groups = daemon.ok("gettab node=n1 nodelist.groups");
        let groups: BTreeSet<&str> = groups.trim_end().split(',').collect();
        assert_eq!(groups.len(), 201);
        for client in 0..200 {
            assert_eq!(daemon.site(&format!("c{client}")), format!("v{client}"));
        }
    };
    check(&daemon);
    daemon.kill();
    check(&site.start());
}

/// A small file system of memory.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn new(directory: &Path, size: &str) -> SmallDisk {
        let disk = SmallDisk(directory.join("disk"));
        std::fs::create_dir(&disk.0).unwrap();
        mount(&["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"], &disk.0);
        disk
    }

    fn remount(&self, option: &str) {
        mount(&["-o", &format!("remount,{option}")], &self.0);
    }
}

fn mount(words: &[&str], directory: &Path) {
    let output = Command::new("mount").args(words).arg(directory).output().unwrap();
    assert!(output.status.success(), "{}", printed(&output));
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn a_full_disk_is_an_error_and_the_old_state_stays() {
    let directory = tempfile::tempdir().unwrap();
    let disk = SmallDisk::new(directory.path(), "12m");
    let site = Site::new(&disk.0, None);
    let daemon = site.start();
    let big = "x".repeat(200_000);
    let stored = (0..200).find(|n| daemon.run(&format!("chtab key=k{n} site.value={big}")).1 != 0).unwrap();
    let (error, code) = daemon.run(&format!("chtab key=k{stored} site.value={big}"));
    assert!(error.contains("full") && code != 0, "{error}");
    assert!(
        stored > 0 && daemon.site(&format!("k{}", stored - 1)) == big,
        "what was there is still answered"
    );
    assert_eq!(daemon.site(&format!("k{stored}")), "");
    disk.remount("size=64m");
    daemon.ok(&format!("chtab key=k{stored} site.value={big}"));
    daemon.kill();
    assert_eq!(site.start().site(&format!("k{stored}")), big);
}

/// A file system that has become read-only: what is stored is answered, a write is refused with the reason.
#[test]
fn a_read_only_database_is_an_error_and_the_old_state_stays() {
    let directory = tempfile::tempdir().unwrap();
    let disk = SmallDisk::new(directory.path(), "32m");
    let site = Site::new(&disk.0, None);
    let daemon = site.start();
    daemon.ok("chtab key=k site.value=v");
    daemon.kill();
    disk.remount("ro");
    let daemon = site.start();
    let (error, code) = daemon.run("chtab key=k site.value=w");
    assert!(error.contains("the database is read-only; nothing was changed") && code != 0, "{error}");
    assert_eq!(daemon.site("k"), "v");
    daemon.kill();
    disk.remount("rw");
    let daemon = site.start();
    assert_eq!(daemon.site("k"), "v");
    daemon.ok("chtab key=k site.value=w");
}

/// The ports of a predecessor that is going are waited for; of one that stays, the error says who it is.
#[test]
fn ports_that_are_held() {
    let directory = tempfile::tempdir().unwrap();
    let site = Site::new(directory.path(), None);
    let other = copy(&site, &directory.path().join("other"));
    let ((mut serve, port), mut again) = (site.serve(), other.command());
    again.args(serve.get_args().take(8)).arg(&other.data);
    let mut first = ready(&mut serve, None);
    let output = again.output().unwrap();
    let sentence = format!("TCP port {port} is held by dawn (process {})", first.id());
    assert!(!output.status.success() && printed(&output).contains(&sentence), "{}", printed(&output));
    let mut second = again.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let log = BufReader::new(second.stderr.as_mut().unwrap()).lines().map_while(Result::ok);
    let waits = log.into_iter().find(|line| line.contains("waiting for a port"));
    // Anyone who read the log has gone, which is not a reason to end either.
    drop(second.stderr.take());
    first.kill().unwrap();
    first.wait().unwrap();
    let line = first_line(&mut second.stdout);
    let _ = second.kill().and_then(|()| second.wait());
    assert!(waits.is_some(), "the second daemon does not wait");
    assert_eq!(line, "ready\n");
}

/// Two daemons with different ports but one data directory: the second reports at once which process has it.
#[test]
fn a_data_directory_has_one_daemon() {
    let directory = tempfile::tempdir().unwrap();
    let site = Site::new(directory.path(), None);
    let first = site.start();
    let refused = site.serve().0.output().unwrap();
    let sentence = format!("is in use by dawn serve, process {}, since", first.id());
    assert!(!refused.status.success() && printed(&refused).contains(&sentence), "{}", printed(&refused));
    // `dawn init` repairs tables while a daemon runs.
    let init =
        site.command().args(["init", "--domain", "x.example", "--data"]).arg(&site.data).output().unwrap();
    assert!(init.status.success(), "{}", printed(&init));
    wait_for("the daemon does not see the change", || first.site("domain") == "x.example");
    first.kill();
    site.start();
}

fn databases(site: &Site) -> Vec<PathBuf> {
    ["", "-wal", "-shm"].map(|suffix| site.data.join(format!("dawn.sqlite{suffix}"))).to_vec()
}

/// A database that was removed under a running daemon: no change is acknowledged, the tables can be saved,
/// and the next start does not take an empty directory for a new cluster.
#[test]
fn a_removed_database_is_an_error() {
    let directory = tempfile::tempdir().unwrap();
    let site = Site::new(directory.path(), None);
    let daemon = site.start();
    daemon.ok("chtab key=k site.value=v");
    for file in databases(&site) {
        std::fs::remove_file(file).unwrap();
    }
    for _ in 0..2 {
        let (error, code) = daemon.run("chtab key=k site.value=w");
        assert!(
            error.contains("was removed or replaced") && error.contains("dumpxCATdb") && code != 0,
            "{error}"
        );
    }
    assert_eq!(daemon.site("k"), "v");
    let dump = directory.path().join("dump");
    let mut saved = site.command();
    let saved =
        saved.env("XCATHOST", &daemon.settings.host).args(["dumpxCATdb", "-p"]).arg(&dump).output().unwrap();
    assert!(saved.status.success() && dump.join("site.csv").exists(), "{}", printed(&saved));
    daemon.kill();
    for empty in [false, true] {
        if empty {
            std::fs::write(&databases(&site)[0], "").unwrap();
        }
        let refused = site.serve().0.output().unwrap();
        let text = printed(&refused);
        assert!(!refused.status.success() && text.contains("there is no database in"), "{text}");
        assert!(text.contains("backup") && text.contains("dawn init --data"), "{text}");
    }
    // As the hint says.
    let init = site.command().args(["init", "--data"]).arg(&site.data).output().unwrap();
    assert!(init.status.success(), "{}", printed(&init));
    let daemon = site.start();
    let mut restored = site.command();
    let restored = restored.env("XCATHOST", &daemon.settings.host).args(["restorexCATdb", "-p"]).arg(&dump);
    let restored = restored.output().unwrap();
    assert!(restored.status.success(), "{}", printed(&restored));
    assert_eq!(daemon.site("k"), "v");
}

/// Two whole daemons on one database server.
fn two_daemons(engine: Engine) {
    let server = Server::start(engine);
    let directory = tempfile::tempdir().unwrap();
    let line = server.database("together").cfgloc_line();
    let first = Site::new(directory.path(), Some(line));
    let second = copy(&first, &directory.path().join("second"));
    let (a, b) = (first.start(), second.start());
    for (writer, reader) in [(&a, &b), (&b, &a)] {
        writer.ok(&format!("chtab key=seen site.value={}", writer.settings.host));
        wait_for("the other daemon does not see the change", || reader.site("seen") == writer.settings.host);
    }
    a.ok("nodeadd n1 groups=all");
    wait_for("the other daemon does not see the node", || b.ok("nodels") == "n1\n");
    // Writers to one row through both: each write builds on the others, or fails with an error.
    std::thread::scope(|scope| {
        for (name, daemon) in [("a", &a), ("b", &b)] {
            for writer in 0..4 {
                scope.spawn(move || {
                    (0..5).for_each(|n| drop(daemon.ok(&format!("nodech n1 groups,={name}{writer}x{n}"))));
                });
            }
        }
    });
    for daemon in [&a, &b] {
        let groups = || daemon.ok("gettab node=n1 nodelist.groups").trim_end().split(',').count();
        wait_for("a change was lost", || groups() == 41);
    }
    a.kill();
    b.ok("chtab key=alone site.value=yes");
    assert_eq!(first.start().site("alone"), "yes");
}

#[test]
fn two_daemons_on_postgresql() {
    two_daemons(Engine::Postgres);
}

#[test]
fn two_daemons_on_mariadb() {
    two_daemons(Engine::Mysql);
}

/// A backup that is made while a client writes, restored into an empty data directory and over another state:
/// the tables of one moment, and the clients' certificates hold. A damaged one is refused, and nothing is
/// changed.
fn backup_and_restore(engine: Option<Engine>) {
    let server = engine.map(Server::start);
    let database = |name: &str| server.as_ref().map(|server| server.database(name).cfgloc_line());
    let directory = tempfile::tempdir().unwrap();
    let site = Site::new(directory.path(), database("before"));
    let saved = directory.path().join("saved");
    let daemon = site.start();
    daemon.ok("nodeadd n1,n2 groups=all");
    let ended = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for n in 0.. {
                if ended.load(Ordering::Acquire)
                    || !write(&daemon.settings, &format!("nodech n1,n2 groups,=g{n}"))
                {
                    return;
                }
            }
        });
        daemon.ok(&format!("backup {}", saved.display()));
        ended.store(true, Ordering::Release);
    });
    let (text, code) = daemon.run(&format!("backup {}", saved.display()));
    assert!(text.contains("exists already") && code == 1, "{text}");
    // One change writes both nodes: the backup has both or neither.
    let rows = std::fs::read_to_string(saved.join("tables/nodelist.csv")).unwrap();
    let groups: BTreeSet<&str> =
        rows.lines().skip(1).filter_map(|row| row.split_once(',')).map(|(_, rest)| rest).collect();
    assert_eq!(groups.len(), 1, "{rows}");

    let restore_with = |option: &str, from: &Path, site: &Site| {
        let mut command = site.command();
        command.arg("restore").arg(from).arg("--data").arg(&site.data);
        let output = command.args(Some(option).filter(|option| !option.is_empty())).output().unwrap();
        (printed(&output), output.status.code().unwrap())
    };
    let restore = |from: &Path, site: &Site| restore_with("", from, site);
    let (text, code) = restore_with("--overwrite", &saved, &site);
    assert!(text.contains("is in use by dawn serve") && code == 1, "{text}");
    daemon.kill();
    // Existing rows are replaced only on request.
    let (text, code) = restore(&saved, &site);
    assert!(text.contains("has tables with rows\nHint: --dry-run shows") && code == 1, "{text}");
    let again =
        Site { data: directory.path().join("again"), home: site.home.clone(), database: database("after") };
    let damaged = directory.path().join("damaged");
    assert!(Command::new("cp").arg("-a").arg(&saved).arg(&damaged).status().unwrap().success());
    std::fs::write(damaged.join("tables/nodelist.csv"), rows.replacen("n1", "n9", 1)).unwrap();
    let (text, code) = restore(&damaged, &again);
    assert!(text.contains("the backup is damaged: tables/nodelist.csv") && code == 1, "{text}");
    assert!(!again.data.exists());

    let check = |daemon: &Daemon| {
        for table in ["nodelist", "site", "policy", "networks"] {
            let saved = std::fs::read_to_string(saved.join(format!("tables/{table}.csv"))).unwrap();
            assert_eq!(daemon.ok(&format!("tabdump {table}")), saved, "{table}");
        }
    };
    let (text, code) = restore(&saved, &again);
    assert!(text.contains("Restored ") && code == 0, "{text}");
    let log = std::fs::metadata(again.data.join("log")).unwrap();
    assert_eq!(std::os::unix::fs::MetadataExt::mode(&log) & 0o777, 0o700);
    let daemon = again.start();
    check(&daemon);
    // No number of a change is used again.
    let log = daemon.ok("log");
    let numbers = log.lines().filter_map(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    let saved_change = std::fs::read_to_string(saved.join("contents")).unwrap();
    let saved_change = saved_change.lines().find_map(|line| line.strip_prefix("change ")).unwrap();
    assert!(numbers.max() > saved_change.parse().ok(), "{log}");
    daemon.ok("nodeadd n3 groups=all");
    daemon.kill();
    let (text, code) = restore_with("--dry-run", &saved, &again);
    assert!(text.contains("- nodelist n3\n") && code == 0, "{text}");
    let (text, code) = restore_with("--overwrite", &saved, &again);
    assert_eq!(code, 0, "{text}");
    let daemon = again.start();
    check(&daemon);
    daemon.ok("undo");
    assert!(daemon.ok("nodels").contains("n3"));
}

#[test]
fn a_backup_is_restored_into_sqlite() {
    backup_and_restore(None);
}

#[test]
fn a_backup_is_restored_into_postgresql() {
    backup_and_restore(Some(Engine::Postgres));
}

#[test]
fn a_backup_is_restored_into_mariadb() {
    backup_and_restore(Some(Engine::Mysql));
}

/// `doctor` says what is wrong, from a missing data directory to a node that would not boot.
#[test]
fn doctor_says_what_is_wrong() {
    let directory = tempfile::tempdir().unwrap();
    let site = Site::new(directory.path(), None);
    let doctor = |host: &str, words: &[&str]| {
        let mut command = site.command();
        let output = command.env("XCATHOST", host).arg("doctor").args(words).output().unwrap();
        (printed(&output), output.status.code().unwrap())
    };
    let nowhere = directory.path().join("nowhere");
    let (text, code) = doctor("127.0.0.1:1", &["--data", &nowhere.to_string_lossy()]);
    assert!(text.contains("[failed] there is no data directory") && code == 1, "{text}");
    assert!(
        text.contains("[failed] the daemon does not answer") && text.contains("systemctl enable"),
        "{text}"
    );
    let daemon = site.start();
    daemon.ok("nodeadd n1 groups=all");
    let data = site.data.to_string_lossy();
    let (text, code) = doctor(&daemon.settings.host, &["--data", &data, "n1"]);
    assert!(text.contains("[ok]     the daemon answers") && code == 1, "{text}");
    assert!(text.contains("[ok]     site.master 127.0.0.1 is on lo"), "{text}");
    assert!(text.contains("[failed] n1 would not boot: "), "{text}");
    let (text, _) = doctor(&daemon.settings.host, &["--data", &data, "--json", "n1"]);
    let list: Vec<serde_json::Value> = serde_json::from_str(&text).unwrap();
    assert!(list.iter().any(|finding| finding["state"] == "failed" && finding["hint"].is_string()), "{text}");
    for finding in &list {
        let word = |field: &str| finding[field].as_str().unwrap_or_default();
        assert!(
            ["ok", "warn", "failed"].contains(&word("state")) && !word("message").is_empty(),
            "{finding}"
        );
        assert!(
            !word("check").is_empty() && finding["hint"].is_null() == (word("state") == "ok"),
            "{finding}"
        );
        assert!(word("state") == "ok" || word("hint").ends_with(['.', '?']), "{finding}");
    }
    // What the daemon says of its error arrives as it is there.
    let (text, code) = doctor(&daemon.settings.host, &["--data", &data, "--json", "nosuch"]);
    let list: Vec<serde_json::Value> = serde_json::from_str(&text).unwrap();
    let unknown = list.iter().find(|finding| finding["message"].as_str().unwrap().contains("nosuch"));
    let unknown = unknown.unwrap_or_else(|| panic!("{text}"));
    assert!(unknown["state"] == "failed" && code == 1, "{text}");
    assert_eq!(unknown["hint"], "`dawn nodels` lists the nodes.");
}

/// Runs openssl(1) in a directory.
fn openssl(directory: &Path, line: &str) {
    let output = Command::new("openssl").args(line.split(' ')).current_dir(directory).output().unwrap();
    assert!(output.status.success(), "openssl {line}: {}", printed(&output));
}

/// A key in the old form and its certificate with the extensions that xCAT's authority gives, as NAME-key,
/// NAME-cert and NAME-cred (both in one file).
fn certificate_of_xcat(directory: &Path, authority: &Path, name: &str, subject: &str, usage: &str) {
    std::fs::create_dir_all(directory).unwrap();
    let ca = authority.display();
    let extensions = format!(
        "basicConstraints=CA:FALSE\nnsCertType=server,client,objsign\nsubjectKeyIdentifier=hash\n\
         authorityKeyIdentifier=keyid,issuer\nkeyUsage=digitalSignature,keyAgreement,keyEncipherment\n\
         extendedKeyUsage={usage}\n"
    );
    std::fs::write(directory.join("extensions"), extensions).unwrap();
    openssl(directory, &format!("genrsa -traditional -out {name}-key.pem 2048"));
    openssl(directory, &format!("req -new -key {name}-key.pem -subj /CN={subject} -out request"));
    openssl(
        directory,
        &format!(
            "x509 -req -in request -CA {ca}/ca-cert.pem -CAkey {ca}/private/ca-key.pem -set_serial 0x{:02x} -days 99 \
             -extfile extensions -out {name}-cert.pem",
            subject.len()
        ),
    );
    let read = |part: &str| std::fs::read_to_string(directory.join(format!("{name}-{part}.pem"))).unwrap();
    std::fs::write(directory.join(format!("{name}-cred.pem")), read("key") + &read("cert")).unwrap();
    std::fs::copy(authority.join("ca-cert.pem"), directory.join("ca.pem")).unwrap();
    for file in ["request", "extensions"] {
        std::fs::remove_file(directory.join(file)).unwrap();
    }
}

/// An authority with certificates as xCAT's scripts make them, copied into a data directory before `init`:
/// clients keep using what they have, and new ones are signed by the same authority.
#[test]
fn certificates_of_an_xcat_server_go_on() {
    let directory = tempfile::tempdir().unwrap();
    let (data, home) = (directory.path().join("data"), directory.path().join("home"));
    let authority = data.join("ca");
    for folder in ["private", "certs"] {
        std::fs::create_dir_all(authority.join(folder)).unwrap();
    }
    openssl(
        &authority,
        "req -nodes -x509 -days 99 -newkey rsa:2048 -keyout private/ca-key.pem -out ca-cert.pem -subj /CN=xCAT \
         -addext keyUsage=cRLSign,keyCertSign -addext nsCertType=sslCA,emailCA",
    );
    std::fs::write(authority.join("index"), "").unwrap();
    std::fs::write(authority.join("serial"), "09\n").unwrap();
    certificate_of_xcat(&data.join("cert"), &authority, "server", "manager", "serverAuth,clientAuth");
    certificate_of_xcat(&home.join(".xcat"), &authority, "client", "root", "clientAuth");
    let own = std::fs::read(home.join(".xcat/client-cred.pem")).unwrap();

    let site = Site::new(directory.path(), None);
    assert_eq!(std::fs::read(home.join(".xcat/client-cred.pem")).unwrap(), own);
    let daemon = site.start();
    daemon.ok("nodeadd n1 groups=all");
    let made = site.command().args(["init", "--client", "bob", "--data"]).arg(&data).output().unwrap();
    assert!(made.status.success(), "{}", printed(&made));
    let bob = ClientSettings { certificates: data.join("clients/bob"), ..daemon.settings.clone() };
    let (text, code) = ask(&bob, "lsxcatd -v", &AtomicBool::new(false));
    assert_eq!(code, 0, "{text}");
}

/// A copy that is killed again and again ends complete, and its images can be given to nodes.
#[test]
fn a_medium_is_copied_over_kills() {
    let directory = tempfile::tempdir().unwrap();
    let site = Site::new(directory.path(), None);
    let daemon = site.start();
    let source = directory.path().join("source");
    let packages = source.join("Packages");
    std::fs::create_dir_all(&packages).unwrap();
    for number in 0..60 {
        std::fs::write(packages.join(format!("{number}.rpm")), number.to_string().repeat(600_000)).unwrap();
    }
    std::fs::write(source.join(".discinfo"), "1.5\nRocky Linux 9.3\nx86_64\n1\n").unwrap();
    let iso = directory.path().join("rocky.iso");
    let words = ["-as", "mkisofs", "-quiet", "-R", "-o", iso.to_str().unwrap(), source.to_str().unwrap()];
    assert!(Command::new("xorriso").args(words).status().unwrap().success());
    let copycds = || {
        let mut command = site.command();
        command.env("XCATHOST", &daemon.settings.host).arg("copycds").arg(&iso);
        command
    };
    let place = PathBuf::from(daemon.site("installdir")).join("rocky9.3/x86_64");
    for pause in 0..10 {
        let mut child = copycds().stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::park_timeout(std::time::Duration::from_millis(pause * 20));
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let output = copycds().output().unwrap();
    assert!(output.status.success(), "{}", printed(&output));
    let compared =
        Command::new("diff").args(["-r", "-x", ".fingerprint"]).args([&source, &place]).output().unwrap();
    assert!(compared.status.success(), "{}", printed(&compared));
    let left = std::fs::read_dir(place.parent().unwrap()).unwrap().count();
    assert_eq!(left, 1);
    let images = daemon.ok("lsdef -t osimage -s");
    for method in ["install", "netboot", "statelite"] {
        assert!(images.contains(&format!("rocky9.3-x86_64-{method}-compute")), "{images}");
    }
    let shown =
        daemon.ok("lsdef -t osimage rocky9.3-x86_64-install-compute -i pkgdir,osdistroname,provmethod");
    assert!(shown.contains(&format!("pkgdir={}", place.display())), "{shown}");
    // A second run changes nothing, and -w refuses it.
    let undone = daemon.ok("lsdef -t osdistro -s");
    assert!(undone.contains("rocky9.3-x86_64"), "{undone}");
    assert!(copycds().output().unwrap().status.success());
    let refused = copycds().arg("-w").output().unwrap();
    assert_eq!(refused.status.code(), Some(1), "{}", printed(&refused));
    let seen = copycds().args(["-i", "--json"]).output().unwrap();
    let seen: serde_json::Value = serde_json::from_slice(&seen.stdout).unwrap();
    assert_eq!(seen[0]["distname"], "rocky9.3", "{seen}");
}

/// Prometheus itself reads the numbers.
#[test]
fn prometheus_reads_the_metrics() {
    let directory = tempfile::tempdir().unwrap();
    let site = Site::new(directory.path(), None);
    let (metrics, prometheus) = (free_port(), free_port());
    let (mut serve, commands) = site.serve();
    serve.args(["--metrics-listen", &format!("127.0.0.1:{metrics}")]);
    let mut daemon = ready(&mut serve, None);
    let settings = ClientSettings {
        host: format!("127.0.0.1:{commands}"),
        certificates: site.home.join(".xcat"),
        show_source: false,
        show_xml: false,
        trace: false,
        has_terminal: false,
        bypass: false,
    };
    for line in ["nodeadd cn1-cn3 groups=all", "nodech cn1,cn2 nodelist.status=booted"] {
        assert!(write(&settings, line), "{line}");
    }
    let config = directory.path().join("prometheus.yml");
    let text = format!(
        "global: {{scrape_interval: 1s}}\nscrape_configs: [{{job_name: dawn, static_configs: [{{targets: \
         ['127.0.0.1:{metrics}']}}]}}]\n"
    );
    std::fs::write(&config, text).unwrap();
    let mut collector = Command::new("prometheus")
        .arg(format!("--config.file={}", config.display()))
        .arg(format!("--storage.tsdb.path={}", directory.path().join("series").display()))
        .arg(format!("--web.listen-address=127.0.0.1:{prometheus}"))
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let ask = |query: &str| {
        let words = [
            "-sG",
            "--data-urlencode",
            &format!("query={query}"),
            &format!("http://127.0.0.1:{prometheus}/api/v1/query"),
        ];
        let output = Command::new("curl").args(words).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    for (query, value) in [
        ("dawn_nodes{status=\"booted\"}", "\"2\"]"),
        ("dawn_nodes{status=\"unknown\"}", "\"1\"]"),
        ("up{job=\"dawn\"}", "\"1\"]"),
        ("process_open_fds > bool 5", "\"1\"]"),
    ] {
        wait_for(query, || ask(query).contains(value));
    }
    for child in [&mut collector, &mut daemon] {
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
