//! Entry points for the fuzzer: any bytes must be taken without a panic, and what is read from them keeps its
//! promises.

use crate::bundle::Manifest;
use crate::exlist::Exlist;
use crate::{aptsource, password, pkglist};

/// Feeds a text to everything that reads lines: package and exclude lists, apt sources, shadow, liteimg's
/// notes.
pub fn fuzz_lists(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    for pass in pkglist::parse(text.lines()).into_iter().flatten() {
        let names =
            pass.install.iter().chain(&pass.groups).chain(&pass.remove_before).chain(&pass.remove_after);
        for name in names {
            assert!(name.starts_with(|c: char| c.is_ascii_alphanumeric()), "{name} could be an option");
            assert!(!name.contains([' ', '\'', '"', '$', '`', ';', '\\']), "{name} could be shell text");
        }
    }
    let list = Exlist::from_lines(text.lines());
    for line in text.lines().take(20) {
        let _ = list.keeps(line.as_bytes());
    }
    for setting in aptsource::settings(&text) {
        assert!(!setting.contains(['\'', '`', '$', '\n']));
    }
    aptsource::fuzz_sources(&text);
    for item in dawn_statelite::liteimg::parse_saved(&text) {
        assert!(!item.place().split('/').any(|part| part == ".." || part.is_empty()), "{item:?}");
    }
    let shadow = password::with_root(&text, "*");
    assert_eq!(shadow.lines().filter(|line| line.starts_with("root:*:")).count().min(1), 1);
}

/// Feeds bytes to the reader of installation media: paths stay in the tree, and content ends.
pub fn fuzz_medium(data: &[u8]) {
    crate::media::fuzz(data);
}

/// Feeds a text to the reader of manifests; what it reads is written and read again as the same.
pub fn fuzz_manifest(data: &[u8]) {
    let Ok(manifest) = Manifest::from_xml(&String::from_utf8_lossy(data)) else { return };
    for path in manifest.files() {
        assert!(path.starts_with('/') && !path.split('/').any(|part| part == ".."), "{path}");
    }
    let Ok(xml) = manifest.to_xml() else { return };
    if let Ok(again) = Manifest::from_xml(&String::from_utf8_lossy(&xml)) {
        assert_eq!(again.name(), manifest.name());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Words of the formats in random order.
    fn inputs(count: u64, words: &'static [&'static str]) -> impl Iterator<Item = Vec<u8>> {
        let mut state = 7_u64;
        let mut next = move || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            state >> 33
        };
        (0..count).map(move |_| {
            let mut bytes = Vec::new();
            for _ in 0..next() % 24 {
                let pick = usize::try_from(next()).unwrap() % (words.len() + 1);
                match words.get(pick) {
                    Some(word) => bytes.extend_from_slice(word.as_bytes()),
                    None => bytes.push(u8::try_from(next() & 0xff).unwrap()),
                }
            }
            bytes
        })
    }

    #[test]
    fn any_list_is_taken() {
        const WORDS: &[&str] = &[
            "\n",
            " ",
            "#ENV:",
            "A=b",
            "#",
            "@",
            "-",
            "--",
            "name",
            "../",
            "/",
            "root:",
            "root",
            ":",
            "*",
            "[",
            "]",
            "!",
            "deb ",
            "[signed-by=",
            "http://x",
            "Types: deb\n",
            "Suites: s\n",
            "URIs: u\n",
            "Acquire::http::Proxy \"",
            "\";",
            "i link ",
            "i tmpfs /",
            "..",
            "\\",
            "?",
            "+",
            "#NEW_INSTALL_LIST#",
        ];
        inputs(30_000, WORDS).for_each(|input| fuzz_lists(&input));
    }

    #[test]
    fn any_manifest_is_taken() {
        const WORDS: &[&str] = &[
            "<xcatimage>",
            "</xcatimage>",
            "<osimage>",
            "</osimage>",
            "<imagename>",
            "</imagename>",
            "<linuximage>",
            "</linuximage>",
            "<pkglist>",
            "</pkglist>",
            "<extra>",
            "</extra>",
            "<name>",
            "</name>",
            "&amp;",
            "&#x41;",
            "&",
            "<",
            ">",
            "/a/b",
            "..",
            "x",
            ",",
            "<!--",
            "-->",
            "<![CDATA[",
            "]]>",
            "<?xml",
            "\"",
        ];
        inputs(30_000, WORDS).for_each(|input| fuzz_manifest(&input));
        let whole = "<xcatimage><osimage><imagename>i</imagename></osimage><linuximage><pkglist>/a/b,c,/d/../e</pkglist>\
                     </linuximage></xcatimage>";
        assert_eq!(Manifest::from_xml(whole).unwrap().files(), ["/a/b"]);
        fuzz_manifest(whole.as_bytes());
    }
}
