//! Builds the initramfs of an image tree: `initramfs ROOT KERNELVERSION stateless|statelite OUTPUT`.

use std::path::Path;
use std::process::ExitCode;

use dawn_imagebuilder::initramfs::{self, Kind, Spec};

fn main() -> ExitCode {
    #[allow(clippy::disallowed_methods)]
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [root, kernel_version, kind, output] = arguments.as_slice() else {
        eprintln!("usage: initramfs ROOT KERNELVERSION stateless|statelite OUTPUT");
        return ExitCode::from(2);
    };
    let kind = if kind == "statelite" { Kind::Statelite } else { Kind::Stateless };
    let busybox = initramfs::static_busybox(&[Path::new("/bin/busybox"), Path::new("/usr/bin/busybox")]);
    let spec = Spec { root: Path::new(root), kernel_version, kind, drivers: &[], busybox, authority: None };
    match initramfs::build(&spec, Path::new(output)) {
        Ok(summary) => {
            println!("{summary:#?}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
