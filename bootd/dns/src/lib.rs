//! The name server of the cluster: engine and sockets.
//!
//! It answers for the cluster's own zones from a table of names in memory and passes every other question of
//! the cluster's machines on to other name servers, whose answers it keeps for a while. There are no zone
//! files.
//!
//! | module | what it is |
//! |---|---|
//! | [`name`] | domain names in lower case, as keys |
//! | [`zones`] | the zones, and every name with its records: what the daemon makes from its tables |
//! | [`view`] | zones, who may ask what, and the servers that are asked for the rest: one value, swapped whole |
//! | [`query`] | a question as it came |
//! | [`engine`] | what a message is answered with; no socket, no clock |
//! | [`cache`] | answers of other servers, as long as they last |
//! | [`forward`] | questions that wait for other servers; no socket, no clock |
//! | [`rate`] | how often strangers are answered |
//! | [`transfer`] | a whole zone for a secondary server (AXFR) |
//! | [`shell`] | sockets: threads for UDP, tasks for TCP and for other servers |
//! | [`fuzz`] | entries for fuzzers |
//!
//! **Who is answered.** A machine in one of the view's own networks may ask anything. Anyone else gets only
//! answers from our zones, at a limited rate so that the server cannot be used for flooding others
//! ([`rate`]); other questions are refused. Zones are transferred to the listed addresses.
//!
//! **What fails.** A message that cannot be read is answered with FORMERR if it has a header, else dropped.
//! Other servers that do not answer delay the client at most [`forward::TIME_MAX`]; a question within
//! our zones never waits for anything.
//!
//! Sources: RFC 1034, 1035, 2308 (negative answers), 5936 (AXFR), 6891 (EDNS), 7766 (TCP), 8482 (ANY).
//! Messages are read and written by the crate `domain`. Deliberately missing: DNSSEC of our own (answers of
//! other servers are not validated either), recursion from the root, IXFR (answered with the whole zone),
//! views.

pub mod cache;
pub mod engine;
pub mod forward;
pub mod fuzz;
pub mod name;
pub mod query;
pub mod rate;
pub mod shell;
pub mod transfer;
pub mod view;
pub mod zones;
