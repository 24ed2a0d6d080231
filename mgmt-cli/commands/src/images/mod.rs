//! Images.

pub mod imagedef;
pub mod imgexport;
pub mod imgimport;
pub mod rmimage;
