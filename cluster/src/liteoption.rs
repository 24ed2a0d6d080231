//! The `litefile.options` column: what it may say.

use crate::names::excerpt;
use dawn_wire::LiteOption;

/// The text is not a known option.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{reason}; the valid options are: tmpfs persistent localdisk rw ro con link tmpfs,rw link,ro link,persistent link,con con,persistent"
)]
pub struct OptionError {
    /// Which word is unknown, or which words do not go together.
    pub reason: String,
}

/// The words of all options; `tempfs` is an old spelling.
const WORDS: [&str; 8] = ["tmpfs", "tempfs", "rw", "persistent", "localdisk", "ro", "con", "link"];

/// Reads a cell: words in any order, with blanks around them. `rw` and `tempfs` are `tmpfs`; with `rw`, or
/// empty, the image holds a link.
///
/// # Errors
/// Which word is not an option, or which do not go together.
pub fn lite_option(text: &str) -> Result<LiteOption, OptionError> {
    let text = text.trim();
    let mut words: Vec<&str> = text.split(',').map(str::trim).collect();
    if let Some(word) = words.iter().find(|word| !text.is_empty() && !WORDS.contains(word)) {
        return Err(OptionError { reason: format!("'{}' is not an option", excerpt(word)) });
    }
    words.sort_unstable();
    match words.as_slice() {
        [""] | ["link"] | ["rw", "tmpfs" | "tempfs"] => Ok(LiteOption::Link),
        ["tmpfs" | "tempfs" | "rw"] => Ok(LiteOption::Tmpfs),
        ["persistent"] => Ok(LiteOption::Persistent),
        ["link", "persistent"] => Ok(LiteOption::LinkPersistent),
        ["localdisk"] => Ok(LiteOption::Localdisk),
        ["ro"] => Ok(LiteOption::Ro),
        ["link", "ro"] => Ok(LiteOption::LinkRo),
        ["con"] => Ok(LiteOption::Con),
        ["con", "link"] => Ok(LiteOption::LinkCon),
        ["con", "persistent"] => Ok(LiteOption::ConPersistent),
        words => Err(OptionError { reason: format!("'{}' do not go together", words.join("' and '")) }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_canonical_spelling_reads_back() {
        use LiteOption::*;
        for option in
            [Tmpfs, Link, Persistent, LinkPersistent, Localdisk, Ro, LinkRo, Con, LinkCon, ConPersistent]
        {
            assert_eq!(lite_option(option.as_str()), Ok(option));
        }
    }

    #[test]
    fn other_spellings_and_reasons() {
        use LiteOption::*;
        for (text, option) in [
            ("", Ok(Link)),
            ("tmpfs,rw", Ok(Link)),
            ("rw,tempfs", Ok(Link)),
            ("tempfs", Ok(Tmpfs)),
            ("rw", Ok(Tmpfs)),
            ("link, persistent", Ok(LinkPersistent)),
            ("persistent,con", Ok(ConPersistent)),
            ("con,ro", Err("'con' and 'ro' do not go together")),
            ("link,tmpfs", Err("'link' and 'tmpfs' do not go together")),
            ("localdisk,persistent", Err("'localdisk' and 'persistent' do not go together")),
            ("ro,", Err("'' is not an option")),
            ("links", Err("'links' is not an option")),
        ] {
            let got = lite_option(text).map_err(|error| error.reason);
            assert_eq!(got, option.map_err(str::to_owned), "{text}");
        }
    }
}
