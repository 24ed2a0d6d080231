//! Commands that run in the process of their caller, one file each: they read or write its files and ask the
//! daemon for what they need.

pub mod complete;
pub mod completions;
pub mod dumpxcatdb;
pub mod genimage;
pub mod links;
pub mod man;
pub mod packimage;
pub mod restorexcatdb;
pub mod tabedit;
