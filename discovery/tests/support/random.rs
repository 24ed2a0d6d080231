//! Chance that a seed repeats.

/// A linear congruential generator; its upper half is good enough for a network.
#[derive(Debug)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        let mut random = Self(seed ^ 0x9e37_79b9_7f4a_7c15);
        random.below(2);
        random
    }

    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end.max(1)
    }

    /// `chance` of 1000.
    pub(crate) fn happens(&mut self, chance: u64) -> bool {
        self.below(1000) < chance
    }
}
