//! What drivers can do.
//!
//! Every machine has power and a boot device: [`Driver`]. A service processor knows more: [`Processor`].

use std::future::Future;
use std::pin::Pin;

use dawn_ipmi::command::chassis::{BootOverride, Control};

use crate::error::Error;
use crate::facts::energy::{Power, Temperature};
use crate::facts::inventory::{Fact, Parts};
use crate::facts::log::Log;
use crate::facts::settings::{Key, Setting};
use crate::facts::vitals::{Chosen, Vitals};
use crate::power::Style;

/// The future answer of a driver.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, Error>> + Send + 'a>>;

/// A way to control one machine.
pub trait Driver: Send + Sync {
    /// How its lines read.
    fn style(&self) -> Style;

    /// Whether the machine runs.
    fn is_on(&self) -> Answer<'_, bool>;

    /// Does something to its power.
    fn control(&self, control: Control) -> Answer<'_, ()>;

    /// What it boots from next, if not what its set-up says.
    fn boot_device(&self) -> Answer<'_, Option<BootOverride>>;

    /// Sets that (`None`: the device of its set-up); returns the setting afterwards.
    fn set_boot_device(&self, wanted: Option<BootOverride>) -> Answer<'_, Option<BootOverride>>;

    /// Switches the identify light on or off.
    fn identify(&self, on: bool) -> Answer<'_, ()>;

    /// Its service processor, if it has one.
    fn processor(&self) -> Option<&dyn Processor>;
}

/// A service processor.
pub trait Processor: Send + Sync {
    /// What the machine consists of.
    fn inventory(&self, parts: Parts) -> Answer<'_, Vec<Fact>>;

    /// What its sensors say.
    fn vitals(&self, chosen: Chosen) -> Answer<'_, Vitals>;

    /// Its event log, oldest first.
    fn log(&self) -> Answer<'_, Log>;

    /// Clears the event log. Whether there was anything to clear.
    fn clear_log(&self) -> Answer<'_, bool>;

    /// The power it draws.
    fn power_usage(&self) -> Answer<'_, Power>;

    /// Its temperatures.
    fn temperatures(&self) -> Answer<'_, Vec<Temperature>>;

    /// A setting of the service processor itself.
    fn setting(&self, key: Key) -> Answer<'_, Setting>;

    /// Changes one.
    fn set(&self, setting: Setting) -> Answer<'_, ()>;

    /// Restarts the service processor, not the machine.
    fn reset(&self) -> Answer<'_, ()>;

    /// Sends a raw request: network function, command, data. What comes back.
    fn raw(&self, netfn: u8, command: u8, data: Vec<u8>) -> Answer<'_, Vec<u8>>;
}
