//! One transfer: acknowledgements and time go in, packets and a deadline come out.
//!
//! Blocks are counted in 64 bits; the wire's 16 bits roll over to 0. A window (RFC 7440) of `terms.window`
//! blocks is in flight at most; without the option it is one block and this is RFC 1350.
//!
//! An acknowledgement is answered only if it acknowledges something new. A repeated one is ignored and our
//! own timer repeats what was lost: this avoids the Sorcerer's Apprentice bug, and it stops firmware that
//! acknowledges every packet of a window it cannot use. Two exceptions. The last block is repeated a few
//! times only, since its client may have it and be gone; from then on a repeated acknowledgement brings it,
//! at most every [`RETRY_MIN`]. And, for windows only: the first repeated acknowledgement that comes a round
//! trip after a window was sent, with nothing repeated in this window or the one before, says that the
//! window's first block was lost, and the window is sent again at once. So no packet can ever be answered
//! twice in a row, whatever the client sends.
//!
//! After loss, blocks of a window leave one by one with a gap; every window that arrives whole doubles the
//! train.

use std::io;
use std::time::Duration;

use crate::limits::{LAST_BLOCK_REPEATS_MAX, PACE_GAP, RETRY_INITIAL, RETRY_MAX, RETRY_MIN, SILENCE_MAX};
use crate::options::Terms;
use crate::outbox::{Outbox, Route};
use crate::packet::put_data_head;
use dawn_serving::{Content, Late};

/// Most packets the kernel cuts one train into.
const TRAIN_PACKETS_MAX: u64 = 64;
/// Most bytes of one train: a UDP datagram before it is cut.
const TRAIN_BYTES_MAX: usize = 65_000;

/// Why content cannot be sent to its end; the text is for the client.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The system refuses to read the file.
    #[error("the server could not read the file: {0}")]
    Unreadable(#[source] io::Error),
    /// The file has fewer bytes than when it was opened.
    #[error("the file became shorter while it was being sent")]
    Shorter,
    /// A piece was not read while the client waited for it.
    #[error("the server's disk does not answer")]
    NoAnswer,
    /// There is no thread to read it on.
    #[error(transparent)]
    Late(#[from] Late),
}

/// What became of a transfer by one input.
#[derive(Debug)]
pub enum Step {
    /// It continues.
    Going,
    /// The last block was acknowledged.
    Done,
    /// The client stopped answering.
    TimedOut,
    /// The content could not be read.
    Failed(ReadError),
}

/// A piece of the content that is to be read on a thread for disks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Where it begins, bytes.
    pub offset: u64,
    /// How long it is, bytes.
    pub length: usize,
}

/// Why a train of packets is not complete.
enum Short {
    /// A piece is to be read first.
    Read(Piece),
    /// The content cannot be read.
    Failed(ReadError),
}

/// A transfer from us to one client.
#[derive(Debug)]
pub struct Transfer {
    route: Route,
    content: Content,
    size: u64,
    terms: Terms,
    /// Number of the last block, counted from 1.
    last: u64,
    /// The OACK packet while it waits to be acknowledged.
    oack: Option<Vec<u8>>,
    /// Whether the client has acknowledged anything, be it the OACK.
    heard: bool,
    acked: u64,
    /// The last block sent since `acked` was; goes back after loss.
    sent: u64,
    /// The last block ever sent. An acknowledgement of blocks that we began to repeat is as good as any.
    highest: u64,
    /// Packets that may leave in one go.
    train: u16,
    pace_at: Option<Duration>,
    retry_at: Duration,
    retries: u32,
    window_sent_at: Duration,
    window_clean: bool,
    previous_clean: bool,
    progress_at: Duration,
    round_trip: RoundTrip,
    ahead: ReadAhead,
    /// What is being read for it, and since when.
    reading: Option<(Piece, Duration)>,
    /// The piece has not been asked for yet.
    unasked: bool,
    repeats: u64,
    lossy_windows: u32,
}

impl Transfer {
    /// Begins: sends the OACK, or the first block if there is none.
    ///
    /// # Errors
    /// The content cannot be read.
    pub fn begin(
        now: Duration,
        route: Route,
        content: Content,
        terms: Terms,
        oack: Option<Vec<u8>>,
        read_ahead_bytes: usize,
        out: &mut Outbox,
    ) -> Result<Self, ReadError> {
        let size = content.size();
        let mut transfer = Self {
            route,
            size,
            last: size / terms.blksize as u64 + 1,
            train: terms.window,
            terms,
            oack,
            heard: false,
            acked: 0,
            sent: 0,
            highest: 0,
            pace_at: None,
            retry_at: now,
            retries: 0,
            window_sent_at: now,
            window_clean: true,
            previous_clean: true,
            progress_at: now,
            round_trip: RoundTrip::default(),
            ahead: ReadAhead::new(read_ahead_bytes, &content),
            content,
            reading: None,
            unasked: false,
            repeats: 0,
            lossy_windows: 0,
        };
        transfer.send(now, out)?;
        Ok(transfer)
    }

    /// Takes an acknowledgement.
    pub fn on_ack(&mut self, now: Duration, block: u16, out: &mut Outbox) -> Step {
        if self.oack.is_some() {
            if block != 0 {
                return Step::Going;
            }
            self.oack = None;
            self.progressed(now);
            return self.send_or_fail(now, out);
        }
        match self.newly_acked(block) {
            0 => self.on_repeated_ack(now, block, out),
            count => self.on_new_ack(now, count, out),
        }
    }

    fn on_new_ack(&mut self, now: Duration, count: u64, out: &mut Outbox) -> Step {
        self.acked += count;
        if self.acked == self.last {
            return Step::Done;
        }
        let whole = self.acked == self.window_end(self.acked - count);
        self.sent = self.sent.max(self.acked);
        self.progressed(now);
        if whole {
            if self.window_clean {
                self.train = self.train.saturating_mul(2).min(self.terms.window);
            }
            self.previous_clean = std::mem::replace(&mut self.window_clean, true);
        } else if self.acked < self.highest {
            // The client reports a gap: everything after it is lost to it.
            self.lost();
        }
        self.send_or_fail(now, out)
    }

    fn on_repeated_ack(&mut self, now: Duration, block: u16, out: &mut Outbox) -> Step {
        if self.is_resting() && low16(self.acked) == block {
            // It is there after all. With the timer at rest this is the only thing that can bring the block
            // again.
            if now.saturating_sub(self.window_sent_at) >= RETRY_MIN {
                self.lost();
                return self.send_or_fail(now, out);
            }
            return Step::Going;
        }
        let asks_again = low16(self.acked) == block && self.sent > self.acked && self.terms.window > 1;
        let untouched = self.window_clean && self.previous_clean && self.acked > 0;
        let old_enough = now.saturating_sub(self.window_sent_at) >= self.round_trip.expected() / 2;
        if !(asks_again && untouched && old_enough && self.pace_at.is_none()) {
            self.window_clean &= !asks_again;
            return Step::Going;
        }
        self.lost();
        self.send_or_fail(now, out)
    }

    /// The piece that is to be read now, if there is one: once each.
    pub fn take_piece(&mut self) -> Option<Piece> {
        let unasked = std::mem::take(&mut self.unasked);
        self.reading.filter(|_| unasked).map(|(piece, _)| piece)
    }

    /// What it carries.
    pub fn content(&self) -> &Content {
        &self.content
    }

    /// Takes a piece that was read.
    pub fn on_piece(
        &mut self,
        now: Duration,
        piece: Piece,
        read: Result<Vec<u8>, ReadError>,
        out: &mut Outbox,
    ) -> Step {
        if self.reading.is_none_or(|(wanted, _)| wanted != piece) {
            return Step::Going;
        }
        self.reading = None;
        // The client has waited for us.
        self.progress_at = now;
        match read {
            Ok(bytes) if bytes.len() >= piece.length => self.ahead.take(piece.offset, bytes),
            Ok(_) => return Step::Failed(ReadError::Shorter),
            Err(reason) => return Step::Failed(reason),
        }
        self.send_or_fail(now, out)
    }

    /// Does what is due at `now`.
    pub fn on_timer(&mut self, now: Duration, out: &mut Outbox) -> Step {
        if let Some((_, since)) = self.reading {
            let patience = since + self.silence_max();
            if patience <= now {
                return Step::Failed(ReadError::NoAnswer);
            }
            (self.retry_at, self.pace_at) = (patience, None);
            return Step::Going;
        }
        if self.pace_at.is_some_and(|at| at <= now) {
            return self.send_or_fail(now, out);
        }
        if self.retry_at > now {
            return Step::Going;
        }
        if now.saturating_sub(self.progress_at) >= self.silence_max() {
            return Step::TimedOut;
        }
        if self.is_resting() {
            self.retry_at = self.progress_at + self.silence_max();
            return Step::Going;
        }
        self.retries += 1;
        self.lost();
        if self.oack.is_some() {
            self.repeats += 1;
        }
        self.send_or_fail(now, out)
    }

    /// Whether the last block is not repeated any more, because the client, who did answer before, may have
    /// it and be gone. It is kept for a client whose acknowledgement was lost, and who then asks by repeating
    /// the one before.
    fn is_resting(&self) -> bool {
        self.heard
            && self.acked + 1 == self.last
            && self.oack.is_none()
            && self.retries >= LAST_BLOCK_REPEATS_MAX
    }

    /// When [`Transfer::on_timer`] has something to do.
    pub fn deadline(&self) -> Duration {
        self.pace_at.map_or(self.retry_at, |at| at.min(self.retry_at))
    }

    /// Both ends.
    pub fn route(&self) -> Route {
        self.route
    }

    /// Bytes of the whole content.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Bytes that certainly arrived.
    pub fn acked_bytes(&self) -> u64 {
        self.acked.saturating_mul(self.terms.blksize as u64).min(self.size)
    }

    /// Packets that were sent more than once.
    pub fn repeats(&self) -> u64 {
        self.repeats
    }

    /// Windows in which something was lost.
    pub fn lossy_windows(&self) -> u32 {
        self.lossy_windows
    }

    /// Most bytes in flight by the terms.
    pub fn window_bytes(&self) -> usize {
        self.terms.blksize * usize::from(self.terms.window)
    }

    /// Whether the client has not yet answered the OACK or the first block.
    pub fn is_opening(&self) -> bool {
        self.oack.is_some() || self.acked == 0
    }

    /// Whether the client has acknowledged nothing at all: its address may be forged.
    pub fn is_unheard(&self) -> bool {
        !self.heard
    }

    /// How many blocks of those in flight `block` acknowledges.
    fn newly_acked(&self, block: u16) -> u64 {
        let ahead = u64::from(block.wrapping_sub(low16(self.acked)));
        if ahead <= self.highest - self.acked { ahead } else { 0 }
    }

    fn window_end(&self, acked: u64) -> u64 {
        (acked + u64::from(self.terms.window)).min(self.last)
    }

    fn progressed(&mut self, now: Duration) {
        self.heard = true;
        if self.window_clean && self.retries == 0 {
            self.round_trip.sample(now.saturating_sub(self.window_sent_at));
        }
        self.progress_at = now;
        self.retries = 0;
        self.pace_at = None;
    }

    fn lost(&mut self) {
        self.repeats += self.sent - self.acked;
        self.sent = self.acked;
        self.train = 1;
        self.pace_at = None;
        self.window_clean = false;
        self.previous_clean = false;
        self.lossy_windows = self.lossy_windows.saturating_add(1);
    }

    fn silence_max(&self) -> Duration {
        self.terms.timeout.map_or(SILENCE_MAX, |t| SILENCE_MAX.max(t * 5))
    }

    fn retry_after(&self) -> Duration {
        let base = self.terms.timeout.unwrap_or_else(|| self.round_trip.retry());
        let longest = RETRY_MAX.max(base);
        base.saturating_mul(1 << self.retries.min(6)).min(longest)
    }

    fn send_or_fail(&mut self, now: Duration, out: &mut Outbox) -> Step {
        match self.send(now, out) {
            Ok(()) => Step::Going,
            Err(reason) => Step::Failed(reason),
        }
    }

    /// Sends the OACK, or as much of the window as the train allows, and sets the timers.
    fn send(&mut self, now: Duration, out: &mut Outbox) -> Result<(), ReadError> {
        if let Some(oack) = &self.oack {
            out.packet(self.route, |bytes| bytes.extend_from_slice(oack));
        } else {
            let window_end = self.window_end(self.acked);
            let train_end = (self.sent + u64::from(self.train)).min(window_end);
            while self.sent < train_end {
                let until = self.train_end(train_end);
                match self.send_train(until, out) {
                    Ok(()) => {}
                    Err(Short::Read(piece)) => {
                        self.read(now, piece);
                        return Ok(());
                    }
                    Err(Short::Failed(reason)) => return Err(reason),
                }
                self.sent = until;
                self.highest = self.highest.max(until);
            }
            self.pace_at = (self.sent < window_end).then(|| now + PACE_GAP);
        }
        self.window_sent_at = now;
        self.retry_at = now + self.retry_after();
        Ok(())
    }

    /// Waits for a piece. Nothing is repeated meanwhile.
    fn read(&mut self, now: Duration, piece: Piece) {
        if self.reading.is_none() {
            self.reading = Some((piece, now));
            self.unasked = true;
        }
        (self.retry_at, self.pace_at) = (now + self.silence_max(), None);
    }

    /// The block up to which one train of packets may go.
    fn train_end(&self, until: u64) -> u64 {
        let by_bytes = (TRAIN_BYTES_MAX / (self.terms.blksize + 4)).max(1) as u64;
        until.min(self.sent + by_bytes.min(TRAIN_PACKETS_MAX))
    }

    fn send_train(&mut self, until: u64, out: &mut Outbox) -> Result<(), Short> {
        let (first, blksize, size) = (self.sent + 1, self.terms.blksize, self.size);
        let segment = (until > first).then(|| u16::try_from(blksize + 4).ok()).flatten();
        let (ahead, content) = (&mut self.ahead, &self.content);
        if content.far().is_some() {
            let (from, to) = ((first - 1) * blksize as u64, (until * blksize as u64).min(size));
            ahead.require(content, from, to).map_err(Short::Read)?;
        }
        out.train(self.route, segment, |bytes| {
            for block in first..=until {
                put_data_head(bytes, low16(block));
                let offset = (block - 1) * blksize as u64;
                let length = usize::try_from(size - offset).unwrap_or(usize::MAX).min(blksize);
                ahead.append(content, offset, length, bytes)?;
            }
            Ok(())
        })
        .map_err(Short::Failed)
    }
}

/// The wire's block number: the low 16 bits, so 65535 is followed by 0.
fn low16(block: u64) -> u16 {
    let [.., high, low] = block.to_be_bytes();
    u16::from_be_bytes([high, low])
}

/// Measured round trips, smoothed as TCP does (RFC 6298).
#[derive(Debug, Default)]
struct RoundTrip {
    smoothed: Option<Duration>,
    deviation: Duration,
}

impl RoundTrip {
    fn sample(&mut self, measured: Duration) {
        let Some(smoothed) = self.smoothed else {
            self.smoothed = Some(measured);
            self.deviation = measured / 2;
            return;
        };
        self.deviation = (self.deviation * 3 + smoothed.abs_diff(measured)) / 4;
        self.smoothed = Some((smoothed * 7 + measured) / 8);
    }

    fn expected(&self) -> Duration {
        self.smoothed.unwrap_or(RETRY_INITIAL)
    }

    fn retry(&self) -> Duration {
        let Some(smoothed) = self.smoothed else { return RETRY_INITIAL };
        (smoothed + self.deviation * 4).clamp(RETRY_MIN, RETRY_MAX)
    }
}

/// A piece of the content kept in memory, so that not every block is a system call.
#[derive(Debug)]
struct ReadAhead {
    buffer: Vec<u8>,
    offset: u64,
    capacity: usize,
}

impl ReadAhead {
    fn new(capacity: usize, content: &Content) -> Self {
        let size = usize::try_from(content.size()).unwrap_or(usize::MAX);
        Self { buffer: Vec::new(), offset: 0, capacity: capacity.min(size) }
    }

    /// That the bytes from `from` up to `to` are here; else which piece is to be read for them.
    fn require(&self, content: &Content, from: u64, to: u64) -> Result<(), Piece> {
        let length = usize::try_from(to - from).unwrap_or(usize::MAX);
        if content.in_memory().is_some() || slice_at(&self.buffer, self.offset, from, length).is_some() {
            return Ok(());
        }
        let rest = usize::try_from(content.size() - from).unwrap_or(usize::MAX);
        Err(Piece { offset: from, length: self.capacity.max(length).min(rest) })
    }

    /// Takes a piece that was read elsewhere.
    fn take(&mut self, offset: u64, bytes: Vec<u8>) {
        (self.offset, self.buffer) = (offset, bytes);
    }

    /// Appends `length` bytes at `offset` of the content to `out`.
    fn append(
        &mut self,
        content: &Content,
        offset: u64,
        length: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), ReadError> {
        if let Some(bytes) = content.in_memory() {
            out.extend_from_slice(slice_at(bytes, 0, offset, length).ok_or(ReadError::Shorter)?);
            return Ok(());
        }
        if slice_at(&self.buffer, self.offset, offset, length).is_none() {
            self.fill(content, offset, length)?;
        }
        out.extend_from_slice(slice_at(&self.buffer, self.offset, offset, length).ok_or(ReadError::Shorter)?);
        Ok(())
    }

    fn fill(&mut self, content: &Content, offset: u64, length: usize) -> Result<(), ReadError> {
        let rest = usize::try_from(content.size().saturating_sub(offset)).unwrap_or(usize::MAX);
        self.buffer.resize(self.capacity.max(length).min(rest), 0);
        self.offset = offset;
        let got = content.read_full_at(offset, &mut self.buffer).map_err(ReadError::Unreadable)?;
        self.buffer.truncate(got);
        Ok(())
    }
}

fn slice_at(bytes: &[u8], start: u64, offset: u64, length: usize) -> Option<&[u8]> {
    let from = usize::try_from(offset.checked_sub(start)?).ok()?;
    bytes.get(from..from.checked_add(length)?)
}
