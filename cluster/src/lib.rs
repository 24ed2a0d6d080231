//! The model: schema, store, snapshot, noderange, templates, objects, policy.
