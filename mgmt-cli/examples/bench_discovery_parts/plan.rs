//! Which machine is where.

use std::net::Ipv4Addr;
use std::time::Duration;

/// See the program's text.
pub(crate) struct Plan {
    pub(crate) machines: u32,
    pub(crate) switches: u32,
    pub(crate) silent: u32,
    pub(crate) spread: Duration,
    pub(crate) agent_time: Duration,
    pub(crate) dawn: Option<String>,
}

impl Plan {
    pub(crate) fn of(words: &[String]) -> Self {
        let value = |name: &str| words.iter().position(|word| word == name).and_then(|at| words.get(at + 1));
        let number =
            |name, usual: u32| value(name).map_or(usual, |text| text.parse().expect("a number of an option"));
        Self {
            machines: number("--machines", 500),
            switches: number("--switches", 20),
            silent: number("--silent", 0),
            spread: Duration::from_millis(number("--spread", 1000).into()),
            agent_time: Duration::from_millis(number("--agent-ms", 1).into()),
            dawn: value("--dawn").cloned(),
        }
    }

    /// Machines at one switch.
    pub(crate) fn per_switch(&self) -> u32 {
        self.machines.div_ceil(self.switches)
    }

    /// The port after the last machine's leads to the other switches.
    pub(crate) fn uplink(&self) -> u32 {
        self.per_switch() + 1
    }

    /// Switch and port of a machine, counted from 1.
    pub(crate) fn place(&self, machine: u32) -> (u32, u32) {
        (machine / self.per_switch() + 1, machine % self.per_switch() + 1)
    }
}

pub(crate) fn mac(machine: u32) -> [u8; 6] {
    let [a, b, c, d] = machine.to_be_bytes();
    [2, 0, a, b, c, d]
}

pub(crate) fn mac_text(machine: u32) -> String {
    mac(machine).map(|byte| format!("{byte:02x}")).join(":")
}

/// The node that a machine should be.
pub(crate) fn node(machine: u32) -> String {
    format!("cn{:04}", machine + 1)
}

/// The dynamic address of a machine.
pub(crate) fn lease(machine: u32) -> Ipv4Addr {
    Ipv4Addr::from(0x0a4e_0001 + machine)
}

/// A switch, counted from 1.
pub(crate) fn switch(number: u32) -> Ipv4Addr {
    Ipv4Addr::from(0x0a4f_0000 + number)
}
