//! A reading client as a state machine: for the simulator, the tests and the benchmark.
//!
//! It behaves like one of several kinds of firmware, the bad habits included. Bytes and a time go in, packets
//! and a deadline come out, as in the server's engine.

use std::time::Duration;

use crate::limits::BLKSIZE_DEFAULT;
use crate::outbox::PortId;
use crate::packet::{put_ack, put_read_request};

/// How a client acknowledges what it did not expect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Habit {
    /// RFC 7440: the last block in order, once per gap.
    Once,
    /// edk2: the last block in order, for every packet that does not fit.
    Everything,
    /// Boot ROMs of RFC 1350: the very block that came again, if it had it.
    Same,
}

/// What a client asks for and how.
#[derive(Clone, Debug)]
pub struct Wish {
    /// The file.
    pub name: String,
    /// Options with their values, in order.
    pub options: Vec<(&'static str, u64)>,
    /// What it does with packets out of order.
    pub habit: Habit,
    /// Its own wait before it repeats its last packet.
    pub patience: Duration,
    /// Repeats without progress before it gives up.
    pub repeats_max: u32,
}

/// Where a client is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It has sent its request.
    Asking,
    /// Blocks are coming.
    Receiving,
    /// It has everything.
    Done,
    /// It gave up, or was refused with this code.
    Failed(Option<u16>),
}

/// A client.
#[derive(Debug)]
pub struct Client {
    wish: Wish,
    state: State,
    server_port: Option<PortId>,
    blksize: usize,
    window: u64,
    expected: u64,
    in_window: u64,
    gap_told: bool,
    last_packet: Vec<u8>,
    deadline: Duration,
    repeats: u32,
    repeats_in_all: u32,
    received_bytes: u64,
    checksum: u64,
}

impl Client {
    /// A client with its first packet, the request.
    pub fn new(now: Duration, wish: Wish) -> (Self, Vec<u8>) {
        let mut request = Vec::new();
        put_read_request(&mut request, &wish.name, "octet", &wish.options);
        let client = Self {
            state: State::Asking,
            server_port: None,
            blksize: BLKSIZE_DEFAULT,
            window: 1,
            expected: 1,
            in_window: 0,
            gap_told: false,
            last_packet: request.clone(),
            deadline: now + wish.patience,
            repeats: 0,
            repeats_in_all: 0,
            received_bytes: 0,
            checksum: 0,
            wish,
        };
        (client, request)
    }

    /// Takes a packet from the server; gives the answer, if any.
    pub fn on_packet(&mut self, now: Duration, from: PortId, packet: &[u8]) -> Option<Vec<u8>> {
        if *self.server_port.get_or_insert(from) != from {
            return None;
        }
        let (head, body) = packet.split_first_chunk::<2>()?;
        match u16::from_be_bytes(*head) {
            3 => {
                let (block, bytes) = body.split_first_chunk::<2>()?;
                self.on_data(now, u16::from_be_bytes(*block), bytes)
            }
            5 => {
                let code = body.first_chunk::<2>().map(|code| u16::from_be_bytes(*code));
                if self.state != State::Done {
                    self.state = State::Failed(code);
                }
                None
            }
            6 => self.on_oack(now, body),
            _ => None,
        }
    }

    /// Handles a timer: repeats the last packet, or gives up.
    pub fn on_timer(&mut self, now: Duration) -> Option<Vec<u8>> {
        if !self.is_going() || self.deadline > now {
            return None;
        }
        self.repeats += 1;
        self.repeats_in_all += 1;
        if self.repeats > self.wish.repeats_max {
            self.state = State::Failed(None);
            return None;
        }
        self.deadline = now + self.wish.patience;
        self.in_window = 0;
        self.gap_told = false;
        if self.expected > 1 {
            return Some(self.ack(self.expected - 1));
        }
        Some(self.last_packet.clone())
    }

    /// When [`Client::on_timer`] has something to do.
    pub fn deadline(&self) -> Option<Duration> {
        self.is_going().then_some(self.deadline)
    }

    /// Where it is.
    pub fn state(&self) -> State {
        self.state
    }

    /// How often it had to repeat its last packet.
    pub fn repeats_in_all(&self) -> u32 {
        self.repeats_in_all
    }

    /// Blocks per acknowledgement, as granted.
    pub fn window(&self) -> u64 {
        self.window
    }

    /// Bytes received in order.
    pub fn received_bytes(&self) -> u64 {
        self.received_bytes
    }

    /// [`checksum`] of the bytes received.
    pub fn checksum(&self) -> u64 {
        self.checksum
    }

    fn is_going(&self) -> bool {
        matches!(self.state, State::Asking | State::Receiving)
    }

    fn progressed(&mut self, now: Duration) {
        self.state = State::Receiving;
        self.repeats = 0;
        self.gap_told = false;
        self.deadline = now + self.wish.patience;
    }

    fn ack(&mut self, block: u64) -> Vec<u8> {
        let [.., high, low] = block.to_be_bytes();
        self.last_packet.clear();
        put_ack(&mut self.last_packet, u16::from_be_bytes([high, low]));
        self.last_packet.clone()
    }

    fn on_oack(&mut self, now: Duration, body: &[u8]) -> Option<Vec<u8>> {
        if self.expected > 1 || !self.is_going() {
            return None;
        }
        let mut words = body.split(|b| *b == 0).map(|word| String::from_utf8_lossy(word).into_owned());
        while let (Some(name), Some(value)) = (words.next(), words.next()) {
            match (name.as_str(), value.parse::<u64>()) {
                ("blksize", Ok(value)) => self.blksize = usize::try_from(value).unwrap_or(BLKSIZE_DEFAULT),
                ("windowsize", Ok(value)) => self.window = value.max(1),
                _ => {}
            }
        }
        self.progressed(now);
        Some(self.ack(0))
    }

    fn on_data(&mut self, now: Duration, block: u16, bytes: &[u8]) -> Option<Vec<u8>> {
        if block != self.expected_low() || !self.is_going() {
            return self.on_unexpected(block);
        }
        self.checksum = checksum(self.checksum, self.received_bytes, bytes);
        self.received_bytes += bytes.len() as u64;
        self.progressed(now);
        self.expected += 1;
        self.in_window += 1;
        if bytes.len() < self.blksize {
            self.state = State::Done;
        } else if self.in_window < self.window {
            return None;
        }
        self.in_window = 0;
        Some(self.ack(self.expected - 1))
    }

    /// The wire's number of the block that comes next.
    fn expected_low(&self) -> u16 {
        let [.., high, low] = self.expected.to_be_bytes();
        u16::from_be_bytes([high, low])
    }

    fn on_unexpected(&mut self, block: u16) -> Option<Vec<u8>> {
        if matches!(self.state, State::Failed(_)) {
            return None;
        }
        self.in_window = 0;
        match self.wish.habit {
            Habit::Once if self.gap_told && self.state != State::Done => None,
            Habit::Once | Habit::Everything => {
                self.gap_told = true;
                Some(self.ack(self.expected - 1))
            }
            Habit::Same if block.wrapping_sub(self.expected_low()).cast_signed() >= 0 => None,
            Habit::Same => {
                let mut packet = Vec::new();
                put_ack(&mut packet, block);
                Some(packet)
            }
        }
    }
}

/// A sum over bytes and their places: blocks that are swapped, lost or doubled change it.
pub fn checksum(so_far: u64, offset: u64, bytes: &[u8]) -> u64 {
    (offset..).zip(bytes).fold(so_far, |sum, (at, byte)| {
        sum.wrapping_add((u64::from(*byte) + 1).wrapping_mul(at.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1))
    })
}
