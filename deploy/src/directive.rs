//! Which texts are directives: `#NAME#` and `#NAME:argument#` with a known name, in one line.
//!
//! An argument ends at the next `#`, unless a directive begins there: that one is part of the argument. Only
//! the name of a variable (`#ENV:`, `#XCATVAR:`) holds no directive.

/// Longest directive (bytes); a longer text is not one.
const DIRECTIVE_BYTES_MAX: usize = 1024;
/// How deep directives may be nested in each other's arguments.
const NESTING_MAX: usize = 4;

/// What a directive asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Word {
    Include,
    IncludeEscaped,
    IncludeBase64,
    PackageElements,
    PatternElements,
    RemovalElements,
    DefaultPackages,
    DefaultPackageElements,
    DefaultPatternElements,
    DefaultRemovalElements,
    DefaultPackageNames,
    LastPackagePlace,
    Table,
    TableBlankOkay,
    Variable,
    Crypt,
    CryptOrLocked,
    Command,
    HostName,
    ShortName,
    NodeDomain,
    NodeMac,
    ColonHttpPort,
    KickstartNetwork,
    KickstartBootLoader,
    YastNetwork,
    MirrorLines,
    AptSection,
    InstallSources,
    InstallSourcesInScript,
    WriteRepositories,
    SuseSdk,
    AddressMode,
    DebugPort,
    DebugLogin,
    LayoutStart,
    LayoutEnd,
    LayoutScript,
    LayoutMore,
    NotImplemented,
}

const WORDS: &[(&str, Word)] = &[
    ("INCLUDE", Word::Include),
    ("INCLUDE_NOP", Word::IncludeEscaped),
    ("INCLUDE_BASE64", Word::IncludeBase64),
    ("INCLUDE_PKGLIST", Word::PackageElements),
    ("INCLUDE_PTRNLIST", Word::PatternElements),
    ("INCLUDE_RMPKGLIST", Word::RemovalElements),
    ("INCLUDE_DEFAULT_PKGLIST", Word::DefaultPackages),
    ("INCLUDE_DEFAULT_PKGLIST_S", Word::DefaultPackageElements),
    ("INCLUDE_DEFAULT_PTRNLIST_S", Word::DefaultPatternElements),
    ("INCLUDE_DEFAULT_RMPKGLIST_S", Word::DefaultRemovalElements),
    ("INCLUDE_DEFAULT_PKGLIST_PRESEED", Word::DefaultPackageNames),
    ("INCLUDE_OSIMAGE_PKGDIR", Word::LastPackagePlace),
    ("TABLE", Word::Table),
    ("TABLEBLANKOKAY", Word::TableBlankOkay),
    ("ENV", Word::Variable),
    ("XCATVAR", Word::Variable),
    ("CRYPT", Word::Crypt),
    ("CRYPTORLOCKED", Word::CryptOrLocked),
    ("COMMAND", Word::Command),
    ("HOSTNAME", Word::HostName),
    ("SHORTNAME", Word::ShortName),
    ("GETNODEDOMAIN", Word::NodeDomain),
    ("GETPRINICMAC", Word::NodeMac),
    ("COLONHTTPPORT", Word::ColonHttpPort),
    ("KICKSTARTNET", Word::KickstartNetwork),
    ("KICKSTARTBOOTLOADER", Word::KickstartBootLoader),
    ("YAST2NET", Word::YastNetwork),
    ("MIRRORSPEC", Word::MirrorLines),
    ("UBUNTU_SUBIQUITY_APT_CONFIG", Word::AptSection),
    ("INSTALL_SOURCES", Word::InstallSources),
    ("INSTALL_SOURCES_IN_PRE", Word::InstallSourcesInScript),
    ("WRITEREPO", Word::WriteRepositories),
    ("SLES_SDK_MEDIA", Word::SuseSdk),
    ("MANAGEDADDRESSMODE", Word::AddressMode),
    ("UNCOMMENTOENABLEDEBUGPORT", Word::DebugPort),
    ("UNCOMMENTOENABLESSH", Word::DebugLogin),
    ("XCAT_PARTITION_START", Word::LayoutStart),
    ("XCAT_PARTITION_END", Word::LayoutEnd),
    ("XCA_PARTITION_SCRIPT", Word::LayoutScript),
    ("XCA_PARTMAN_RECIPE_SCRIPT", Word::LayoutMore),
    ("XCA_PARTMAN_DISK_SCRIPT", Word::LayoutMore),
    ("XCA_PARTMAN_ADDITIONAL_CONFIG_SCRIPT", Word::LayoutMore),
    ("XCA_PARTMAN_ADDITIONAL_CFG", Word::LayoutMore),
    ("INCLUDE_GET_INSTALL_DISK_SCRIPT", Word::NotImplemented),
    ("MACHINEPASSWORD", Word::NotImplemented),
    ("ESXIPV6SETUP", Word::NotImplemented),
];

impl Word {
    fn takes_argument(self) -> bool {
        self.includes()
            || matches!(
                self,
                Self::Table
                    | Self::TableBlankOkay
                    | Self::Variable
                    | Self::Crypt
                    | Self::CryptOrLocked
                    | Self::Command
                    | Self::NodeDomain
                    | Self::NodeMac
            )
    }

    /// Whether it brings another file in.
    pub(crate) fn includes(self) -> bool {
        matches!(
            self,
            Self::Include
                | Self::IncludeEscaped
                | Self::IncludeBase64
                | Self::PackageElements
                | Self::PatternElements
                | Self::RemovalElements
        )
    }
}

/// A directive at the beginning of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Directive<'t> {
    pub(crate) word: Word,
    /// The text after the colon.
    pub(crate) argument: &'t str,
    /// All of it, with both `#`.
    pub(crate) text: &'t str,
}

/// The directive that `text` begins with.
pub(crate) fn at(text: &str) -> Option<Directive<'_>> {
    let mut end = text.len().min(DIRECTIVE_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let line = text.get(..end)?.split(['\n', '\r']).next()?;
    nested_at(line, NESTING_MAX)
}

fn nested_at(line: &str, nesting: usize) -> Option<Directive<'_>> {
    let after = line.strip_prefix('#')?;
    let name_end = after.find(|c: char| !(c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_'))?;
    let (name, rest) = after.split_at(name_end);
    let (_, word) = *WORDS.iter().find(|(known, _)| *known == name)?;
    let begin = 1 + name_end;
    if !word.takes_argument() {
        let text = rest.starts_with('#').then(|| line.get(..=begin)).flatten()?;
        return Some(Directive { word, argument: "", text });
    }
    let argument = rest.strip_prefix(':')?;
    let may_nest = word != Word::Variable && nesting > 1;
    let mut from = 0;
    let length = loop {
        let at = from + argument.get(from..)?.find('#')?;
        match argument.get(at..).filter(|_| may_nest).and_then(|rest| nested_at(rest, nesting - 1)) {
            Some(inner) => from = at + inner.text.len(),
            None => break at,
        }
    };
    let argument = argument.get(..length)?;
    (!argument.is_empty()).then_some(())?;
    Some(Directive { word, argument, text: line.get(..begin + 1 + length + 1)? })
}

/// What looks like a directive and is not one that is known: `#NAME#`, `#NAME:…#`.
pub(crate) fn unknown_at(text: &str) -> Option<&str> {
    let line = text.split(['\n', '\r']).next()?;
    let after = line.strip_prefix('#')?;
    let name_end = after.find(|c: char| !(c.is_ascii_uppercase() || c == '_'))?;
    let (name, rest) = after.split_at(name_end);
    if name.len() < 3 {
        return None;
    }
    let length = match rest.strip_prefix(':') {
        Some(argument) => name_end + 1 + argument.find('#')?,
        None => rest.starts_with('#').then_some(name_end)?,
    };
    line.get(..length + 2).filter(|text| text.len() <= DIRECTIVE_BYTES_MAX)
}

#[cfg(test)]
mod tests {
    use super::{at, unknown_at};

    #[test]
    fn what_is_a_directive() {
        for (text, expected) in [
            ("#HOSTNAME# x", Some(("#HOSTNAME#", ""))),
            ("#HOSTNAME", None),
            ("#HOSTNAME:x#", None),
            ("#hostname#", None),
            ("#ENV:A#ENV:B#", Some(("#ENV:A#", "A"))),
            ("#INCLUDE:#ENV:X#/y#/z", Some(("#INCLUDE:#ENV:X#/y#", "#ENV:X#/y"))),
            (
                "#INCLUDE:#TABLE:site:key=installdir:value#/f#",
                Some((
                    "#INCLUDE:#TABLE:site:key=installdir:value#/f#",
                    "#TABLE:site:key=installdir:value#/f",
                )),
            ),
            ("#INCLUDE:a\nb#", None),
            ("#INCLUDE:#", None),
            ("#INCLUDE:##", None),
            ("#TABLE:a:b:c##HOSTNAME#", Some(("#TABLE:a:b:c#", "a:b:c"))),
            ("# comment", None),
            ("#", None),
            ("##", None),
            ("#WORD#", None),
            ("#ENV:ä#", Some(("#ENV:ä#", "ä"))),
        ] {
            let found = at(text).map(|directive| (directive.text, directive.argument));
            assert_eq!(found, expected, "{text}");
        }
        let long = format!("#ENV:{}#", "x".repeat(2000));
        assert_eq!(at(&long), None);
    }

    /// Every `#` could begin a directive: the search must not multiply.
    #[test]
    fn a_line_of_beginnings_takes_no_time() {
        let line = "#INCLUDE:".repeat(100_000);
        let found =
            line.match_indices('#').take(2000).filter(|(begin, _)| at(&line[*begin..]).is_some()).count();
        assert!(found < 2000);
    }

    #[test]
    fn what_looks_like_one() {
        for (text, expected) in [
            ("#FOO_BAR#x", Some("#FOO_BAR#")),
            ("#WINTHING:a,b# x", Some("#WINTHING:a,b#")),
            ("#AB#", None),
            ("#FOO", None),
            ("#FOO:x", None),
            ("# FOO#", None),
        ] {
            assert_eq!(unknown_at(text), expected, "{text}");
        }
    }
}
