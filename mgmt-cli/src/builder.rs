//! What `genimage` and `packimage` have in common in the caller's process: asking the daemon.

use crate::environment::Environment;
use crate::terminal::{print, print_error, print_warning};
use dawn_commands::imagedef::{self, Definition};
use dawn_xcatd::client::{ClientError, fetch};
use dawn_xcatd::{Data, Request, Response};
use std::path::Path;

/// Asks the daemon for an image's definition, or reads the text that `imagedef` printed.
pub fn definition(environment: &Environment, image: &str, file: Option<&Path>) -> Result<Definition, String> {
    if let Some(file) = file {
        let path = environment.directory.join(file);
        let text = std::fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
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
pub fn ask(environment: &Environment, command: &str, args: Vec<String>) -> Result<Vec<Response>, String> {
    ask_with(environment, command, args, None)
}

/// The same with piped text. All errors of the answer are in the error, a line each.
pub fn ask_with(
    environment: &Environment,
    command: &str,
    args: Vec<String>,
    stdin: Option<String>,
) -> Result<Vec<Response>, String> {
    let request = Request {
        stdin,
        command: command.to_owned(),
        args,
        cwd: Some(environment.directory.to_string_lossy().into_owned()),
        client_type: Some("cli".into()),
        ..Request::default()
    };
    let responses = fetch(&environment.client(false), &request).map_err(|error| match error {
        ClientError::Connect { host, reason } => {
            format!("Unable to open socket connection to xcatd daemon on {host}: {reason}")
        }
        other => other.to_string(),
    })?;
    let errors: Vec<&str> =
        responses.iter().flat_map(|response| response.error.iter()).map(String::as_str).collect();
    if errors.is_empty() { Ok(responses) } else { Err(errors.join("\n")) }
}

/// Prints lines and warnings of an answer.
pub fn show(answers: &[Response]) {
    for answer in answers {
        answer.info.iter().for_each(|line| print(&format!("{line}\n")));
        answer.warning.iter().for_each(|text| print_warning(text));
    }
}

/// Prints an error with its reason; the exit code.
pub fn fail(text: &str) -> i32 {
    print_error(text);
    1
}
