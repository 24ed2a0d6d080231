//! A sorted map that is cheap to copy: the structure under every table and index of a snapshot.
//!
//! Entries are sorted into chunks of at most [`CHUNK_MAX`]; a copy shares all chunks, and a change copies the
//! one chunk it touches. With n entries a copy costs n / CHUNK_MAX pointer copies, so publishing a change to
//! one row of a table with 100,000 rows takes microseconds, and readers keep their old map for as long as
//! they need it. The last keys of all chunks are kept in a separate list: a search reads that list, which
//! fits into a processor's cache, and one chunk.

use std::sync::Arc;

/// Entries of a chunk at most. Measured: smaller makes copies dear, larger makes single changes dear.
const CHUNK_MAX: usize = 256;

type Chunk<K, V> = Vec<(K, V)>;

/// The chunks in order, none of them empty, and the last key of each.
#[derive(Debug, Clone)]
struct Spine<K, V> {
    lasts: Vec<K>,
    chunks: Vec<Arc<Chunk<K, V>>>,
}

/// A sorted map whose copies share all chunks that no change has touched.
#[derive(Debug)]
pub(crate) struct ChunkMap<K, V> {
    spine: Arc<Spine<K, V>>,
    len: usize,
}

impl<K, V> Clone for ChunkMap<K, V> {
    fn clone(&self) -> Self {
        Self { spine: Arc::clone(&self.spine), len: self.len }
    }
}

impl<K, V> Default for ChunkMap<K, V> {
    fn default() -> Self {
        Self { spine: Arc::new(Spine { lasts: Vec::new(), chunks: Vec::new() }), len: 0 }
    }
}

impl<K: Ord + Clone, V: Clone> ChunkMap<K, V> {
    /// From entries in any order; of equal keys the last wins.
    pub(crate) fn from_unsorted(mut entries: Vec<(K, V)>) -> Self {
        entries.sort_by(|a, b| a.0.cmp(&b.0));
        entries.reverse();
        entries.dedup_by(|a, b| a.0 == b.0);
        entries.reverse();
        let len = entries.len();
        let mut spine = Spine { lasts: Vec::new(), chunks: Vec::with_capacity(len / CHUNK_MAX + 1) };
        let mut rest = entries.into_iter();
        loop {
            let chunk: Chunk<K, V> = rest.by_ref().take(CHUNK_MAX).collect();
            let Some((last, _)) = chunk.last() else { break };
            spine.lasts.push(last.clone());
            spine.chunks.push(Arc::new(chunk));
        }
        Self { spine: Arc::new(spine), len }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Position of the chunk that holds `key` or would.
    fn chunk_for(&self, key: &K) -> usize {
        self.spine.lasts.partition_point(|last| last < key)
    }

    pub(crate) fn get(&self, key: &K) -> Option<&V> {
        let chunk = self.spine.chunks.get(self.chunk_for(key))?;
        let at = chunk.binary_search_by(|(k, _)| k.cmp(key)).ok()?;
        chunk.get(at).map(|(_, v)| v)
    }

    /// Sets a value, gives back the old one.
    pub(crate) fn insert(&mut self, key: K, value: V) -> Option<V> {
        let at = self.chunk_for(&key);
        let Spine { lasts, chunks } = Arc::make_mut(&mut self.spine);
        let at = at.min(chunks.len().saturating_sub(1));
        let (Some(chunk), Some(last)) = (chunks.get_mut(at), lasts.get_mut(at)) else {
            lasts.push(key.clone());
            chunks.push(Arc::new(vec![(key, value)]));
            self.len += 1;
            return None;
        };
        let chunk = Arc::make_mut(chunk);
        match chunk.binary_search_by(|(k, _)| k.cmp(&key)) {
            Ok(found) => chunk.get_mut(found).map(|slot| std::mem::replace(&mut slot.1, value)),
            Err(place) => {
                let is_last = place == chunk.len();
                if is_last {
                    last.clone_from(&key);
                }
                chunk.insert(place, (key, value));
                self.len += 1;
                if chunk.len() > CHUNK_MAX {
                    // Ascending keys are the common case: keep full chunks full.
                    let tail = chunk.split_off(if is_last { CHUNK_MAX } else { CHUNK_MAX / 2 });
                    if let Some((end, _)) = chunk.last() {
                        let last_of_tail = std::mem::replace(last, end.clone());
                        lasts.insert(at + 1, last_of_tail);
                        chunks.insert(at + 1, Arc::new(tail));
                    }
                }
                None
            }
        }
    }

    /// Removes an entry, gives back its value.
    pub(crate) fn remove(&mut self, key: &K) -> Option<V> {
        let at = self.chunk_for(key);
        let place = self.spine.chunks.get(at)?.binary_search_by(|(k, _)| k.cmp(key)).ok()?;
        let Spine { lasts, chunks } = Arc::make_mut(&mut self.spine);
        let chunk = Arc::make_mut(chunks.get_mut(at)?);
        let (_, value) = chunk.remove(place);
        match (chunk.last(), lasts.get_mut(at)) {
            (Some((end, _)), Some(last)) => last.clone_from(end),
            _ => {
                chunks.remove(at);
                lasts.remove(at);
            }
        }
        self.len -= 1;
        Some(value)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&K, &V)> + Clone {
        self.spine.chunks.iter().flat_map(|c| c.iter().map(|(k, v)| (k, v)))
    }

    /// Entries from the first key that is not below `start`, ascending.
    pub(crate) fn range_from<'a>(
        &'a self,
        start: &K,
    ) -> impl Iterator<Item = (&'a K, &'a V)> + use<'a, K, V> {
        let at = self.chunk_for(start);
        let (first, others) = self.spine.chunks.get(at..).and_then(<[_]>::split_first).unzip();
        let first = first.and_then(|chunk| chunk.get(chunk.partition_point(|(key, _)| key < start)..));
        let others = others.into_iter().flatten().flat_map(|chunk| chunk.iter());
        first.into_iter().flatten().chain(others).map(|(key, value)| (key, value))
    }

    pub(crate) fn last(&self) -> Option<(&K, &V)> {
        self.spine.chunks.last().and_then(|c| c.last()).map(|(k, v)| (k, v))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    proptest! {
        /// Any sequence of edits gives what the standard map gives, and old copies never change.
        #[test]
        fn behaves_like_btreemap(edits in prop::collection::vec((any::<bool>(), 0u16..2000), 0..3000)) {
            let mut ours = ChunkMap::default();
            let mut theirs = BTreeMap::new();
            let mut kept = None;
            for (n, (insert, key)) in edits.iter().enumerate() {
                if *insert {
                    prop_assert_eq!(ours.insert(*key, n), theirs.insert(*key, n));
                } else {
                    prop_assert_eq!(ours.remove(key), theirs.remove(key));
                }
                if n == edits.len() / 2 {
                    kept = Some((ours.clone(), theirs.clone()));
                }
            }
            let same = |a: &ChunkMap<u16, usize>, b: &BTreeMap<u16, usize>| {
                a.len() == b.len() && a.iter().eq(b.iter()) && a.range_from(&700).eq(b.range(700..))
            };
            prop_assert!(same(&ours, &theirs));
            if let Some((a, b)) = kept {
                prop_assert!(same(&a, &b));
            }
        }

        #[test]
        fn built_at_once_or_one_by_one(keys in prop::collection::vec(0u16..900, 0..1500)) {
            let entries: Vec<_> = keys.iter().copied().zip(0usize..).collect();
            let expect: BTreeMap<_, _> = entries.iter().copied().collect();
            let map = ChunkMap::from_unsorted(entries);
            prop_assert!(map.iter().eq(expect.iter()));
        }
    }
}
