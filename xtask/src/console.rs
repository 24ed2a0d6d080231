//! `cargo xtask console NODE`: the serial console of a machine of a running demo.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Args;
use dawn_qemu::paths;
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};

use crate::demo;

/// The key that leaves the console: Ctrl-].
const LEAVE: u8 = 0x1d;

/// Attach to a machine's console; Ctrl-] leaves it
#[derive(Debug, Args)]
pub(crate) struct Console {
    /// Name of the node
    node: String,
}

impl Console {
    /// Copies between terminal and console until the key or the end.
    pub(crate) fn run(self) -> Result<ExitCode> {
        let path = paths::sockets().join(demo::NAME).join(format!("{}.console", self.node));
        let stream = UnixStream::connect(&path);
        let stream =
            stream.with_context(|| format!("no console at {}: is the demo running?", path.display()))?;
        println!("console of {}; press Enter to see it, Ctrl-] to leave\r", self.node);
        let _raw = RawTerminal::enter();
        let reader = stream.try_clone().context("cannot share the connection")?;
        let output = std::thread::spawn(move || copy_to_terminal(reader));
        copy_from_terminal(&stream)?;
        let _ = stream.shutdown(Shutdown::Both);
        let _ = output.join();
        Ok(ExitCode::SUCCESS)
    }
}

fn copy_to_terminal(mut stream: UnixStream) {
    let mut buffer = [0; 1024];
    while let Ok(count @ 1..) = stream.read(&mut buffer) {
        let mut terminal = std::io::stdout().lock();
        if terminal
            .write_all(buffer.get(..count).unwrap_or_default())
            .and_then(|()| terminal.flush())
            .is_err()
        {
            return;
        }
    }
}

fn copy_from_terminal(mut stream: &UnixStream) -> Result<()> {
    let mut buffer = [0; 256];
    loop {
        let count = std::io::stdin().read(&mut buffer).context("cannot read the terminal")?;
        let keys = buffer.get(..count).unwrap_or_default();
        if keys.is_empty() || keys.contains(&LEAVE) {
            return Ok(());
        }
        stream.write_all(keys).context("the machine is off")?;
    }
}

/// The terminal without line editing, as long as this lives. Without a terminal (a pipe) nothing happens.
struct RawTerminal(Option<Termios>);

impl RawTerminal {
    fn enter() -> Self {
        let stdin = std::io::stdin();
        let Ok(before) = tcgetattr(stdin.as_fd()) else { return Self(None) };
        let mut raw = before.clone();
        raw.make_raw();
        let changed = tcsetattr(stdin.as_fd(), OptionalActions::Now, &raw).is_ok();
        Self(changed.then_some(before))
    }
}

impl Drop for RawTerminal {
    fn drop(&mut self) {
        if let Some(before) = &self.0 {
            let _ = tcsetattr(std::io::stdin().as_fd(), OptionalActions::Now, before);
        }
    }
}
