//! What a console is read from.

use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;

use dawn_ipmi::{Console, ConsoleEvent, SessionOptions};
use tokio::io::AsyncWriteExt;
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::mpsc;

use crate::error::Error;
use crate::hub::Links;
use crate::limits::{CONSOLE_READ_BYTES, CONSOLE_TYPED_WAITING_MAX};
use crate::target::Bmc;

/// Something that takes a while.
pub type Soon<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A way to a console.
pub trait Source: Send + Sync {
    /// Connects. `insists`: takes the console from another program that has it.
    fn open(&self, insists: bool) -> Soon<'_, Result<Box<dyn Line>, Error>>;
}

/// What a console says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// The machine wrote this.
    Output(Vec<u8>),
    /// Something that viewers and the log should know.
    Note(&'static str),
    /// The connection is over.
    End(String),
}

/// A console that is connected.
pub trait Line: Send {
    /// Waits for what it says next. Cancel safe.
    fn next(&mut self) -> Soon<'_, Said>;
    /// Types; how many characters there was room for. Does not wait.
    fn send(&mut self, bytes: &[u8]) -> usize;
    /// Sends a break; whether this console can.
    fn send_break(&mut self) -> bool;
}

/// Serial over LAN.
pub(super) struct Sol {
    pub links: Arc<Links>,
    pub bmc: Bmc,
}

impl Source for Sol {
    fn open(&self, insists: bool) -> Soon<'_, Result<Box<dyn Line>, Error>> {
        Box::pin(async move {
            let options = SessionOptions { keep_alive: true, ..SessionOptions::default() };
            let session = self.links.session(&self.bmc, options).await?;
            let console = session.console(insists).await.map_err(Error::console)?;
            Ok(Box::new(console) as Box<dyn Line>)
        })
    }
}

impl Line for Console {
    fn next(&mut self) -> Soon<'_, Said> {
        Box::pin(async move {
            match Console::next(self).await {
                Some(ConsoleEvent::Output(bytes)) => Said::Output(bytes),
                Some(ConsoleEvent::OutputLost) => Said::Note("some output was lost"),
                Some(ConsoleEvent::InputLost) => Said::Note("the machine does not take what is typed"),
                Some(ConsoleEvent::Break) => Said::Note("the machine sent a break"),
                Some(ConsoleEvent::Deactivated) => {
                    Said::End("another program has the console now".to_owned())
                }
                Some(ConsoleEvent::Silent) => Said::End("the BMC does not answer".to_owned()),
                None => Said::End(match self.ended() {
                    Some(error) => error.to_string(),
                    None => "the session is over".to_owned(),
                }),
            }
        })
    }

    fn send(&mut self, bytes: &[u8]) -> usize {
        self.keyboard().send(bytes)
    }

    fn send_break(&mut self) -> bool {
        self.keyboard().send_break();
        true
    }
}

/// The serial port of a virtual machine of this machine: QEMU's `-serial unix:PATH,server=on,wait=off`.
pub(super) struct Socket(pub PathBuf);

impl Source for Socket {
    fn open(&self, _insists: bool) -> Soon<'_, Result<Box<dyn Line>, Error>> {
        Box::pin(async move {
            let stream = UnixStream::connect(&self.0).await;
            let stream = stream.map_err(|error| Error::Machine(format!("{}: {error}", self.0.display())))?;
            let (read, write) = stream.into_split();
            let (sender, typed) = mpsc::channel(CONSOLE_TYPED_WAITING_MAX);
            tokio::spawn(write_all(write, typed));
            Ok(Box::new(Stream { read, typed: sender }) as Box<dyn Line>)
        })
    }
}

/// Writes what is typed until nobody types any more.
async fn write_all(mut write: OwnedWriteHalf, mut typed: mpsc::Receiver<Vec<u8>>) {
    while let Some(bytes) = typed.recv().await {
        if write.write_all(&bytes).await.is_err() {
            return;
        }
    }
}

struct Stream {
    read: OwnedReadHalf,
    typed: mpsc::Sender<Vec<u8>>,
}

impl Line for Stream {
    fn next(&mut self) -> Soon<'_, Said> {
        Box::pin(async move {
            loop {
                if let Err(error) = self.read.readable().await {
                    return Said::End(error.to_string());
                }
                let mut buffer = [0; CONSOLE_READ_BYTES];
                match self.read.try_read(&mut buffer) {
                    Ok(0) => return Said::End("the virtual machine has closed its serial port".to_owned()),
                    Ok(count) => return Said::Output(buffer.get(..count).unwrap_or_default().to_vec()),
                    Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                    Err(error) => return Said::End(error.to_string()),
                }
            }
        })
    }

    fn send(&mut self, bytes: &[u8]) -> usize {
        if self.typed.try_send(bytes.to_vec()).is_ok() { bytes.len() } else { 0 }
    }

    fn send_break(&mut self) -> bool {
        false
    }
}
