//! The local disk of a node: which file system its `localdisk` files lie on (`linuximage.partitionfile`).
//!
//! A layout has blocks `[disk]`, `[localspace]` and `[swapspace]` with `key=value` lines below them. The node mounts the
//! file system of `[localspace]` and makes none: it is prepared once, by hand or by the image. `[disk]` blocks, which
//! would partition and format, `[swapspace]`, and layouts that are scripts (`s:/path`) are not carried out.

use crate::{bounded_read, plan};
use dawn_cluster::Snapshot;
use std::path::Path;

/// Bytes of a layout.
const FILE_BYTES_MAX: u64 = 256 << 10;
/// File system of a space that names none.
const KIND_DEFAULT: &str = "ext4";

/// The line for the list of a node: `localdisk <device> <file system>`, or `localdisk - <why there is none>`.
/// Nothing where the image has no layout.
pub fn line(snapshot: &Snapshot, node: &str) -> String {
    let image = plan::image_of(snapshot, node).ok();
    let Some(file) = image.and_then(|image| image.get("partitionfile").cloned()) else {
        return String::new();
    };
    match read(&file).and_then(|text| parse(&text)) {
        Ok((device, kind)) => format!("localdisk\t{device}\t{kind}\n"),
        Err(reason) => {
            format!("localdisk\t-\t{}\n", reason.replace(|c: char| c.is_control() || c == '%', " "))
        }
    }
}

fn read(file: &str) -> Result<String, String> {
    if file.starts_with("s:") {
        return Err("its layout is a script, which is not carried out".to_owned());
    }
    bounded_read::read_text(Path::new(file), FILE_BYTES_MAX).map_err(|why| format!("{file}: {why}"))
}

/// Device and file system of `[localspace]`.
fn parse(text: &str) -> Result<(String, String), String> {
    let (mut block, mut enabled) = ("", false);
    let (mut device, mut kind) = (None, None);
    for line in text.lines().map(str::trim).filter(|line| !line.starts_with('#')) {
        match line.split_once('=').map(|(key, value)| (key.trim(), value.trim())) {
            None if line.starts_with('[') => block = line,
            Some(("enable", value)) if block.is_empty() => enabled = value == "yes",
            Some(("dev", value)) if block == "[localspace]" => device = Some(value),
            Some(("fstype", value)) if block == "[localspace]" => kind = Some(value),
            _ => {}
        }
    }
    if !enabled {
        return Err("its layout is not enabled (enable=yes)".to_owned());
    }
    let device = device.ok_or("its layout has no [localspace] with dev=")?;
    let kind = kind.filter(|kind| !kind.is_empty()).unwrap_or(KIND_DEFAULT);
    let plain = |text: &str| text.chars().all(|c| c.is_ascii_alphanumeric() || "/_-.".contains(c));
    if !device.starts_with("/dev/") || device.contains("..") || !plain(device) || !plain(kind) {
        return Err(format!("its layout names '{device}' ({kind}), which is no device"));
    }
    Ok((device.to_owned(), kind.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layouts() {
        let whole = "enable=yes\nenablepart=yes\n[disk]\ndev=/dev/sda\nclear=yes\nfstype=xfs\nparts=10,20\n\n\
                     [localspace]\n# one\ndev = /dev/sda1\nfstype=xfs\n[swapspace]\ndev=/dev/sda2\n";
        assert_eq!(parse(whole), Ok(("/dev/sda1".into(), "xfs".into())));
        assert_eq!(parse("enable=yes\n[localspace]\ndev=/dev/vdb"), Ok(("/dev/vdb".into(), "ext4".into())));
        for (text, reason) in [
            ("", "not enabled"),
            ("enable=no\n[localspace]\ndev=/dev/sda1\n", "not enabled"),
            ("enable=yes\n[disk]\ndev=/dev/sda\n", "no [localspace]"),
            ("enable=yes\n[localspace]\ndev=/etc/passwd\n", "no device"),
            ("enable=yes\n[localspace]\ndev=/dev/../x\n", "no device"),
            ("enable=yes\n[localspace]\ndev=/dev/sda1\nfstype=a b\n", "no device"),
        ] {
            assert!(parse(text).unwrap_err().contains(reason), "{text}");
        }
    }

    #[test]
    fn the_line_of_a_node() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("layout").display().to_string();
        let line = |entry: &str| {
            let snapshot = Snapshot::from_rows([
                ("nodelist", &[("node", "cn1")] as &[(&str, &str)]),
                ("nodetype", &[("node", "cn1"), ("provmethod", "img")]),
                ("osimage", &[("imagename", "img")]),
                ("linuximage", &[("imagename", "img"), ("partitionfile", entry)]),
            ]);
            super::line(&snapshot, "cn1")
        };
        assert_eq!(line(""), "");
        for (unreadable, why) in [(file.as_str(), "No such file"), ("/proc/kmsg", "interface of the kernel")]
        {
            let told = line(unreadable);
            assert!(told.starts_with("localdisk\t-\t") && told.contains(why), "{told}");
        }
        std::fs::write(&file, "enable=yes\n[localspace]\ndev=/dev/vda\n").unwrap();
        assert_eq!(line(&file), "localdisk\t/dev/vda\text4\n");
        assert!(line(&format!("s:{file}")).contains("script"));
    }
}
