//! Files that a template is made of: where they come from, and how their names are formed.

use crate::builtin;
use dawn_cluster::Advised;

/// Longest file that a template is made of (bytes).
pub const FILE_BYTES_MAX: u64 = 256 << 10;

/// Who reads files. A path is absolute and one of the server; `/install` and `/tftpboot` mean the directories
/// that HTTP serves under these names.
pub trait Files {
    /// The text of a file of at most [`FILE_BYTES_MAX`] bytes.
    ///
    /// # Errors
    /// [`FileError`]; a file that is in none of the directories that may be read is refused.
    fn read(&self, path: &str) -> Result<String, FileError>;
}

/// Why a file was not read.
#[derive(Debug, Clone, PartialEq, Eq, Hash, thiserror::Error)]
pub enum FileError {
    /// There is none.
    #[error("there is no such file")]
    Absent,
    /// Templates may not name it.
    #[error("templates may only name files below {0}")]
    Outside(String),
    /// What the system says, or the limit that was exceeded.
    #[error("{0}")]
    Failed(String),
}

impl Advised for FileError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Outside(_) => Some("copy it to one of these directories".to_owned()),
            Self::Absent | Self::Failed(_) => None,
        }
    }
}

/// The text of a file, ours among them.
pub(crate) fn read(files: &dyn Files, path: &str) -> Result<String, FileError> {
    match builtin::is_builtin(path) {
        true => builtin::text(path).map(str::to_owned).ok_or(FileError::Absent),
        false => files.read(path),
    }
}

/// The path of an include: relative ones begin in the directory of `template`.
pub(crate) fn beside(template: &str, name: &str) -> String {
    if name.starts_with('/') || builtin::is_builtin(name) {
        return name.to_owned();
    }
    let end = template.rfind(['/', ':']).map_or(0, |at| at + 1);
    format!("{}{name}", template.get(..end).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::beside;

    #[test]
    fn includes_are_beside_their_template() {
        for (template, name, expected) in [
            ("/install/custom/a.tmpl", "b", "/install/custom/b"),
            ("/install/custom/a.tmpl", "../b", "/install/custom/../b"),
            ("/install/custom/a.tmpl", "/x/b", "/x/b"),
            ("/install/custom/a.tmpl", "builtin:post.sh", "builtin:post.sh"),
            ("builtin:el.tmpl", "post.sh", "builtin:post.sh"),
        ] {
            assert_eq!(beside(template, name), expected);
        }
    }
}
