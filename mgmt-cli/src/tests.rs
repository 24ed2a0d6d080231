//! What commands print and do. Sessions are text files, see [`sessions`]; what needs more than command lines
//! is a test of a module here.

mod advice;
mod conserver;
mod databases;
mod dumped_files;
mod explained;
mod forced_setup;
pub(crate) mod hardware;
mod histories;
mod image_files;
mod import;
mod noderange_word;
mod ondiscover;
mod option_words;
mod permissions;
mod reach;
mod requests;
mod sessions;
mod templates;
mod waiting_machines;
mod write_rights;

/// The model of most tests.
const CLUSTER: &str = include_str!("../tests/sessions/cluster.rows");
