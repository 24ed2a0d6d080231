//! `mknb` and `nbcreate`: the discovery system made from a kernel.

use crate::edits::{FileDifference, answers, written};
use dawn_bootd::command::{Command, Ctx, Kind};
use dawn_bootd::output::{CommandError, Deed, Done, Out, Stop};
use dawn_imagebuilder::genesis::{self, ARCH, Source};
use dawn_imagebuilder::genimage::GenimageError;
use dawn_plan::tftpdir;
use dawn_wire::image::{ROOT, genesis_initrd, genesis_kernel};
use dawn_xcatd::certificates::Authority;
use std::path::PathBuf;

/// Make the discovery system that unknown machines boot
///
/// It consists of a kernel and an initramfs with the drivers of all network cards, disks and BMC interfaces
/// of that kernel. Without --image the kernel is the newest one of this machine that has its modules. What
/// machines boot changes at once; boot scripts are made when a machine asks for one.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Architecture [default: x86_64]
    #[arg(value_name = "ARCH")]
    arch: Option<String>,
    /// Accepted for compatibility: configuration files are made when a machine asks for one
    #[arg(short = 'c', long)]
    configfileonly: bool,
    #[command(flatten)]
    from: From,
}

/// Make the discovery system that unknown machines boot (the former name of mknb)
#[derive(Debug, clap::Args)]
pub struct Former {
    /// Architecture
    #[arg(short = 'a', long = "arch", value_name = "ARCH")]
    arch: Option<String>,
    /// Accepted for compatibility: the sizes are always shown
    #[arg(short = 'v', long)]
    verbose: bool,
    #[command(flatten)]
    from: From,
}

#[derive(Debug, clap::Args)]
struct From {
    /// Take the kernel of this image
    #[arg(long, value_name = "IMAGE")]
    image: Option<String>,
    /// Kernel release [default: the newest]
    #[arg(short = 'k', long, value_name = "RELEASE")]
    kernel: Option<String>,
    /// More kernel modules, separated by commas
    #[arg(short = 'n', long, value_name = "DRIVERS", value_delimiter = ',')]
    drivers: Vec<String>,
    /// Show what would change without changing anything
    #[arg(long)]
    dry_run: bool,
}

impl Command for Args {
    const NAME: &'static str = "mknb";
    const KIND: Kind = Kind::Words;
    const WRITES: bool = true;

    fn run(self, ctx: &Ctx<'_>, out: &mut Out<'_>) -> Done {
        if self.configfileonly {
            return out.notice("Write netboot config file done");
        }
        self.from.make(self.arch.as_deref(), ctx, out)
    }
}

impl Command for Former {
    const NAME: &'static str = "nbcreate";
    const KIND: Kind = Kind::Words;
    const WRITES: bool = true;

    fn run(self, ctx: &Ctx<'_>, out: &mut Out<'_>) -> Done {
        self.from.make(self.arch.as_deref(), ctx, out)
    }
}

impl From {
    fn make(&self, arch: Option<&str>, ctx: &Ctx<'_>, out: &mut Out<'_>) -> Done {
        check_arch(arch.unwrap_or(ARCH), out)?;
        ctx.require_root("write the discovery system")?;
        let root = self.root(ctx)?;
        let tftpdir = tftpdir(&ctx.snapshot);
        answers(&root)?;
        answers(&tftpdir)?;
        let (kernel, initrd) = (genesis_kernel(ARCH), genesis_initrd(ARCH));
        let authority =
            ctx.data.map(|data| Authority::new(data).ca_certificate()).filter(|path| path.exists());
        let source = Source {
            root: &root,
            kernel: self.kernel.as_deref(),
            drivers: &self.drivers,
            authority: authority.as_deref(),
        };
        genesis::check(&source).map_err(|error| self.failed(&error))?;
        if self.dry_run {
            return [kernel, initrd].iter().try_for_each(|name| {
                let path = tftpdir.join(name);
                out.report(&FileDifference::of(written(&path), &path))
            });
        }
        out.notice(format!("Creating {} in {}/xcat", initrd.trim_start_matches("xcat/"), tftpdir.display()))?;
        if authority.is_none() {
            out.warning(
                "This server has no certificate authority, so machines send their packets by datagrams only.",
            )?;
        }
        let made = genesis::make(&source, &tftpdir).map_err(|error| self.failed(&error))?;
        made.warnings.iter().try_for_each(|text| out.warning(text.as_str()))?;
        let line = format!(
            "Kernel {} ({} MB), initramfs {} MB: unknown machines in a dynamic range boot it from now on.",
            made.kernel,
            megabytes(made.kernel_bytes),
            megabytes(made.initrd_bytes),
        );
        let deed = Deed::new("made", "discovery system", ARCH)
            .with("kernel", made.kernel)
            .with("kernel_bytes", made.kernel_bytes)
            .with("initramfs_bytes", made.initrd_bytes);
        out.report(&deed.line(line))
    }

    /// Why it is not made, and what helps.
    fn failed(&self, error: &GenimageError) -> CommandError {
        let hint = match &self.image {
            Some(_) => "`genimage` makes the tree of an image.",
            None => "install the package linux-image-amd64 on this machine, or name an image with --image.",
        };
        CommandError::not_found(error.to_string()).hint(hint)
    }

    /// The tree with the kernel.
    fn root(&self, ctx: &Ctx<'_>) -> Result<PathBuf, Stop> {
        let Some(name) = &self.image else { return Ok(PathBuf::from("/")) };
        let image = ctx.snapshot.osimage(name);
        let image = image.ok_or_else(|| Stop::not_found(format!("There is no image '{name}'.")))?;
        let dir = image.rootimgdir(&ctx.snapshot);
        let dir = dir.ok_or_else(|| Stop::conflict(format!("The image '{name}' has no rootimgdir.")))?;
        Ok(PathBuf::from(dir).join(ROOT))
    }
}

/// Machines of 32 bits are not built any more; those that are asked for with `x86` run x86_64.
fn check_arch(arch: &str, out: &mut Out<'_>) -> Done {
    match arch {
        ARCH => Ok(()),
        "x86" => out.warning(format!("The discovery system has no form for x86, using \"{ARCH}\" instead.")),
        other => Err(Stop::refused(format!(
            "There is no discovery system for {other}: this program carries /init for {ARCH} alone."
        ))),
    }
}

fn megabytes(bytes: u64) -> u64 {
    bytes.div_ceil(1_000_000)
}
