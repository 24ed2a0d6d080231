//! `linuximage.partitionfile`: a comma list of `[s:][d:|c:]/path`, the layout of the disk.
//!
//! Accepted forms: plain files and scripts (`s:`) for kickstart, plain files for the others. Names of disks
//! (`d:`) and further answers (`c:`) for debian-installer are refused with the reason.

use crate::base64;
use crate::error::Problem;
use dawn_cluster::Installer;
use dawn_cluster::list::elements;

/// What begins and ends the place of the layout in an AutoYaST file.
pub(crate) const XML_START: &str = "<!-- XCAT-PARTITION-START -->";
/// The end of it.
pub(crate) const XML_END: &str = "<!-- XCAT-PARTITION-END -->";
/// The end of the place in other templates.
pub(crate) const END: &str = "#XCAT_PARTITION_END#";

/// One element.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Element {
    /// A program for the installer that writes the layout.
    pub(crate) is_script: bool,
    pub(crate) path: String,
}

/// The elements of a cell.
pub(crate) fn parse(cell: &str, installer: Installer) -> Result<Vec<Element>, Problem> {
    let words = elements(cell);
    let elements = words.map(|word| {
        let (is_script, path) = word.strip_prefix("s:").map_or((false, word), |path| (true, path));
        let is_taken = path.starts_with('/') && (!is_script || installer == Installer::Kickstart);
        match is_taken {
            true => Ok(Element { is_script, path: path.to_owned() }),
            false => Err(Problem::Layout { element: word.to_owned() }),
        }
    });
    elements.collect()
}

/// A file of the layout as it appears in the answers of an installer, in place of the template's own layout.
pub(crate) fn in_place(installer: Installer, text: &str) -> String {
    match installer {
        Installer::Kickstart => "%include /tmp/partitionfile".to_owned(),
        Installer::AutoYast => text.to_owned(),
        Installer::Preseed => {
            let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
            let recipe: Vec<&str> = lines.map(|line| line.trim_end_matches('\\').trim_end()).collect();
            format!("d-i partman-auto/expert_recipe string {}", recipe.join(" "))
        }
        Installer::Autoinstall => {
            let lines = text.lines().map(|line| match line.is_empty() {
                true => String::new(),
                false => format!("  {line}"),
            });
            lines.collect::<Vec<_>>().join("\n")
        }
    }
}

/// Commands of `%pre` that bring the layout to `/tmp/partitionfile`.
pub(crate) fn script(element: &Element, text: &str) -> String {
    let encoded = base64::encode(text);
    match element.is_script {
        true => format!(
            "rm -f /tmp/partitionfile\necho '{encoded}' | base64 -d > /tmp/partscript\nchmod 755 /tmp/partscript\n\
             /tmp/partscript"
        ),
        false => format!("rm -f /tmp/partitionfile\necho '{encoded}' | base64 -d > /tmp/partitionfile"),
    }
}
