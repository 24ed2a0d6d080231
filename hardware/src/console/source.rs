//! What a console is read from, and serial over LAN. Sockets are in [`super::stream`], programs in
//! [`super::program`].

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use dawn_ipmi::{Console, ConsoleEvent, SessionOptions};

use crate::error::Error;
use crate::hub::Links;
use crate::target::Bmc;

/// Something that takes a while.
pub type Soon<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A way to a console.
pub trait Source: Send + Sync {
    /// Connects. `insists`: takes the console from another program that has it.
    fn open(&self, insists: bool) -> Soon<'_, Result<Box<dyn Line>, Error>>;
}

/// Output and state changes of a console.
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
    /// Waits for the next one. Cancel safe.
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
