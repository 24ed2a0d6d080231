//! The commands behind the protocol: policy, audit, tokens, and the run of a command.
//!
//! [`Daemon`] is what the services of port 3001 and 3002 are given. It answers from the snapshot and
//! resolves no names: a peer is a node when its address is one's, otherwise it is its address.

mod command_log;
mod logins;
mod policy;
mod token;

use self::command_log::CommandLog;
use self::logins::Logins;
use crate::boot_services::BootServices;
use crate::caller::{self, View};
use crate::clock::status_time;
use crate::command::redact::{self, Redacted};
use crate::command::{Ctx, Kind, Registry};
use crate::database::Place;
use crate::kept_reports::{self, KeptReports};
use crate::mypostscript;
use crate::node_edits;
use crate::output::{CommandError, Done, Out, Stop};
use crate::patience::{self, Patience};
use crate::requests::{getbmcconfig, syncfiles};
use dawn_cluster::{Change, Edit, Model, Reason, Snapshot, col};
use dawn_hardware::Hardware;
use dawn_plan::view::boot_files_url;
use dawn_plan::{Action, BootState, Plan, destiny};
use dawn_wire::status::{ASK, BOOT_ARGS, BOOT_INITRD, BOOT_KERNEL, FAILED, GET_BMC, SCRIPT_END};
use dawn_wire::text::without_control;
use dawn_xcatd::dispatch::{DuplexStream, NoToken, handle};
use dawn_xcatd::node_status::{NodeReport, NodeReports};
use dawn_xcatd::{
    Call, Credentials, Decision, Dispatcher, Expanded, Gone, NodeUse, Peer, Request, Response, Sink,
};
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

/// Bytes of the words, and of the noderange, that a row of `auditlog` keeps. What a command changed is in the
/// change log.
const AUDIT_BYTES_MAX: usize = 16 << 10;
/// Requests that leave no audit record (polled by consoles and nodes).
/// `site` key: machines in the discovery system start their node's image themselves.
const KEXEC_KEY: &str = "discoverykexec";
const UNAUDITED: [&str; 5] = ["getdestiny", "getbladecons", "getipmicons", "getopenbmccons", "getcons"];

/// Characters of a command line in the daemon's log.
const LOGGED_CHARS_MAX: usize = 1024;

/// The parts of the daemon.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// Short host name, `xcatdsource` of every answer.
    pub host: String,
    /// Where commands are recorded; `None` records nothing.
    pub commands_log: Option<PathBuf>,
    /// The file that `makehosts` writes.
    pub hosts_file: String,
    /// What `lsxcatd -d` says about the database.
    pub database: Place,
    /// The data directory, for what nodes fetch from it (`hostkeys`).
    pub data: Option<PathBuf>,
}

/// Runs the commands of all connections, each after the policy has allowed it.
pub struct Daemon {
    model: Arc<Model>,
    boot: Arc<dyn BootServices>,
    registry: Arc<Registry>,
    hardware: Hardware,
    settings: Settings,
    log: CommandLog,
    logins: Logins,
    patience: Patience,
    kept: Arc<KeptReports>,
}

impl Daemon {
    /// A daemon on a model. `settings.host` is cut at its first dot.
    pub fn new(
        model: Arc<Model>,
        boot: Arc<dyn BootServices>,
        registry: Arc<Registry>,
        settings: Settings,
    ) -> Self {
        let log = CommandLog::new(settings.commands_log.clone());
        let short = settings.host.split('.').next().unwrap_or_default().to_owned();
        let settings = Settings { host: short, ..settings };
        let hardware = Hardware::default();
        let (logins, patience, kept) = Default::default();
        Self { model, boot, registry, hardware, log, logins, patience, kept, settings }
    }

    /// Where reports of nodes are kept until they are in the tables; otherwise that is in memory only.
    #[must_use]
    pub fn keeping(self, kept: Arc<KeptReports>) -> Self {
        Self { kept, ..self }
    }

    fn snapshot(&self) -> Arc<Snapshot> {
        self.model.snapshot()
    }

    fn carry_out(&self, call: &Call, out: &mut Out<'_>) -> Result<(), Stop> {
        let Some(entry) = self.registry.find_request(&call.request.command) else {
            return Err(Stop::refused("Unsupported request"));
        };
        let snapshot = self.snapshot();
        let ctx = Ctx {
            model: &self.model,
            registry: &self.registry,
            view: View::of(&snapshot, call),
            snapshot,
            call,
            patience: &self.patience,
            boot: self.boot.as_ref(),
            hardware: &self.hardware,
            host: &self.settings.host,
            hosts_file: &self.settings.hosts_file,
            database: &self.settings.database,
            data: self.settings.data.as_deref(),
        };
        entry.run(&ctx, out)
    }

    /// The row of `auditlog` for a command that runs, unless `site.auditskipcmds` leaves it out.
    fn audit(&self, call: &Call) {
        let snapshot = self.snapshot();
        let command = call.request.command.as_str();
        if !is_audited(&snapshot, call) {
            return;
        }
        let now = jiff::Zoned::now().strftime("%Y-%m-%d %H:%M:%S").to_string();
        let shown = |words: &[String]| redact::words(command, words).words;
        let mut args: String = shown(&call.request.args).iter().map(|arg| format!(" {arg}")).collect();
        let mut noderange = shown(call.request.noderange.as_slice()).concat();
        dawn_cluster::truncate(&mut args, AUDIT_BYTES_MAX);
        dawn_cluster::truncate(&mut noderange, AUDIT_BYTES_MAX);
        let row = [
            ("audittime", now.as_str()),
            ("userid", call.username.as_deref().unwrap_or_default()),
            ("clientname", &call.peer_host),
            ("clienttype", call.request.client_type.as_deref().unwrap_or("other")),
            ("command", command),
            ("noderange", &noderange),
            ("args", &args),
            ("status", "Allowed"),
        ];
        if let Some(edit) = policy::insert_row("auditlog", &row) {
            self.quietly("auditlog", vec![edit]);
        }
    }

    /// Puts a row into `eventlog`: columns and values; `eventtime` is now unless it is given.
    pub fn record_event(&self, values: &[(&str, &str)]) {
        let now = jiff::Zoned::now().strftime("%Y-%m-%d %H:%M:%S").to_string();
        let mut row = values.to_vec();
        if !row.iter().any(|(name, _)| *name == "eventtime") {
            row.insert(0, ("eventtime", &now));
        }
        if let Some(edit) = policy::insert_row("eventlog", &row) {
            self.quietly("eventlog", vec![edit]);
        }
    }

    /// A change of the daemon itself; a failure is logged, the caller cannot do anything about it.
    fn quietly(&self, what: &str, edits: Vec<Edit>) {
        if edits.is_empty() {
            return;
        }
        if let Err(error) = self.model.apply(Change::quiet(what, what, edits)) {
            tracing::error!(%error, what, "a change of the daemon itself failed");
        }
    }

    /// Stores what a node reports; a failure is logged, the node cannot do anything about it. False if it is
    /// not stored.
    fn report_of(
        &self,
        node: &str,
        what: &str,
        compute: impl FnOnce(&Snapshot) -> Result<Vec<Edit>, Stop>,
    ) -> bool {
        let stored = node_edits::for_node(&self.model, node, what, compute);
        if let Err(error) = &stored {
            tracing::error!(?error, node, what, "a node's report could not be stored");
        }
        stored.is_ok()
    }

    /// Says to a user that an answer may be old, because the database is away.
    fn warn_of_database(&self, call: &Call, out: &mut Out<'_>) -> Done {
        let reads = self.registry.find(&call.request.command).is_some_and(|entry| !entry.writes);
        match self.model.away() {
            Some(away) if reads && call.username.is_some() => {
                out.warning(patience::state(&away, &self.snapshot()).to_string())
            }
            _ => Ok(()),
        }
    }

    /// Neither a user nor a node. Requests of such callers are not worth logging, and must not fill the logs.
    fn is_stranger(&self, call: &Call) -> bool {
        let known = |ip: IpAddr| ip.is_loopback() || self.snapshot().node_by_ip(ip).is_some();
        call.peer_name.is_none() && !call.peer.ip.is_some_and(known)
    }

    /// How root gets in again. Others do not learn what the policy says.
    fn way_out(&self, call: &Call, reason: &str) -> Option<String> {
        if call.peer.certificate_name.as_deref() != Some("root") {
            return None;
        }
        let data = self.settings.data.as_deref().unwrap_or(Path::new("DIR")).display();
        Some(format!(
            "{reason}. If root is locked out, `dawn init --data {data}` on the daemon's machine lets root in again."
        ))
    }

    /// Notes a refusal: as an event for a caller without a name, in the log for a user.
    fn deny(&self, call: &Call, reason: Reason) -> Decision {
        let reason = match reason {
            Reason::Row(priority) => format!("policy rule {priority} denies it"),
            Reason::NoRule { nodes } if nodes.is_empty() => "no policy rule allows it".to_owned(),
            Reason::NoRule { nodes } => format!("no policy rule allows it for {}", nodes.join(",")),
        };
        let command = &call.request.command;
        match (&call.peer_name, call.peer.ip) {
            // Events are bounded for each machine, as the log is not.
            (None, Some(ip)) => self.boot.denied(ip, &format!("{command}: {reason}")),
            (name, _) => tracing::warn!(
                target: "audit",
                "Permission denied for request: peername={}, peerhost={}, peerport={} command= {command} ({reason})",
                name.as_deref().unwrap_or_default(),
                call.peer_host,
                call.peer.port,
            ),
        }
        Decision::Deny { hint: self.way_out(call, &reason) }
    }

    /// Records a report of a node before it is written.
    fn node_status(&self, node: &str, words: &[String]) {
        let is_failure = |word: Option<&str>| word == Some(FAILED);
        let was = self.snapshot().attr(node, col::nodelist::STATUS);
        if is_failure(kept_reports::status_word(words)) && !is_failure(was.as_deref()) {
            self.record_event(&[
                ("eventtype", "event"),
                ("monitor", "nodestatus"),
                ("monnode", &self.settings.host),
                ("node", node),
                ("severity", "Critical"),
                ("message", "the node reports that it failed"),
            ]);
            if let Some(text) = destiny::held(&self.snapshot(), node) {
                self.boot.trouble(node, &text);
            }
        }
        for word in kept_reports::status_word(words).into_iter().chain(kept_reports::update_word(words)) {
            tracing::info!("xcat.updatestatus - {node}: changing status={word}");
        }
    }

    fn write_reports(&self) {
        self.kept.write(&self.model, &|node, reason| self.boot.trouble(node, reason));
    }

    /// What the discovery system of a node is to do. A node whose chain has not begun begins it. `done`: the
    /// step that it is done with. No answer if that cannot be stored: a node that got its step again would do
    /// it again.
    fn destiny(&self, node: &str, done: Option<&str>) -> Vec<String> {
        let discovery = self.boot.discovery();
        discovery.inspect(|discovery| discovery.asks(node));
        let (mut commands, mut stopped) = (None, None);
        let is_stored = self.report_of(node, "destiny", |snapshot| {
            let moves = done.is_some_and(|step| destiny::is_present(snapshot, node, step));
            commands = destiny::of_server(snapshot, node).filter(|_| moves);
            let asked = destiny::asked(snapshot, node, moves, &status_time())?;
            stopped = asked.stopped;
            Ok(asked.edits)
        });
        if let Some(reason) = stopped.filter(|_| is_stored) {
            self.boot.trouble(node, &destiny::stopped(node, &reason));
        }
        // A node that has not left the step asks again.
        if let (Some(commands), Some(discovery)) = (commands.filter(|_| is_stored), discovery) {
            discovery.run_later(node, &commands);
        }
        let answer = self.destiny_now(node);
        if done.is_some() && !is_stored { Vec::new() } else { answer }
    }

    /// What the tables have for the node. Changes nothing.
    fn destiny_now(&self, node: &str) -> Vec<String> {
        let snapshot = self.snapshot();
        let destiny = self.boot.destiny(&snapshot, node).destiny;
        self.boot.discovery().inspect(|discovery| discovery.answered(node, &snapshot));
        let mut lines = vec![format!("{ASK} {}", without_control(&destiny))];
        lines.extend(self.image_of(&snapshot, node));
        lines
    }

    /// Where a machine in the discovery system finds its node's image, so that it starts it without its
    /// firmware: nothing unless `site.discoverykexec` is set, and for images that run from the network only.
    fn image_of(&self, snapshot: &Snapshot, node: &str) -> Vec<String> {
        if !snapshot.site_flag(KEXEC_KEY, false) {
            return Vec::new();
        }
        let Ok(Plan { action: Action::Kernel(boot), state, server, http_port, .. }) =
            self.boot.plan(snapshot, node)
        else {
            return Vec::new();
        };
        if !matches!(state, BootState::Netboot(_) | BootState::Statelite(_)) {
            return Vec::new();
        }
        let base = boot_files_url(&server.to_string(), http_port);
        vec![
            format!("{BOOT_KERNEL} {base}/{}", boot.kernel()),
            format!("{BOOT_INITRD} {base}/{}", boot.initrd()),
            format!("{BOOT_ARGS} {}", boot.args.render(&server.to_string())),
        ]
    }

    fn sync_files(&self, node: &str) -> String {
        match syncfiles::refusal(&self.snapshot(), node) {
            None => "syncfiles done".into(),
            Some(reason) => {
                self.boot.trouble(node, &format!("syncfiles: {reason}"));
                format!("syncfiles failed: {reason}")
            }
        }
    }
}

fn is_audited(snapshot: &Snapshot, call: &Call) -> bool {
    let command = call.request.command.as_str();
    if UNAUDITED.contains(&command) || matches!(command, "getpostscript" | "getcredentials") {
        return false;
    }
    let kind = call.request.client_type.as_deref().unwrap_or("other");
    let skip = snapshot.site("auditskipcmds").unwrap_or_default();
    !skip.split(',').map(str::trim).any(|word| {
        word.eq_ignore_ascii_case("all") || word == command || word.strip_prefix("clienttype:") == Some(kind)
    })
}

/// What `site.auditnosyslog` and `site.skipvalidatelog` leave of xCAT's records for the system log.
fn log_allowed(registry: &Registry, snapshot: &Snapshot, call: &Call) {
    let command = call.request.command.as_str();
    let quiet = match command {
        "getpostscript" | "getcredentials" => snapshot.site_flag("skipvalidatelog", false),
        _ => UNAUDITED.contains(&command),
    };
    if quiet || snapshot.site_flag("auditnosyslog", false) {
        return;
    }
    let line: String = registry.command_line(call).chars().take(LOGGED_CHARS_MAX).collect();
    let user = call.username.as_deref().unwrap_or("a caller without certificate");
    tracing::info!(target: "audit", "Allowing {line} for {user} from {}", call.peer_host);
}

impl Dispatcher for Daemon {
    fn source(&self) -> String {
        self.settings.host.clone()
    }

    fn peer_host(&self, ip: IpAddr) -> String {
        if ip.is_loopback() {
            return self.settings.host.clone();
        }
        self.snapshot().node_by_ip(ip).map_or_else(|| ip.to_string(), |node| node.to_string())
    }

    fn check_password(&self, user: &Credentials, peer: &Peer) -> bool {
        let check = || token::check_password(&self.snapshot(), user);
        self.logins.attempt(peer.ip, &user.username, Instant::now(), check)
    }

    fn token_user(&self, token: &str) -> Option<String> {
        token::user_of(&self.snapshot(), token)
    }

    fn new_token(&self, username: &str) -> Result<(String, String), NoToken> {
        token::create(&self.model, username).map_err(|error| NoToken(error.into()))
    }

    fn admit(&self, call: &Call) -> Option<Decision> {
        let refusal = policy::refusal(&self.snapshot(), call)?;
        Some(self.deny(call, refusal.reason))
    }

    fn expand(&self, noderange: &str, call: &Call) -> Expanded {
        let snapshot = self.snapshot();
        View::of(&snapshot, call).expand(&snapshot, noderange)
    }

    fn knows(&self, command: &str) -> Option<NodeUse> {
        let entry = self.registry.find_request(command)?;
        match entry.kind {
            Kind::Nodes => Some(NodeUse::Verified),
            Kind::Words => Some(NodeUse::Raw),
            Kind::Local => None,
        }
    }

    fn unknown(&self, command: &str) -> String {
        let error = match self.registry.find(command) {
            Some(_) => CommandError::refused(format!("'{command}' works on files of its caller"))
                .hint(format!("run `dawn {command}` on the daemon's machine.")),
            None => self.registry.unknown(command),
        };
        error.to_string()
    }

    fn put_in_order(&self, request: &mut Request) {
        if let Some(entry) = self.registry.find_request(&request.command) {
            entry.put_in_order(request);
        }
    }

    fn authorise(&self, call: &Call, unknown: &[String]) -> Decision {
        let verdict = policy::decide(&self.registry, &self.snapshot(), call, unknown);
        if verdict.allowed {
            return Decision::Allow { trusted: verdict.trusted };
        }
        self.deny(call, verdict.reason)
    }

    fn run(&self, call: Call, sink: &mut dyn Sink) {
        let started = Instant::now();
        let mut record = None;
        if self.is_stranger(&call) {
            // Events are bounded for each machine; rows of the audit log and lines of the log are not.
            let polled = UNAUDITED.contains(&call.request.command.as_str());
            call.peer
                .ip
                .filter(|_| !polled)
                .iter()
                .for_each(|ip| self.boot.asked(*ip, &call.request.command));
        } else {
            self.audit(&call);
            log_allowed(&self.registry, &self.snapshot(), &call);
            let time = jiff::Zoned::now().strftime("%Y-%m-%d %H:%M:%S").to_string();
            record = self.log.start(&call, &self.registry.command_line(&call), &time);
        }
        let redacted = record.as_ref().map(|_| self.registry.redacted(&call)).unwrap_or_default();
        let mut tee = Tee { sink, record, redacted };
        let mut out = Out::new(&mut tee);
        let warned = self.warn_of_database(&call, &mut out);
        let done = warned.and_then(|()| self.carry_out(&call, &mut out));
        out.conclude(done);
        if let Some(record) = tee.record {
            self.log.finish(record, started.elapsed());
        }
    }
}

/// Passes responses on and notes them for the command log.
struct Tee<'a> {
    sink: &'a mut dyn Sink,
    record: Option<command_log::Record>,
    redacted: Redacted,
}

impl Sink for Tee<'_> {
    fn send(&mut self, response: Response) -> Result<(), Gone> {
        if let Some(record) = &mut self.record {
            record.note(&self.redacted.answer(&response));
        }
        self.sink.send(response)
    }

    fn is_gone(&self) -> bool {
        self.sink.is_gone()
    }

    fn join(&mut self, stream: DuplexStream) -> Result<(), Gone> {
        self.sink.join(stream)
    }
}

impl NodeReports for Daemon {
    fn node_at(&self, ip: IpAddr) -> Option<String> {
        self.snapshot().node_by_ip(ip).map(|node| node.to_string())
    }

    fn keep(&self, node: &str, report: &NodeReport) {
        self.kept.keep(&self.snapshot(), node, report);
    }

    fn report(&self, node: &str, report: NodeReport) -> Vec<String> {
        let mut lines = Vec::new();
        match &report {
            NodeReport::Next => self.write_reports(),
            NodeReport::Destiny { done } => lines.extend(self.destiny(node, done.as_deref())),
            NodeReport::DestinyHeld => lines.extend(self.destiny_now(node)),
            NodeReport::Status(words) => {
                self.node_status(node, words);
                self.write_reports();
            }
            NodeReport::AppStatus(pairs) => {
                self.write_reports();
                let left_out = kept_reports::left_out(pairs);
                if left_out > 0 {
                    let text = format!("{left_out} application states were too long and left out");
                    self.boot.trouble(node, &text);
                }
            }
            NodeReport::GetPostscript => {
                let snapshot = self.snapshot();
                lines = match caller::wants_certificates(&snapshot) {
                    // No caller shows a certificate here.
                    true => vec![
                        "# site.nodeauthentication is set: ask on the command port, with a certificate"
                            .into(),
                    ],
                    false => mypostscript::lines(&snapshot, node, &self.settings.host),
                };
                lines.push(SCRIPT_END.into());
            }
            NodeReport::Syncfiles => lines.push(self.sync_files(node)),
            // The TFTP directory is a view that no node writes to: there is nothing to unlock. Troubles,
            // results of scripts and output of steps are events only.
            // It has an answer of its own, `bmc_config`.
            NodeReport::GetBmcConfig
            | NodeReport::UnlockTftpdir
            | NodeReport::LockTftpdir
            | NodeReport::Monitor
            | NodeReport::Trouble(_)
            | NodeReport::TaskDone(_)
            | NodeReport::Script(_) => {}
            NodeReport::Unknown(line) => {
                tracing::warn!(node, line, "a node said something unknown on the status port");
            }
        }
        self.boot.reported(&self.snapshot(), node, &report);
        lines
    }

    fn bmc_config(&self, from: IpAddr) -> Vec<String> {
        let request = Request { command: GET_BMC.to_owned(), ..Request::default() };
        let peer = Peer { ip: Some(from), ..Peer::default() };
        let mut responses: Vec<Response> = Vec::new();
        handle(self, request, peer, &mut responses);
        getbmcconfig::lines(&responses)
    }

    fn stranger(&self, ip: IpAddr) {
        self.boot.stranger(ip);
    }

    fn discovery_packet(&self, from: SocketAddr, datagram: &[u8]) {
        if let Some(discovery) = self.boot.discovery() {
            discovery.offer(from, datagram);
        }
    }
}
