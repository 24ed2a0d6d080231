//! Images.

pub mod imagedef;
pub mod imgexport;
pub mod imgimport;
pub(crate) mod named;
pub mod rmimage;
