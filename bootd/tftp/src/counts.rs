//! How much of something each address has: places, requests that wait, answers of this turn.
//!
//! An address that has none takes no memory.

use std::collections::HashMap;
use std::net::Ipv4Addr;

/// A number for each address.
#[derive(Default)]
pub(crate) struct Counts(HashMap<Ipv4Addr, usize>);

impl Counts {
    /// The number of one address.
    pub(crate) fn of(&self, address: Ipv4Addr) -> usize {
        self.0.get(&address).copied().unwrap_or(0)
    }

    /// One more.
    pub(crate) fn add(&mut self, address: Ipv4Addr) {
        *self.0.entry(address).or_default() += 1;
    }

    /// One less.
    pub(crate) fn leave(&mut self, address: Ipv4Addr) {
        if let Some(count) = self.0.get_mut(&address) {
            *count -= 1;
            if *count == 0 {
                self.0.remove(&address);
            }
        }
    }

    /// Nothing for every address.
    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }
}
