//! The service processor of this machine: where it is, what the machine boots from next ([`next_boot`]), and
//! `runcmd=bmcsetup`, which gives it its address, its user and what else the tables say.
//!
//! The server is asked on the status port ([`status::bmc_setup`]); it gives the password only after it has
//! heard root's [`consent`]. The processor is reached through the kernel ([`device`]), with requests of our
//! own ([`message`]); what is done in which order is in [`setup`].
//!
//! Deliberately missing: settings of vendors, the choice of a shared network port (`ipmi.bmcport`) among
//! them, and cipher suites. A node with several service processors gets the first one set up.

mod device;
mod message;
mod next_boot;
mod setup;

pub(super) use setup::{BmcError, Lan};

use dawn_wire::bmc;
use dawn_wire::status::BMC_READY;

use super::Session;
use crate::{consent, log, status};

/// Where the service processor is, if the kernel knows one that answers.
pub(super) fn lan() -> Option<Lan> {
    match device::Device::open().and_then(|mut bmc| setup::read(&mut bmc)) {
        Ok(lan) => Some(lan),
        Err(BmcError::NoDevice(_)) => None,
        Err(error) => {
            log::problem(&format!("the packet does not name the BMC: {error}"));
            None
        }
    }
}

/// Has the machine boot from the network next, if the kernel knows a service processor. A restart does not
/// depend on it.
pub(super) fn boot_from_network() {
    let set = |mut bmc: device::Device| next_boot::set(&mut bmc, next_boot::is_efi());
    match device::Device::open().and_then(set) {
        Ok(()) => log::step("the machine boots from the network next, as its BMC was asked to"),
        Err(BmcError::NoDevice(_)) => {}
        Err(error) => log::problem(&format!("{error}; what boots next is up to the firmware")),
    }
}

/// Asks, sets up, reports.
pub(super) fn set_up(session: &Session) -> Result<(), BmcError> {
    let answer = consent::while_asking(|| status::bmc_setup(session.server, session.status_port));
    let answer = answer.and_then(|answer| answer).map_err(BmcError::NotAsked)?;
    let all = bmc::parse(answer.reveal())?;
    let [wanted, others @ ..] = all.as_slice() else { return Ok(()) };
    if !others.is_empty() {
        log::problem("bmcsetup: this node has several BMCs in the tables; only the first one is set up");
    }
    if !wanted.port.is_empty() {
        log::problem(&format!("bmcsetup: bmcport={} is for the vendor's own program; left out", wanted.port));
    }
    let mut bmc = device::Device::open()?;
    setup::apply(&mut bmc, wanted, &mut |note| log::step(&format!("bmcsetup: {note}")))?;
    status::report_once(session.server, session.status_port, BMC_READY);
    Ok(())
}
