//! Against Debian's `snmpd`: all versions and protocols, refusals, a table of a bridge served by a script, a
//! restart. Needs the package `snmpd`; without it the tests fail.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use dawn_snmp::credentials::{Community, User, Version};
use dawn_snmp::limits::Settings;
use dawn_snmp::walk::Bounds;
use dawn_snmp::{Agent, AskError, Authentication, Credentials, Failure, Privacy, Task, Value, VarBind};
use dawn_test_ports::free_port;

const BRIDGE: &str = "1.3.6.1.2.1.17.4.3.1.2";

/// Speaks the protocol of `pass_persist`: the rows of a file in their order.
const SCRIPT: &str = r#"#!/bin/sh
# usage: bridge.sh TABLE; lines of TABLE: OID TYPE VALUE
while read -r word; do
    case $word in
    PING) echo PONG; continue ;;
    get|getnext) read -r asked ;;
    *) echo NONE; continue ;;
    esac
    found= answer=
    while read -r oid type value; do
        if [ "$word" = get ]; then
            [ "$oid" = "$asked" ] && answer="$oid $type $value" && break
            continue
        fi
        [ -n "$found" ] && answer="$oid $type $value" && break
        case $oid in
        "$asked") found=1 ;;
        "$asked".*) answer="$oid $type $value"; break ;;
        esac
    done < "$1"
    if [ -n "$answer" ]; then printf '%s\n' $answer; else echo NONE; fi
done
"#;

struct Snmpd {
    child: Child,
    address: SocketAddr,
    directory: tempfile::TempDir,
}

impl Drop for Snmpd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(directory: &Path, address: SocketAddr) -> Child {
    Command::new("/usr/sbin/snmpd")
        .args(["-f", "-C", "-Lf", "log", "-c", "snmpd.conf", "-I", "-smux"])
        .arg(format!("udp:{address}"))
        .current_dir(directory)
        .env("SNMP_PERSISTENT_DIR", directory.join("persistent"))
        .stdin(Stdio::null())
        .spawn()
        .expect("Debian's package snmpd is installed")
}

fn snmpd() -> Snmpd {
    let directory = tempfile::tempdir().unwrap();
    let rows: String =
        (1..=60).map(|n: u32| format!(".{BRIDGE}.82.84.0.0.0.{n} integer {}\n", n % 48 + 1)).collect();
    fs::write(directory.path().join("table"), rows).unwrap();
    fs::write(directory.path().join("bridge.sh"), SCRIPT).unwrap();
    let bridge = directory.path().join("bridge.sh").display().to_string();
    let table = directory.path().join("table").display().to_string();
    let config = format!(
        "rocommunity public 127.0.0.1\nsysName sw1\n\
         createUser plain\ncreateUser one MD5 maplesyrup\ncreateUser two SHA maplesyrup DES syrupmaple\n\
         createUser three SHA-256 maplesyrup AES syrupmaple\ncreateUser four SHA-512 maplesyrup AES syrupmaple\n\
         rouser plain noauth\nrouser one auth\nrouser two authpriv\nrouser three authpriv\nrouser four authpriv\n\
         pass_persist .1.3.6.1.2.1.17 /bin/sh {bridge} {table}\n"
    );
    fs::write(directory.path().join("snmpd.conf"), config).unwrap();
    fs::create_dir(directory.path().join("persistent")).unwrap();
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
    Snmpd { child: spawn(directory.path(), address), address, directory }
}

fn user(name: &str, auth: Option<Authentication>, privacy: Option<Privacy>, words: [&str; 2]) -> Credentials {
    let mut user = User::new(name).unwrap();
    if let Some(protocol) = auth {
        user = user.authenticated(protocol, words[0]).unwrap();
    }
    if let Some(privacy) = privacy {
        user = user.private(privacy, words[1]).unwrap();
    }
    Credentials::User(user)
}

fn community(version: Version, name: &str) -> Credentials {
    Credentials::Community(version, Community::new(name))
}

/// Patient, because the machine may be busy and the agent may not be up yet.
async fn agent(address: SocketAddr, credentials: Credentials) -> Agent {
    let settings = Settings { attempts: 20, ..Settings::default() };
    Agent::connect(address, credentials, settings).await.unwrap()
}

fn name() -> Task {
    Task::Get(vec!["1.3.6.1.2.1.1.5.0".parse().unwrap()])
}

fn walk(root: &str) -> Task {
    Task::Walk(root.parse().unwrap(), Bounds { time_max: Duration::from_secs(120), ..Bounds::default() })
}

/// Asks until the agent is up: its port is closed before.
async fn patiently(agent: &mut Agent, task: Task) -> Result<Vec<VarBind>, AskError> {
    for _ in 0..300 {
        match agent.ask(task.clone()).await {
            Err(AskError::Closed(_)) => tokio::time::sleep(Duration::from_millis(100)).await,
            other => return other,
        }
    }
    panic!("snmpd does not open its port within 30 s");
}

async fn up() -> Snmpd {
    let snmpd = snmpd();
    let mut agent = agent(snmpd.address, community(Version::V2c, "public")).await;
    let rows = patiently(&mut agent, name()).await.unwrap();
    assert_eq!(rows[0].value, Value::Octets(b"sw1".to_vec()));
    snmpd
}

#[tokio::test]
async fn every_version_and_protocol_reads_the_table() {
    use {Authentication as A, Privacy as P};
    let snmpd = up().await;
    let words = ["maplesyrup", "syrupmaple"];
    for credentials in [
        community(Version::V1, "public"),
        community(Version::V2c, "public"),
        user("plain", None, None, words),
        user("one", Some(A::Md5), None, words),
        user("two", Some(A::Sha1), Some(P::Des), words),
        user("three", Some(A::Sha256), Some(P::Aes128), words),
        user("four", Some(A::Sha512), Some(P::Aes128), words),
    ] {
        let shown = format!("{credentials:?}");
        let mut agent = agent(snmpd.address, credentials).await;
        let rows = agent.ask(walk(BRIDGE)).await.unwrap_or_else(|error| panic!("{shown}: {error}"));
        assert_eq!(rows.len(), 60, "{shown}");
        assert_eq!(rows[59].name.to_string(), format!("{BRIDGE}.82.84.0.0.0.60"));
        assert_eq!(rows[59].value, Value::Integer(13));
        // IF-MIB is snmpd's own.
        let names = agent.ask(walk("1.3.6.1.2.1.31.1.1.1.1")).await.unwrap();
        assert!(names.iter().any(|row| row.value.octets() == Some(b"lo")), "{shown}: {names:?}");
    }
}

#[tokio::test]
async fn refusals_have_their_reason() {
    use {Authentication as A, Privacy as P};
    let snmpd = up().await;
    let words = ["maplesyrup", "syrupmaple"];
    for (credentials, expect) in [
        (user("nobody", Some(A::Md5), None, words), Failure::UnknownUser),
        (user("one", Some(A::Md5), None, ["wrongsyrup", ""]), Failure::WrongDigest),
        (user("one", Some(A::Sha1), None, words), Failure::WrongDigest),
        (user("one", Some(A::Md5), Some(P::Des), words), Failure::Level),
    ] {
        let mut agent = agent(snmpd.address, credentials.clone()).await;
        match agent.ask(name()).await {
            Err(AskError::Failed { failure, .. }) => assert_eq!(failure, expect, "{credentials:?}"),
            other => panic!("{credentials:?}: {other:?}"),
        }
    }
    let settings = Settings { attempts: 2, attempt_time: Duration::from_millis(100), ..Settings::default() };
    let wrong = community(Version::V2c, "private");
    let mut agent = Agent::connect(snmpd.address, wrong, settings).await.unwrap();
    let failure = Failure::NoAnswer { attempts: 2, ignored: None };
    assert!(matches!(agent.ask(name()).await, Err(AskError::Failed { failure: f, .. }) if f == failure));
}

#[tokio::test]
async fn an_agent_that_starts_again_is_known_again() {
    let mut snmpd = up().await;
    let credentials =
        user("three", Some(Authentication::Sha256), Some(Privacy::Aes128), ["maplesyrup", "syrupmaple"]);
    let mut agent = agent(snmpd.address, credentials).await;
    assert_eq!(agent.ask(walk(BRIDGE)).await.unwrap().len(), 60);
    // SIGTERM, so that snmpd keeps its boots.
    let id = snmpd.child.id().to_string();
    assert!(Command::new("kill").arg(id).status().unwrap().success());
    snmpd.child.wait().unwrap();
    assert!(matches!(agent.ask(name()).await, Err(AskError::Closed(_))));
    snmpd.child = spawn(snmpd.directory.path(), snmpd.address);
    assert_eq!(patiently(&mut agent, walk(BRIDGE)).await.unwrap().len(), 60);
}
