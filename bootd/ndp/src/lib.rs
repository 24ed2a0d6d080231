//! Answers loaders that there is no IPv6 router, so that they need not wait for one.
//!
//! iPXE configures a network card by IPv4 and IPv6 at once and continues when both are done. IPv6 is through
//! when a router has answered, or when all solicitations have gone unanswered, which takes many seconds, at
//! every stage of a boot. The answer given here is a Router Advertisement with a router lifetime of 0, no
//! flags and no prefix (RFC 4861 §4.2): "I am not a default router, and there is nothing else to configure."
//! It adds neither address nor route anywhere.
//!
//! | module | what it is |
//! |---|---|
//! | [`wire`] | Router Solicitations and Advertisements as bytes |
//! | [`engine`] | what is answered on a link, and when; no socket, no clock |
//! | [`serve()`] | sockets, one task an interface |
//! | [`fuzz`] | the entry for fuzzers |
//!
//! **Next to real routers.** On a link with a router we send no advertisement: at start the engine asks for
//! routers itself and listens for [`engine::LISTEN`] before its first answer, and any router that advertises
//! a lifetime, a prefix or DHCPv6 silences it for at least [`engine::ROUTER_MEMORY_MIN`].
//!
//! Deliberately missing: prefixes, routes, DNS options and periodic advertisements. This is not a router.

pub mod engine;
pub mod fuzz;
mod link;
mod serve;
pub mod wire;

pub use serve::{Config, serve};
