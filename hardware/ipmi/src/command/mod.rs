//! Commands: typed requests and answers, pure functions of bytes.
//!
//! A [`Command`] is what one request asks and how its answer reads. Anyone who can send a request and wait
//! for its answer is a [`Transport`]: a session over LAN, or a table of answers in a test. Work that takes
//! several requests (walking a repository, changing a boot device) is an `async` function over a transport,
//! next to the commands it uses.

pub mod app;
pub mod channel;
pub mod chassis;
mod completion;
pub mod conversion;
pub mod dcmi;
pub mod fru;
pub mod lan;
pub mod payload;
pub mod sdr;
pub mod sel;
pub mod sensor;

use std::future::Future;

pub use completion::Completion;

use crate::engine::error::RequestError;
use crate::engine::{Answer, Request};
use crate::wire::Malformed;
use crate::wire::message::Code;

/// Why a command has no result.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// There is no answer.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// The BMC refuses.
    #[error("{0}")]
    Completion(Completion),
    /// The answer does not have the form it must have.
    #[error("the BMC's answer is malformed: {0}")]
    Malformed(#[from] Malformed),
    /// A walk over records does not come to an end, or is disturbed by others again and again.
    #[error("the BMC's records cannot be read: {0}")]
    Walk(&'static str),
}

impl CommandError {
    /// The completion code, if that is what it is.
    pub fn completion(&self) -> Option<Completion> {
        match self {
            Self::Completion(completion) => Some(*completion),
            _ => None,
        }
    }
}

/// One request and how its answer reads.
pub trait Command {
    /// What the answer says.
    type Answer;
    /// What is asked for.
    const CODE: Code;

    /// The request's data.
    fn data(&self) -> Vec<u8>;

    /// Reads the answer to a request that succeeded.
    ///
    /// # Errors
    /// When the answer is too short or contradicts itself.
    fn read(&self, data: &[u8]) -> Result<Self::Answer, Malformed>;
}

/// A way to ask a BMC.
pub trait Transport: Sync {
    /// Sends a request and waits for its answer.
    fn call(&self, request: Request) -> impl Future<Output = Result<Answer, RequestError>> + Send;

    /// Runs a command.
    ///
    /// # Errors
    /// No answer, a completion code other than 0, or an answer that cannot be read.
    fn run<C: Command + Send + Sync>(
        &self,
        command: C,
    ) -> impl Future<Output = Result<C::Answer, CommandError>> + Send {
        async move {
            let answer = self.call(Request { code: C::CODE, data: command.data() }).await?;
            match answer.completion {
                0 => Ok(command.read(&answer.data)?),
                code => Err(CommandError::Completion(Completion(code))),
            }
        }
    }
}

/// Declares a command whose answer is empty.
macro_rules! silent_answer {
    () => {
        type Answer = ();

        fn read(&self, _data: &[u8]) -> Result<(), crate::wire::Malformed> {
            Ok(())
        }
    };
}
pub(crate) use silent_answer;

/// The code of a command of unit 0.
pub(crate) const fn code(netfn: u8, cmd: u8) -> Code {
    Code { netfn, lun: 0, cmd }
}
