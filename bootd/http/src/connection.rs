//! One connection: heads in, answers out, until one side has enough.
//!
//! An idle connection holds no buffer. Content up to [`ONE_PIECE_BYTES_MAX`] leaves with its head in one
//! write; larger files leave by sendfile.

use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use dawn_serving::disks::WAIT_TIME_MAX;
use dawn_serving::shares::{Kind, Place};
use dawn_serving::{
    Answer, Content, DiskPool, Event, EventKind, Late, Observer, OpenDir, PathError, Request, RequestPath,
    Source,
};

use crate::application::{Beyond, hand_over};
use crate::buffers::Buffers;
use crate::conditions::Version;
use crate::disk::on_disk;
use crate::head::{Head, HeadError, Method};
use crate::idle::IdleTime;
use crate::limits::{HEAD_TIME_MAX, IDLE_TIME_MAX, LINGER_BYTES_MAX, LINGER_TIME_MAX, ONE_PIECE_BYTES_MAX};
use crate::listing;
use crate::media::media_type;
use crate::respond::{Follows, keep, respond};
use crate::response::{self, HeadWriter, Keep, Status, put_text};
use crate::stream::{Stream, in_time, late};

/// What all connections share.
pub(crate) struct Shared {
    pub(crate) source: Arc<dyn Source>,
    pub(crate) observer: Arc<dyn Observer>,
    pub(crate) application: Option<Beyond>,
    pub(crate) disks: DiskPool,
}

/// Whether the connection is used for another request.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Then {
    Next,
    Close,
    /// Close, but let the client read our answer first although it may still be sending.
    Linger,
}

/// Who calls.
#[derive(Clone, Copy)]
pub(crate) struct Caller {
    pub(crate) peer: SocketAddr,
    pub(crate) kind: Kind,
}

pub(crate) struct Connection {
    shared: Arc<Shared>,
    /// The threads for disks, with the share of this caller.
    disks: DiskPool,
    stream: Stream,
    peer: SocketAddr,
    local: IpAddr,
    buffers: Buffers,
}

/// Who answers a request.
enum Found {
    Here(Result<Answer, PathError>),
    Beyond(Beyond),
}

/// The outcome of waiting for a head.
enum Arrived {
    Head(Box<Head>, usize),
    Bad(HeadError),
    Late,
    Gone,
}

impl Connection {
    pub(crate) fn new(shared: Arc<Shared>, stream: Stream, Caller { peer, kind }: Caller) -> Self {
        let disks = shared.disks.caller(kind);
        let local = stream.local_addr().map_or(peer.ip(), |address| address.ip());
        Self { shared, disks, stream, peer, local, buffers: Buffers::default() }
    }

    /// Serves until the connection ends. Between requests it may lose its place. After `stop`, requests that
    /// have arrived are answered, and no further ones are awaited.
    pub(crate) async fn run(mut self, place: Place, stop: CancellationToken) {
        let mut stopped = pin!(stop.cancelled_owned());
        let mut idle = IdleTime::new(IDLE_TIME_MAX);
        loop {
            let arrived = self.next_head(stopped.as_mut(), &mut idle).await;
            place.keep();
            let then = match arrived {
                Arrived::Head(head, length) => match self.find(&head).await {
                    Found::Here(answer) => {
                        self.buffers.read.drain(..length);
                        self.answer(&head, answer).await
                    }
                    Found::Beyond(application) => {
                        return hand_over(application, self.peer, self.stream, self.buffers.read).await;
                    }
                },
                Arrived::Bad(error) => self.refuse_head(&error).await,
                Arrived::Late => self.late().await,
                Arrived::Gone => return,
            };
            match then {
                Then::Next => place.rest(),
                Then::Close => return self.close().await,
                Then::Linger => return self.linger().await,
            }
        }
    }

    /// Decides whether the request is answered here, and with what.
    async fn find(&self, head: &Head) -> Found {
        if head.method == Method::Other || head.has_body {
            return match self.owner(head) {
                Some(application) => Found::Beyond(application),
                None => Found::Here(Ok(Answer::Elsewhere)),
            };
        }
        let path = match &head.path {
            Ok(path) => path,
            Err(error) => return Found::Here(Err(*error)),
        };
        match self.resolve(&self.request(head, path)).await {
            Answer::Elsewhere => match self.owner(head) {
                Some(application) => Found::Beyond(application),
                None => Found::Here(Ok(Answer::Elsewhere)),
            },
            answer => Found::Here(Ok(answer)),
        }
    }

    /// The application, if the request is one of its own.
    fn owner(&self, head: &Head) -> Option<Beyond> {
        let owns = |application: &&Beyond| application.owns(self.stream.service(), head.path.as_ref().ok());
        self.shared.application.as_ref().filter(owns).cloned()
    }

    fn request<'a>(&self, head: &'a Head, path: &'a RequestPath) -> Request<'a> {
        let service = self.stream.service();
        Request { path, query: &head.query, peer: self.peer, local: self.local, service }
    }

    /// Asks the source, and the disk only where it must be.
    async fn resolve(&self, request: &Request<'_>) -> Answer {
        let source = &self.shared.source;
        if let Some(answer) = source.at_once(request) {
            return answer;
        }
        let (place, asked, source) = (source.place(request), request.owned(), Arc::clone(source));
        let work = move || source.resolve(&asked.request());
        let answer = on_disk(&self.disks, &place, WAIT_TIME_MAX, work).await;
        answer.unwrap_or_else(Answer::Unavailable)
    }

    async fn next_head(
        &mut self,
        mut stopped: Pin<&mut WaitForCancellationFutureOwned>,
        idle: &mut IdleTime,
    ) -> Arrived {
        let mut first_byte = None;
        idle.restart();
        loop {
            if !self.buffers.read.is_empty() {
                match Head::parse(&self.buffers.read) {
                    Ok(Some((head, length))) => return Arrived::Head(Box::new(head), length),
                    Ok(None) => {}
                    Err(error) => return Arrived::Bad(error),
                }
                first_byte.get_or_insert_with(Instant::now);
            }
            // What has arrived goes first. So a client whose next request has always arrived already is
            // served after a stop as long as transfers are: for `STOP_TIME_MAX`.
            let read = tokio::select! {
                biased;
                read = self.read_some(first_byte) => read,
                () = stopped.as_mut() => return Arrived::Gone,
                () = idle.over(), if first_byte.is_none() => return Arrived::Gone,
            };
            match read {
                Ok(0) => return Arrived::Gone,
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::TimedOut && first_byte.is_some() => {
                    return Arrived::Late;
                }
                Err(_) => return Arrived::Gone,
            }
        }
    }

    /// Reads more of a head whose first byte came at that time, if it has begun.
    async fn read_some(&mut self, first_byte: Option<Instant>) -> io::Result<usize> {
        let Some(first_byte) = first_byte else { return poll_fn(|cx| self.poll_first(cx)).await };
        self.buffers.hold();
        let limit = HEAD_TIME_MAX.saturating_sub(first_byte.elapsed());
        in_time(limit, self.stream.read_buf(&mut self.buffers.read)).await
    }

    /// Reads the first bytes of a head. No memory is held for an idle client.
    fn poll_first(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        self.buffers.hold();
        let read = pin!(self.stream.read_buf(&mut self.buffers.read)).poll(cx);
        if read.is_pending() {
            self.buffers.release();
        }
        read
    }

    async fn answer(&mut self, head: &Head, answer: Result<Answer, PathError>) -> Then {
        if head.method == Method::Other || head.has_body {
            let reason = "only GET and HEAD without a body are served here";
            return self.refuse(head, response::NOT_ALLOWED, reason).await;
        }
        let (path, answer) = match (&head.path, answer) {
            (Ok(path), Ok(answer)) => (path, answer),
            (Err(error), _) => return self.refuse_path(head, *error).await,
            (_, Err(error)) => return self.refuse_path(head, error).await,
        };
        match answer {
            Answer::File(file) => {
                let version = Version::of_file(&file.stamp());
                self.content(head, path, &version, Content::File(file), media_type(path.as_str())).await
            }
            Answer::Bytes(rendered) => {
                let version = Version::of_bytes(&rendered.bytes);
                self.content(head, path, &version, Content::Bytes(rendered.bytes), rendered.media_type).await
            }
            Answer::Image(content, media_type) => {
                let version = Version { etag: String::new(), modified: None };
                self.content(head, path, &version, content, media_type).await
            }
            Answer::Directory(dir) => self.directory(head, path, dir).await,
            Answer::Redirect(to) => self.redirect(head, &to).await,
            Answer::NotFound | Answer::Elsewhere => self.not_found(head, path, EventKind::NotFound).await,
            Answer::Hidden(reason) => {
                self.not_found(head, path, EventKind::Refused { reason: &reason }).await
            }
            Answer::Refused(reason) => self.refuse(head, response::FORBIDDEN, &reason).await,
            Answer::Unavailable(late) => self.unavailable(head, path, late).await,
            Answer::Explained { reason, shown } => {
                self.report(path.as_str(), EventKind::Refused { reason: &reason });
                self.text(head, response::OK, &shown).await
            }
        }
    }

    async fn content(
        &mut self,
        head: &Head,
        path: &RequestPath,
        version: &Version,
        content: Content,
        media_type: &str,
    ) -> Then {
        self.buffers.out.clear();
        match respond(&mut self.buffers.out, head, version, content.size(), media_type) {
            Follows::Content { start, end } => self.body(head, path, &content, start, end).await,
            Follows::Nothing => {
                self.report(path.as_str(), EventKind::Probed);
                self.flush(head).await
            }
            Follows::Failed => {
                self.report(path.as_str(), EventKind::Refused { reason: "it is not the version asked for" });
                self.flush(head).await
            }
            Follows::Unsatisfiable => {
                self.report(path.as_str(), EventKind::Refused { reason: "the range is outside of the file" });
                self.flush(head).await
            }
        }
    }

    /// Sends the head in `out` and the content, and reports how it went.
    async fn body(
        &mut self,
        head: &Head,
        path: &RequestPath,
        content: &Content,
        start: u64,
        end: u64,
    ) -> Then {
        self.report(path.as_str(), EventKind::Started { size: end - start });
        let begun = Instant::now();
        let mut sent = 0;
        let result = if self.append_small(content, start, end) {
            let result = self.stream.send(&self.buffers.out).await;
            sent = if result.is_ok() { end - start } else { 0 };
            result
        } else {
            let out = std::mem::take(&mut self.buffers.out);
            self.stream.send_content(&self.disks, &out, content, start, end, &mut sent).await
        };
        let duration = begun.elapsed();
        let reason;
        let kind = match &result {
            Ok(()) => EventKind::Done { bytes: sent, duration, repeats: 0 },
            Err(error) if error.kind() == io::ErrorKind::TimedOut => {
                EventKind::TimedOut { bytes: sent, duration }
            }
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                EventKind::Failed { reason: "the file became shorter while it was being sent", bytes: sent }
            }
            Err(error) => match late(error) {
                Some(late) => {
                    reason = late.to_string();
                    EventKind::Failed { reason: &reason, bytes: sent }
                }
                None => EventKind::Aborted { reason: "the client closed the connection", bytes: sent },
            },
        };
        self.report(path.as_str(), kind);
        if result.is_ok() && head.keep_alive { Then::Next } else { Then::Close }
    }

    /// Puts small content that is in memory after its head.
    fn append_small(&mut self, content: &Content, start: u64, end: u64) -> bool {
        if end - start > ONE_PIECE_BYTES_MAX {
            return false;
        }
        let part = content
            .in_memory()
            .and_then(|bytes| bytes.get(usize::try_from(start).ok()?..usize::try_from(end).ok()?));
        match part {
            Some(part) => self.buffers.out.extend_from_slice(part),
            None => return false,
        }
        true
    }

    async fn directory(&mut self, head: &Head, path: &RequestPath, dir: OpenDir) -> Then {
        if !path.is_root() && !path.has_trailing_slash() {
            // Relative links of the page need the slash.
            return self.redirect(head, &format!("/{}/", path.as_str())).await;
        }
        let place = self.shared.source.place(&self.request(head, path));
        match on_disk(&self.disks, &place, WAIT_TIME_MAX, move || dir.list()).await {
            Ok(Ok((names, cut))) => {
                let page = Arc::from(listing::page(path.as_str(), &names, cut).into_bytes());
                let version = Version::of_bytes(&page);
                self.content(head, path, &version, Content::Bytes(page), "text/html; charset=utf-8").await
            }
            Ok(Err(error)) => {
                let reason = format!("the server cannot read the directory: {error}");
                self.refuse(head, response::INTERNAL, &reason).await
            }
            Err(late) => self.unavailable(head, path, late).await,
        }
    }

    /// The client may ask again: the disk may come back.
    async fn unavailable(&mut self, head: &Head, path: &RequestPath, late: Late) -> Then {
        let reason = late.to_string();
        self.report(path.as_str(), EventKind::Failed { reason: &reason, bytes: 0 });
        self.text(head, response::BUSY, &format!("not now: {reason}\n")).await
    }

    async fn redirect(&mut self, head: &Head, to: &str) -> Then {
        self.buffers.out.clear();
        let mut writer = HeadWriter::new(&mut self.buffers.out, response::MOVED);
        writer.field("Location", &listing::escape_url(to)).length(0).end(keep(head));
        self.flush(head).await
    }

    async fn not_found(&mut self, head: &Head, path: &RequestPath, event: EventKind<'_>) -> Then {
        self.report(path.as_str(), event);
        let text = format!("not found: /{path}\n");
        self.text(head, response::NOT_FOUND, &text).await
    }

    async fn refuse_path(&mut self, head: &Head, error: PathError) -> Then {
        let status = if error == PathError::Climbs { response::FORBIDDEN } else { response::BAD_REQUEST };
        self.refuse(head, status, &error.to_string()).await
    }

    async fn refuse(&mut self, head: &Head, status: Status, reason: &str) -> Then {
        let path = head.path.as_ref().map_or(head.target.as_str(), |path| path.as_str());
        self.report(path, EventKind::Refused { reason });
        self.text(head, status, &format!("refused: {reason}\n")).await
    }

    async fn text(&mut self, head: &Head, status: Status, text: &str) -> Then {
        self.buffers.out.clear();
        // After a request with a body that is not read, the next head cannot be found.
        let keep = if head.has_body { Keep::Close } else { keep(head) };
        put_text(&mut self.buffers.out, status, text, head.method != Method::Head, keep);
        let then = self.flush(head).await;
        if head.has_body { Then::Linger } else { then }
    }

    async fn refuse_head(&mut self, error: &HeadError) -> Then {
        let reason = error.to_string();
        self.report("", EventKind::Malformed { reason: &reason });
        let status = match error {
            HeadError::TooLong => response::HEAD_TOO_LARGE,
            HeadError::Malformed(_) | HeadError::Ambiguous(_) => response::BAD_REQUEST,
        };
        self.last_words(status, &format!("refused: {reason}\n")).await
    }

    async fn late(&mut self) -> Then {
        self.report("", EventKind::Limited { reason: "the request head took longer than 10 seconds" });
        self.last_words(response::TIMEOUT, "refused: the request head took longer than 10 seconds\n").await
    }

    /// Says something and closes, without a head that could be answered.
    pub(crate) async fn last_words_busy(mut self, reason: &str) {
        self.report("", EventKind::Limited { reason });
        self.last_words(response::BUSY, &format!("refused: {reason}\n")).await;
        self.linger().await;
    }

    async fn last_words(&mut self, status: Status, text: &str) -> Then {
        self.buffers.out.clear();
        put_text(&mut self.buffers.out, status, text, true, Keep::Close);
        match self.stream.send(&self.buffers.out).await {
            Ok(()) => Then::Linger,
            Err(_) => Then::Close,
        }
    }

    async fn flush(&mut self, head: &Head) -> Then {
        match self.stream.send(&self.buffers.out).await {
            Ok(()) if head.keep_alive => Then::Next,
            _ => Then::Close,
        }
    }

    async fn close(mut self) {
        // The client may be gone already.
        let _ = in_time(LINGER_TIME_MAX, self.stream.shutdown()).await;
    }

    async fn linger(mut self) {
        let drain = async {
            self.stream.shutdown().await?;
            let mut total = 0;
            while total < LINGER_BYTES_MAX {
                self.buffers.read.clear();
                match self.stream.read_buf(&mut self.buffers.read).await? {
                    0 => break,
                    count => total += count,
                }
            }
            Ok(())
        };
        let _ = in_time(LINGER_TIME_MAX, drain).await;
    }

    fn report(&self, path: &str, kind: EventKind<'_>) {
        self.shared.observer.event(&Event {
            service: self.stream.service(),
            peer: self.peer,
            local: self.local,
            path,
            kind,
        });
    }
}
