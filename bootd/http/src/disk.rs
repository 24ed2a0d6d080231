//! Waiting for disks without keeping a worker of the runtime: the call runs on a thread of the [`DiskPool`],
//! the connection waits for its end, for a limited time.

use std::path::Path;
use std::time::Duration;

use dawn_serving::{DiskPool, Late};
use tokio::sync::oneshot;
use tokio::time::timeout;

/// Does `work` for the share of `path`.
///
/// # Errors
/// [`Late`]: it did not end within `time_max`, or there was no room for it.
pub(crate) async fn on_disk<T: Send + 'static>(
    disks: &DiskPool,
    path: &Path,
    time_max: Duration,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Late> {
    let (sender, receiver) = oneshot::channel();
    disks.submit(path, move || {
        if !sender.is_closed() {
            let _ = sender.send(work());
        }
    })?;
    match timeout(time_max, receiver).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(_)) => Err(Late::Defect),
        Err(_) => Err(Late::Slow(time_max)),
    }
}
