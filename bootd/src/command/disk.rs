//! Looks at a disk for a caller.
//!
//! A path that a caller or a cell names may be on a file server that is gone. A call that looks at it would
//! keep the thread of its command, of which there are few, so a thread for disks makes it.

use crate::output::CommandError;
use dawn_serving::disks::within;
use std::path::Path;

/// Does `look` on a thread for disks.
///
/// # Errors
/// The disk does not answer in time.
pub fn look<T: Send + 'static>(
    path: &Path,
    look: impl FnOnce(&Path) -> T + Send + 'static,
) -> Result<T, CommandError> {
    within(path, look).map_err(|late| CommandError::unavailable(path.display().to_string()).cause(late))
}
