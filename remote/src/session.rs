//! One command on one host, over an ssh connection of our own.
//!
//! Resolve, connect, check the host key, log in, run, read the output, end. Each wait is bounded: connecting
//! and logging in by [`Limits::connect`], time without output by [`Limits::idle`], a host that died by
//! keepalives. When the job is asked to stop, the remote command and what it has started get INT, then TERM,
//! then KILL.

use crate::event::Stream;
use crate::failure::{Failure, reason};
use crate::host_keys::{ALGORITHMS, HostKeys};
use crate::identity::is_rsa;
use crate::output::Output;
use crate::target::Target;
use dawn_fanout::CancellationToken;
use dawn_wire::Secret;
use russh::client::{AuthResult, Config, Handle, Handler, Msg};
use russh::keys::{HashAlg, PrivateKeyWithHashAlg, PublicKey, PublicKeyOrCertificate};
use russh::{Channel, ChannelMsg, ChannelWriteHalf, Disconnect, MethodSet, Preferred, Sig};
use std::borrow::Cow;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::net::{TcpStream, lookup_host};
use tokio::time::{Instant, sleep_until, timeout};

/// Idle time on a connection after which a keepalive is sent.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(15);
/// Questions without an answer that end a connection.
const KEEPALIVE_COUNT: usize = 3;
/// Bytes that a host may send before they are read.
const WINDOW_BYTES: u32 = 1 << 20;
/// Messages that wait for a slow reader of output before the connection is not read on.
const MESSAGES_MAX: usize = 32;
/// Time in which a remote command must have been ended.
const END_WAIT: Duration = Duration::from_secs(2);
/// Time for the words of parting.
const PARTING_WAIT: Duration = Duration::from_millis(500);
/// Ends the other commands of a connection, each signal when the one before did not help. Both `sh` and `csh`
/// understand the first word.
const END_SIBLINGS: &str = "exec /bin/sh -c 'for signal in INT TERM KILL; do left=; \
    for id in $(cat /proc/$PPID/task/$PPID/children); do \
    [ $id = $$ ] || { kill -s $signal -- -$id && left=1; }; done 2>/dev/null; \
    [ $left ] || exit 0; sleep 0.4; done'";
/// Addresses of one name that are tried.
const ADDRESSES_MAX: usize = 8;
/// ssh's word for an output channel (RFC 4254 section 5.2).
const EXTENDED_DATA_STDERR: u32 = 1;
/// Exit code for a command that a signal ended, and to which the signal's number would be added.
const EXIT_SIGNALLED: i32 = 128;

/// How long the parts of a job may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connecting and logging in.
    pub connect: Duration,
    /// Time without output.
    pub idle: Option<Duration>,
}

/// What is run on a host.
#[derive(Clone, Debug, Default)]
pub struct Command {
    /// For the user's shell on the host.
    pub line: String,
    /// Bytes on its standard input.
    pub input: Arc<Vec<u8>>,
    /// Bytes that follow those; many nodes may share them.
    pub rest: Arc<Vec<u8>>,
}

/// Runs the command; its exit code.
pub(crate) async fn run(
    target: &Target,
    command: &Command,
    password: Option<&Secret>,
    limits: Limits,
    output: &mut Output,
    stop: &CancellationToken,
) -> Result<i32, Failure> {
    let opening = async {
        let mut handle = connect(target).await?;
        log_in(target, &mut handle, password).await?;
        let channel = handle.channel_open_session().await.map_err(|error| protocol(target, &error))?;
        let line = command.line.as_bytes();
        channel.exec(false, line).await.map_err(|error| protocol(target, &error))?;
        Ok::<_, Failure>((handle, channel))
    };
    let (handle, channel) = tokio::select! {
        biased;
        () = stop.cancelled() => return Err(Failure::Stopped),
        opened = timeout(limits.connect, opening) => {
            let late = |_| Failure::ConnectTime { host: target.host.clone(), port: target.port };
            opened.map_err(late)??
        }
    };
    let result = converse(target, &handle, channel, command, limits, output, stop).await;
    let _ = timeout(PARTING_WAIT, handle.disconnect(Disconnect::ByApplication, "", "en")).await;
    result
}

/// The key that a host shows; none is accepted.
pub(crate) async fn offered_key(target: &Target, limit: Duration) -> Result<PublicKey, Failure> {
    let offered = Offered::default();
    // Of a key that is known nothing would be offered.
    let stranger = Target { host_keys: Arc::new(HostKeys::default()), ..target.clone() };
    let checker = Checker { target: stranger, offered: Arc::clone(&offered) };
    let attempt = timeout(limit, connect_with(target, checker, &ALGORITHMS)).await;
    match (taken(&offered), attempt) {
        (Some(key), _) => Ok(key),
        (None, Ok(Err(failure))) => Err(failure),
        (None, _) => Err(Failure::ConnectTime { host: target.host.clone(), port: target.port }),
    }
}

type Offered = Arc<Mutex<Option<PublicKey>>>;

fn taken(offered: &Offered) -> Option<PublicKey> {
    offered.lock().unwrap_or_else(PoisonError::into_inner).take()
}

/// Compares the key that a host shows with those it is known by.
pub(crate) struct Checker {
    target: Target,
    offered: Offered,
}

impl Handler for Checker {
    type Error = russh::Error;

    async fn check_server_key(&mut self, key: &PublicKeyOrCertificate) -> Result<bool, Self::Error> {
        let PublicKeyOrCertificate::PublicKey { key, .. } = key else { return Ok(false) };
        let is_known = self.target.host_keys.accepts(key);
        if !is_known {
            *self.offered.lock().unwrap_or_else(PoisonError::into_inner) = Some(key.clone());
        }
        Ok(is_known)
    }
}

async fn connect(target: &Target) -> Result<Handle<Checker>, Failure> {
    let offered = Offered::default();
    let checker = Checker { target: target.clone(), offered: Arc::clone(&offered) };
    let known = target.host_keys.algorithms();
    // An unknown host also shows a key, which is named in the error.
    let kinds = if known.is_empty() { &ALGORITHMS[..] } else { &known };
    let connected = connect_with(target, checker, kinds).await;
    match taken(&offered) {
        None => connected,
        Some(key) => {
            let (node, offered) = (target.node.clone(), fingerprint(&key));
            Err(match target.host_keys.is_empty() {
                true => Failure::UnknownHost { node, offered },
                false => Failure::WrongHost { node, offered },
            })
        }
    }
}

/// Kind and fingerprint, as `ssh-keygen -l` prints them.
pub(crate) fn fingerprint(key: &PublicKey) -> String {
    format!("{} {}", key.algorithm(), key.fingerprint(HashAlg::Sha256))
}

async fn connect_with(
    target: &Target,
    checker: Checker,
    kinds: &[russh::keys::Algorithm],
) -> Result<Handle<Checker>, Failure> {
    let socket = connect_tcp(target).await?;
    let _ = socket.set_nodelay(true);
    let preferred = Preferred { key: Cow::Owned(kinds.to_vec()), ..Preferred::default() };
    let config = Config {
        window_size: WINDOW_BYTES,
        channel_buffer_size: MESSAGES_MAX,
        keepalive_interval: Some(KEEPALIVE_INTERVAL),
        keepalive_max: KEEPALIVE_COUNT,
        preferred,
        ..Config::default()
    };
    let connected = russh::client::connect_stream(Arc::new(config), socket, checker).await;
    connected.map_err(|error| match error {
        russh::Error::NoCommonAlgo { ours, theirs, .. } => Failure::Protocol {
            node: target.node.clone(),
            reason: format!("it speaks {}, and we {}", theirs.join(","), ours.join(",")),
        },
        error => protocol(target, &error),
    })
}

async fn connect_tcp(target: &Target) -> Result<TcpStream, Failure> {
    let host = || target.host.clone();
    let addresses: Vec<SocketAddr> = match target.address {
        Some(ip) => vec![SocketAddr::new(ip, target.port)],
        None => {
            let found = lookup_host((target.host.as_str(), target.port)).await;
            let found = found.map_err(|_| Failure::Resolve {
                host: host(),
                reason: "Name or service not known".to_owned(),
            })?;
            found.take(ADDRESSES_MAX).collect()
        }
    };
    let mut last = "the name has no address".to_owned();
    for address in addresses {
        match TcpStream::connect(address).await {
            Ok(socket) => return Ok(socket),
            Err(error) => last = reason(&error),
        }
    }
    Err(Failure::Connect { host: host(), port: target.port, reason: last })
}

async fn log_in(
    target: &Target,
    handle: &mut Handle<Checker>,
    password: Option<&Secret>,
) -> Result<(), Failure> {
    let mut methods = MethodSet::empty();
    if let Some(password) = password.map(Secret::reveal) {
        let answer = handle.authenticate_password(&target.user, password).await;
        match answer.map_err(|error| protocol(target, &error))? {
            AuthResult::Success => return Ok(()),
            AuthResult::Failure { remaining_methods, .. } => methods = remaining_methods,
        }
        if answer_questions(target, handle, password).await? {
            return Ok(());
        }
    } else {
        for key in &target.identity.keys {
            let hash = is_rsa(key).then_some(HashAlg::Sha512);
            let key = PrivateKeyWithHashAlg::new(Arc::clone(key), hash);
            let answer = handle.authenticate_publickey(&target.user, key).await;
            match answer.map_err(|error| protocol(target, &error))? {
                AuthResult::Success => return Ok(()),
                AuthResult::Failure { remaining_methods, .. } => methods = remaining_methods,
            }
        }
    }
    let methods: Vec<String> = methods.iter().map(|method| String::from(method).to_lowercase()).collect();
    let methods = if methods.is_empty() { "publickey".to_owned() } else { methods.join(",") };
    Err(Failure::Denied { user: target.user.clone(), node: target.node.clone(), methods })
}

/// Rounds of questions that a host may ask.
const QUESTION_ROUNDS_MAX: usize = 3;

/// Logs in with a password where the host asks for it as a question (keyboard-interactive).
async fn answer_questions(
    target: &Target,
    handle: &mut Handle<Checker>,
    password: &str,
) -> Result<bool, Failure> {
    use russh::client::KeyboardInteractiveAuthResponse as Answer;
    let failed = |error: russh::Error| protocol(target, &error);
    let begun = handle.authenticate_keyboard_interactive_start(&target.user, None::<String>);
    let mut answer = begun.await.map_err(failed)?;
    for _ in 0..QUESTION_ROUNDS_MAX {
        match answer {
            Answer::Success => return Ok(true),
            Answer::Failure { .. } => return Ok(false),
            Answer::InfoRequest { prompts, .. } => {
                let answers = prompts.iter().map(|_| password.to_owned()).collect();
                let next = handle.authenticate_keyboard_interactive_respond(answers);
                answer = next.await.map_err(failed)?;
            }
        }
    }
    Ok(matches!(answer, Answer::Success))
}

/// Sends the input, reads the output, waits for the exit code.
async fn converse(
    target: &Target,
    handle: &Handle<Checker>,
    channel: Channel<Msg>,
    command: &Command,
    limits: Limits,
    output: &mut Output,
    stop: &CancellationToken,
) -> Result<i32, Failure> {
    let inputs = [Arc::clone(&command.input), Arc::clone(&command.rest)];
    let (mut reader, writer) = channel.split();
    let sending = async {
        for input in inputs.iter().filter(|input| !input.is_empty()) {
            let _ = writer.data(input.as_slice()).await;
        }
        let _ = writer.eof().await;
        std::future::pending::<()>().await;
    };
    tokio::pin!(sending);
    let mut code = None;
    let mut last = Instant::now();
    loop {
        let silent_at = limits.idle.map(|idle| last + idle);
        let failure = tokio::select! {
            biased;
            () = stop.cancelled() => Failure::Stopped,
            message = reader.wait() => {
                match message {
                    Some(ChannelMsg::Data { data }) => output.push(Stream::Out, &data).await,
                    Some(ChannelMsg::ExtendedData { data, ext: EXTENDED_DATA_STDERR }) => {
                        output.push(Stream::Err, &data).await;
                    }
                    Some(ChannelMsg::ExitStatus { exit_status }) => {
                        code = Some(i32::try_from(exit_status).unwrap_or(i32::MAX));
                    }
                    Some(ChannelMsg::ExitSignal { signal_name, .. }) => {
                        code = Some(EXIT_SIGNALLED + number_of(&signal_name));
                    }
                    Some(ChannelMsg::Close) | None => break,
                    Some(_) => continue,
                }
                last = Instant::now();
                continue;
            }
            () = &mut sending => continue,
            () = sleep_until(silent_at.unwrap_or(last)), if silent_at.is_some() => {
                Failure::Silent(limits.idle.unwrap_or_default())
            }
        };
        end_remote(handle, &writer).await;
        return Err(failure);
    }
    code.ok_or_else(|| Failure::Protocol {
        node: target.node.clone(),
        reason: "the connection ended before the command".to_owned(),
    })
}

/// Ends what the connection runs on the host: a second session there sends the signals to the process groups
/// of its siblings, which have the same sshd for parent. (ssh has a request for signals, but OpenSSH refuses
/// it when root is logged in.)
async fn end_remote(handle: &Handle<Checker>, writer: &ChannelWriteHalf<Msg>) {
    let ending = async {
        let Ok(mut channel) = handle.channel_open_session().await else {
            // One session a connection (`MaxSessions 1`): the request is all there is.
            let _ = writer.signal(Sig::TERM).await;
            return;
        };
        if channel.exec(false, END_SIBLINGS).await.is_ok() {
            while let Some(message) = channel.wait().await {
                if matches!(message, ChannelMsg::Close) {
                    return;
                }
            }
        }
    };
    let _ = timeout(END_WAIT, ending).await;
}

fn protocol(target: &Target, error: &russh::Error) -> Failure {
    let reason = match error {
        russh::Error::IO(error) => reason(error),
        russh::Error::Disconnect | russh::Error::HUP | russh::Error::SendError | russh::Error::RecvError => {
            "Connection closed by the host".to_owned()
        }
        error => error.to_string(),
    };
    Failure::Protocol { node: target.node.clone(), reason }
}

/// The number of a signal, as shells add it to 128.
fn number_of(signal: &Sig) -> i32 {
    match signal {
        Sig::HUP => 1,
        Sig::INT => 2,
        Sig::QUIT => 3,
        Sig::ILL => 4,
        Sig::ABRT => 6,
        Sig::FPE => 8,
        Sig::KILL => 9,
        Sig::SEGV => 11,
        Sig::PIPE => 13,
        Sig::ALRM => 14,
        Sig::TERM => 15,
        _ => 0,
    }
}
