//! Dawn's TFTP and HTTP over one directory: this very program, started again.

use std::path::Path;
use std::sync::Arc;

use dawn_serving::{Ignore, Mount, Roots, Source, Tree};
use tokio_util::sync::CancellationToken;

use crate::Outcome;

/// Serves until it is killed. HTTP has one thread, as the nginx it is compared with.
pub(crate) fn serve(dir: &str, tftp: &str, http: &str) -> Outcome<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    runtime.block_on(async {
        let mount = Mount::new("", Tree::open_root(Path::new(dir))?).listed();
        let source: Arc<dyn Source> = Arc::new(Roots::new().with(mount));
        let stop = CancellationToken::new();
        let config = dawn_tftp::Config { listen: tftp.parse()?, ..dawn_tftp::Config::default() };
        let files = dawn_tftp::serve(config, Arc::clone(&source), Arc::new(Ignore), stop.clone()).await?;
        let config = dawn_http::Config { listen: http.parse()?, ..dawn_http::Config::default() };
        let web = dawn_http::serve(config, source, Arc::new(Ignore), stop).await?;
        println!("ready tftp {} http {}", files.address(), web.address());
        std::future::pending::<Outcome<()>>().await
    })
}
