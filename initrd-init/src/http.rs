//! HTTP/1.1 client for GET (RFC 9110, 9112): lengths, chunks, ranges to resume after a broken connection.
//!
//! A fetch is repeated with growing pauses until it succeeds or nothing has moved for [`STALL_SECONDS_MAX`];
//! each failure is reported once, with the server's own words if it refused. No TLS, no proxies, no
//! keep-alive.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use crate::clock;
use crate::error::{Error, Result};
use crate::log;
use crate::sys;
use crate::url::Url;

/// Time for a connection to be accepted, in seconds.
const CONNECT_SECONDS_MAX: u64 = 10;
/// Time without data after which a connection is given up, in seconds.
const SILENCE_SECONDS_MAX: u64 = 30;
/// Time without any progress after which a fetch is given up, in seconds.
pub(crate) const STALL_SECONDS_MAX: u64 = 600;
/// Longest pause between two tries, in seconds.
const PAUSE_SECONDS_MAX: u64 = 27;
/// Longest line of an answer's head, in bytes.
const LINE_BYTES_MAX: u64 = 8 * 1024;
/// Most lines of an answer's head.
const LINES_MAX: usize = 100;
/// Part of a refusal's body that is shown, in bytes.
const REASON_BYTES_MAX: u64 = 300;
/// Redirects followed for one fetch.
const REDIRECTS_MAX: usize = 5;
const BUFFER_BYTES: usize = 256 * 1024;

/// Head of an answer.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Head {
    /// Status code.
    pub status: u16,
    /// `Content-Length`, in bytes.
    pub length: Option<u64>,
    /// The body comes in chunks.
    pub chunked: bool,
    /// First byte and full size from `Content-Range`.
    pub range: Option<(u64, Option<u64>)>,
    /// `Location` of a redirect.
    pub location: Option<String>,
    /// `Date`, in seconds since 1970.
    pub date: Option<i64>,
}

/// Where the bytes go.
pub(crate) trait Sink {
    /// Takes the next bytes.
    fn put(&mut self, bytes: &[u8]) -> io::Result<()>;
    /// Starts over, if a server cannot resume in the middle.
    fn restart(&mut self) -> io::Result<()>;
    /// Called as soon as the full size is known, in bytes; a refusal ends the fetch without a retry.
    fn announce(&mut self, _total: u64) -> Result<()> {
        Ok(())
    }
}

impl Sink for Vec<u8> {
    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.extend_from_slice(bytes);
        Ok(())
    }

    fn restart(&mut self) -> io::Result<()> {
        self.clear();
        Ok(())
    }
}

/// How one try ended.
enum Try {
    Done,
    /// The connection broke; another try resumes where this one stopped.
    Again(Error),
    /// Retrying cannot help.
    Fatal(Error),
}

/// How long a fetch is tried.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience {
    /// Time without any progress after which it is given up, in seconds.
    pub stall_seconds_max: u64,
    /// A file that the server does not have or refuses (4xx) is not requested again.
    pub refusals_are_final: bool,
}

/// A node that boots has nothing else to do.
const OF_A_BOOT: Patience = Patience { stall_seconds_max: STALL_SECONDS_MAX, refusals_are_final: false };

/// Fetches `url` into `sink`, with retries. Gives the number of bytes.
pub(crate) fn fetch(
    url: &Url,
    resolve: &dyn Fn(&str) -> Result<Ipv4Addr>,
    sink: &mut dyn Sink,
) -> Result<u64> {
    fetch_with(url, resolve, sink, OF_A_BOOT)
}

/// The same with other limits.
pub(crate) fn fetch_with(
    url: &Url,
    resolve: &dyn Fn(&str) -> Result<Ipv4Addr>,
    sink: &mut dyn Sink,
    patience: Patience,
) -> Result<u64> {
    let mut fetch = Fetch { url: url.clone(), got: 0, total: None, redirects: 0 };
    let mut moved = Instant::now();
    let mut pause = 1;
    loop {
        let before = fetch.got;
        let error = match fetch.attempt(resolve, sink) {
            Try::Done => return Ok(fetch.got),
            Try::Fatal(error) => return Err(error),
            Try::Again(error) => error,
        };
        if fetch.got > before {
            (moved, pause) = (Instant::now(), 1);
        }
        let is_final = patience.refusals_are_final
            && matches!(error, Error::Refused { status, .. } if (400..500).contains(&status));
        if is_final || moved.elapsed().as_secs() > patience.stall_seconds_max {
            return Err(error);
        }
        log::problem(&format!("{error}; {} bytes so far, trying again in {pause} s", fetch.got));
        sys::pause(Duration::from_secs(pause));
        pause = (pause * 2).min(PAUSE_SECONDS_MAX);
    }
}

struct Fetch {
    url: Url,
    got: u64,
    total: Option<u64>,
    redirects: usize,
}

impl Fetch {
    fn attempt(&mut self, resolve: &dyn Fn(&str) -> Result<Ipv4Addr>, sink: &mut dyn Sink) -> Try {
        let mut stream = match resolve(&self.url.host).and_then(|host| connect(host, self.url.port)) {
            Ok(stream) => BufReader::with_capacity(BUFFER_BYTES, stream),
            Err(error) => return Try::Again(error),
        };
        if let Err(cause) = stream.get_mut().write_all(self.question().as_bytes()) {
            return Try::Again(self.broken(&cause.to_string()));
        }
        match read_head(&mut stream) {
            Ok(head) => {
                head.date.into_iter().for_each(clock::follow);
                self.answer(&head, &mut stream, sink)
            }
            Err(cause) => Try::Again(self.broken(&cause.to_string())),
        }
    }

    fn question(&self) -> String {
        let Url { host, port, path } = &self.url;
        let range = match self.got {
            0 => String::new(),
            from => format!("Range: bytes={from}-\r\n"),
        };
        format!(
            "GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\nUser-Agent: dawn-init\r\nAccept: */*\r\n{range}\
             Connection: close\r\n\r\n"
        )
    }

    fn answer(&mut self, head: &Head, body: &mut impl BufRead, sink: &mut dyn Sink) -> Try {
        match (head.status, head.range) {
            (206, Some((from, total))) if from == self.got => self.total = total.or(self.total),
            (200, _) => {
                // The server sends everything from the start, even if a range was requested.
                if self.got > 0 && sink.restart().is_err() {
                    return Try::Fatal(self.broken("cannot start over"));
                }
                (self.got, self.total) = (0, head.length);
            }
            (301 | 302 | 303 | 307 | 308, _) => return self.redirect(head),
            (416, _) if self.total == Some(self.got) && self.got > 0 => return Try::Done,
            (status, _) => return self.refusal(status, body),
        }
        if let Some(Err(error)) = self.total.map(|total| sink.announce(total)) {
            return Try::Fatal(error);
        }
        let result = read_body(body, head, &mut |bytes| {
            sink.put(bytes)?;
            self.got += u64::try_from(bytes.len()).unwrap_or(0);
            Ok(())
        });
        match result {
            Ok(()) if self.total.is_none_or(|total| total == self.got) => Try::Done,
            Ok(()) => Try::Again(self.broken("it ended early")),
            Err(Stop::Source(why)) => Try::Again(self.broken(&why)),
            Err(Stop::Sink(cause)) => Try::Fatal(self.broken(&format!("cannot keep it: {cause}"))),
        }
    }

    fn redirect(&mut self, head: &Head) -> Try {
        self.redirects += 1;
        let target = head.location.as_deref().and_then(|location| match location.starts_with('/') {
            true => Some(Url { path: location.to_owned(), ..self.url.clone() }),
            false => Url::parse(location),
        });
        match target {
            Some(url) if self.redirects <= REDIRECTS_MAX => {
                let error = self.broken(&format!("moved to {url}"));
                self.url = url;
                Try::Again(error)
            }
            _ => Try::Fatal(self.broken("redirect that cannot be followed")),
        }
    }

    fn refusal(&self, status: u16, body: &mut impl BufRead) -> Try {
        let mut text = Vec::new();
        let _ = body.take(REASON_BYTES_MAX).read_to_end(&mut text);
        let line = String::from_utf8_lossy(&text).lines().next().unwrap_or_default().trim().to_owned();
        let reason =
            if line.is_empty() || line.starts_with('<') { String::new() } else { format!(": {line}") };
        Try::Again(Error::Refused { status, url: self.url.to_string(), reason })
    }

    fn broken(&self, why: &str) -> Error {
        Error::Http { url: self.url.to_string(), why: why.to_owned() }
    }
}

fn connect(host: Ipv4Addr, port: u16) -> Result<TcpStream> {
    let silence = Some(Duration::from_secs(SILENCE_SECONDS_MAX));
    let peer = SocketAddr::from((host, port));
    let open = || {
        let stream = TcpStream::connect_timeout(&peer, Duration::from_secs(CONNECT_SECONDS_MAX))?;
        stream.set_read_timeout(silence)?;
        stream.set_write_timeout(silence)?;
        Ok(stream)
    };
    open().map_err(|cause| Error::Connect { host, port, cause })
}

fn malformed(text: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, text.into())
}

fn read_line(source: &mut impl BufRead) -> io::Result<String> {
    let mut line = Vec::new();
    source.take(LINE_BYTES_MAX).read_until(b'\n', &mut line)?;
    if line.pop() != Some(b'\n') {
        return Err(malformed("the head is cut off or too long"));
    }
    Ok(String::from_utf8_lossy(&line).trim_end().to_owned())
}

/// Reads status line and header fields.
///
/// # Errors
/// The connection breaks, or this is not a head.
pub(crate) fn read_head(source: &mut impl BufRead) -> io::Result<Head> {
    let status_line = read_line(source)?;
    let status = status_line
        .strip_prefix("HTTP/1.")
        .and_then(|rest| rest.split(' ').nth(1))
        .and_then(|code| code.parse().ok())
        .ok_or_else(|| malformed(format!("`{status_line}` is not an HTTP status")))?;
    let mut head = Head { status, ..Head::default() };
    for _ in 0..LINES_MAX {
        let line = read_line(source)?;
        if line.is_empty() {
            return Ok(head);
        }
        if let Some((name, value)) = line.split_once(':') {
            head.field(&name.to_ascii_lowercase(), value.trim());
        }
    }
    Err(malformed("the head has too many lines"))
}

impl Head {
    fn field(&mut self, name: &str, value: &str) {
        match name {
            "content-length" => self.length = value.parse().ok(),
            "transfer-encoding" => self.chunked = value.to_ascii_lowercase().ends_with("chunked"),
            "content-range" => self.range = parse_range(value),
            "location" => self.location = Some(value.to_owned()),
            "date" => self.date = clock::parse(value),
            _ => {}
        }
    }
}

/// `bytes 5-9/10` or `bytes 5-9/*`.
fn parse_range(value: &str) -> Option<(u64, Option<u64>)> {
    let (span, total) = value.strip_prefix("bytes ")?.split_once('/')?;
    let (from, _) = span.split_once('-')?;
    Some((from.trim().parse().ok()?, total.parse().ok()))
}

/// Why reading a body stopped.
#[derive(Debug)]
pub(crate) enum Stop {
    /// The connection or its framing broke.
    Source(String),
    /// The receiver could not take more.
    Sink(io::Error),
}

/// Reads a body to its end.
pub(crate) fn read_body(
    source: &mut impl BufRead,
    head: &Head,
    put: &mut dyn FnMut(&[u8]) -> io::Result<()>,
) -> std::result::Result<(), Stop> {
    match (head.chunked, head.length) {
        (true, _) => read_chunks(source, put),
        (false, Some(length)) => match copy(source, length, put)? {
            0 => Ok(()),
            missing => Err(Stop::Source(format!("the connection broke {missing} bytes before the end"))),
        },
        (false, None) => copy(source, u64::MAX, put).map(drop),
    }
}

fn read_chunks(
    source: &mut impl BufRead,
    put: &mut dyn FnMut(&[u8]) -> io::Result<()>,
) -> std::result::Result<(), Stop> {
    loop {
        let line = read_line(source).map_err(|cause| Stop::Source(cause.to_string()))?;
        let digits = line.split(';').next().unwrap_or_default().trim();
        let size = u64::from_str_radix(digits, 16)
            .map_err(|_| Stop::Source(format!("`{digits}` is not a chunk size")))?;
        if size == 0 {
            return Ok(());
        }
        if copy(source, size, put)? != 0 {
            return Err(Stop::Source("the connection broke inside a chunk".to_owned()));
        }
        read_line(source).map_err(|cause| Stop::Source(cause.to_string()))?;
    }
}

/// Copies up to `length` bytes; gives how many are missing.
fn copy(
    source: &mut impl BufRead,
    length: u64,
    put: &mut dyn FnMut(&[u8]) -> io::Result<()>,
) -> std::result::Result<u64, Stop> {
    let mut left = length;
    while left > 0 {
        let buffer = match source.fill_buf() {
            Ok(buffer) => buffer,
            Err(cause) if cause.kind() == io::ErrorKind::Interrupted => continue,
            Err(cause) => return Err(Stop::Source(cause.to_string())),
        };
        let take = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        if take == 0 {
            break;
        }
        put(buffer.get(..take).unwrap_or_default()).map_err(Stop::Sink)?;
        source.consume(take);
        left -= u64::try_from(take).unwrap_or(left);
    }
    Ok(left)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    fn head(text: &str) -> io::Result<Head> {
        read_head(&mut text.as_bytes())
    }

    #[test]
    fn heads() {
        let got =
            head("HTTP/1.1 206 Partial\r\ncontent-LENGTH: 5\r\nContent-Range: bytes 5-9/10\r\n\r\n").unwrap();
        assert_eq!((got.status, got.length, got.range), (206, Some(5), Some((5, Some(10)))));
        let dated = head("HTTP/1.1 200 OK\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n\r\n").unwrap();
        assert_eq!(dated.date, Some(784_111_777));
        assert!(head("HTTP/1.0 200 OK\nTransfer-Encoding: gzip, chunked\n\n").unwrap().chunked);
        assert!(head("HTTP/1.1 200 OK\r\nX: y\r\n").is_err());
        assert!(head("SSH-2.0-x\r\n\r\n").is_err());
        assert!(head(&format!("HTTP/1.1 200 OK\r\n{}\r\n", "A: b\r\n".repeat(200))).is_err());
        assert!(head(&"A".repeat(100_000)).is_err());
    }

    fn body(text: &str, head: &Head) -> std::result::Result<String, Stop> {
        let mut got = Vec::new();
        read_body(&mut text.as_bytes(), head, &mut |bytes| got.put(bytes))?;
        Ok(String::from_utf8(got).unwrap())
    }

    #[test]
    fn bodies() {
        let plain = Head { length: Some(4), ..Head::default() };
        assert_eq!(body("abcdef", &plain).unwrap(), "abcd");
        assert!(body("abc", &plain).is_err());
        assert_eq!(body("to the end", &Head::default()).unwrap(), "to the end");
        let chunked = Head { chunked: true, ..Head::default() };
        assert_eq!(body("3;x=y\r\nabc\r\n2\r\nde\r\n0\r\n\r\n", &chunked).unwrap(), "abcde");
        assert!(body("3\r\nab", &chunked).is_err());
        assert!(body("zz\r\n", &chunked).is_err());
    }

    /// A server that gives each connection one prepared answer and keeps the questions.
    fn server(answers: Vec<&'static str>) -> (u16, std::thread::JoinHandle<Vec<String>>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let thread = std::thread::spawn(move || {
            let mut questions = Vec::new();
            for answer in answers {
                let (mut stream, _) = listener.accept().unwrap();
                let mut text = String::new();
                let mut reader = BufReader::new(stream.try_clone().unwrap());
                while !text.ends_with("\r\n\r\n") {
                    reader.read_line(&mut text).unwrap();
                }
                questions.push(text);
                stream.write_all(answer.as_bytes()).unwrap();
            }
            questions
        });
        (port, thread)
    }

    fn local(_: &str) -> Result<Ipv4Addr> {
        Ok(Ipv4Addr::LOCALHOST)
    }

    #[test]
    fn broken_download_goes_on_in_the_middle() {
        let (port, thread) = server(vec![
            "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n01234",
            "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 5-9/10\r\nContent-Length: 5\r\n\r\n56789",
        ]);
        let url = Url { host: "x".into(), port, path: "/f".into() };
        let mut got = Vec::new();
        assert_eq!(fetch(&url, &local, &mut got).unwrap(), 10);
        assert_eq!(got, b"0123456789");
        let questions = thread.join().unwrap();
        assert!(!questions[0].contains("Range"));
        assert!(questions[1].contains("Range: bytes=5-\r\n"));
    }

    #[test]
    fn server_without_ranges_starts_over() {
        let whole = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nabcd";
        let (port, thread) = server(vec!["HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab", whole]);
        let url = Url { host: "x".into(), port, path: "/f".into() };
        let mut got = Vec::new();
        fetch(&url, &local, &mut got).unwrap();
        assert_eq!(got, b"abcd");
        thread.join().unwrap();
    }
}
