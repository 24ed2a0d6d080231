//! What `genimage` and `packimage` have in common in the caller's process: asking the daemon.

use crate::environment::Environment;
use dawn_bootd::output::{CommandError, Done, Out};
use dawn_commands::imagedef::{self, Definition};
use dawn_xcatd::client::{ClientError, fetch};
use dawn_xcatd::{Data, Request, Response};
use serde::de::DeserializeOwned;
use std::path::Path;

/// Asks the daemon for an image's definition, or reads the text that `imagedef` printed.
pub(crate) fn definition(
    environment: &Environment,
    image: &str,
    file: Option<&Path>,
) -> Result<Definition, CommandError> {
    if let Some(file) = file {
        let path = environment.directory.join(file);
        let failed = |error| CommandError::not_found(path.display().to_string()).cause(error);
        let text = std::fs::read_to_string(&path).map_err(failed)?;
        return imagedef::read(text.lines());
    }
    let responses = ask(environment, "imagedef", vec![image.to_owned()])?;
    let lines = responses.iter().flat_map(|response| response.data.iter()).filter_map(|data| match data {
        Data::Text(text) => Some(text.as_str()),
        Data::Parts(_) => None,
    });
    imagedef::read(lines)
}

/// Runs a daemon command and fails on its first error.
pub(crate) fn ask(
    environment: &Environment,
    command: &str,
    args: Vec<String>,
) -> Result<Vec<Response>, CommandError> {
    ask_with(environment, command, args, None)
}

/// The same with piped text. All errors of the answer are in the error, a line each.
pub(crate) fn ask_with(
    environment: &Environment,
    command: &str,
    args: Vec<String>,
    stdin: Option<String>,
) -> Result<Vec<Response>, CommandError> {
    send(environment, Request { stdin, command: command.to_owned(), args, ..Request::default() })
}

/// What a daemon command reports, as data.
pub(crate) fn report<T: DeserializeOwned>(
    environment: &Environment,
    command: &str,
    words: &[&str],
) -> Result<Vec<T>, CommandError> {
    let args = words.iter().map(|word| (*word).to_owned()).chain(["--json".to_owned()]);
    let answers = ask(environment, command, args.collect())?;
    let text: String =
        answers.iter().flat_map(|answer| &answer.info).map(|line| format!("{line}\n")).collect();
    serde_json::from_str(&text)
        .map_err(|error| CommandError::internal(format!("the answer of {command}")).cause(error))
}

/// Sends a request from this process's directory. What the daemon refuses is one error, with the kind and the
/// hints that it has there.
pub(crate) fn send(environment: &Environment, request: Request) -> Result<Vec<Response>, CommandError> {
    let request = Request {
        cwd: Some(environment.directory.to_string_lossy().into_owned()),
        client_type: Some("cli".into()),
        ..request
    };
    let responses = fetch(&environment.client(false), &request).map_err(not_answered)?;
    let errors = responses.iter().filter_map(CommandError::of_answer);
    match errors.reduce(|all, error| all.and(&error)) {
        None => Ok(responses),
        Some(error) => Err(error),
    }
}

/// The error for a request that the daemon did not answer.
pub(crate) fn not_answered(error: ClientError) -> CommandError {
    match error {
        ClientError::Connect { host, reason, hint } => {
            let text = format!("Unable to open socket connection to xcatd daemon on {host}");
            CommandError::unavailable(text).cause(reason).maybe_hint(hint)
        }
        other => CommandError::unavailable(other.to_string()),
    }
}

/// Prints lines and warnings of an answer.
pub(crate) fn show(answers: &[Response], out: &mut Out<'_>) -> Done {
    for answer in answers {
        answer.info.iter().try_for_each(|line| out.notice(line))?;
        answer.warning.iter().try_for_each(|text| out.warning(text.as_str()))?;
    }
    Ok(())
}
