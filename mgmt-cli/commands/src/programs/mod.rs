//! What programs ask besides the commands: not in `dawn help`, named as in xCAT. The input is often in
//! elements of its own instead of words.

pub mod help;
pub mod names;
pub mod tables;
