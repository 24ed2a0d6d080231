//! The answers for installers, rendered from templates when an installer asks.
//!
//! A template is the text of a kickstart, preseed, AutoYaST or autoinstall file with directives of xCAT's
//! language (`#TABLE:site:key=domain:value#`). [`render`] evaluates it for a node: start reading there.
//!
//! | module | what it is |
//! |---|---|
//! | [`mod@render`] | the evaluator: includes, directives in the arguments of directives, limits |
//! | `directive` | which texts are directives |
//! | `table`, `environment`, `network`, `packages`, `layout` | the values of directives |
//! | `list` | package lists |
//! | `search` | the template and the package list of an image that names none |
//! | `builtin` | our own templates |
//! | [`rendered`] | the result: secrets apart from the rest, and where each value comes from |
//!
//! **How it differs from xCAT's.** xCAT edits one text in passes, so values of tables are scanned for
//! directives again; here a value is only a value, and may not have a line break. Arguments may hold
//! directives (`#INCLUDE:#ENV:XCATROOT#/share/x#`). A file that cannot be read is an error. `#COMMAND:` is
//! refused: nothing here runs a program.
//!
//! **Invariants.** No disk, no clock, no socket: files come from [`Files`], which says which directories may
//! be read. Everything is bounded: the limits are in [`mod@render`].

#![forbid(unsafe_code)]

mod base64;
mod builtin;
mod context;
mod directive;
mod environment;
mod error;
mod files;
pub mod fuzz;
mod layout;
mod list;
mod network;
mod packages;
pub mod render;
pub mod rendered;
mod search;
mod table;

pub use builtin::{BUILTIN, is_builtin};
pub use error::{DeployError, Problem, RenderError};
pub use files::{FILE_BYTES_MAX, FileError, Files};
pub use render::{Answers, Job, render};
pub use rendered::{Rendered, Value};
pub use search::{LOCAL_DIRECTORY, XCAT_DIRECTORY, synclists};
