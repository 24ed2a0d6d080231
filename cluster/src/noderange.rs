//! Noderange: the language that names sets of nodes.
//!
//! ```text
//! range    := element { ',' element }
//! element  := '-' operand (exclude)  |  '@' operand (intersect with what came so far)  |  operand
//! operand  := atom { '@' atom }  |  '^' path  |  '(' range ')'
//! atom     := node | group | name-name | name:name | name[list]… | name+N | N | N-N | N+N | '/' regex
//!           | table.column<op>value
//! ```
//!
//! The result is a set, sorted as plain strings. Exclusions are applied last, wherever they are written.
//!
//! Mistakes that xCAT ignores are errors here, because `all,-n3-n1` or `all,-mtg==ipmi` would otherwise mean
//! "all": a descending range and a criterion on a column that does not exist are errors, lines of a file that
//! begin with `-` exclude, and a file that excludes must be there. A regular expression may contain
//! parentheses.
//!
//! Input may be hostile: length, depth, names produced and nodes examined are limited, regular expressions
//! run in linear time.

mod criteria;
mod eval;
mod parse;
mod span;

pub use criteria::node_item_col;

use crate::names::excerpt;
use crate::reach::Reach;
use crate::row::Text;
use crate::snapshot::Snapshot;
use crate::template::PatternError;

/// Bytes of an expression at most.
pub const TEXT_BYTES_MAX: usize = 4 << 20;
/// Nesting of parentheses, files and `excludenodes` at most.
const DEPTH_MAX: usize = 64;
/// Names produced by one expression at most, examined nodes counting a quarter; see [`Noderange::work_max`].
const WORK_MAX: usize = 1_000_000;

/// Criteria and regular expressions in the noderange of a caller that sees all nodes, at most.
const PATTERNS_MAX: usize = 1000;
/// The same for a caller that is limited to some nodes.
const PATTERNS_LIMITED_MAX: usize = 16;

/// Why an expression has no value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoderangeError {
    /// A parenthesis without its partner.
    #[error("Unbalanced parentheses in noderange")]
    Unbalanced,
    /// A bracket that nothing closes.
    #[error("a bracket ([) of the noderange is not closed")]
    Bracket,
    /// Something between or next to operators that does not belong there.
    #[error("cannot read '{}' in noderange", excerpt(.0))]
    Syntax(String),
    /// A range that goes down, or whose left number is wider than its right.
    #[error("the range '{}' goes down or its numbers differ in width; write the smaller name first", excerpt(.0))]
    Descending(String),
    /// A criterion on a column that does not exist.
    #[error("'{}' is not a valid table.column description", excerpt(.0))]
    NoSuchColumn(String),
    /// A criterion on a column that holds secrets, from a caller other than root.
    #[error("'{}' holds secrets: only root may select nodes by it", excerpt(.0))]
    SecretColumn(String),
    /// A regular expression that does not compile.
    #[error("the regular expression /{} in noderange is not valid: {reason}", excerpt(pattern))]
    Regex {
        /// The expression.
        pattern: String,
        /// What the compiler says.
        reason: PatternError,
    },
    /// A file may not be read here.
    #[error("files (^{}) cannot be used in this noderange", excerpt(.0))]
    FileRefused(String),
    /// A file that takes names away, or says which to keep, cannot be read: without it more nodes would be
    /// meant.
    #[error("the file ^{} cannot be read; without it the noderange would name other nodes than you mean", excerpt(.0))]
    FileMissing(String),
    /// Longer than [`TEXT_BYTES_MAX`].
    #[error("a noderange may have {TEXT_BYTES_MAX} bytes at most")]
    TooLong,
    /// Nested deeper than 64 levels.
    #[error("NodeRange seems to be hung on evaluating {0}, recursion limit hit")]
    TooDeep(String),
    /// More of them than this caller may have evaluated.
    #[error("a noderange of yours may have {0} criteria and regular expressions at most")]
    TooManyPatterns(usize),
    /// More names than this program is willing to look at.
    #[error("the noderange names or examines more than {0} nodes")]
    TooMuch(usize),
}

/// The value of an expression.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Expanded {
    /// The nodes, sorted as plain strings. Without verification unknown names too.
    pub nodes: Vec<Text>,
    /// Atoms that are neither node nor group nor a range of such, in order of appearance. Empty without
    /// verification.
    pub missing: Vec<String>,
}

impl Expanded {
    /// `Invalid nodes and/or groups in noderange: a,b`, if there are any.
    pub fn complaint(&self) -> Option<String> {
        (!self.missing.is_empty())
            .then(|| format!("Invalid nodes and/or groups in noderange: {}", self.missing.join(",")))
    }
}

/// Reads a file for `^path`; `None` if it cannot be read, which is ignored where the file could only add
/// names.
pub type ReadFile<'a> = &'a dyn Fn(&str) -> Option<String>;

/// How to evaluate.
///
/// ```
/// use dawn_cluster::{Noderange, Snapshot};
/// let snapshot = Snapshot::from_rows([("nodelist", &[("node", "n1"), ("groups", "all")][..])]);
/// let found = Noderange::new("all").expand(&snapshot).unwrap();
/// assert_eq!(found.nodes, ["n1".into()]);
/// assert_eq!(Noderange::new("n1-n3").expand(&snapshot).unwrap().missing, ["n2", "n3"]);
/// assert_eq!(Noderange::new("n1-n3").unverified().expand(&snapshot).unwrap().nodes.len(), 3);
/// ```
#[derive(Clone, Copy)]
pub struct Noderange<'a> {
    text: &'a str,
    verify: bool,
    exclude: bool,
    read_file: Option<ReadFile<'a>>,
    work_max: usize,
    seen_by: Option<&'a Reach>,
}

impl<'a> Noderange<'a> {
    /// With verification, `site.excludenodes`, and without files.
    pub fn new(text: &'a str) -> Self {
        Self { text, verify: true, exclude: true, read_file: None, work_max: WORK_MAX, seen_by: None }
    }

    /// Names that are neither node nor group are kept as they are.
    pub fn unverified(self) -> Self {
        Self { verify: false, ..self }
    }

    /// `site.excludenodes` does not count.
    pub fn with_excluded(self) -> Self {
        Self { exclude: false, ..self }
    }

    /// `^path` is allowed and read by this function.
    pub fn files(self, read_file: ReadFile<'a>) -> Self {
        Self { read_file: Some(read_file), ..self }
    }

    /// Limits the names produced, 1,000,000 by default; an examined node counts as a quarter. Criteria for
    /// which every node is examined are charged in advance.
    pub fn work_max(self, names: usize) -> Self {
        Self { work_max: names, ..self }
    }

    /// For a caller other than root: nodes out of reach do not exist, a group is the caller's part of it, and
    /// no criterion, neither the caller's nor a dynamic group's, looks at a secret.
    pub fn seen_by(self, reach: &'a Reach) -> Self {
        Self { seen_by: Some(reach), ..self }
    }

    /// The nodes.
    pub fn expand(self, snapshot: &Snapshot) -> Result<Expanded, NoderangeError> {
        eval::expand(self, snapshot)
    }
}

impl Snapshot {
    /// The nodes that an expression names, verified; see [`Noderange`] for other ways.
    pub fn noderange(&self, text: &str) -> Result<Expanded, NoderangeError> {
        Noderange::new(text).expand(self)
    }

    /// The nodes of `site.excludenodes`, which no noderange means; unknown names there count for nothing.
    ///
    /// # Errors
    /// The setting cannot be evaluated.
    pub fn excluded_nodes(&self) -> Result<Vec<Text>, NoderangeError> {
        match self.site("excludenodes") {
            Some(text) => Ok(Noderange::new(&text).with_excluded().expand(self)?.nodes),
            None => Ok(Vec::new()),
        }
    }

    /// The shortest expression for a set of nodes by whole groups: groups whose members all are in the set,
    /// largest first, then the remaining names. Sorted by appearance.
    pub fn shorten(&self, nodes: &[Text]) -> String {
        eval::shorten(self, nodes)
    }
}

#[cfg(test)]
mod tests;
