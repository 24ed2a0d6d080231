//! A server on a free port with one read-only and one read-write export.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use dawn_nfs::client::{CallError, Called, Client};
use dawn_nfs::handle::FileHandle;
use dawn_nfs::{Event, Export, ExportId, FixedExports, Observer, Server, ServerConfig};

/// Keeps every event.
#[derive(Default)]
pub(crate) struct Events(pub Mutex<Vec<Event>>);

impl Observer for Events {
    fn event(&self, _client: SocketAddr, event: Event) {
        self.0.lock().unwrap().push(event);
    }
}

pub(crate) struct Fixture {
    pub dir: tempfile::TempDir,
    pub events: Arc<Events>,
    pub server: Option<Server>,
    exports: FixedExports,
}

impl Fixture {
    pub(crate) fn new() -> Self {
        Self::within(tempfile::tempdir().unwrap())
    }

    pub(crate) fn within(dir: tempfile::TempDir) -> Self {
        let path = dir.path().canonicalize().unwrap();
        for name in ["state", "image", "area"] {
            std::fs::create_dir(path.join(name)).unwrap();
        }
        let exports = FixedExports::default()
            .with("/install/image", Export::read_only(ExportId::of(&["image"]), path.join("image")))
            .with(
                "/area",
                Export { devices: true, ..Export::read_write(ExportId::of(&["area"]), path.join("area")) },
            );
        Self::serving(dir, exports)
    }

    pub(crate) fn serving(dir: tempfile::TempDir, exports: FixedExports) -> Self {
        let mut fixture = Self { dir, events: Arc::default(), server: None, exports };
        fixture.start();
        fixture
    }

    pub(crate) fn start(&mut self) {
        let config = ServerConfig::loopback(self.path("state"));
        let exports = Arc::new(self.exports.clone());
        self.server = Some(Server::start(&config, exports, self.events.clone()).unwrap());
    }

    /// Stops and starts: a new port, nothing remembered but the data directory.
    pub(crate) fn restart(&mut self) {
        self.server = None;
        self.start();
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().canonicalize().unwrap().join(name)
    }

    pub(crate) fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.server.as_ref().unwrap().ports().nfs))
    }

    pub(crate) fn client(&self) -> Client {
        Client::connect(self.address()).unwrap()
    }

    /// A client as root and the root of the read-write export.
    pub(crate) fn area(&self) -> (Client, FileHandle) {
        let mut client = self.client();
        let root = client.mount("/area").unwrap();
        (client, root)
    }
}

/// The status of a failed call.
pub(crate) fn status<T: std::fmt::Debug>(called: Called<T>) -> u32 {
    match called {
        Err(CallError::Status(status)) => status,
        other => panic!("expected a status, got {other:?}"),
    }
}
