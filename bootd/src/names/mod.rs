//! The names of the cluster: what the tables say ([`records`]), on which addresses the name server listens
//! ([`listen`]), and the service that does ([`service`]).
//!
//! There is one list of names. The name server answers from it, `makedns` checks and explains it, and the
//! files for BIND are written from it, so that they say the same.

pub mod listen;
pub mod records;
pub mod service;

#[cfg(test)]
mod tests;
