//! The console of a session: serial over LAN (IPMI 2.0, 15), both directions.
//!
//! Only one packet is on its way to the BMC at any time. Characters typed meanwhile are collected and sent
//! with the next one. Characters that the BMC does not take are offered again after a pause; a machine that
//! takes none for long (it is switched off) loses them, since they would surprise it later. A packet that is
//! not acknowledged is repeated, and in the end the BMC counts as unresponsive.
//!
//! Every packet of the BMC is acknowledged as it comes; of a repeated one only the characters that are new
//! count.

use std::collections::VecDeque;
use std::time::Duration;

use super::exchange::{Due, Exchange};
use super::output::ConsoleEvent;
use crate::crypto::Random;
use crate::limits::{SOL_BUDGET, SOL_DATA_BYTES_MAX, SOL_INPUT_BYTES_MAX, SOL_PAUSE, SOL_PAUSES_MAX};
use crate::wire::sol::{Activated, HEADER_BYTES, Packet, SEQUENCE_MAX};

/// What is to be sent, and what happened.
#[derive(Debug, Default)]
pub(super) struct Turn {
    pub payloads: Vec<Vec<u8>>,
    pub events: Vec<ConsoleEvent>,
    /// The console is over.
    pub ended: bool,
}

/// The packet that waits for its acknowledgement.
#[derive(Debug)]
struct Flight {
    sequence: u8,
    has_break: bool,
    data: Vec<u8>,
    exchange: Exchange,
}

impl Flight {
    fn payload(&self) -> Vec<u8> {
        let packet = Packet { sequence: self.sequence, data: &self.data, ..Packet::default() };
        if self.has_break { packet.with_break() } else { packet }.payload()
    }
}

/// A console.
#[derive(Debug)]
pub(super) struct Sol {
    data_bytes_max: usize,
    input: VecDeque<u8>,
    wants_break: bool,
    /// The number of the newest packet of ours.
    sequence: u8,
    flight: Option<Flight>,
    /// The BMC's newest packet, and how many of its characters were handed on.
    heard: Option<(u8, usize)>,
    paused_until: Option<Duration>,
    pauses: u8,
}

impl Sol {
    pub(super) fn new(activated: Activated) -> Self {
        let bytes = usize::from(activated.inbound_bytes_max).saturating_sub(HEADER_BYTES);
        Self {
            data_bytes_max: bytes.clamp(1, SOL_DATA_BYTES_MAX),
            input: VecDeque::new(),
            wants_break: false,
            sequence: 0,
            flight: None,
            heard: None,
            paused_until: None,
            pauses: 0,
        }
    }

    pub(super) fn deadline(&self) -> Option<Duration> {
        let repeat = self.flight.as_ref().map(|flight| flight.exchange.deadline());
        let pause = self.paused_until.filter(|_| self.flight.is_none() && self.has_input());
        [repeat, pause].into_iter().flatten().min()
    }

    fn has_input(&self) -> bool {
        !self.input.is_empty() || self.wants_break
    }

    /// Takes characters for the machine; how many there was room for.
    pub(super) fn send(
        &mut self,
        now: Duration,
        bytes: &[u8],
        random: &mut Random,
        turn: &mut Turn,
    ) -> usize {
        let count = bytes.len().min(SOL_INPUT_BYTES_MAX.saturating_sub(self.input.len()));
        self.input.extend(bytes.iter().take(count));
        self.flush(now, random, turn);
        count
    }

    /// The machine is to get a break after the characters typed so far.
    pub(super) fn send_break(&mut self, now: Duration, random: &mut Random, turn: &mut Turn) {
        self.wants_break = true;
        self.flush(now, random, turn);
    }

    pub(super) fn on_packet(
        &mut self,
        now: Duration,
        packet: &Packet<'_>,
        random: &mut Random,
        turn: &mut Turn,
    ) {
        self.on_status(now, packet);
        self.on_acknowledgement(now, packet, turn);
        self.on_data(packet, turn);
        if packet.has_overrun() {
            turn.events.push(ConsoleEvent::OutputLost);
        }
        if packet.has_break() {
            turn.events.push(ConsoleEvent::Break);
        }
        if packet.is_deactivating() {
            turn.events.push(ConsoleEvent::Deactivated);
            turn.ended = true;
            return;
        }
        self.flush(now, random, turn);
    }

    fn on_status(&mut self, now: Duration, packet: &Packet<'_>) {
        if packet.is_unavailable() {
            self.paused_until = Some(now.saturating_add(SOL_PAUSE));
        } else if !packet.is_nack() {
            self.paused_until = None;
        }
    }

    fn on_acknowledgement(&mut self, now: Duration, packet: &Packet<'_>, turn: &mut Turn) {
        let acknowledges = |flight: &mut Flight| flight.sequence == packet.acknowledges;
        let Some(flight) = self.flight.take_if(acknowledges) else { return };
        // Many BMCs leave the count of a packet that they took at 0.
        let accepted = match (packet.accepted, packet.is_nack()) {
            (0, false) => flight.data.len(),
            (count, _) => flight.data.len().min(count.into()),
        };
        let rest = flight.data.get(accepted..).unwrap_or_default();
        if accepted > 0 {
            self.pauses = 0;
        }
        if rest.is_empty() {
            return;
        }
        self.wants_break |= flight.has_break;
        for byte in rest.iter().rev() {
            self.input.push_front(*byte);
        }
        self.paused_until = Some(now.saturating_add(SOL_PAUSE));
        self.pauses += 1;
        if self.pauses >= SOL_PAUSES_MAX {
            self.pauses = 0;
            self.input.clear();
            self.wants_break = false;
            turn.events.push(ConsoleEvent::InputLost);
        }
    }

    fn on_data(&mut self, packet: &Packet<'_>, turn: &mut Turn) {
        if packet.sequence == 0 {
            return;
        }
        // The count in an acknowledgement has one byte.
        let count = u8::try_from(packet.data.len()).unwrap_or(u8::MAX);
        let known =
            self.heard.filter(|(sequence, _)| *sequence == packet.sequence).map_or(0, |(_, known)| known);
        let taken = packet.data.get(..count.into()).unwrap_or_default();
        let new = taken.get(known..).unwrap_or_default();
        self.heard = Some((packet.sequence, known.max(count.into())));
        if !new.is_empty() {
            turn.events.push(ConsoleEvent::Output(new.to_vec()));
        }
        let answer = Packet { acknowledges: packet.sequence, accepted: count, ..Packet::default() };
        turn.payloads.push(answer.payload());
    }

    pub(super) fn on_timer(&mut self, now: Duration, random: &mut Random, turn: &mut Turn) {
        if let Some(flight) = &mut self.flight {
            match flight.exchange.due(now) {
                Due::Nothing => {}
                Due::Repeat => turn.payloads.push(flight.payload()),
                Due::GiveUp => {
                    turn.events.push(ConsoleEvent::Silent);
                    turn.ended = true;
                }
            }
        }
        self.flush(now, random, turn);
    }

    /// Sends typed characters, if no packet is on its way.
    fn flush(&mut self, now: Duration, random: &mut Random, turn: &mut Turn) {
        if self.paused_until.is_some_and(|until| now < until) || self.flight.is_some() || !self.has_input() {
            return;
        }
        self.paused_until = None;
        let count = self.input.len().min(self.data_bytes_max);
        let data: Vec<u8> = self.input.drain(..count).collect();
        let has_break = self.input.is_empty() && std::mem::take(&mut self.wants_break);
        self.sequence = self.sequence % SEQUENCE_MAX + 1;
        let exchange = Exchange::start(now, SOL_BUDGET, random);
        let flight = Flight { sequence: self.sequence, has_break, data, exchange };
        turn.payloads.push(flight.payload());
        self.flight = Some(flight);
    }
}
