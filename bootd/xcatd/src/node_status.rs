//! The nodes' status port, 3002: clear text, one line a session.
//!
//! The server says `ready`, the node one line, the server `done` as soon as the line is kept on its own disk,
//! and only then the work is done, because a node waits for that word while it boots. A disk that hangs is
//! not waited for. A line may come before `ready` was sent (switch installers do not wait). A peer that is
//! not a node is closed without a byte.

use crate::limits::{
    NODE_LINE_BYTES_MAX, NODE_LINE_TIME_MAX, NODE_SESSIONS_MAX, NODE_SESSIONS_PER_ADDRESS_MAX,
    NODE_SILENCE_MAX, WRITE_STALL_MAX,
};
use dawn_serving::shares::{Callers, Limit, Place, Places};
use dawn_wire::script::ScriptResult;
use dawn_wire::status::{
    ASK, ASK_HELD, ASK_NEXT, BMC_READY, BOOTED, BOOTING, CONFIGURING, DISCOVERED, DISCOVERING, DONE, FAILED,
    GET_BMC, GET_SCRIPT, INSTALLING, NETBOOTING, OUT_OF_SYNC, POSTBOOTING, POWERING_OFF, POWERING_ON,
    PROBLEM, READY, SHELL, STANDING_BY, STATUS, SYNC_FILES, SYNCED, SYNCING, TASK_DONE,
};
use dawn_wire::text::without_control;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// Words `nodelist.status` may hold.
pub const STATUS_WORDS: [&str; 20] = [
    "alive",
    "unreachable",
    INSTALLING,
    "installed",
    BOOTING,
    POSTBOOTING,
    NETBOOTING,
    BOOTED,
    POWERING_ON,
    POWERING_OFF,
    DISCOVERING,
    DISCOVERED,
    CONFIGURING,
    "configured",
    STANDING_BY,
    SHELL,
    "defined",
    "unknown",
    FAILED,
    BMC_READY,
];
/// Words `nodelist.updatestatus` may hold.
pub const UPDATE_STATUS_WORDS: [&str; 4] = [SYNCING, OUT_OF_SYNC, SYNCED, FAILED];

/// How long storing a report may take; after that the node gets `done` anyway, because its boot does not
/// depend on the report.
const KEEP_TIME_MAX: Duration = Duration::from_secs(5);
/// Status words that count of a line: the last ones.
const STATUS_WORDS_MAX: usize = 4;
/// Characters kept of a line that is text.
const TEXT_CHARS_MAX: usize = 250;

/// A line from a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NodeReport {
    /// Advance the chain.
    Next,
    /// What is the node to do? Dawn's own `/init` asks.
    Destiny {
        /// It is done with this step of its chain; empty: with the present one.
        done: Option<String>,
    },
    /// The same question after a step that failed: nothing changes.
    DestinyHeld,
    /// A step of the chain is done: the step and what it printed last.
    TaskDone(String),
    /// Status words in order; the last one stays.
    Status(Vec<String>),
    /// Let the node write into its TFTP directory.
    UnlockTftpdir,
    /// Take that back.
    LockTftpdir,
    /// Send the post-install script.
    GetPostscript,
    /// Run the file sync for the node.
    Syncfiles,
    /// Say how the node's service processor is to be set up: words of Dawn's own `/init`.
    GetBmcConfig,
    /// Application states: `app=state` pairs.
    AppStatus(Vec<(String, String)>),
    /// The node asks whether the server is there.
    Monitor,
    /// Something went wrong while the node boots: words of Dawn's own `/init` for the operator.
    Trouble(String),
    /// What became of a post script: words of the agent of Dawn's own `/init`.
    Script(ScriptResult),
    /// Not a line of the protocol (control characters removed).
    Unknown(String),
}

impl NodeReport {
    /// Reads a line, in xCAT's order of tests.
    pub fn parse(line: &str) -> NodeReport {
        let line = line.trim();
        if let Some(text) = line.strip_prefix(PROBLEM).and_then(|rest| rest.strip_prefix(' ')) {
            return Self::Trouble(printable(text));
        }
        if let Some(result) = ScriptResult::parse(line) {
            return Self::Script(result);
        }
        if let Some(text) = line.strip_prefix(TASK_DONE).and_then(|rest| rest.strip_prefix(' ')) {
            return Self::TaskDone(printable(text));
        }
        if line == ASK_HELD {
            return Self::DestinyHeld;
        }
        if line == ASK {
            return Self::Destiny { done: None };
        }
        let done = line.strip_prefix(ASK_NEXT).filter(|rest| rest.is_empty() || rest.starts_with(' '));
        if let Some(step) = done {
            return Self::Destiny { done: Some(without_control(step).trim().to_owned()) };
        }
        let after = |word: &str| line.split_once(word).map(|(_, rest)| rest.trim());
        if let Some(rest) = after(STATUS) {
            // Tested before `next`: xCAT would take `installstatus next…` for a `next`.
            return Self::status(rest);
        }
        if line.contains("next") {
            return Self::Next;
        }
        if line.starts_with("unlocktftpdir") {
            return Self::UnlockTftpdir;
        }
        if line.contains("locktftpdir") {
            return Self::LockTftpdir;
        }
        if line.starts_with(GET_SCRIPT) {
            return Self::GetPostscript;
        }
        if line.starts_with(SYNC_FILES) {
            return Self::Syncfiles;
        }
        if line == GET_BMC {
            return Self::GetBmcConfig;
        }
        if let Some(rest) = after("hpcbootstatus") {
            let pairs = rest.split(',').filter_map(|pair| pair.split_once('='));
            return Self::AppStatus(
                pairs.map(|(app, state)| (app.trim().to_owned(), state.trim().to_owned())).collect(),
            );
        }
        if line.contains("installmonitor") {
            return Self::Monitor;
        }
        Self::Unknown(printable(line))
    }

    fn status(rest: &str) -> NodeReport {
        let known = |word: &&str| STATUS_WORDS.contains(word) || UPDATE_STATUS_WORDS.contains(word);
        let mut words: Vec<String> = rest
            .split_ascii_whitespace()
            .rev()
            .filter(known)
            .take(STATUS_WORDS_MAX)
            .map(str::to_owned)
            .collect();
        words.reverse();
        Self::Status(words)
    }
}

/// Text of a stranger as it may be logged: at most [`TEXT_CHARS_MAX`] characters, none of them for
/// terminals.
fn printable(text: &str) -> String {
    without_control(text).chars().take(TEXT_CHARS_MAX).collect()
}

/// The model behind the port.
pub trait NodeReports: Send + Sync + 'static {
    /// Node of an address, from memory: no DNS.
    fn node_at(&self, ip: IpAddr) -> Option<String>;
    /// Stores on disk the parts of the report that must not get lost; called on a blocking thread before
    /// `done` is sent.
    fn keep(&self, node: &str, report: &NodeReport);
    /// Carries out a report; called on a blocking thread after `done` was sent. What it
    /// returns is sent to the node line by line (`getpostscript`, `syncfiles`).
    fn report(&self, node: &str, report: NodeReport) -> Vec<String>;
    /// The answer to [`NodeReport::GetBmcConfig`] of a node at this address, line by line; called on a
    /// blocking thread after `done` was sent.
    fn bmc_config(&self, from: IpAddr) -> Vec<String>;
    /// A machine that is not a node has connected.
    fn stranger(&self, ip: IpAddr);
    /// A datagram that may be the packet of an unknown machine. Answers from memory.
    fn discovery_packet(&self, from: SocketAddr, datagram: &[u8]);
}

/// Serves until the future is dropped: `sessions` at once, at most [`NODE_SESSIONS_MAX`].
pub async fn serve(
    listener: TcpListener,
    reports: Arc<dyn NodeReports>,
    sessions: usize,
    callers: Arc<dyn Callers>,
) {
    let total = sessions.clamp(1, NODE_SESSIONS_MAX);
    let per_source = NODE_SESSIONS_PER_ADDRESS_MAX;
    let places =
        Places::new(Limit { total, per_stranger: per_source, per_source, local: per_source }, callers);
    let mut tasks = JoinSet::new();
    loop {
        while tasks.try_join_next().is_some() {}
        match listener.accept().await {
            Ok((stream, address)) => {
                let ip = address.ip().to_canonical();
                let leave = Arc::new(Notify::new());
                let asked = Arc::clone(&leave);
                let Some(place) = places.enter(ip, move || asked.notify_one()) else { continue };
                let reports = Arc::clone(&reports);
                tasks.spawn(async move {
                    tokio::select! {
                        ended = session(stream, ip, reports, &place) => if let Err(error) = ended {
                            tracing::debug!(peer = %ip, %error, "node session ended");
                        },
                        () = leave.notified() => tracing::debug!(peer = %ip, "idle node session was closed for a new one"),
                    }
                });
            }
            Err(error) => {
                tracing::warn!(%error, "accept on the node status port failed");
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            }
        }
    }
}

async fn session(
    mut stream: TcpStream,
    ip: IpAddr,
    reports: Arc<dyn NodeReports>,
    place: &Place,
) -> std::io::Result<()> {
    let Some(node) = reports.node_at(ip) else {
        reports.stranger(ip);
        return Ok(());
    };
    let _ = stream.set_nodelay(true);
    stream.write_all(format!("{READY}\n").as_bytes()).await?;
    let Ok(line) = timeout(NODE_LINE_TIME_MAX, read_line(&mut stream)).await else { return Ok(()) };
    let Some(line) = line? else { return Ok(()) };
    place.keep();
    let report = NodeReport::parse(&line);
    let keeping = {
        let (reports, node, report) = (Arc::clone(&reports), node.clone(), report.clone());
        tokio::task::spawn_blocking(move || reports.keep(&node, &report))
    };
    if timeout(KEEP_TIME_MAX, keeping).await.is_err() {
        tracing::warn!(peer = %ip, "the disk that keeps reports of nodes does not answer");
    }
    // The node may be gone already; its report still counts.
    let answered = stream.write_all(format!("{DONE}\n").as_bytes()).await;
    let carry_out = move || match report {
        NodeReport::GetBmcConfig => reports.bmc_config(ip),
        report => reports.report(&node, report),
    };
    let lines = tokio::task::spawn_blocking(carry_out).await.unwrap_or_default();
    answered?;
    if !lines.is_empty() {
        let mut text = lines.join("\n");
        text.push('\n');
        timeout(WRITE_STALL_MAX, stream.write_all(text.as_bytes())).await??;
    }
    stream.shutdown().await
}

/// One line, at most [`NODE_LINE_BYTES_MAX`] bytes, with pauses of at most [`NODE_SILENCE_MAX`]. The end
/// of the stream ends a line too.
async fn read_line(stream: &mut TcpStream) -> std::io::Result<Option<String>> {
    let mut line = Vec::new();
    let mut chunk = [0; 512];
    while !line.contains(&b'\n') && line.len() < NODE_LINE_BYTES_MAX {
        let Ok(count) = timeout(NODE_SILENCE_MAX, stream.read(&mut chunk)).await else { break };
        let count = count?;
        if count == 0 {
            break;
        }
        line.extend_from_slice(chunk.get(..count).unwrap_or_default());
    }
    let end = line.iter().position(|byte| *byte == b'\n').unwrap_or(line.len());
    let text = String::from_utf8_lossy(line.get(..end).unwrap_or_default()).trim().to_owned();
    Ok(Some(text).filter(|text| !text.is_empty()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use dawn_wire::script::{Half, Outcome};
    use std::sync::Mutex;

    #[test]
    fn lines() {
        let status = |words: &[&str]| NodeReport::Status(words.iter().map(|w| (*w).to_owned()).collect());
        for (line, report) in [
            ("next", NodeReport::Next),
            ("destiny", NodeReport::Destiny { done: None }),
            ("nextdestiny", NodeReport::Destiny { done: Some(String::new()) }),
            ("nextdestiny runcmd=a  b", NodeReport::Destiny { done: Some("runcmd=a  b".into()) }),
            ("nextdestinyx", NodeReport::Next),
            ("installstatus booted", status(&["booted"])),
            ("installstatus netbooting bogus booted", status(&["netbooting", "booted"])),
            ("installstatus booted shell booted shell alive booted", {
                status(&["booted", "shell", "alive", "booted"])
            }),
            ("unlocktftpdir", NodeReport::UnlockTftpdir),
            ("locktftpdir", NodeReport::LockTftpdir),
            ("hpcbootstatus gpfs=up,ll=down", {
                NodeReport::AppStatus(vec![("gpfs".into(), "up".into()), ("ll".into(), "down".into())])
            }),
            ("installmonitor", NodeReport::Monitor),
            ("getbmcconfig", NodeReport::GetBmcConfig),
            ("problem no disk\u{7}: next", NodeReport::Trouble("no disk: next".into())),
            ("taskdone runcmd=a: done: x\u{7}", NodeReport::TaskDone("runcmd=a: done: x".into())),
            ("destiny held", NodeReport::DestinyHeld),
            ("destiny", NodeReport::Destiny { done: None }),
            ("GET /\u{1b}", NodeReport::Unknown("GET /".into())),
            ("scriptresult postscript 12 exit:3 next x\tno installstatus", {
                NodeReport::Script(ScriptResult {
                    half: Half::Post,
                    script: "next x".into(),
                    outcome: Outcome::Exit(3),
                    duration_ms: 12,
                    said: "no installstatus".into(),
                })
            }),
        ] {
            assert_eq!(NodeReport::parse(line), report, "{line}");
        }
    }

    #[derive(Default)]
    struct Book(Mutex<Vec<(String, NodeReport)>>);

    impl NodeReports for Book {
        fn node_at(&self, ip: IpAddr) -> Option<String> {
            ip.is_loopback().then(|| "cn1".into())
        }
        fn keep(&self, _: &str, _: &NodeReport) {}
        fn report(&self, node: &str, report: NodeReport) -> Vec<String> {
            self.0.lock().expect("lock").push((node.to_owned(), report));
            Vec::new()
        }
        fn bmc_config(&self, _: IpAddr) -> Vec<String> {
            Vec::new()
        }
        fn stranger(&self, _: IpAddr) {}
        fn discovery_packet(&self, _: SocketAddr, _: &[u8]) {}
    }

    #[tokio::test]
    async fn conversation_with_an_early_line() {
        let book = Arc::new(Book::default());
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
        let address = listener.local_addr().expect("address");
        let server = tokio::spawn(serve(
            listener,
            Arc::clone(&book) as Arc<dyn NodeReports>,
            1,
            Arc::new(dawn_serving::shares::OnlyLocal),
        ));
        let mut stream = TcpStream::connect(address).await.expect("connect");
        stream.write_all(b"installstatus booted\n").await.expect("write");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("read");
        assert_eq!(answer, "ready\ndone\n");
        let book = book.0.lock().expect("lock").clone();
        assert_eq!(book, [("cn1".to_owned(), NodeReport::Status(vec!["booted".into()]))]);
        server.abort();
    }
}
