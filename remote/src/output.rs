//! Where the output of a job goes: kept until the job has ended, or handed on line by line.

use crate::event::{Event, Kept, Stream};
use crate::lines::Lines;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::mpsc;

/// Bytes of one stream of one node that are kept; what comes after them is left out.
pub const KEPT_BYTES_MAX: usize = 16 << 20;
/// Bytes of all nodes that are kept at once.
pub(crate) const KEPT_TOTAL_BYTES_MAX: usize = 512 << 20;

/// Bytes that all jobs of a run keep.
#[derive(Debug, Default)]
pub(crate) struct Budget(AtomicUsize);

impl Budget {
    pub(crate) fn give_back(&self, kept: &Kept) {
        self.0.fetch_sub(kept.counted, Ordering::Relaxed);
    }
}

/// Shared between a job and the run that waits for it.
pub(crate) type Shared = Arc<Mutex<Kept>>;

/// The output of one job.
pub(crate) struct Output {
    out: Lines,
    err: Lines,
    way: Way,
}

enum Way {
    Kept { shared: Shared, budget: Arc<Budget> },
    Streamed { node: String, events: mpsc::Sender<Event> },
}

impl Output {
    pub(crate) fn kept(shared: Shared, budget: Arc<Budget>) -> Self {
        Self { out: Lines::default(), err: Lines::default(), way: Way::Kept { shared, budget } }
    }

    pub(crate) fn streamed(node: String, events: mpsc::Sender<Event>) -> Self {
        Self { out: Lines::default(), err: Lines::default(), way: Way::Streamed { node, events } }
    }

    /// Takes bytes; waits for a slow reader of streamed output.
    pub(crate) async fn push(&mut self, stream: Stream, bytes: &[u8]) {
        let lines = match stream {
            Stream::Out => &mut self.out,
            Stream::Err => &mut self.err,
        };
        let mut text = String::with_capacity(bytes.len());
        lines.push(bytes, &mut text);
        self.way.take(stream, text).await;
    }

    /// Takes the unterminated lines.
    pub(crate) async fn finish(&mut self) {
        for (stream, lines) in [(Stream::Out, &mut self.out), (Stream::Err, &mut self.err)] {
            let mut text = String::new();
            lines.finish(&mut text);
            self.way.take(stream, text).await;
        }
    }
}

impl Way {
    async fn take(&mut self, stream: Stream, text: String) {
        if text.is_empty() {
            return;
        }
        match self {
            Way::Streamed { node, events } => {
                // Without a reader the job is about to be stopped.
                let _ = events.send(Event::Lines { node: node.clone(), stream, text }).await;
            }
            Way::Kept { shared, budget } => {
                let mut kept = shared.lock().unwrap_or_else(PoisonError::into_inner);
                keep(&mut kept, stream, &text, budget);
            }
        }
    }
}

/// Whole lines are kept as long as there is room for them; after the first that is left out, none is.
fn keep(kept: &mut Kept, stream: Stream, text: &str, budget: &Budget) {
    let held = match stream {
        Stream::Out => &mut kept.out,
        Stream::Err => &mut kept.err,
    };
    let free = KEPT_TOTAL_BYTES_MAX.saturating_sub(budget.0.load(Ordering::Relaxed));
    let room = if kept.is_cut { 0 } else { KEPT_BYTES_MAX.saturating_sub(held.len()).min(free) };
    let mut fits = text;
    if text.len() > room {
        kept.is_cut = true;
        let end = text.as_bytes().get(..room).and_then(|part| part.iter().rposition(|byte| *byte == b'\n'));
        fits = end.and_then(|end| text.get(..=end)).unwrap_or_default();
    }
    held.push_str(fits);
    kept.counted += fits.len();
    budget.0.fetch_add(fits.len(), Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_bounded_and_whole_lines() {
        let (mut kept, budget) = (Kept::default(), Budget::default());
        let line = format!("{}\n", "x".repeat(999_999));
        for _ in 0..KEPT_BYTES_MAX / line.len() + 2 {
            keep(&mut kept, Stream::Out, &line, &budget);
        }
        keep(&mut kept, Stream::Err, "late\n", &budget);
        assert!(kept.is_cut && kept.err.is_empty());
        assert_eq!(kept.out.len(), KEPT_BYTES_MAX / line.len() * line.len());
        budget.give_back(&kept);
        assert_eq!(budget.0.load(Ordering::Relaxed), 0);
    }
}
