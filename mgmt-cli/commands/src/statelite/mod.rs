//! Files of stateless and statelite nodes.

pub mod ilitefile;
pub mod litefile;
pub mod liteimg;
pub mod litetree;
pub mod lslite;
