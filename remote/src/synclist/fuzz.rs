//! The entry for fuzzers: any text as a list, for machines that have every file.

use super::plan::{FileKind, Files, Wanted};
use super::{Synclist, SynclistError, follow_up, read};
use std::collections::BTreeSet;
use std::io;
use std::path::Path;

/// Names that end in `d` are directories with two files.
struct Everything;

impl Files for Everything {
    fn kind(&self, path: &str) -> io::Result<Option<FileKind>> {
        Ok(Some(if path == "/" || path.ends_with('d') { FileKind::Directory } else { FileKind::File }))
    }

    fn names(&self, _: &str) -> io::Result<Vec<String>> {
        Ok(vec!["a".to_owned(), "b.post".to_owned(), "d".to_owned()])
    }
}

/// Reads any text, which may include itself, and plans it for a node.
///
/// # Panics
/// A place is not a separate path, or a step is not one word.
pub fn fuzz(data: &[u8]) {
    let text = String::from_utf8_lossy(data).into_owned();
    let text_of = |path: &Path| match path.ends_with("list") {
        true => Ok(text.clone()),
        false => Err(SynclistError::Missing(path.to_owned())),
    };
    let Ok(list) = read(Path::new("/etc/list"), &text_of) else { return };
    check(&list.clone().for_image());
    check(&list);
}

fn check(list: &Synclist) {
    let wanted = Wanted {
        is_in: &|nodes| nodes.len().is_multiple_of(2),
        value: &|name| Some(name.to_ascii_lowercase()),
        directory: "/var/x",
    };
    let Ok(plan) = list.plan(&wanted, &Everything) else { return };
    let mut last: Option<&str> = None;
    for (place, source) in &plan.places {
        for path in [place, &source.path] {
            let mut parts = path.split('/');
            assert_eq!(parts.next(), Some(""), "{path}");
            assert!(parts.all(|part| !matches!(part, "" | "." | "..")), "{path}");
            assert!(!path.contains(char::is_whitespace), "{path:?}");
        }
        let below = last.is_some_and(|last| place.starts_with(&format!("{last}/")));
        assert!(!below, "{place} is below {last:?}");
        assert_eq!(plan.source_of(place).as_ref(), Some(&source.path));
        last = Some(place);
    }
    let all: BTreeSet<String> = plan.places.keys().cloned().collect();
    let content = |_: &str| Ok::<_, io::Error>(&b"x"[..]);
    assert!(follow_up(&plan, "n1", &all, &content).is_ok());
}
