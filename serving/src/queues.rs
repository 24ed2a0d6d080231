//! Queues whose members leave from any position, in constant time and without hashing.
//!
//! A [`Slab`] gives things numbers. [`Queues`] keeps the order in which numbers stand in queues: doubly
//! linked lists in one vector. A number that is not in use is ignored: nothing here panics.

/// Not a number: a vector cannot have so many elements.
const NONE: usize = usize::MAX;

/// Things with numbers. The number of a thing that was removed is given again.
#[derive(Debug)]
pub(crate) struct Slab<T> {
    slots: Vec<Option<T>>,
    free: Vec<usize>,
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Self { slots: Vec::new(), free: Vec::new() }
    }
}

impl<T> Slab<T> {
    /// Adds a thing and gives its number.
    pub(crate) fn insert(&mut self, thing: T) -> usize {
        let number = self.free.pop().unwrap_or(self.slots.len());
        match self.slots.get_mut(number) {
            Some(slot) => *slot = Some(thing),
            None => self.slots.push(Some(thing)),
        }
        number
    }

    /// Takes a thing out.
    pub(crate) fn remove(&mut self, number: usize) -> Option<T> {
        let thing = self.slots.get_mut(number)?.take()?;
        self.free.push(number);
        Some(thing)
    }

    /// The thing with this number.
    pub(crate) fn get(&self, number: usize) -> Option<&T> {
        self.slots.get(number)?.as_ref()
    }

    /// The same, to change it.
    pub(crate) fn get_mut(&mut self, number: usize) -> Option<&mut T> {
        self.slots.get_mut(number)?.as_mut()
    }

    /// Whether there is nothing in it.
    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.slots.iter().all(Option::is_none)
    }
}

/// Both ends of one queue.
#[derive(Debug)]
pub(crate) struct Queue {
    first: usize,
    last: usize,
}

impl Default for Queue {
    fn default() -> Self {
        Self { first: NONE, last: NONE }
    }
}

impl Queue {
    /// The member that has been in it longest.
    pub(crate) fn first(&self) -> Option<usize> {
        Some(self.first).filter(|first| *first != NONE)
    }
}

/// The neighbours of a member.
#[derive(Clone, Copy, Debug)]
struct Links {
    before: usize,
    after: usize,
}

/// The order in any number of queues, of which a number stands in one at a time. The caller knows in which.
#[derive(Debug, Default)]
pub(crate) struct Queues {
    links: Vec<Links>,
}

impl Queues {
    /// Puts a number that stands in no queue at the end of `queue`.
    pub(crate) fn append(&mut self, queue: &mut Queue, number: usize) {
        if number >= self.links.len() {
            self.links.resize(number.saturating_add(1), Links { before: NONE, after: NONE });
        }
        let before = std::mem::replace(&mut queue.last, number);
        match self.links.get_mut(before) {
            Some(links) => links.after = number,
            None => queue.first = number,
        }
        if let Some(links) = self.links.get_mut(number) {
            *links = Links { before, after: NONE };
        }
    }

    /// Takes a number out of `queue`, in which it stands.
    pub(crate) fn remove(&mut self, queue: &mut Queue, number: usize) {
        let Some(Links { before, after }) = self.links.get(number).copied() else { return };
        match self.links.get_mut(before) {
            Some(links) => links.after = after,
            None => queue.first = after,
        }
        match self.links.get_mut(after) {
            Some(links) => links.before = before,
            None => queue.last = before,
        }
    }
}
