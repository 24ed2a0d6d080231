//! What programs ask besides the commands: not in `dawn help`, named as in xCAT. The input is often in
//! separate elements instead of words.

pub mod help;
pub mod names;
pub mod tables;
