//! Mutation fuzzing of packets, conversations and paths without any tool: `cargo xtask fuzz tftp [SECONDS] [SEED]`.
//!
//! A panic prints the input. The entry points of `dawn_tftp::fuzz` serve a coverage-guided fuzzer as well.
#![allow(clippy::disallowed_methods, reason = "a program of its own, with its own arguments")]

use std::time::{Duration, Instant};

use dawn_tftp::fuzz::{fuzz_conversation, fuzz_path};

/// What inputs are made of, beside random bytes.
const PIECES: &[&[u8]] = &[
    b"\x30\x00\x00\x01kernel\0octet\0",
    b"\x60\x00\x00\x01ab\0octet\0blksize\x00512\0windowsize\x008\0tsize\x000\0timeout\x001\0",
    b"\x04\x01\x00\x04\x00\x00",
    b"\x04\x12\x00\x04\x00\x01",
    b"\x04\xf2\x00\x04\xff\xff",
    b"\x06\x01\x00\x05\x00\x00no",
    b"../",
    b"%2e%2E/\\",
    b"\x00\x02f\0netascii\0",
];

fn main() {
    let mut arguments = std::env::args().skip(1).filter_map(|text| text.parse::<u64>().ok());
    let time = Duration::from_secs(arguments.next().unwrap_or(10));
    let seed = arguments.next().unwrap_or(1);
    let (begun, mut random, mut count) = (Instant::now(), Random(seed | 1), 0_u64);
    while begun.elapsed() < time {
        for _ in 0..1000 {
            let input = input(&mut random);
            let survived = std::panic::catch_unwind(|| one(&input));
            if survived.is_err() {
                println!("seed {seed}, input {input:?}");
                std::process::exit(1);
            }
        }
        count += 1000;
    }
    println!("{count} inputs from seed {seed}, no panic");
}

fn one(input: &[u8]) {
    fuzz_conversation(input);
    fuzz_path(input);
}

fn input(random: &mut Random) -> Vec<u8> {
    let mut bytes = Vec::new();
    for _ in 0..random.below(12) {
        match PIECES.get(random.below(PIECES.len() + 3)) {
            Some(piece) => bytes.extend_from_slice(piece),
            None => bytes.extend_from_slice(&random.next().to_be_bytes()),
        }
    }
    let length = bytes.len();
    if let Some(byte) = bytes.get_mut(random.below(length)) {
        *byte = random.next().to_be_bytes()[0];
    }
    bytes
}

/// xorshift64*.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() >> 33).unwrap_or(0) % bound.max(1)
    }
}
