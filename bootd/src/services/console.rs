//! Consoles of nodes. The service has no port: viewers come by the command port.

use super::{Here, Service, Starting, Stop, Task};
use crate::appliance::Settings;
use crate::consoles;
use crate::held_ports::Wanted;
use std::sync::Arc;

/// The service.
pub(super) struct Consoles;

impl Service for Consoles {
    fn name(&self) -> &'static str {
        "console"
    }

    fn ports(&self, _: &Settings) -> Vec<Wanted> {
        Vec::new()
    }

    fn start<'a>(&'a self, here: &'a Here, stop: Stop) -> Starting<'a> {
        let (hub, model) = (Arc::clone(&here.appliance.consoles), Arc::clone(&here.appliance.model));
        Box::pin(async move {
            Ok(vec![Task::new(self.name(), async move {
                let follow = consoles::follow(Arc::clone(&hub), model);
                tokio::select! { () = follow => {}, () = stop.cancelled() => {} }
                hub.stop();
            })])
        })
    }
}
