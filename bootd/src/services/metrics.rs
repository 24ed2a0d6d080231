//! Numbers for monitoring systems at `/metrics`, where `--metrics-listen` says so.

use super::{Here, Service, Starting, Stop, Task};
use crate::appliance::Settings;
use crate::held_ports::{Transport, Wanted};
use crate::metrics::{self, MEDIA_TYPE};
use dawn_http::{Config, Limits};
use dawn_serving::{Answer, Content, Request, Source};
use std::sync::Arc;

/// Connections at a time: a few collectors.
const CONNECTIONS_MAX: usize = 16;

/// The service.
pub(super) struct Metrics;

impl Service for Metrics {
    fn name(&self) -> &'static str {
        super::METRICS
    }

    fn ports(&self, settings: &Settings) -> Vec<Wanted> {
        settings.metrics.iter().map(|address| Wanted(Transport::Tcp, address.port())).collect()
    }

    fn start<'a>(&'a self, here: &'a Here, stop: Stop) -> Starting<'a> {
        Box::pin(async move {
            let listen =
                here.settings().metrics.ok_or("the service metrics needs --metrics-listen ADDRESS:PORT")?;
            let limits = Limits { connections_max: CONNECTIONS_MAX, ..Limits::default() };
            let config = Config { listen, limits, ..Config::default() };
            let appliance = Arc::clone(&here.appliance);
            // The first request has the free space, too.
            let _ = appliance.readings();
            let source = move |request: &Request<'_>| match request.path.as_str() {
                "metrics" => {
                    let text = metrics::render(&appliance.model.snapshot(), &appliance.readings());
                    Answer::Image(Content::Bytes(text.into_bytes().into()), MEDIA_TYPE)
                }
                _ => Answer::NotFound,
            };
            let source: Arc<dyn Source> = Arc::new(source);
            let running = dawn_http::serve(config, source, Arc::new(dawn_serving::Ignore), stop).await?;
            Ok(vec![Task::new(self.name(), running.finished())])
        })
    }
}
