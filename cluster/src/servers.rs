//! Lists of servers as cells of `networks` and values of `site` write them.

/// In columns that name a server: the management node itself, by its address that faces the node.
pub const XCATMASTER: &str = "<xcatmaster>";

/// A server that is named to the machines of a network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NamedServer {
    /// `<xcatmaster>`: the management node, by its address that faces the network.
    Master,
    /// An address or a host name.
    Other(String),
}

impl NamedServer {
    /// The servers of a cell: words between commas and blanks.
    pub fn list(text: &str) -> Vec<Self> {
        let words = text.split(',').flat_map(str::split_whitespace);
        let one = |word: &str| match word {
            XCATMASTER => Self::Master,
            name => Self::Other(name.to_owned()),
        };
        words.map(one).collect()
    }
}
