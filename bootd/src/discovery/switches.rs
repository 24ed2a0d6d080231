//! Switches that are read by SNMP: which MAC was learnt on which port.
//!
//! All that are due are read side by side. A switch that does not answer costs its own time and is evidence
//! ("no answer"); nothing of its credentials is in what is said about it.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use dawn_cluster::{Col, Snapshot, col};
use dawn_discovery::bridge::{Cell, Need, Reading, Row, SwitchTable};
use dawn_fanout::{CancellationToken, Fanout, Outcome};
use dawn_snmp::credentials::Version;
use dawn_snmp::limits::Settings;
use dawn_snmp::oid::OidError;
use dawn_snmp::usm::ProtocolError;
use dawn_snmp::walk::Bounds;
use dawn_snmp::{
    Agent, AskError, Authentication, Community, Credentials, Failure, Oid, Privacy, Task, User, UserError,
    Value, VarBind,
};

/// Time for one switch with all its tables.
const SWITCH_TIME_MAX: Duration = Duration::from_secs(20);
/// How often a question is sent before a switch counts as silent.
const ATTEMPTS: u32 = 3;
/// Port of an agent.
const PORT: u16 = 161;

/// Why a switch cannot be asked: what the tables say of it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum WayError {
    #[error("it has no address (hosts.ip)")]
    NoAddress,
    #[error("its row of switches: {0}")]
    User(#[from] UserError),
    #[error("its row of switches: {0}")]
    Protocol(#[from] ProtocolError),
    #[error("snmpversion '{0}' is not one of 1, 2, 2c, 3")]
    Version(String),
}

/// Why nothing is known of a switch.
#[derive(Debug, thiserror::Error)]
pub(super) enum SwitchError {
    #[error(transparent)]
    Way(#[from] WayError),
    #[error(transparent)]
    Ask(#[from] AskError),
    #[error(transparent)]
    Oid(#[from] OidError),
    #[error("no answer in {} s", SWITCH_TIME_MAX.as_secs())]
    Silent,
}

/// How a switch is asked.
type Way = Result<(SocketAddr, Credentials), WayError>;

/// What was read of one switch.
pub(super) struct Read {
    /// Its name.
    pub(super) switch: String,
    /// Its tables, or why there are none.
    pub(super) table: Result<SwitchTable, SwitchError>,
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
            Outcome::Failed(error) => Err(error),
            _ => Err(SwitchError::Silent),
        };
        all.push(Read { switch: finished.target.0, table });
    }
    all
}

fn way(snapshot: &Snapshot, name: &str) -> Way {
    let node = snapshot.node_name(name);
    let node = node.as_deref().unwrap_or(name);
    let address = snapshot.attr(node, col::hosts::IP).and_then(|text| text.trim().parse::<IpAddr>().ok());
    let address = address.or_else(|| name.parse().ok()).ok_or(WayError::NoAddress)?;
    Ok((SocketAddr::new(address, PORT), credentials(snapshot, node)?))
}

/// `switches.snmpversion`, and what it needs (xCAT's defaults).
fn credentials(snapshot: &Snapshot, node: &str) -> Result<Credentials, WayError> {
    let cell = |column: Col| snapshot.attr(node, column).map(|text| text.to_string());
    let password = cell(col::switches::PASSWORD);
    match cell(col::switches::SNMPVERSION).as_deref().unwrap_or("1").trim_start_matches(['v', 'V']) {
        "3" => {
            let user = User::new(&cell(col::switches::USERNAME).unwrap_or_default())?;
            let Some(password) = password else { return Ok(Credentials::User(user)) };
            let protocol = cell(col::switches::AUTH).unwrap_or_else(|| "md5".to_owned());
            let protocol = protocol.parse::<Authentication>()?;
            let user = user.authenticated(protocol, &password)?;
            let Some(privacy) = cell(col::switches::PRIVACY) else { return Ok(Credentials::User(user)) };
            let privacy = privacy.parse::<Privacy>()?;
            Ok(Credentials::User(user.private(privacy, &password)?))
        }
        version => {
            let site = || snapshot.site("snmpc").map(|text| text.to_string());
            let community = password.or_else(site).unwrap_or_else(|| "public".to_owned());
            let version = match version {
                "1" => Version::V1,
                "2" | "2c" => Version::V2c,
                other => return Err(WayError::Version(other.to_owned())),
            };
            Ok(Credentials::Community(version, Community::new(community)))
        }
    }
}

/// Walks every table that the reading asks for; [`Progress`] says what counts.
async fn walk(address: SocketAddr, credentials: Credentials) -> Result<SwitchTable, SwitchError> {
    let settings = Settings { attempts: ATTEMPTS, ..Settings::default() };
    let connect = |credentials| Agent::connect(address, credentials, settings);
    let mut agent = connect(credentials.clone()).await?;
    let mut of_vlan: Option<(u16, Agent)> = None;
    let mut reading = Reading::new(false);
    let mut progress = Progress::default();
    while let Some(need) = reading.need() {
        let root = Oid::new(need.root)?;
        let agent = match need.vlan {
            None => &mut agent,
            Some(vlan) => {
                if of_vlan.as_ref().is_none_or(|(present, _)| *present != vlan) {
                    of_vlan = Some((vlan, connect(credentials.for_vlan(vlan)).await?));
                }
                match &mut of_vlan {
                    Some((_, agent)) => agent,
                    None => &mut agent,
                }
            }
        };
        let found = agent.ask(Task::Walk(root.clone(), Bounds::default())).await;
        let rows = found.map(|found| found.iter().filter_map(|row| row_below(&root, row)).collect());
        reading.take(&progress.judge(need, rows)?);
    }
    Ok(reading.finish())
}

/// What has answered so far. A table that the agent refuses is empty. One that is not read to its end is no
/// evidence at all, neither are the others then: a port with many MACs would look like a machine's, and
/// numbers of bridge ports like those of interfaces.
#[derive(Default)]
struct Progress {
    /// The switch itself.
    has_answered: bool,
    /// The VLAN whose tables have answered last.
    vlan: Option<u16>,
}

impl Progress {
    fn judge(&mut self, need: Need, found: Result<Vec<Row>, AskError>) -> Result<Vec<Row>, SwitchError> {
        match found {
            Ok(rows) => {
                self.has_answered = true;
                self.vlan = need.vlan.or(self.vlan);
                Ok(rows)
            }
            Err(error) if self.has_answered && is_refusal(&error) => Ok(Vec::new()),
            // Agents do not answer to a community that they do not know, and a VLAN without tables has none.
            Err(error) if need.vlan.is_some() && need.vlan != self.vlan && is_silence(&error) => {
                Ok(Vec::new())
            }
            Err(error) => Err(error.into()),
        }
    }
}

/// The agent answers that it does not have the table, or does not show it.
fn is_refusal(error: &AskError) -> bool {
    let AskError::Failed { failure, .. } = error else { return false };
    matches!(failure, Failure::Refused { .. } | Failure::UnknownContext)
}

fn is_silence(error: &AskError) -> bool {
    matches!(error, AskError::Failed { failure: Failure::NoAnswer { .. }, .. })
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

    /// Reads a switch whose walks end like this, one after the other; all further ones find nothing.
    fn read_of(answers: Vec<Result<Vec<Row>, Failure>>, vlans: &[(usize, u16)]) -> Result<usize, String> {
        let agent = SocketAddr::from(([10, 3, 0, 1], 161));
        let mut progress = Progress::default();
        let mut walks = 0;
        for (number, answer) in answers.into_iter().enumerate() {
            let vlan = vlans.iter().find(|(at, _)| *at == number).map(|(_, vlan)| *vlan);
            let found = answer.map_err(|failure| AskError::Failed { agent, failure });
            progress.judge(Need { vlan, root: &[1] }, found).map_err(|error| error.to_string())?;
            walks += 1;
        }
        Ok(walks)
    }

    #[test]
    fn a_table_that_is_cut_off_is_no_evidence() {
        let rows = || Ok(vec![Row { index: vec![1], cell: Cell::Number(1) }]);
        let silent = || Err(Failure::NoAnswer { attempts: 3, ignored: None });
        let refused = || Err(Failure::Refused { status: 6, index: 1 });
        let is_known = |answers, vlans: &[(usize, u16)]| read_of(answers, vlans).is_ok();
        assert!(is_known(vec![rows(), refused(), rows()], &[]), "a table that it does not have");
        assert!(!is_known(vec![refused()], &[]), "nothing at all");
        assert!(!is_known(vec![silent()], &[]));
        assert!(!is_known(vec![rows(), silent()], &[]), "half of its tables");
        assert!(!is_known(vec![rows(), Err(Failure::TooLong(Duration::from_secs(1)))], &[]));
        assert!(!is_known(vec![rows(), Err(Failure::TooManyRows(9))], &[]));
        assert!(!is_known(vec![rows(), Err(Failure::NotIncreasing)], &[]));
        // VLANs of Cisco.
        assert!(is_known(vec![rows(), silent(), silent()], &[(1, 7), (2, 7)]), "no such VLAN");
        assert!(!is_known(vec![rows(), rows(), silent()], &[(1, 7), (2, 7)]), "half of a VLAN");
        assert!(is_known(vec![rows(), rows(), silent()], &[(1, 7), (2, 8)]));
    }
}
