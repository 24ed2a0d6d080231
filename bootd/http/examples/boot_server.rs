//! Serves a directory by TFTP and HTTP: `boot_server DIR TFTP-ADDRESS HTTP-ADDRESS [THREADS]`.
//!
//! For measurements and for trying things out; the appliance itself has the same parts inside `dawn serve`.
#![allow(clippy::disallowed_methods, reason = "a program of its own, with its own arguments")]

use std::error::Error;
use std::path::Path;
use std::sync::Arc;

use dawn_tftp::source::{Ignore, Mount, Roots, Source, Tree};
use tokio::sync::watch;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [dir, tftp, http, rest @ ..] = arguments.as_slice() else {
        return Err("usage: boot_server DIR TFTP-ADDRESS HTTP-ADDRESS [THREADS]".into());
    };
    let threads = rest.first().map_or(Ok(1), |text| text.parse())?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().build()?;
    runtime.block_on(async {
        let source: Arc<dyn Source> =
            Arc::new(Roots::new().with(Mount::new("", Tree::open_root(Path::new(dir))?).listed()));
        let (_stop, stopped) = watch::channel(false);
        let config = dawn_tftp::Config { listen: tftp.parse()?, ..dawn_tftp::Config::default() };
        let files = dawn_tftp::serve(config, Arc::clone(&source), Arc::new(Ignore), stopped.clone()).await?;
        let config = dawn_http::Config { listen: http.parse()?, ..dawn_http::Config::default() };
        let web = dawn_http::serve(config, source, Arc::new(Ignore), stopped).await?;
        println!("ready tftp {} http {}", files.address(), web.address());
        tokio::signal::ctrl_c().await?;
        Ok(())
    })
}
