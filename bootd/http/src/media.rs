//! Media types by file name, for what boots and installs.

/// The type of a file of that name.
pub fn media_type(name: &str) -> &'static str {
    let file = name.rsplit('/').next().unwrap_or(name);
    let extension = file.rsplit_once('.').map_or("", |(_, extension)| extension);
    let lower = extension.to_ascii_lowercase();
    match lower.as_str() {
        "html" | "htm" => "text/html; charset=utf-8",
        "txt" | "cfg" | "conf" | "ipxe" | "ks" | "list" | "log" | "md5" | "sha256" | "sums" => TEXT,
        "sh" => "text/x-shellscript; charset=utf-8",
        "xml" => "text/xml; charset=utf-8",
        "json" => "application/json",
        "yaml" | "yml" => "application/yaml",
        "css" => "text/css; charset=utf-8",
        "js" => "text/javascript; charset=utf-8",
        "png" => "image/png",
        "svg" => "image/svg+xml",
        // UEFI HTTP Boot tells an application from a disk image by these (UEFI 2.10, 24.7.7).
        "efi" => "application/efi",
        "iso" => "application/vnd.efi-iso",
        "img" => "application/vnd.efi-img",
        "gz" => "application/gzip",
        "xz" => "application/x-xz",
        "zst" => "application/zstd",
        "bz2" => "application/x-bzip2",
        "tar" => "application/x-tar",
        "cpio" => "application/x-cpio",
        "rpm" => "application/x-rpm",
        "deb" | "udeb" => "application/vnd.debian.binary-package",
        "asc" | "sig" | "gpg" => "application/pgp-signature",
        _ if is_plain_name(file) => TEXT,
        _ => "application/octet-stream",
    }
}

const TEXT: &str = "text/plain; charset=utf-8";

/// Files of repositories that are text without an extension.
fn is_plain_name(file: &str) -> bool {
    matches!(
        file,
        "Release" | "InRelease" | "Packages" | "Sources" | "README" | "treeinfo" | ".treeinfo" | "media"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_go_by_the_last_extension() {
        for (name, want) in [
            ("a/rootimg.cpio.gz", "application/gzip"),
            ("BOOTX64.EFI", "application/efi"),
            ("dists/stable/Release", TEXT),
            ("kernel", "application/octet-stream"),
            ("v1.2/vmlinuz", "application/octet-stream"),
        ] {
            assert_eq!(media_type(name), want, "{name}");
        }
    }
}
