//! The one error value of commands: a kind, a message, hints and a cause.
//!
//! Programs look at the kind, people read the text, and [`CommandError`]'s `Display` is the one place that
//! makes the text. The exit code is 1 for every kind, as in xCAT, where only a refusal by the database (`DB
//! error`) has another one.

use dawn_cluster::csv::CsvError;
use dawn_cluster::utf8::NotUtf8;
use dawn_cluster::{Advised, EditError, ModelError, NewNameError, StoreError};
use dawn_plan::destiny::DestinyError;
use dawn_wire::text::sentence;
use dawn_xcatd::dispatch::unknown_nodes;
use dawn_xcatd::{Element, Response, hint_line};
use std::error::Error;
use std::fmt;

/// xCAT's exit code for what its database refuses.
pub const DATABASE_CODE: i32 = 4;
/// Element of the kind of an error in an answer.
const KIND: &str = "errorkind";
/// Element of each of its hints.
const HINT: &str = "errorhint";
/// The exit code of every other error.
const CODE: i32 = 1;

/// What the caller can do after an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorKind {
    /// The words are wrong; other words help.
    Usage,
    /// Something that the words name does not exist.
    NotFound,
    /// The state of the tables or of a file does not allow it; change that state first.
    Conflict,
    /// This caller may not do it, or Dawn does not do it at all.
    Refused,
    /// Something outside does not answer or has no room; try again later.
    Unavailable,
    /// A defect of Dawn or of the machine it runs on.
    Internal,
}

/// An error of a command, for its caller.
#[derive(Debug)]
pub struct CommandError {
    kind: ErrorKind,
    message: String,
    hints: Vec<String>,
    cause: Option<Box<dyn Error + Send + Sync>>,
    code: i32,
    is_unsigned: bool,
}

/// A constructor for each kind, of the error and of the [`super::Stop`] that carries it.
macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident $kind:ident;)*) => {
        impl CommandError {
            $($(#[$doc])* pub fn $name(message: impl Into<String>) -> Self {
                Self::new(ErrorKind::$kind, message)
            })*
        }
        impl super::Stop {
            $($(#[$doc])* pub fn $name(message: impl Into<String>) -> Self {
                CommandError::$name(message).into()
            })*
        }
    };
}

kinds! {
    /// The words are wrong.
    usage Usage;
    /// Something that the words name does not exist.
    not_found NotFound;
    /// The state of the tables or of a file does not allow it.
    conflict Conflict;
    /// This caller may not do it, or Dawn does not do it.
    refused Refused;
    /// Something outside does not answer.
    unavailable Unavailable;
    /// A defect.
    internal Internal;
}

impl CommandError {
    /// An error with the exit code of its kind.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), hints: Vec::new(), cause: None, code: CODE, is_unsigned: false }
    }

    /// What the database refuses: `DB error`, and xCAT's exit code for it.
    pub fn database(kind: ErrorKind, cause: impl fmt::Display) -> Self {
        Self::new(kind, format!("DB error {cause}")).with_code(DATABASE_CODE)
    }

    /// The refusal of names that are neither nodes nor groups.
    pub fn unknown_nodes(names: &[String]) -> Self {
        Self { is_unsigned: true, ..Self::not_found(unknown_nodes(names)) }
    }

    /// Adds what the caller can do: a sentence, shown after `Hint: `. Commands in it stand in backticks.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(sentence(&hint.into()));
        self
    }

    /// Adds what the caller can do, if that is known.
    #[must_use]
    pub fn maybe_hint(self, hint: Option<impl Into<String>>) -> Self {
        match hint {
            Some(hint) => self.hint(hint),
            None => self,
        }
    }

    /// Adds what an error says to do, if it says so.
    #[must_use]
    pub fn hint_of(self, error: &impl Advised) -> Self {
        self.maybe_hint(error.hint())
    }

    /// Adds why: shown after the message and a colon.
    #[must_use]
    pub fn cause(mut self, cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.cause = Some(cause.into());
        self
    }

    /// Another exit code than that of most errors, because xCAT has another here.
    #[must_use]
    pub fn with_code(mut self, code: i32) -> Self {
        self.code = code;
        self
    }

    /// Names what it is about: `subject: message`.
    #[must_use]
    pub fn about(mut self, subject: impl fmt::Display) -> Self {
        self.message = format!("{subject}: {}", self.message);
        self
    }

    /// Its kind.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// Exit code bits.
    pub fn code(&self) -> i32 {
        self.code
    }

    /// Hints, in the order in which they are shown.
    pub fn hints(&self) -> &[String] {
        &self.hints
    }

    /// The message and its cause, without the hints.
    pub fn reason(&self) -> String {
        match &self.cause {
            Some(cause) => format!("{}: {cause}", self.message),
            None => self.message.clone(),
        }
    }
}

/// How an error travels: its lines with its exit code, and its kind and hints as elements, which clients of
/// xCAT skip.
impl From<CommandError> for Response {
    fn from(error: CommandError) -> Self {
        let kind = serde_json::to_value(error.kind).ok().and_then(|kind| kind.as_str().map(str::to_owned));
        let kind = kind.map(|kind| Element::text(KIND, kind));
        let hints = error.hints.iter().map(|hint| Element::text(HINT, hint.as_str()));
        let other = kind.into_iter().chain(hints).collect();
        let (unsigned, lines) = (error.is_unsigned, error.to_string());
        Self { unsigned, other, ..Self::error(lines, Some(error.code)) }
    }
}

impl CommandError {
    /// The error of an answer, as it was before it travelled: kind, hints and exit code, and the message with
    /// its cause. `None`: the answer has no error. A daemon that does not say the kind refused.
    pub fn of_answer(answer: &Response) -> Option<Self> {
        let lines = answer.error.first()?;
        let texts = |name: &'static str| {
            let elements = answer.other.iter().filter(move |element| element.name == name);
            elements.map(|element| element.text.as_str())
        };
        let hints: Vec<&str> = texts(HINT).collect();
        let below = hints.iter().map(|hint| format!("\n{}", hint_line(hint))).collect::<String>();
        let message = lines.strip_suffix(below.as_str()).unwrap_or(lines);
        let read = |kind: &str| serde_json::from_value(serde_json::Value::from(kind)).ok();
        let kind = texts(KIND).find_map(read).unwrap_or(ErrorKind::Refused);
        let code = answer.errorcode.first().copied().unwrap_or(CODE);
        let error = Self::new(kind, message).with_code(code);
        Some(hints.into_iter().fold(error, Self::hint))
    }

    /// Another error below this one: its message and hints are added.
    #[must_use]
    pub fn and(mut self, other: &Self) -> Self {
        self.message = format!("{}\n{}", self.reason(), other.reason());
        self.cause = None;
        let new = other.hints.iter().filter(|hint| !self.hints.contains(hint)).cloned();
        let new: Vec<String> = new.collect();
        self.hints.extend(new);
        self
    }
}

impl fmt::Display for CommandError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason())?;
        self.hints.iter().try_for_each(|hint| write!(f, "\n{}", hint_line(hint)))
    }
}

impl Error for CommandError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.cause.as_deref().map(|cause| cause as &(dyn Error + 'static))
    }
}

impl From<ModelError> for CommandError {
    fn from(error: ModelError) -> Self {
        let shown = match &error {
            ModelError::Edit(error) => error.clone().into(),
            // Its own text already begins so.
            ModelError::Store(error @ StoreError::Other(_)) => {
                Self::unavailable(error.to_string()).with_code(DATABASE_CODE)
            }
            ModelError::Store(error) => Self::database(ErrorKind::Unavailable, error),
            ModelError::NoSuchChange(_) => Self::not_found(error.to_string()),
            ModelError::Cfgloc(_) => Self::usage(error.to_string()),
            ModelError::Undo(_)
            | ModelError::NothingToUndo
            | ModelError::NotUndone(_)
            | ModelError::OfMachine(_)
            | ModelError::DamagedChange(_)
            | ModelError::NotEmpty(_) => Self::conflict(error.to_string()),
        };
        shown.hint_of(&error)
    }
}

/// Values of one type that are always a mistake of the words.
macro_rules! wrong_words {
    ($($error:ty),*) => {$(
        impl From<$error> for CommandError {
            fn from(error: $error) -> Self {
                Self::usage(error.to_string())
            }
        }
    )*};
}

wrong_words!(CsvError, NotUtf8, NewNameError);

impl From<DestinyError> for CommandError {
    fn from(error: DestinyError) -> Self {
        match error {
            DestinyError::Edit(error) => error.into(),
            DestinyError::Unknown(_) | DestinyError::Digest(..) => Self::usage(error.to_string()),
            DestinyError::OldForm => Self::refused(error.to_string()),
            DestinyError::NoSuchImage { .. } => Self::not_found(error.to_string()),
            DestinyError::NoImageNamed | DestinyError::NoMethod(_) | DestinyError::NoChain => {
                Self::conflict(error.to_string())
            }
        }
    }
}

impl From<EditError> for CommandError {
    fn from(error: EditError) -> Self {
        match error {
            // The user's words are wrong, not the state of the database.
            EditError::BadValue { .. }
            | EditError::BadSiteValue { .. }
            | EditError::EmptyKey { .. }
            | EditError::TooLong { .. }
            | EditError::NulByte { .. }
            | EditError::TooManyEdits(_) => Self::usage(error.to_string()),
            EditError::Taken { .. } | EditError::InsideRange { .. } | EditError::LocksOut { .. } => {
                Self::conflict(error.to_string())
            }
            _ => Self::database(ErrorKind::Conflict, error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_is_message_cause_and_hints() {
        let error = CommandError::unavailable("cn1").cause("no answer within 5 s");
        let error = error.hint("is the BMC powered?").hint("is hosts.ip right?");
        assert_eq!(
            error.to_string(),
            "cn1: no answer within 5 s\nHint: Is the BMC powered?\nHint: Is hosts.ip right?"
        );
        assert_eq!((error.kind(), error.code()), (ErrorKind::Unavailable, 1));
    }

    #[test]
    fn an_error_arrives_as_it_was_sent() {
        let sent =
            CommandError::not_found("no image im1").hint("`lsdef -t osimage` lists them").cause("empty");
        let mut text = String::new();
        Response::from(sent).write(&mut text);
        let answer = Response::parse(&text).expect("a response");
        let error = CommandError::of_answer(&answer).expect("an error");
        assert_eq!((error.kind(), error.code()), (ErrorKind::NotFound, 1));
        assert_eq!(error.reason(), "no image im1: empty");
        assert_eq!(error.hints(), ["`lsdef -t osimage` lists them."]);
        let both = error.and(&CommandError::usage("no image im2").hint("`lsdef -t osimage` lists them"));
        assert_eq!(both.reason(), "no image im1: empty\nno image im2");
        assert_eq!((both.kind(), both.hints().len()), (ErrorKind::NotFound, 1));
        let old = CommandError::of_answer(&Response::error("no", Some(4))).expect("an error");
        assert_eq!((old.kind(), old.code(), old.reason().as_str()), (ErrorKind::Refused, 4, "no"));
        assert!(CommandError::of_answer(&Response::default()).is_none());
    }

    #[test]
    fn errors_of_the_model_have_a_kind_and_the_code_of_xcat() {
        let full = CommandError::from(ModelError::Store(StoreError::Full));
        assert_eq!((full.kind(), full.code()), (ErrorKind::Unavailable, DATABASE_CODE));
        assert!(full.to_string().starts_with("DB error the disk"), "{full}");
        let sql = CommandError::from(ModelError::Store(StoreError::Other("constraint".into())));
        assert_eq!(sql.to_string(), "DB error constraint");
        let lost = CommandError::from(ModelError::NoSuchChange(7));
        assert_eq!((lost.kind(), lost.code()), (ErrorKind::NotFound, 1));
        let table = CommandError::from(EditError::NoSuchTable("nodez".into()));
        assert_eq!((table.to_string().as_str(), table.code()), ("DB error No such table: nodez", 4));
    }
}
