//! Formats that the server and the node must agree on. Each format has one writer and one reader here.
//!
//! | module | text |
//! |---|---|
//! | [`list`] | the statelite list of a node: the server writes it, `/init` reads it |
//! | [`lite_option`] | the options of that list |
//! | [`remote`] | `server:/directory` |
//! | [`image`] | names of an image's files, and of what a root shows of the node's own files |
//! | [`boot_path`] | folders below the TFTP directory whose files are made of the tables |
//! | [`loader`] | names of boot loaders in the TFTP directory |
//! | [`kernel`] | words of the kernel command line |
//! | [`bmc`] | how a node's service processor is to be set up |
//! | [`run_image`] | the argument of the step `runimage=` |
//! | [`script`] | what a node says of each of its post scripts, and the marks in `mypostscript` |
//! | [`status`] | words on the status port, and the ports of all services |
//! | [`text`] | text of others without control characters |
//! | [`words`] | words of a line with quotes, as post scripts have them; a word quoted for a shell |
//! | [`secret`] | not a text: the type of passwords and keys, which every floor can use |
//!
//! Nothing here does anything: there is no file, no socket and no dependency, because `/init` carries it.
//! What the texts of table cells mean is said where tables are read (`dawn-cluster`, `dawn-statelite`).

#![forbid(unsafe_code)]

pub mod bmc;
pub mod boot_path;
pub mod image;
pub mod kernel;
pub mod list;
pub mod lite_option;
pub mod loader;
pub mod remote;
pub mod run_image;
pub mod script;
pub mod secret;
pub mod status;
pub mod text;
pub mod words;

pub use list::List;
pub use lite_option::LiteOption;
pub use remote::Remote;
pub use secret::Secret;
