//! Mutation fuzzing of the packet reader, the engine and the journal reader without any tool: `cargo xtask fuzz dhcp
//! [SECONDS] [SEED]`. A panic prints the seed and the packet; `fuzz_packet` and `fuzz_journal` are also the entries for
//! a coverage-guided fuzzer.

#![allow(clippy::indexing_slicing, reason = "a fuzzer may panic")]

use std::time::{Duration, Instant};

use dawn_dhcp::fuzz::{fuzz_journal, fuzz_packet};

/// Packets of clients, as the option bytes that follow the cookie.
const OPTIONS: &[&[u8]] = &[
    &[
        53, 1, 1, 93, 2, 0, 7, 60, 9, b'P', b'X', b'E', b'C', b'l', b'i', b'e', b'n', b't', 55, 4, 1, 3, 66,
        67, 255,
    ],
    &[
        53, 1, 3, 50, 4, 10, 0, 0, 5, 54, 4, 10, 0, 0, 1, 77, 4, b'i', b'P', b'X', b'E', 175, 3, 177, 1, 0,
        255,
    ],
    &[
        53, 1, 1, 60, 10, b'H', b'T', b'T', b'P', b'C', b'l', b'i', b'e', b'n', b't', 93, 2, 0, 16, 57, 2, 2,
        64, 255,
    ],
    &[53, 1, 3, 50, 4, 10, 0, 0, 101, 82, 12, 5, 4, 10, 0, 0, 0, 11, 4, 10, 0, 0, 1, 255],
    &[53, 1, 4, 50, 4, 10, 0, 0, 100, 255],
    &[53, 1, 7, 255],
    &[53, 1, 8, 55, 3, 6, 15, 119, 255],
    &[52, 1, 3, 255],
];

struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, n: usize) -> usize {
        usize::try_from(self.next() >> 33).unwrap_or(0) % n.max(1)
    }

    fn byte(&mut self) -> u8 {
        self.next().to_be_bytes()[0]
    }
}

fn main() {
    #[allow(clippy::disallowed_methods, reason = "an example is its own main")]
    let numbers: Vec<u64> = std::env::args().skip(1).filter_map(|arg| arg.parse().ok()).collect();
    let seconds = numbers.first().copied().unwrap_or(30);
    let seed = numbers.get(1).copied().unwrap_or(1);
    let start = Instant::now();
    let mut random = Random(seed.max(1));
    let mut packets = 0_u64;
    while start.elapsed() < Duration::from_secs(seconds) {
        for _ in 0..1000 {
            one(seed, packets, &packet(&mut random));
            packets += 1;
        }
    }
    println!("{packets} packets in {seconds} s, seed {seed}: no panic");
}

fn one(seed: u64, n: u64, bytes: &[u8]) {
    let outcome = std::panic::catch_unwind(|| {
        fuzz_packet(bytes);
        fuzz_journal(bytes);
    });
    if outcome.is_err() {
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        println!("seed {seed}, packet {n}: {hex}");
        std::process::exit(1);
    }
}

fn packet(random: &mut Random) -> Vec<u8> {
    let mut bytes = vec![0; 236];
    for (at, byte) in [(0, 1), (1, 1), (2, 6), (28, 2)] {
        bytes[at] = byte;
    }
    bytes[33] = random.byte() % 32;
    bytes.extend([99, 130, 83, 99]);
    bytes.extend(OPTIONS[random.below(OPTIONS.len())]);
    if random.below(4) == 0 {
        bytes.pop();
        bytes.extend(OPTIONS[random.below(OPTIONS.len())]);
    }
    for _ in 0..random.below(10) {
        let at = random.below(bytes.len());
        bytes[at] = random.byte();
    }
    if random.below(8) == 0 {
        bytes.truncate(random.below(bytes.len()));
    }
    if random.below(8) == 0 {
        let more = random.below(1500);
        bytes.extend((0..more).map(|_| random.byte()));
    }
    bytes
}
