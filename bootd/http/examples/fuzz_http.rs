//! Mutation fuzzing of request heads and names without any tool: `cargo xtask fuzz http [SECONDS] [SEED]`.
//!
//! A panic prints the input. The entry points of `dawn_http::fuzz` serve a coverage-guided fuzzer as well.
#![allow(clippy::disallowed_methods, reason = "a program of its own, with its own arguments")]

use std::time::{Duration, Instant};

use dawn_http::fuzz::{fuzz_escape, fuzz_head};

/// What inputs are made of, beside random bytes.
const PIECES: &[&[u8]] = &[
    b"GET /a/../b HTTP/1.1\r\n",
    b"HEAD http://x/%41?q#f HTTP/1.0\r\n",
    b"POST * HTTP/1.1\r\n",
    b"Range: bytes=",
    b"0-",
    b"-18446744073709551615",
    b"If-None-Match: \"\", W/\"x\"\r\n",
    b"If-Range: \"x\"\r\n",
    b"If-Modified-Since: Fri, 31 Dec 9999 23:59:59 GMT\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"\r\n",
    b"<a href=\"",
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
    fuzz_head(input);
    fuzz_head(&[b"GET / HTTP/1.1\r\n", input, b"\r\n\r\n"].concat());
    fuzz_escape(input);
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
