//! The discovery system, which machines boot that are not a known node, and nodes with a task (xCAT's
//! "genesis").
//!
//! It is a kernel and an initramfs with our `/init`, without a root: everything that a rack may hold must be
//! in the initramfs, so it carries the drivers of all network cards, disks and BMC interfaces of that kernel.
//! Both files are below the TFTP root under xCAT's names. Nodes load them one after the other; while they
//! are replaced there is no kernel, so that a kernel is never started with the modules of another.

use std::fs;
use std::io;
use std::path::Path;

use dawn_serving::beneath::Beneath;
use dawn_wire::image::{genesis_initrd, genesis_kernel};

use crate::genimage::{Embedded, GenimageError, InitrdJob, MakeInitrd, find_kernel};
use crate::initramfs::Kind;

/// The architecture of the `/init` that this program carries.
pub const ARCH: &str = "x86_64";

/// Mode of the two files: nodes read them without proof of who they are.
const MODE: u32 = 0o644;

/// What the discovery system is made of.
#[derive(Debug, Clone, Copy)]
pub struct Source<'a> {
    /// A tree with a kernel and its modules: `/`, or the root of an image.
    pub root: &'a Path,
    /// Kernel release; the newest one that has its modules, if not given.
    pub kernel: Option<&'a str>,
    /// More modules by name.
    pub drivers: &'a [String],
    /// The certificate of the cluster's authority: machines send their packets by HTTPS to its servers.
    pub authority: Option<&'a Path>,
}

/// What was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Made {
    /// Kernel release.
    pub kernel: String,
    /// Size of the kernel, in bytes.
    pub kernel_bytes: u64,
    /// Size of the initramfs, in bytes.
    pub initrd_bytes: u64,
    /// What the administrator should know, in sentences.
    pub warnings: Vec<String>,
}

/// Looks whether there is a kernel to make it of.
///
/// # Errors
/// No kernel with modules in the tree.
pub fn check(source: &Source<'_>) -> Result<(), GenimageError> {
    find_kernel(source.root, source.kernel).map(drop)
}

/// Makes both files below `tftpdir`. They appear whole or not at all.
///
/// # Errors
/// No kernel with modules in the tree, a file that cannot be read or written.
pub fn make(source: &Source<'_>, tftpdir: &Path) -> Result<Made, GenimageError> {
    let kernel = find_kernel(source.root, source.kernel)?;
    let file = |path: &Path| {
        let path = path.to_owned();
        move |source| GenimageError::File { path, source }
    };
    let (kernel_name, initrd_name) = (genesis_kernel(ARCH), genesis_initrd(ARCH));
    let tftp = Beneath::open(tftpdir).map_err(file(tftpdir))?;
    tftp.make_directories(Path::new("xcat"), 0o755).map_err(file(&tftpdir.join("xcat")))?;
    let root = Beneath::open(source.root).map_err(file(source.root))?;
    let image = root.read(&kernel.file).map_err(file(&source.root.join(&kernel.file)))?;
    // Made where links cannot lead elsewhere, then moved into the directory that is served.
    let work = tempdir_beside(tftpdir).map_err(file(tftpdir))?;
    let made = work.join("initrd");
    let job = InitrdJob {
        rootimg: source.root,
        kernel: &kernel.release,
        kind: Kind::Discovery,
        drivers: source.drivers,
        authority: source.authority,
        output: &made,
    };
    let result = Embedded::new().make(&job).map_err(GenimageError::Initrd).and_then(|warnings| {
        let initrd = fs::read(&made).map_err(file(&made))?;
        publish(&tftp, &kernel_name, &image, &initrd_name, &initrd).map_err(file(tftpdir))?;
        Ok(Made {
            kernel: kernel.release.clone(),
            kernel_bytes: u64::try_from(image.len()).unwrap_or(u64::MAX),
            initrd_bytes: u64::try_from(initrd.len()).unwrap_or(u64::MAX),
            warnings,
        })
    });
    let _ = fs::remove_dir_all(&work);
    result
}

/// The kernel last: without it a machine is informed that there is no discovery system, with one it finds the
/// matching modules.
fn publish(tftp: &Beneath, kernel: &str, image: &[u8], initrd: &str, archive: &[u8]) -> io::Result<()> {
    match tftp.remove_file(Path::new(kernel)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    tftp.write(Path::new(initrd), MODE, archive)?;
    tftp.write(Path::new(kernel), MODE, image)
}

/// A directory of this process in the TFTP root, which is on the disk that will hold the result.
fn tempdir_beside(tftpdir: &Path) -> io::Result<std::path::PathBuf> {
    let path = tftpdir.join(format!(".genesis.{}", std::process::id()));
    match fs::remove_dir_all(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    fs::create_dir(&path)?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    fn root() -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("lib/modules/6.1.0-9-x");
        for (module, text) in [
            ("kernel/drivers/net/ethernet/ice.ko", "nic"),
            ("kernel/drivers/nvme/host/nvme.ko", "disk"),
            ("kernel/drivers/char/ipmi/ipmi_si.ko", "bmc"),
            ("kernel/fs/nfs/nfs.ko", "root"),
        ] {
            let path = dir.join(module);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        fs::create_dir_all(root.path().join("boot")).unwrap();
        fs::write(root.path().join("boot/vmlinuz-6.1.0-9-x"), "kernel").unwrap();
        let dep = "kernel/drivers/net/ethernet/ice.ko:\nkernel/drivers/nvme/host/nvme.ko:\n\
                   kernel/drivers/char/ipmi/ipmi_si.ko:\nkernel/fs/nfs/nfs.ko:\n";
        fs::write(dir.join("modules.dep"), dep).unwrap();
        root
    }

    #[test]
    fn it_has_the_drivers_of_a_rack_and_no_file_systems() {
        let (root, tftp) = (root(), tempfile::tempdir().unwrap());
        let source = Source { root: root.path(), kernel: None, drivers: &[], authority: None };
        let made = make(&source, tftp.path()).unwrap();
        assert_eq!((made.kernel.as_str(), made.kernel_bytes), ("6.1.0-9-x", 6));
        let packed = fs::File::open(tftp.path().join("xcat/genesis.fs.x86_64.gz")).unwrap();
        let mut plain = Vec::new();
        flate2::read::GzDecoder::new(packed).read_to_end(&mut plain).unwrap();
        let has = |name: &str| plain.windows(name.len()).any(|window| window == name.as_bytes());
        assert!(has("ice.ko") && has("nvme.ko") && has("ipmi_si.ko"));
        assert!(!has("nfs.ko"));
        let again = make(&source, tftp.path()).unwrap();
        assert_eq!(again, made);
        let left: Vec<_> =
            fs::read_dir(tftp.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, ["xcat"], "nothing else is left in the TFTP root");
    }

    #[test]
    fn a_link_in_the_tftp_root_leads_nowhere() {
        let (root, tftp, outside) = (root(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::write(outside.path().join("kernel"), "theirs").unwrap();
        fs::create_dir(tftp.path().join("xcat")).unwrap();
        let link = tftp.path().join("xcat/genesis.kernel.x86_64");
        std::os::unix::fs::symlink(outside.path().join("kernel"), &link).unwrap();
        make(&Source { root: root.path(), kernel: None, drivers: &[], authority: None }, tftp.path())
            .unwrap();
        assert_eq!(fs::read_to_string(outside.path().join("kernel")).unwrap(), "theirs");
        assert_eq!(fs::read_to_string(link).unwrap(), "kernel");
    }

    #[test]
    fn without_a_kernel_what_was_there_stays() {
        let (root, tftp) = (root(), tempfile::tempdir().unwrap());
        let source = Source { root: root.path(), kernel: None, drivers: &[], authority: None };
        make(&source, tftp.path()).unwrap();
        let error = make(&Source { kernel: Some("9.9"), ..source }, tftp.path()).unwrap_err();
        assert!(error.to_string().starts_with("kernel 9.9 is not in"), "{error}");
        assert!(tftp.path().join("xcat/genesis.kernel.x86_64").exists());
    }
}
