//! Entries for fuzzers of what this crate reads itself. They panic when a client would reach a file that was
//! not granted to it.

use crate::extra_exports::WithExtras;
use crate::{generations, live};
use dawn_nfs::{Export, Exports, FixedExports};
use std::net::IpAddr;
use std::path::{Component, Path, PathBuf};

pub use crate::live::fuzz::fuzz_live_list;

/// Files that the daemon has written and reads again, with any damage: events, trees that nodes
/// use, what running nodes are shown. What is read is written and read again as the same.
///
/// # Panics
/// When a record comes out that was not in the file.
pub fn fuzz_journals(data: &[u8]) {
    dawn_events::fuzz_journal(data);
    let (trees, _) = generations::parse(data);
    let (again, damaged) = generations::parse(generations::render(&trees).as_bytes());
    assert_eq!((again.len(), damaged), (trees.len(), 0));
    live::fuzz::fuzz_kept(data);
}

/// A file of extra exports; its last line is the path that a client asks for.
///
/// # Panics
/// When what is mounted is not what was asked for, or a handle would lead elsewhere than the mount.
pub fn fuzz_extra_exports(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (file, asked) = text.rsplit_once('\n').unwrap_or((text, "/srv/data"));
    let extras = match WithExtras::of(FixedExports::default(), file) {
        Ok(extras) => extras,
        Err((line, _)) => {
            return assert!((1..=file.lines().count()).contains(&line), "line {line} of {file:?}");
        }
    };
    // As MOUNT hands it on: absolute and plain.
    let names = Path::new(asked).components().filter(|part| matches!(part, Component::Normal(_)));
    let asked = Path::new("/").join(names.collect::<PathBuf>());
    for client in [IpAddr::from([10, 1, 0, 5]), IpAddr::from([0xfd00, 0, 0, 0, 0, 0, 0, 1])] {
        let listed = extras.list(client);
        let above = listed.iter().map(|l| Path::new(&l.path)).filter(|path| asked.starts_with(path));
        let deepest = above.max_by_key(|path| path.components().count());
        let mounted = extras.mount(client, &asked.to_string_lossy()).ok();
        assert_eq!(mounted.as_ref().map(|m| m.export.root.as_path()), deepest, "{asked:?} of {file:?}");
        let Some(mounted) = mounted else { continue };
        let root = &mounted.export.root;
        assert!(root.is_absolute() && root != Path::new("/"), "{file:?}");
        assert_eq!(root.join(&mounted.subdir).components().collect::<PathBuf>(), asked, "{file:?}");
        let seen =
            |e: &Export| (e.root.clone(), e.access, e.squash, e.require_privileged_port, e.allow_auth_none);
        let again = extras.by_id(client, mounted.export.id).ok();
        assert_eq!(again.as_deref().map(seen), Some(seen(&mounted.export)), "{file:?}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn any_journal(texts in proptest::collection::vec(record(), 0..6), place in 0usize..200, by: u8) {
            let mut bytes = texts.iter().map(|text| dawn_serving::sealed::seal(text)).collect::<String>().into_bytes();
            if let Some(byte) = bytes.get_mut(place) {
                *byte ^= by;
            }
            fuzz_journals(&bytes);
        }

        #[test]
        fn any_file(lines in proptest::collection::vec(line(), 0..5), asked in path()) {
            fuzz_extra_exports(format!("{}\n{asked}", lines.join("\n")).as_bytes());
        }
    }

    fn record() -> impl Strategy<Value = String> {
        prop_oneof![
            Just(
                r#"{"time_ms":7,"node":"cn1","step":"booted","bytes":0,"duration_ms":0,"detail":"x"}"#
                    .to_owned()
            ),
            "[0-9]{1,3}[.][0-9]{1,3}\t[0-9]{1,3}\t[0-9]{0,3}\t/[ -~]{0,9}",
            r#"[{]"image":null,"trees":\["/[a-z.]{0,3}"\],"store":null,"serves_trees":true,"serves_store":false,"entries":\[\][}]"#,
            r#"[{]"image":"i","trees":\[\],"store":"/s","serves_trees":true,"serves_store":true,"entries":\[[{]"path":"/[a-z/]{0,5}","is_dir":true,"option":"(ro|tmpfs|persistent|x)","served":true[}]\][}]"#,
            "[ -~]{0,40}",
        ]
    }

    fn path() -> impl Strategy<Value = String> {
        let name = prop_oneof!["srv|data|[.]{0,2}", "[ -~]{0,3}"];
        proptest::collection::vec(name, 0..4).prop_map(|names| format!("/{}", names.join("/")))
    }

    fn line() -> impl Strategy<Value = String> {
        let client = "[*]|10[.]1[.]0[.]5|10[.]0[.]0[.]0/[0-9]{1,2}|fd00::/8|[ -~]{0,5}";
        let options = "([(](rw|ro|all_squash|insecure|anonuid=[0-9x]|auth_none|[a-z]{0,3})(,rw)?[)])?";
        let path = path().prop_flat_map(|path| prop_oneof![Just(path.clone()), Just(format!("\"{path}\""))]);
        (path, client, options).prop_map(|(path, client, options)| format!("{path} {client}{options}"))
    }
}
