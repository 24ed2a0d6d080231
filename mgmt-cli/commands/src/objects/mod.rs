//! Objects of any kind: nodes, groups, images, networks.

pub mod chdef;
pub mod lsdef;
pub mod mkdef;
pub mod rmdef;
