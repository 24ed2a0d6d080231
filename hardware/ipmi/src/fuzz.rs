//! The entry of fuzzers: any bytes must be taken without a panic.

use std::net::SocketAddr;
use std::time::Duration;

use crate::command::Command;
use crate::command::payload::ActivateSol;
use crate::command::sdr::Record;
use crate::command::sel::Entry;
use crate::crypto::Seed;
use crate::engine::{ConsoleEvent, Engine, Event, Request, SessionOptions};
use crate::secret::{Credentials, Secret};
use crate::sim::{Bmc, Habits};
use crate::wire::message::Code;
use crate::wire::v20::Payload;

/// What a step of [`fuzz_packet`] does with its bytes.
const STEPS: u8 = 4;

/// A session with a BMC that is disturbed: the input is cut into steps (kind, length, bytes). Bytes are
/// sent as a datagram, or as a payload inside of the session, or replace a part of a real answer.
pub fn fuzz_packet(data: &[u8]) {
    let peer = SocketAddr::from(([127, 0, 0, 1], 623));
    let Ok(credentials) = Credentials::new("ADMIN", Secret::new(*b"ADMINPW")) else { return };
    let mut bmc = Bmc::new(credentials.clone(), Habits::default(), Seed([1; 32]));
    let mut engine = Engine::default();
    let mut now = Duration::ZERO;
    let options = SessionOptions { keep_alive: true, ..SessionOptions::default() };
    let Ok(handle) = engine.open(now, peer, credentials, options, Seed([2; 32])) else { return };
    let mut rest = data;
    while let Some((head, tail)) = rest.split_first_chunk::<2>() {
        let [kind, length] = *head;
        let (bytes, tail) = tail.split_at(usize::from(length).min(tail.len()));
        rest = tail;
        let mut answers = Vec::new();
        while let Some((_, datagram)) = engine.take_datagram() {
            answers.extend(bmc.on_datagram(&datagram).answers);
        }
        match kind % STEPS {
            0 => answers.push(bytes.to_vec()),
            1 => {
                let payload = if kind & 0x80 == 0 { Payload::Ipmi } else { Payload::Sol };
                answers.extend(bmc.send(payload, bytes));
            }
            2 => {
                for (at, to) in answers.iter_mut().flatten().skip(4).zip(bytes) {
                    *at ^= to;
                }
            }
            _ => {
                let code = Code { netfn: 6, lun: 0, cmd: 1 };
                drop(engine.request(now, handle, Request { code, data: bytes.to_vec() }));
                now += Duration::from_millis(u64::from(length) * 20);
            }
        }
        for answer in answers {
            engine.on_datagram(now, peer, &answer);
        }
        engine.on_timer(now);
        while engine.take_event().is_some() {}
    }
}

/// A session with a console: the input is cut into steps (kind, length, bytes). Bytes are a packet of the
/// BMC, or typed; time passes. What is reported is bounded.
pub fn fuzz_sol(data: &[u8]) {
    let peer = SocketAddr::from(([127, 0, 0, 1], 623));
    let Ok(credentials) = Credentials::new("ADMIN", Secret::new(*b"ADMINPW")) else { return };
    let mut bmc = Bmc::new(credentials.clone(), Habits::default(), Seed([1; 32]));
    let mut engine = Engine::default();
    let mut now = Duration::ZERO;
    let options = SessionOptions::default();
    let Ok(handle) = engine.open(now, peer, credentials, options, Seed([2; 32])) else { return };
    let activate = Request { code: ActivateSol::CODE, data: ActivateSol.data() };
    drop(engine.request(now, handle, activate));
    let mut rest = data;
    let mut begun = false;
    loop {
        let mut answers = Vec::new();
        while let Some((_, datagram)) = engine.take_datagram() {
            assert!(datagram.len() <= crate::limits::DATAGRAM_BYTES_MAX);
            answers.extend(bmc.on_datagram(&datagram).answers);
        }
        begun |= answers.is_empty();
        if begun {
            let Some((head, tail)) = rest.split_first_chunk::<2>() else { return };
            let [kind, length] = *head;
            let (bytes, tail) = tail.split_at(usize::from(length).min(tail.len()));
            rest = tail;
            match kind % STEPS {
                0 => answers.clear(),
                1 => answers.extend(bmc.send(Payload::Sol, bytes)),
                2 => assert!(engine.console_send(now, handle, bytes) <= bytes.len()),
                _ => engine.console_break(now, handle),
            }
            now += Duration::from_millis(u64::from(kind));
        }
        for answer in answers {
            engine.on_datagram(now, peer, &answer);
        }
        engine.on_timer(now);
        while let Some(event) = engine.take_event() {
            if let Event::Console(_, ConsoleEvent::Output(bytes)) = event {
                assert!((1..=usize::from(u8::MAX)).contains(&bytes.len()));
            }
        }
    }
}

/// Any bytes as a FRU device.
pub fn fuzz_fru(data: &[u8]) {
    drop(crate::command::fru::Fru::parse(data));
}

/// Any bytes as a sensor data record; what it says of a sensor must be a number or nothing.
pub fn fuzz_sdr(data: &[u8]) {
    let Ok(Record::Sensors(sensors)) = Record::parse(data) else { return };
    for conversion in sensors.iter().filter_map(|sensor| sensor.conversion) {
        for byte in 0..=u8::MAX {
            assert!(conversion.value(byte).is_none_or(f64::is_finite), "{conversion:?} of {byte}");
        }
    }
}

/// Any bytes as records of the event log.
pub fn fuzz_sel(data: &[u8]) {
    for record in data.as_chunks::<16>().0 {
        if let Entry::Event(event) = Entry::of(record) {
            assert!(event.offset() < 16 && event.key.lun < 4);
            let _ = event.threshold();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Inputs that look enough like the real thing to get past the first checks.
    fn inputs(count: u64) -> impl Iterator<Item = Vec<u8>> {
        let mut state = 1_u64;
        let mut next = move || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            state >> 33
        };
        (0..count).map(move |_| {
            let mut bytes = Vec::new();
            for _ in 0..next() % 20 {
                let step: Vec<u8> = match next() % 6 {
                    0 => [&[6, 0, 0xff, 7, 6, 0x11, 0, 0, 0, 0, 0, 0, 0, 0, 8, 0, 1, 0x11][..], &[0; 6]]
                        .concat(),
                    1 => vec![0x81, 0x1c, 0x63, 0x20, 0x04, 0x01, 0x00],
                    2 => Vec::new(),
                    _ => (0..next() % 40).map(|_| u8::try_from(next() & 0xff).unwrap()).collect(),
                };
                bytes.push(u8::try_from(next() & 0xff).unwrap());
                bytes.push(u8::try_from(step.len()).unwrap());
                bytes.extend(step);
            }
            bytes
        })
    }

    #[test]
    fn random_bytes_are_taken() {
        for input in inputs(5_000) {
            fuzz_packet(&input);
            fuzz_sol(&input);
            fuzz_fru(&input);
            fuzz_sdr(&input);
            fuzz_sel(&input);
        }
    }
}
