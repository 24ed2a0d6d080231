//! Power and temperatures of a machine as a whole, by DCMI.

use dawn_ipmi::command::Transport;
use dawn_ipmi::command::dcmi::{self, GetPower, GetTemperatures, Site};

use super::Machine;
use crate::error::Error;
use crate::facts::energy::{Power, Temperature};

impl Machine {
    pub(super) async fn read_power(&self) -> Result<Power, Error> {
        let failed = |_| Error::Machine("Get Power Reading failed".to_owned());
        self.session.run(GetPower).await.map_err(failed)
    }

    pub(super) async fn read_temperatures(&self) -> Result<Vec<Temperature>, Error> {
        let mut all = Vec::new();
        for site in [Site::Inlet, Site::Processor, Site::Baseboard] {
            // A machine need not have all of them.
            let found = match self.session.run(GetTemperatures(site)).await {
                Err(dawn_ipmi::command::CommandError::Completion(_)) => continue,
                found => found.map_err(Error::command)?,
            };
            let of = |(instance, degrees)| Temperature { site, instance, degrees };
            all.extend(found.into_iter().take(dcmi::TEMPERATURES_MAX).map(of));
        }
        Ok(all)
    }
}
