//! An NFS server that is not the cluster's own and may stop answering.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use dawn_qemu::net::{BRIDGE, Neighbour};
use dawn_qemu::process::{self, Logged};
use dawn_qemu::{Cluster, paths, wait};

/// Time it has to start.
const START_LIMIT: Duration = Duration::from_secs(60);

/// Another NFS server: the same program, on what looks like a separate machine to the network.
pub(crate) struct Server {
    _place: Neighbour,
    daemon: Logged,
    /// The directory that it exports.
    pub(crate) files: PathBuf,
}

impl Server {
    /// Exports `files` below its own directory to everybody.
    pub(crate) fn start(cluster: &Cluster, name: &str, address: &str) -> Result<Self> {
        let place = Neighbour::create(cluster.network(), name, &[(BRIDGE, &format!("{address}/24"))])?;
        let data = cluster.data().with_file_name(name);
        let files = data.with_extension("files");
        fs::create_dir_all(&files).with_context(|| format!("cannot make {}", files.display()))?;
        let dawn = |words: &[&str]| {
            let mut command = place.command(paths::dawn());
            command.env("HOME", data.with_extension("home")).args(words).arg("--data").arg(&data);
            command
        };
        process::run(dawn(&["init"]).args(["--master", address, "--domain", "far.test"]))?;
        let line = format!("{} 10.77.0.0/24(rw,no_root_squash,insecure)\n", files.display());
        fs::write(data.join("exports"), line).context("its exports")?;
        let log = data.with_extension("log");
        let mut daemon = Logged::spawn(&mut dawn(&["serve", "--services", "nfs"]), &log)?;
        let ready = wait::until(START_LIMIT, || {
            ensure!(daemon.ended()?.is_none(), "{name} ended\n{}", process::tail(&log));
            Ok(process::read_log(&log).lines().any(|line| line == "ready").then_some(()))
        })?;
        ensure!(ready.is_some(), "{name} is not ready\n{}", process::tail(&log));
        Ok(Self { _place: place, daemon, files })
    }

    /// Freezes it: its kernel still accepts connections.
    pub(crate) fn hang(&self) -> Result<()> {
        self.signal("-STOP")
    }

    /// It answers again.
    pub(crate) fn go_on(&self) -> Result<()> {
        self.signal("-CONT")
    }

    fn signal(&self, signal: &str) -> Result<()> {
        // `ip netns exec` becomes the program it starts.
        process::run(Command::new("kill").args([signal, &self.daemon.id().to_string()])).map(drop)
    }
}
