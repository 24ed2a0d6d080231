//! Tables and their history.

pub mod chtab;
pub mod gettab;
pub mod log;
pub mod tabch;
pub mod tabdump;
pub mod tabgrep;
pub mod tabprune;
pub mod tabrestore;
pub mod undo;
