//! Whose row a value comes from, in words.

use dawn_cluster::Source;

/// `row of cn1`, `row of group compute`, `rows of groups a, b`.
pub fn row_of(source: &Source, node: &str) -> String {
    match source {
        Source::Node => format!("row of {node}"),
        Source::Group(group) => format!("row of group {group}"),
        Source::Joined(groups) => format!("rows of groups {}", groups.join(", ")),
    }
}
