//! The management node itself.

pub mod lsxcatd;
pub mod regnotif;
pub mod setuplocalclient;
pub mod unregnotif;
pub mod xcatconfig;
