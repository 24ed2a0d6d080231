//! The client: connects, sends one request, prints the answer as it comes.
//!
//! Blocking and without a runtime: a command lives for milliseconds. All settings come in through
//! [`ClientSettings`]; this module reads no environment.

use crate::limits::{CONNECT_TIME_MAX, RESPONSE_BYTES_MAX};
use crate::render::{Stream, render};
use crate::request::Request;
use crate::response::{Response, hint_line};
use dawn_tls::{TlsError, anonymous_client_config, client_config};
use rustls::{ClientConnection, StreamOwned};
use rustls_pki_types::ServerName;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, TcpStream, ToSocketAddrs};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// How often a waiting client looks at the stop flag.
const STOP_POLL: Duration = Duration::from_millis(200);
/// Time the daemon has to end a command after an abort.
const ABORT_WAIT: Duration = Duration::from_secs(2);
/// Default of `XCATHOST`.
pub const HOST_DEFAULT: &str = "localhost:3001";
const PORT_DEFAULT: u16 = 3001;
/// The error of a client that got a stream it did not ask for.
const NO_STREAM: &str = "it goes on as a stream";

/// What the environment says about the client.
#[derive(Clone, Debug)]
pub struct ClientSettings {
    /// `XCATHOST`: `host[%scope][:port]` or `[v6]:port`.
    pub host: String,
    /// `~/.xcat`.
    pub certificates: PathBuf,
    /// Print the source of each line (`XCATSHOWSVR`, `-V`).
    pub show_source: bool,
    /// Print responses as XML (`XCATSHOWXML`).
    pub show_xml: bool,
    /// Print request and response XML (`XCATXMLTRACE`).
    pub trace: bool,
    /// Standard error is a terminal: progress is shown there, on a separate line.
    pub has_terminal: bool,
    /// `XCATBYPASS` is set: anyone who set it expects no daemon to be needed, and gets an error if there is
    /// none.
    pub bypass: bool,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// No connection or no handshake.
    #[error("{reason}")]
    Connect {
        /// `host:port` as given.
        host: String,
        /// Why.
        reason: String,
        /// What to do about it.
        hint: Option<String>,
    },
    /// The connection broke before `serverdone`.
    #[error("communication with the xCAT server seems to have been ended prematurely")]
    Ended,
    /// The answer is not of the protocol.
    #[error("the answer of the xCAT server cannot be read: {0}")]
    Answer(String),
    /// Certificates.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

/// Sends the request, prints to the two writers, returns the exit code. `stop` is set by a signal.
///
/// A writer that fails is not written to again. A closed pipe does not change the exit code; output that
/// could not be written for another reason (a full disk) is an error: a saved table must not be cut short
/// without one.
pub fn run(
    settings: &ClientSettings,
    request: &Request,
    stop: &AtomicBool,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> i32 {
    let mut printer = Printer { out: Some(out), err: Some(err), settings, exit_code: 0, has_progress: false };
    let outcome = exchange(settings, request, stop, &mut |response| printer.print(&response), true);
    printer.clear_progress();
    match outcome {
        Ok(Outcome::Done) => printer.exit_code & 0xff,
        Ok(Outcome::Stopped) => 0,
        Ok(Outcome::Stream(_)) => printer.failure(&ClientError::Answer(NO_STREAM.to_owned())),
        Err(error) => printer.failure(&error),
    }
}

/// Sends a request whose answer continues as a stream of bytes: prints the answer, hands the stream over and
/// returns what that returns; the exit code of the answer if it has no stream.
pub fn run_stream(
    settings: &ClientSettings,
    request: &Request,
    out: &mut dyn Write,
    err: &mut dyn Write,
    carry: impl FnOnce(Joined) -> i32,
) -> i32 {
    let mut printer = Printer { out: Some(out), err: Some(err), settings, exit_code: 0, has_progress: false };
    let never = AtomicBool::new(false);
    match exchange(settings, request, &never, &mut |response| printer.print(&response), true) {
        Ok(Outcome::Stream(joined)) => carry(*joined),
        Ok(Outcome::Done | Outcome::Stopped) => printer.exit_code & 0xff,
        Err(error) => printer.failure(&error),
    }
}

/// A connection that carries bytes both ways after an answer.
pub struct Joined {
    connection: ClientConnection,
    socket: TcpStream,
    /// Bytes that came with the end of the answer.
    early: Vec<u8>,
    /// The line end after the answer has not come yet.
    before_line_end: bool,
}

impl Joined {
    /// For waiting until there is something to read.
    pub fn socket(&self) -> &TcpStream {
        &self.socket
    }

    /// Whether [`Joined::receive`] has something without waiting.
    pub fn has_early(&self) -> bool {
        !self.early.is_empty()
    }

    /// Appends the received bytes. `false` at the end of the connection.
    ///
    /// # Errors
    /// The connection broke.
    pub fn receive(&mut self, into: &mut Vec<u8>) -> io::Result<bool> {
        let start = into.len();
        let goes_on = self.receive_all(into)?;
        if self.before_line_end && into.len() > start {
            self.before_line_end = false;
            let line_end = into.get(start) == Some(&b'\n');
            into.drain(start..start + usize::from(line_end));
        }
        Ok(goes_on)
    }

    fn receive_all(&mut self, into: &mut Vec<u8>) -> io::Result<bool> {
        if !self.early.is_empty() {
            into.append(&mut self.early);
            return Ok(true);
        }
        match self.connection.read_tls(&mut self.socket) {
            Ok(0) => return Ok(false),
            Ok(_) => {}
            Err(error) if waits(&error) => return Ok(true),
            Err(error) => return Err(error),
        }
        let state = self.connection.process_new_packets().map_err(io::Error::other)?;
        let before = into.len();
        into.resize(before + state.plaintext_bytes_to_read(), 0);
        self.connection.reader().read_exact(into.get_mut(before..).unwrap_or_default())?;
        Ok(!state.peer_has_closed())
    }

    /// Sends bytes.
    ///
    /// # Errors
    /// The connection broke.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.connection.writer().write_all(bytes)?;
        while self.connection.wants_write() {
            self.connection.write_tls(&mut self.socket)?;
        }
        Ok(())
    }
}

/// Sends the request and collects the responses, `serverdone` left out.
pub fn fetch(settings: &ClientSettings, request: &Request) -> Result<Vec<Response>, ClientError> {
    let mut responses = Vec::new();
    let never = AtomicBool::new(false);
    exchange(settings, request, &never, &mut |response| responses.push(response), false)?;
    Ok(responses)
}

enum Outcome {
    Done,
    Stopped,
    Stream(Box<Joined>),
}

fn exchange(
    settings: &ClientSettings,
    request: &Request,
    stop: &AtomicBool,
    take: &mut dyn FnMut(Response),
    warn: bool,
) -> Result<Outcome, ClientError> {
    let mut stream = connect(settings, warn)?;
    let text = request.to_xml();
    if settings.trace {
        println_quietly(&text);
    }
    stream.write_all(text.as_bytes()).and_then(|()| stream.flush()).map_err(|_| ClientError::Ended)?;
    let mut reader = ResponseReader::default();
    let mut chunk = vec![0; 64 << 10];
    loop {
        if stop.load(Ordering::Relaxed) {
            abort(&mut stream, &mut reader);
            return Ok(Outcome::Stopped);
        }
        let count = match stream.read(&mut chunk) {
            Ok(0) => return Err(ClientError::Ended),
            Ok(count) => count,
            Err(error) if waits(&error) => continue,
            // With TLS 1.3 a refusal of the client's certificate arrives after the handshake.
            Err(error) => return Err(refused(&error, settings).unwrap_or(ClientError::Ended)),
        };
        reader.push(chunk.get(..count).unwrap_or_default())?;
        while let Some(document) = reader.next_document() {
            if settings.trace {
                println_quietly(&document);
            }
            let response =
                Response::parse(&document).map_err(|error| ClientError::Answer(error.to_string()))?;
            if response.is_stream() {
                let StreamOwned { conn: connection, sock: socket } = stream;
                let early = std::mem::take(&mut reader.buffer);
                let joined = Joined { connection, socket, early, before_line_end: true };
                return Ok(Outcome::Stream(Box::new(joined)));
            }
            if response.serverdone {
                take(response);
                stream.conn.send_close_notify();
                let _ = stream.conn.complete_io(&mut stream.sock);
                return Ok(Outcome::Done);
            }
            take(response);
        }
    }
}

fn waits(error: &io::Error) -> bool {
    use io::ErrorKind::{Interrupted, TimedOut, WouldBlock};
    matches!(error.kind(), Interrupted | TimedOut | WouldBlock)
}

fn println_quietly(text: &str) {
    let _ = io::stdout().write_all(text.as_bytes());
}

/// Notifies the daemon and gives it a moment to stop the command.
fn abort(stream: &mut StreamOwned<ClientConnection, TcpStream>, reader: &mut ResponseReader) {
    let request = Request { abort: true, ..Request::default() }.to_xml();
    if stream.write_all(request.as_bytes()).and_then(|()| stream.flush()).is_err() {
        return;
    }
    let end = Instant::now() + ABORT_WAIT;
    let mut chunk = [0; 4096];
    while Instant::now() < end {
        match stream.read(&mut chunk) {
            Ok(count @ 1..) if reader.push(chunk.get(..count).unwrap_or_default()).is_ok() => {}
            Err(error) if waits(&error) => {}
            _ => return,
        }
        while let Some(document) = reader.next_document() {
            if Response::parse(&document).is_ok_and(|response| response.serverdone) {
                return;
            }
        }
    }
}

fn connect(
    settings: &ClientSettings,
    warn: bool,
) -> Result<StreamOwned<ClientConnection, TcpStream>, ClientError> {
    let cred = settings.certificates.join("client-cred.pem");
    let ca = settings.certificates.join("ca.pem");
    let readable = std::fs::File::open(&cred).is_ok() && std::fs::File::open(&ca).is_ok();
    let config = if readable {
        client_config(&cred, &ca)?
    } else {
        if warn {
            println_quietly(&format!(
                "warning: the client certificates under {}/ are not setup correctly, please run \
                 'dawn init' or ask the administrator for a certificate\n",
                settings.certificates.display()
            ));
        }
        anonymous_client_config()?
    };
    let failed = |reason: String| ClientError::Connect { host: settings.host.clone(), reason, hint: None };
    let socket = connect_tcp(&settings.host).map_err(|error| failed(error.to_string()))?;
    let name = ServerName::IpAddress(IpAddr::V4(Ipv4Addr::LOCALHOST).into());
    let connection = ClientConnection::new(config, name).map_err(|error| failed(error.to_string()))?;
    let mut stream = StreamOwned::new(connection, socket);
    while stream.conn.is_handshaking() {
        stream
            .conn
            .complete_io(&mut stream.sock)
            .map_err(|error| refused(&error, settings).unwrap_or_else(|| failed(error.to_string())))?;
    }
    let poll = stream.sock.set_read_timeout(Some(STOP_POLL));
    poll.map_err(|error| failed(error.to_string()))?;
    Ok(stream)
}

/// What a failed verification means to the user, if the error is one.
fn refused(error: &io::Error, settings: &ClientSettings) -> Option<ClientError> {
    use rustls::{AlertDescription as Alert, CertificateError as Bad, Error};
    let (host, folder) = (settings.host.clone(), settings.certificates.display());
    let renew = format!(
        "`dawn init --data DIR` on the daemon's data directory renews {folder}; if another daemon was meant, set \
         XCATHOST (now {host})."
    );
    let (reason, hint) = match error.get_ref()?.downcast_ref::<Error>()? {
        Error::InvalidCertificate(Bad::BadSignature | Bad::UnknownIssuer) => (
            format!(
                "the daemon's certificate does not come from the authority in {folder}/ca.pem: the files there \
                 belong to another cluster."
            ),
            renew,
        ),
        Error::InvalidCertificate(
            Bad::Expired | Bad::ExpiredContext { .. } | Bad::NotValidYet | Bad::NotValidYetContext { .. },
        ) => (
            "the daemon's certificate is not valid at this time.".to_owned(),
            "compare the clocks of the two machines; if they are right, the certificate has to be made again."
                .to_owned(),
        ),
        Error::AlertReceived(
            Alert::UnknownCA
            | Alert::DecryptError
            | Alert::BadCertificate
            | Alert::CertificateUnknown
            | Alert::CertificateExpired
            | Alert::CertificateRevoked,
        ) => (
            format!(
                "the daemon does not accept the certificate {folder}/client-cred.pem: it was made by another \
                 cluster, or is out of date."
            ),
            renew,
        ),
        _ => return None,
    };
    Some(ClientError::Connect { host, reason, hint: Some(hint) })
}

fn connect_tcp(host: &str) -> io::Result<TcpStream> {
    let (name, port) = split_host(host);
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the host name has no address");
    for address in (name.as_str(), port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, CONNECT_TIME_MAX) {
            Ok(stream) => {
                stream.set_nodelay(true)?;
                stream.set_read_timeout(Some(CONNECT_TIME_MAX))?;
                return Ok(stream);
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Host and port of `XCATHOST`.
pub fn split_host(text: &str) -> (String, u16) {
    if let Some((name, rest)) = text.strip_prefix('[').and_then(|text| text.split_once(']')) {
        let port = rest.strip_prefix(':').and_then(|port| port.parse().ok()).unwrap_or(PORT_DEFAULT);
        return (name.to_owned(), port);
    }
    match text.rsplit_once(':') {
        Some((name, port)) if !name.contains(':') => (name.to_owned(), port.parse().unwrap_or(PORT_DEFAULT)),
        _ => (text.to_owned(), PORT_DEFAULT),
    }
}

/// Cuts the answer into documents.
#[derive(Default)]
struct ResponseReader {
    buffer: Vec<u8>,
    scanned: usize,
}

impl ResponseReader {
    fn push(&mut self, bytes: &[u8]) -> Result<(), ClientError> {
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() > RESPONSE_BYTES_MAX {
            return Err(ClientError::Answer(format!("a response of more than {RESPONSE_BYTES_MAX} bytes")));
        }
        Ok(())
    }

    fn next_document(&mut self) -> Option<String> {
        const CLOSE: &str = "</xcatresponse>";
        let from = self.scanned.saturating_sub(CLOSE.len());
        let tail = self.buffer.get(from..)?;
        let Some(at) = crate::framing::find(tail, CLOSE) else {
            self.scanned = self.buffer.len();
            return None;
        };
        let rest = self.buffer.split_off(from + at + CLOSE.len());
        let document = std::mem::replace(&mut self.buffer, rest);
        self.scanned = 0;
        Some(String::from_utf8_lossy(&document).into_owned())
    }
}

struct Printer<'a> {
    out: Option<&'a mut dyn Write>,
    err: Option<&'a mut dyn Write>,
    settings: &'a ClientSettings,
    exit_code: i32,
    /// A progress line is on the terminal.
    has_progress: bool,
}

impl Printer<'_> {
    fn print(&mut self, response: &Response) {
        self.exit_code |= response.exit_code();
        if self.settings.show_xml {
            let mut text = String::new();
            response.write(&mut text);
            return self.write(Stream::Out, &text);
        }
        if self.settings.has_terminal && response.sinfo.len() == 1 && response.info.is_empty() {
            return response.sinfo.iter().for_each(|text| self.show_progress(text));
        }
        self.clear_progress();
        for piece in render(response, self.settings.show_source) {
            self.write(piece.stream, &piece.text);
        }
    }

    /// A line that the next output replaces.
    fn show_progress(&mut self, text: &str) {
        self.write(Stream::Err, &format!("\r{text}\x1b[K"));
        self.has_progress = true;
    }

    fn clear_progress(&mut self) {
        if std::mem::take(&mut self.has_progress) {
            self.write(Stream::Err, "\r\x1b[K");
        }
    }

    fn write(&mut self, stream: Stream, text: &str) {
        let slot = match stream {
            Stream::Out => &mut self.out,
            Stream::Err => &mut self.err,
        };
        let Some(writer) = slot else { return };
        let Err(error) = writer.write_all(text.as_bytes()).and_then(|()| writer.flush()) else { return };
        *slot = None;
        if error.kind() != io::ErrorKind::BrokenPipe {
            self.exit_code |= 1;
            self.write(Stream::Err, &format!("Error: the output could not be written: {error}\n"));
        }
    }

    fn failure(&mut self, error: &ClientError) -> i32 {
        match error {
            ClientError::Connect { host, reason, hint } => {
                let text = format!(
                    "Unable to open socket connection to xcatd daemon on {host}.\n\
                     Verify that the xcatd daemon is running and that your SSL setup is correct.\n"
                );
                self.write(Stream::Out, &text);
                self.write(Stream::Err, &format!("Connection failure: {reason}\n"));
                let start = "the daemon is `dawn serve --data DIR`; as a service: `systemctl start dawn`.";
                let bypass = "XCATBYPASS has no effect here; commands are always answered by `dawn serve`.";
                let bypass = self.settings.bypass.then_some(bypass);
                let hints = hint.as_deref().into_iter().chain([start]).chain(bypass);
                hints.for_each(|hint| self.write(Stream::Err, &format!("{}\n", hint_line(hint))));
            }
            other => self.write(Stream::Err, &format!("ERROR/WARNING: {other}\n")),
        }
        (self.exit_code | 1) & 0xff
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A writer that fails in one way.
    struct Failing(io::ErrorKind);

    impl Write for Failing {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(self.0.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn output_that_is_lost_is_an_error_and_a_closed_pipe_is_none() {
        for (kind, code, told) in
            [(io::ErrorKind::StorageFull, 1, true), (io::ErrorKind::BrokenPipe, 0, false)]
        {
            let settings = ClientSettings {
                host: HOST_DEFAULT.into(),
                certificates: PathBuf::new(),
                show_source: false,
                show_xml: false,
                trace: false,
                has_terminal: false,
                bypass: false,
            };
            let (mut out, mut err) = (Failing(kind), Vec::new());
            let mut printer = Printer {
                out: Some(&mut out),
                err: Some(&mut err),
                settings: &settings,
                exit_code: 0,
                has_progress: false,
            };
            printer.write(Stream::Out, "line\n");
            printer.write(Stream::Out, "line\n");
            assert_eq!(printer.exit_code, code, "{kind}");
            assert_eq!(!err.is_empty(), told, "{kind}");
        }
    }

    #[test]
    fn hosts() {
        for (text, host, port) in [
            ("localhost:3001", "localhost", 3001),
            ("mn1", "mn1", 3001),
            ("[fe80::1]:3005", "fe80::1", 3005),
            ("fe80::1", "fe80::1", 3001),
            ("10.0.0.1:99", "10.0.0.1", 99),
        ] {
            assert_eq!(split_host(text), (host.to_owned(), port), "{text}");
        }
    }
}
