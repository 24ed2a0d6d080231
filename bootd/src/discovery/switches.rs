//! Switches that are read by SNMP: which MAC was learnt on which port.
//!
//! All that are due are read side by side. A switch that does not answer costs its own time and is evidence
//! ("no answer"); nothing of its credentials is in what is said about it.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use dawn_cluster::{Col, Snapshot, col};
use dawn_discovery::bridge::{Cell, Reading, Row, SwitchTable};
use dawn_fanout::{CancellationToken, Fanout, Outcome};
use dawn_snmp::credentials::Version;
use dawn_snmp::limits::Settings;
use dawn_snmp::walk::Bounds;
use dawn_snmp::{Agent, Authentication, Community, Credentials, Oid, Privacy, Task, User, Value, VarBind};

/// Time for one switch with all its tables.
const SWITCH_TIME_MAX: Duration = Duration::from_secs(20);
/// How often a question is sent before a switch counts as silent.
const ATTEMPTS: u32 = 3;
/// Port of an agent.
const PORT: u16 = 161;

/// How a switch is asked; why it cannot be.
type Way = Result<(SocketAddr, Credentials), String>;

/// What was read of one switch.
pub(super) struct Read {
    /// Its name.
    pub(super) switch: String,
    /// Its tables, or why there are none.
    pub(super) table: Result<SwitchTable, String>,
}

/// Reads these switches; ends when the last has answered or its time is over.
pub(super) async fn read(snapshot: &Snapshot, names: &[&str]) -> Vec<Read> {
    let targets: Vec<(String, Way)> =
        names.iter().map(|name| ((*name).to_owned(), way(snapshot, name))).collect();
    let fanout = Fanout::default().timeout(SWITCH_TIME_MAX).unwrap_or_default();
    let mut running = fanout.start(targets, CancellationToken::new(), |(_, way): &(String, Way), _| {
        let way = way.clone();
        async move {
            let (address, credentials) = way?;
            walk(address, credentials).await
        }
    });
    let mut all = Vec::with_capacity(names.len());
    while let Some(finished) = running.next().await {
        let table = match finished.outcome {
            Outcome::Done(table) => Ok(table),
            Outcome::Failed(reason) => Err(reason),
            _ => Err(format!("no answer in {} s", SWITCH_TIME_MAX.as_secs())),
        };
        all.push(Read { switch: finished.target.0, table });
    }
    all
}

fn way(snapshot: &Snapshot, name: &str) -> Way {
    let node = snapshot.node_name(name);
    let node = node.as_deref().unwrap_or(name);
    let address = snapshot.attr(node, col::hosts::IP).and_then(|text| text.trim().parse::<IpAddr>().ok());
    let address =
        address.or_else(|| name.parse().ok()).ok_or_else(|| "it has no address (hosts.ip)".to_owned())?;
    Ok((SocketAddr::new(address, PORT), credentials(snapshot, node)?))
}

/// `switches.snmpversion`, and what it needs (xCAT's defaults).
fn credentials(snapshot: &Snapshot, node: &str) -> Result<Credentials, String> {
    let cell = |column: Col| snapshot.attr(node, column).map(|text| text.to_string());
    let password = cell(col::switches::PASSWORD);
    match cell(col::switches::SNMPVERSION).as_deref().unwrap_or("1").trim_start_matches(['v', 'V']) {
        "3" => {
            let failed = |error: &dyn std::fmt::Display| format!("its row of switches: {error}");
            let user =
                User::new(&cell(col::switches::USERNAME).unwrap_or_default()).map_err(|e| failed(&e))?;
            let Some(password) = password else { return Ok(Credentials::User(user)) };
            let protocol = cell(col::switches::AUTH).unwrap_or_else(|| "md5".to_owned());
            let protocol = protocol.parse::<Authentication>().map_err(|error| failed(&error))?;
            let user = user.authenticated(protocol, &password).map_err(|error| failed(&error))?;
            let Some(privacy) = cell(col::switches::PRIVACY) else { return Ok(Credentials::User(user)) };
            let privacy = privacy.parse::<Privacy>().map_err(|error| failed(&error))?;
            Ok(Credentials::User(user.private(privacy, &password).map_err(|error| failed(&error))?))
        }
        version => {
            let site = || snapshot.site("snmpc").map(|text| text.to_string());
            let community = password.or_else(site).unwrap_or_else(|| "public".to_owned());
            let version = match version {
                "1" => Version::V1,
                "2" | "2c" => Version::V2c,
                other => return Err(format!("snmpversion '{other}' is not one of 1, 2, 2c, 3")),
            };
            Ok(Credentials::Community(version, Community::new(community)))
        }
    }
}

/// Walks every table that the reading asks for. A table that is refused is empty; no answer at all to the
/// first one is an error.
async fn walk(address: SocketAddr, credentials: Credentials) -> Result<SwitchTable, String> {
    let settings = Settings { attempts: ATTEMPTS, ..Settings::default() };
    let connect = |credentials| Agent::connect(address, credentials, settings);
    let mut agent = connect(credentials.clone()).await.map_err(|error| error.to_string())?;
    let mut of_vlan: Option<(u16, Agent)> = None;
    let mut reading = Reading::new(false);
    let mut has_answered = false;
    while let Some(need) = reading.need() {
        let root = Oid::new(need.root).map_err(|error| error.to_string())?;
        let agent = match need.vlan {
            None => &mut agent,
            Some(vlan) => {
                if of_vlan.as_ref().is_none_or(|(present, _)| *present != vlan) {
                    let connected = connect(credentials.for_vlan(vlan)).await;
                    of_vlan = Some((vlan, connected.map_err(|error| error.to_string())?));
                }
                match &mut of_vlan {
                    Some((_, agent)) => agent,
                    None => &mut agent,
                }
            }
        };
        match agent.ask(Task::Walk(root.clone(), Bounds::default())).await {
            Ok(found) => {
                has_answered = true;
                reading.take(&found.iter().filter_map(|row| row_below(&root, row)).collect::<Vec<_>>());
            }
            Err(error) if !has_answered => return Err(error.to_string()),
            Err(_) => reading.take(&[]),
        }
    }
    Ok(reading.finish())
}

fn row_below(root: &Oid, row: &VarBind) -> Option<Row> {
    let index = row.name.below(root)?.to_vec();
    let cell = match (&row.value, row.value.number()) {
        (Value::Octets(bytes), _) => Cell::Bytes(bytes.clone()),
        (_, Some(number)) => Cell::Number(number),
        _ => Cell::Other,
    };
    Some(Row { index, cell })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot(rows: &[(&str, &str)]) -> Snapshot {
        let mut row = vec![("switch", "sw1")];
        row.extend(rows);
        Snapshot::from_rows([
            ("nodelist", [("node", "sw1"), ("groups", "all")].as_slice()),
            ("hosts", &[("node", "sw1"), ("ip", "10.3.0.1")]),
            ("switches", &row),
        ])
    }

    #[test]
    fn how_a_switch_is_asked() {
        let asked = |rows: &[(&str, &str)]| {
            way(&snapshot(rows), "sw1").map(|(address, found)| {
                assert_eq!(address.to_string(), "10.3.0.1:161");
                match found {
                    Credentials::Community(version, _) => format!("{version:?}"),
                    Credentials::User(_) => "user".to_owned(),
                }
            })
        };
        assert_eq!(asked(&[]), Ok("V1".into()));
        assert_eq!(asked(&[("snmpversion", "2c"), ("password", "x")]), Ok("V2c".into()));
        let user = [("snmpversion", "3"), ("username", "u"), ("password", "12345678"), ("auth", "sha")];
        assert_eq!(asked(&user), Ok("user".into()));
        assert!(asked(&[("snmpversion", "3"), ("username", "u"), ("password", "short")]).is_err());
        assert!(asked(&[("snmpversion", "9")]).is_err());
        assert!(way(&snapshot(&[]), "sw9").is_err());
    }
}
