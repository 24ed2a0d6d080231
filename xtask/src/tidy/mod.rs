//! `cargo xtask tidy`: what can be checked without a build.

mod code;
mod columns;
mod comments;
mod dependencies;
mod documents;
mod errors;
mod features;
mod files;
mod layers;
mod pure;
mod unused;
mod words;

use std::process::ExitCode;

use anyhow::Result;
use clap::Args;

use crate::suite::{Count, Suite};

/// What needs no build: imports, dependencies, features, documents against facts, unused items, pure code,
/// comments, columns, types of errors, words
#[derive(Debug, Args)]
pub(crate) struct Tidy {}

impl Tidy {
    /// Success only if nothing failed.
    pub(crate) fn run(self) -> Result<ExitCode> {
        let mut suite = Suite::default();
        add_groups(&mut suite);
        Ok(if suite.finish() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

/// All checks of this kind.
pub(crate) fn add_groups(suite: &mut Suite) {
    suite.group("layers", layers::check);
    suite.group("dependencies", dependencies::check);
    suite.group("features", features::check);
    suite.group("documents", documents::check);
    suite.group("unused items", unused::check);
    suite.group("pure code", pure::check);
    suite.group("comments", comments::check);
    suite.group("columns", columns::check);
    suite.group("errors", errors::check);
    suite.group("words", words::check);
}

/// One check; prints what is wrong.
fn outcome(name: &str, wrong: &[String]) -> Count {
    for line in wrong {
        println!("FAILED: {name}: {line}");
    }
    Count::one(wrong.is_empty())
}
