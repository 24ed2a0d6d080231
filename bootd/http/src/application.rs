//! The application behind the static front: with the feature `application` it is served through hyper;
//! without it there is none, and the front itself answers requests that it does not know.

#[cfg(feature = "application")]
pub(crate) use crate::handover::hand_over;
#[cfg(feature = "application")]
pub use crate::handover::{Application, Beyond, Reply};

#[cfg(not(feature = "application"))]
pub use nothing::Beyond;
#[cfg(not(feature = "application"))]
pub(crate) use nothing::hand_over;

#[cfg(not(feature = "application"))]
mod nothing {
    use crate::stream::Stream;
    use dawn_serving::{RequestPath, Service};
    use std::net::SocketAddr;

    /// There is none.
    #[derive(Clone, Debug)]
    pub enum Beyond {}

    impl Beyond {
        pub(crate) fn owns(&self, _: Service, _: Option<&RequestPath>) -> bool {
            match *self {}
        }
    }

    pub(crate) async fn hand_over(application: Beyond, _: SocketAddr, _: Stream, _: Vec<u8>) {
        match application {}
    }
}
