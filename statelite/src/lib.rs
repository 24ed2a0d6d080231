//! litefile, litetree and statelite: the overlay plan of a node.
