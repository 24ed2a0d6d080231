//! What is behind the static front: with the feature `application` one that is served through hyper, otherwise
//! nothing, and the front answers what it does not know by itself.

#[cfg(feature = "application")]
pub use crate::handover::{Application, Beyond, Reply, hand_over};

#[cfg(not(feature = "application"))]
pub use nothing::{Beyond, hand_over};

#[cfg(not(feature = "application"))]
mod nothing {
    use crate::stream::Stream;
    use std::net::SocketAddr;

    /// There is none.
    #[derive(Clone, Copy, Debug)]
    pub enum Beyond {}

    pub async fn hand_over(application: Beyond, _: SocketAddr, _: Stream, _: Vec<u8>) {
        match application {}
    }
}
