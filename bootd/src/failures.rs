//! What is shown of a failure of the daemon's start, of `dawn init` and of `dawn restore`: they collect
//! reasons with `anyhow`, and one of the reasons may know what to do.

use crate::output::{CommandError, ErrorKind};
use crate::owner::OwnerError;
use crate::supervisor::StartError;
use dawn_cluster::{Advised, ModelError};

/// All reasons in one line, with the hint of the one that has it. An error that has a kind keeps it.
#[must_use]
pub fn as_command_error(kind: ErrorKind, error: anyhow::Error) -> CommandError {
    match error.downcast::<CommandError>() {
        Ok(error) => error,
        Err(error) => CommandError::new(kind, format!("{error:#}")).maybe_hint(hint_of(&error)),
    }
}

/// What one of the reasons says to do.
#[must_use]
pub fn hint_of(error: &anyhow::Error) -> Option<String> {
    error.chain().find_map(|cause| {
        let model = cause.downcast_ref::<ModelError>().map(Advised::hint);
        let owner = || cause.downcast_ref::<OwnerError>().map(Advised::hint);
        let start = || cause.downcast_ref::<StartError>().map(Advised::hint);
        model.or_else(owner).or_else(start).flatten()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Context as _;
    use dawn_cluster::StoreError;

    #[test]
    fn a_hint_is_found_below_what_was_added_to_its_error() {
        let lost = ModelError::Store(StoreError::Replaced("db".to_owned()));
        let failed = Err::<(), _>(lost).context("nothing is served").expect_err("an error");
        let shown = as_command_error(ErrorKind::Unavailable, failed);
        assert!(shown.reason().starts_with("nothing is served: the database file db"), "{shown}");
        assert!(matches!(shown.hints(), [hint] if hint.contains("dumpxCATdb")), "{shown}");
        let own = CommandError::not_found("no directory").hint("make it").into();
        let shown = as_command_error(ErrorKind::Internal, own);
        assert_eq!((shown.kind(), shown.hints().len()), (ErrorKind::NotFound, 1));
    }
}
