//! Service processors with IPMI: a session, and what is asked over it.

mod energy;
mod inventory;
mod log;
mod sensors;
mod settings;
mod texts;

use std::net::SocketAddr;
use std::sync::Arc;

use dawn_ipmi::command::app::{ColdReset, DeviceId, GetDeviceId};
use dawn_ipmi::command::chassis::{self, BootOverride, Control, GetStatus, Identify};
use dawn_ipmi::command::sdr::{self, Place, Record};
use dawn_ipmi::command::{Command, CommandError, Completion, Transport};
use dawn_ipmi::engine::Request;
use dawn_ipmi::engine::error::RequestError;
use dawn_ipmi::wire::message::Code;
use dawn_ipmi::{ConnectError, Protection, Session};

use crate::driver::{Answer, Driver, Processor};
use crate::error::Error;
use crate::facts::energy::{Power, Temperature};
use crate::facts::inventory::{Fact, Parts};
use crate::facts::log::Log;
use crate::facts::settings::{Key, Setting};
use crate::facts::vitals::{Chosen, Vitals};
use crate::models::Models;
use crate::power::Style;

/// A service processor with a session. Dropping it ends the session.
pub struct Machine {
    session: Session,
    models: Arc<Models>,
}

/// The failure of a session that could not be set up.
pub(crate) fn of_connect(address: SocketAddr, source: &str, error: ConnectError) -> Error {
    match error {
        ConnectError::Session(error) => Error::Session { about: format!("{address}, {source}"), error },
        other => Error::Machine(format!("ERROR: {other}")),
    }
}

impl Machine {
    pub(crate) fn new(session: Session, models: Arc<Models>) -> Self {
        Self { session, models }
    }

    async fn run<C: Command + Send + Sync>(&self, command: C) -> Result<C::Answer, Error> {
        self.session.run(command).await.map_err(Error::command)
    }

    /// The sensor records of this machine. Machines of one model share them; records that cannot be read one
    /// by one are left out.
    async fn records(&self) -> Result<(DeviceId, Arc<Vec<Record>>), Error> {
        let id = self.run(GetDeviceId).await?;
        let place = Place::of(&id);
        let count = sdr::record_count(&self.session, place).await.map_err(Error::command)?;
        if let Some(known) = self.models.records(&(id, count)) {
            return Ok((id, known));
        }
        let raw = sdr::read_records(&self.session, place).await.map_err(Error::command)?;
        let records = Arc::new(raw.iter().filter_map(|bytes| Record::parse(bytes).ok()).collect());
        self.models.remember((id, count), &records);
        Ok((id, records))
    }

    async fn light(&self, on: bool) -> Result<(), Error> {
        const FOR_LONG: Identify = Identify::Seconds(255);
        if !on {
            return self.run(Identify::Seconds(0)).await;
        }
        if self.session.info().is_some_and(|info| matches!(info.protection, Protection::V15(_))) {
            return self.run(FOR_LONG).await;
        }
        match self.session.run(Identify::On).await {
            // Some take the short form only.
            Err(CommandError::Completion(Completion::LENGTH | Completion::FIELD)) => self.run(FOR_LONG).await,
            result => result.map_err(Error::command),
        }
    }

    async fn restart(&self) -> Result<(), Error> {
        match self.session.run(ColdReset).await {
            // The answer is often lost with the session.
            Err(CommandError::Request(RequestError::Silent { .. })) => Ok(()),
            result => result.map_err(Error::command),
        }
    }
}

impl Driver for Machine {
    fn style(&self) -> Style {
        Style::Processor
    }

    fn is_on(&self) -> Answer<'_, bool> {
        Box::pin(async { Ok(self.run(GetStatus).await?.is_on()) })
    }

    fn control(&self, control: Control) -> Answer<'_, ()> {
        let refused = |error| Error::command_with("Unknown response", error);
        Box::pin(async move { self.session.run(control).await.map_err(refused) })
    }

    fn boot_device(&self) -> Answer<'_, Option<BootOverride>> {
        Box::pin(async { chassis::boot_override(&self.session).await.map_err(of_boot_device) })
    }

    fn set_boot_device(&self, wanted: Option<BootOverride>) -> Answer<'_, Option<BootOverride>> {
        Box::pin(
            async move { chassis::set_boot_override(&self.session, wanted).await.map_err(of_boot_device) },
        )
    }

    fn identify(&self, on: bool) -> Answer<'_, ()> {
        Box::pin(self.light(on))
    }

    fn processor(&self) -> Option<&dyn Processor> {
        Some(self)
    }
}

fn of_boot_device(error: CommandError) -> Error {
    Error::command_with("setboot_stat Unknown ipmi error", error)
}

impl Processor for Machine {
    fn inventory(&self, parts: Parts) -> Answer<'_, Vec<Fact>> {
        Box::pin(self.read_inventory(parts))
    }

    fn vitals(&self, chosen: Chosen) -> Answer<'_, Vitals> {
        Box::pin(self.read_vitals(chosen))
    }

    fn log(&self) -> Answer<'_, Log> {
        Box::pin(self.read_log())
    }

    fn clear_log(&self) -> Answer<'_, bool> {
        Box::pin(self.erase_log())
    }

    fn power_usage(&self) -> Answer<'_, Power> {
        Box::pin(self.read_power())
    }

    fn temperatures(&self) -> Answer<'_, Vec<Temperature>> {
        Box::pin(self.read_temperatures())
    }

    fn setting(&self, key: Key) -> Answer<'_, Setting> {
        Box::pin(self.read_setting(key))
    }

    fn set(&self, setting: Setting) -> Answer<'_, ()> {
        Box::pin(self.change_setting(setting))
    }

    fn reset(&self) -> Answer<'_, ()> {
        Box::pin(self.restart())
    }

    fn raw(&self, netfn: u8, command: u8, data: Vec<u8>) -> Answer<'_, Vec<u8>> {
        Box::pin(async move {
            let code = Code { netfn, lun: 0, cmd: command };
            let answer = self.session.call(Request { code, data }).await;
            let answer = answer.map_err(|error| Error::command(error.into()))?;
            match answer.completion {
                0 => Ok(answer.data),
                code => Err(Error::command(CommandError::Completion(Completion(code)))),
            }
        })
    }
}
