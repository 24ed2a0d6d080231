//! What the process was given: words, variables, directory. Read in `main`, passed everywhere.

use dawn_xcatd::client::{ClientSettings, HOST_DEFAULT};
use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::path::PathBuf;

/// Arguments, variables and directory of the process.
#[derive(Clone, Debug, Default)]
pub struct Environment {
    /// All words, the program's name first.
    pub arguments: Vec<String>,
    /// Environment variables.
    pub variables: BTreeMap<String, String>,
    /// Working directory.
    pub directory: PathBuf,
    /// This executable.
    pub executable: PathBuf,
    /// The text of standard input, in tests; the process reads its own.
    pub piped: Option<String>,
}

impl Environment {
    /// A variable that is set and not empty.
    pub fn variable(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// Base name of the program: the command, when it is a symlink of that name.
    pub fn program(&self) -> &str {
        let word = self.arguments.first().map(String::as_str).unwrap_or("dawn");
        word.rsplit('/').next().unwrap_or(word)
    }

    /// Home directory of the user, `/root` without one.
    pub fn home(&self) -> PathBuf {
        PathBuf::from(self.variable("HOME").unwrap_or("/root"))
    }

    /// Name of the user for the client certificate.
    pub fn user(&self) -> String {
        let name = self.variable("USER").or_else(|| self.variable("LOGNAME"));
        name.unwrap_or("root").to_owned()
    }

    /// Settings of the client. `verbose`: `-V` is in the place where xCAT's client looks for it.
    pub fn client(&self, verbose: bool) -> ClientSettings {
        ClientSettings {
            host: self.variable("XCATHOST").unwrap_or(HOST_DEFAULT).to_owned(),
            certificates: self.home().join(".xcat"),
            show_source: verbose || self.variable("XCATSHOWSVR").is_some(),
            show_xml: self.variable("XCATSHOWXML").is_some(),
            trace: self.variable("XCATXMLTRACE").is_some(),
            has_terminal: std::io::stderr().is_terminal(),
            bypass: self.variable("XCATBYPASS").is_some(),
        }
    }
}
