//! What is wrong with the words of a command, from what `clap` found: its kind and its parts.

use super::number::WrongNumber;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use std::error::Error;

/// The operands that a command line lacks, if that is what is wrong with it.
pub(super) fn missing(error: &clap::Error) -> Option<String> {
    if error.kind() != ErrorKind::MissingRequiredArgument {
        return None;
    }
    let names = texts(error, ContextKind::InvalidArg);
    let bare = |name: &String| name.replace(['<', '>', '.'], "");
    (!names.is_empty()).then(|| names.iter().map(bare).collect::<Vec<_>>().join(" "))
}

/// The reason as one sentence, without advice.
pub(super) fn reason(error: &clap::Error) -> String {
    let (arg, value) = (text(error, ContextKind::InvalidArg), text(error, ContextKind::InvalidValue));
    match error.kind() {
        ErrorKind::UnknownArgument => format!("unexpected argument '{arg}' found"),
        ErrorKind::InvalidSubcommand => {
            format!("unrecognized subcommand '{}'", text(error, ContextKind::InvalidSubcommand))
        }
        ErrorKind::ArgumentConflict => conflict(error, arg),
        ErrorKind::InvalidValue if value.is_empty() => {
            format!("a value is required for '{arg}' but none was supplied{}", choices(error))
        }
        ErrorKind::InvalidValue => format!("invalid value '{value}' for '{arg}'{}", choices(error)),
        ErrorKind::ValueValidation => match error.source() {
            Some(source) if source.is::<WrongNumber>() => format!("{arg}: {source}"),
            Some(source) => format!("invalid value '{value}' for '{arg}': {source}"),
            None => format!("invalid value '{value}' for '{arg}'"),
        },
        ErrorKind::TooManyValues => {
            format!("unexpected value '{value}' for '{arg}' found; no more were expected")
        }
        ErrorKind::TooFewValues => {
            let least = number(error, ContextKind::MinValues);
            format!("{least} values required by '{arg}'; only {}", given(error))
        }
        ErrorKind::WrongNumberOfValues => {
            let count = number(error, ContextKind::ExpectedNumValues);
            format!("{count} values required for '{arg}' but {}", given(error))
        }
        ErrorKind::NoEquals => format!("equal sign is needed when assigning values to '{arg}'"),
        kind => kind.to_string(),
    }
}

fn conflict(error: &clap::Error, arg: &str) -> String {
    match error.get(ContextKind::PriorArg) {
        Some(ContextValue::String(prior)) if prior == arg => {
            format!("the argument '{arg}' cannot be used multiple times")
        }
        Some(ContextValue::String(prior)) => format!("the argument '{arg}' cannot be used with '{prior}'"),
        Some(ContextValue::Strings(all)) => {
            let list: String = all.iter().map(|one| format!("\n  {one}")).collect();
            format!("the argument '{arg}' cannot be used with:{list}")
        }
        _ => format!("the argument '{arg}' cannot be used with one or more of the other specified arguments"),
    }
}

/// The possible values, on a separate line.
fn choices(error: &clap::Error) -> String {
    match texts(error, ContextKind::ValidValue) {
        [] => String::new(),
        all => format!("\n  [possible values: {}]", all.join(", ")),
    }
}

fn given(error: &clap::Error) -> String {
    match number(error, ContextKind::ActualNumValues) {
        1 => "1 was provided".to_owned(),
        count => format!("{count} were provided"),
    }
}

fn text(error: &clap::Error, kind: ContextKind) -> &str {
    match error.get(kind) {
        Some(ContextValue::String(text)) => text,
        _ => "",
    }
}

fn texts(error: &clap::Error, kind: ContextKind) -> &[String] {
    match error.get(kind) {
        Some(ContextValue::Strings(all)) => all,
        _ => &[],
    }
}

fn number(error: &clap::Error, kind: ContextKind) -> isize {
    match error.get(kind) {
        Some(ContextValue::Number(number)) => *number,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The same as clap's own first paragraph, whose words users know from other programs.
    #[test]
    fn reasons() {
        let command = || {
            clap::Command::new("x")
                .arg(clap::Arg::new("all").short('a').action(clap::ArgAction::SetTrue).conflicts_with("few"))
                .arg(clap::Arg::new("few").short('f').action(clap::ArgAction::SetTrue))
                .arg(clap::Arg::new("count").short('n').value_parser(clap::value_parser!(u8)))
                .arg(clap::Arg::new("pair").long("pair").num_args(2))
                .arg(clap::Arg::new("some").long("some").num_args(2..))
                .arg(clap::Arg::new("way").long("way").require_equals(true))
                .arg(clap::Arg::new("kind").long("kind").value_parser(["one", "two"]))
        };
        for line in [
            "x -q",
            "x more",
            "x -a -a",
            "x -a -f",
            "x -n 300",
            "x -n",
            "x --pair a",
            "x --some a",
            "x --way a",
            "x --kind three",
            "x --kind",
            "x -a=1",
        ] {
            let error = command().try_get_matches_from(line.split(' ')).unwrap_err();
            let whole = error.render().to_string();
            let theirs = whole.split("\n\n").next().unwrap().trim_start_matches("error: ").trim_end();
            assert_eq!(reason(&error), theirs, "{line}");
        }
    }
}
