//! Into the node's image without the firmware: its kernel and initramfs are fetched and started by this
//! kernel (kexec).
//!
//! The kernel decides whether it does that: one that was built without it, or one under lockdown that does
//! not find the new kernel's signature good, refuses. Whatever fails, the machine restarts and its firmware
//! loads the same. The files are those that a loader would fetch, from the same server, and as for a loader
//! nothing but the server vouches for them.

use std::fs::File;

use rustix::system::{RebootCommand, reboot};

use super::Session;
use crate::cmdline::mac_text;
use crate::error::{Error, Result};
use crate::status::Boot;
use crate::{log, stateless, sys};

/// Where the two files are kept until they are loaded.
const PLACE: &str = "/run/dawn/kexec";

/// Starts the image. Comes back only with the reason why not.
pub(super) fn start(session: &Session, boot: &Boot) -> Error {
    if let Err(error) = load(session, boot) {
        return error;
    }
    log::step("starting the image without the firmware");
    rustix::fs::sync();
    let refused = reboot(RebootCommand::Kexec).err();
    Error::file("start", PLACE, refused.unwrap_or(rustix::io::Errno::INVAL))
}

fn load(session: &Session, boot: &Boot) -> Result<()> {
    // The default size of a tmpfs: half of the memory.
    sys::tmpfs(PLACE, "mode=700")?;
    let file = |url, name: &str| {
        let path = format!("{PLACE}/{name}");
        stateless::download(url, &|host| session.resolve(host), &path)?;
        File::open(&path).map_err(|cause| Error::file("open", path.as_str(), cause))
    };
    let (kernel, initrd) = (file(&boot.kernel, "kernel")?, file(&boot.initrd, "initrd")?);
    let loaded = sys::load_kernel(&kernel, &initrd, &command_line(boot, &session.nic.mac));
    // What is loaded is the kernel's now.
    sys::detach(PLACE);
    loaded.map_err(|cause| Error::file("load the kernel in", PLACE, cause))
}

/// As loaders complete it: with the interface that the machine boots from.
fn command_line(boot: &Boot, mac: &[u8; 6]) -> String {
    format!("{} BOOTIF=01-{}", boot.args, mac_text(mac).replace(':', "-"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::url::Url;

    #[test]
    fn the_command_line_names_the_interface() {
        let url = || Url::parse("http://10.0.0.1/x").unwrap();
        let boot = Boot { kernel: url(), initrd: url(), args: "imgurl=x".to_owned() };
        let line = command_line(&boot, &[0x52, 0x54, 0, 0xda, 0, 1]);
        assert_eq!(line, "imgurl=x BOOTIF=01-52-54-00-da-00-01");
    }
}
