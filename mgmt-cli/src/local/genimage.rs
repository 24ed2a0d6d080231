//! `genimage`: build the root tree and the initramfs images of an image.
//!
//! Runs in the process of the caller, because it needs the package mirrors and root's rights here; the
//! daemon may serve a network without either.

use super::LocalCommand;
use crate::builder::{ask, definition};
use crate::environment::Environment;
use dawn_bootd::command::Registry;
use dawn_bootd::output::{CommandError, Deed, Done, Out, Stop};
use dawn_imagebuilder::genimage::{self, Embedded, GenimageError, Options, Outcome};
use dawn_imagebuilder::image::ImageDef;
use dawn_statelite::{DEFAULT_OPTION, default_paths};
use std::path::PathBuf;

/// Build the root tree, kernel and initramfs images of a netboot or statelite image
///
/// Needs root and the package mirrors. Values given here are stored in the image's definition unless
/// --noupdate is given.
#[derive(Debug, clap::Args)]
#[allow(clippy::struct_excessive_bools)]
pub(super) struct Args {
    /// Architecture (osarch)
    #[arg(short = 'a', value_name = "ARCH")]
    arch: Option<String>,
    /// Distribution and release (osvers)
    #[arg(short = 'o', value_name = "OS")]
    os: Option<String>,
    /// Profile
    #[arg(short = 'p', value_name = "PROFILE")]
    profile: Option<String>,
    /// Boot interface (nodebootif)
    #[arg(short = 'i', value_name = "NIC")]
    nic: Option<String>,
    /// Network drivers for the initramfs (netdrivers)
    #[arg(short = 'n', value_name = "DRIVERS")]
    drivers: Option<String>,
    /// Add other interfaces (hosts.otherinterfaces)
    #[arg(short = 'r', value_name = "NICS")]
    other_nics: Option<String>,
    /// Accepted for compatibility
    #[arg(short = 'l', value_name = "LIMIT")]
    root_limit: Option<String>,
    /// Accepted for compatibility
    #[arg(short = 't', value_name = "LIMIT")]
    tmp_limit: Option<String>,
    /// Kernel version (kernelver)
    #[arg(short = 'k', value_name = "VERSION")]
    kernel: Option<String>,
    /// Kernel package version (krpmver)
    #[arg(short = 'g', value_name = "VERSION")]
    kernel_package: Option<String>,
    /// Accepted for compatibility: both initramfs images are always made
    #[arg(short = 'm', value_name = "statelite")]
    method: Option<String>,
    /// Directory of kernel packages (kerneldir)
    #[arg(long, value_name = "DIR")]
    kerneldir: Option<String>,
    /// Mode of the image directory (permission)
    #[arg(long, value_name = "MODE")]
    permission: Option<String>,
    /// Make only the kernel and initramfs images, from the existing tree
    #[arg(long)]
    onlyinitrd: bool,
    /// Print what would be run without changing anything
    #[arg(long, visible_alias = "dryrun")]
    dry_run: bool,
    /// Do nothing if the tree was built from the same definition
    #[arg(long)]
    unless_changed: bool,
    /// Accepted for compatibility: nothing is asked
    #[arg(long)]
    interactive: bool,
    /// Accepted for compatibility
    #[arg(long)]
    ignorekernelchk: bool,
    /// Do not store values given here
    #[arg(long)]
    noupdate: bool,
    /// Write no rows of litefile for a statelite image that has none
    #[arg(long)]
    no_litefile: bool,
    /// Accepted for compatibility
    #[arg(long, value_name = "FILE")]
    tempfile: Option<String>,
    /// File with the output of `imagedef`, to use instead of asking the daemon
    #[arg(long, value_name = "FILE")]
    definition: Option<PathBuf>,
    /// Image [default: OS-ARCH-netboot-PROFILE]
    #[arg(value_name = "IMAGE")]
    image: Option<String>,
}

impl LocalCommand for Args {
    const NAME: &'static str = "genimage";
    const WRITES: bool = true;
    const UNDO_LEAVES: Option<&'static str> =
        Some("Only the tables: the files of the image stay as they are.");

    fn run(self, environment: &Environment, _: &Registry, out: &mut Out<'_>) -> Done {
        let image = self.image_name()?;
        let from_file = self.definition.is_some();
        if !self.noupdate && !self.dry_run && !from_file {
            self.store(environment, &image)?;
        }
        let definition = definition(environment, &image, self.definition.as_deref())?;
        let wants_rows = definition.has_no_litefile && !self.no_litefile && !self.noupdate && !from_file;
        let mut def = definition.image;
        self.override_values(&mut def)?;
        if !matches!(def.provmethod.as_str(), "netboot" | "statelite") {
            return Err(Stop::conflict(format!(
                "'{image}' cannot be used to build diskless image. Make sure osimage.provmethod is 'netboot' \
                 or 'statelite'."
            )));
        }
        let options = Options {
            only_initrd: self.onlyinitrd,
            unless_changed: self.unless_changed,
            ..Options::default()
        };
        if self.dry_run {
            let lines = genimage::dryrun(&def, &options).map_err(failed)?;
            out.lines(&lines.join("\n"))?;
            if wants_rows {
                let paths = default_paths(&def.osvers).join(" ");
                out.report(
                    &Deed::new("would add", "litefile", paths.as_str()).line(format!("+ litefile: {paths}")),
                )?;
            }
            return Ok(());
        }
        let outcome = genimage::run(&def, &options, &Embedded::new(), &mut |line| drop(out.notice(line)))
            .map_err(failed)?;
        let deed = match outcome {
            Outcome::Built { kernel } => Deed::new("built", "osimage", image.as_str()).with("kernel", kernel),
            Outcome::Unchanged => Deed::new("unchanged", "osimage", image.as_str()),
        };
        out.report(&deed)?;
        if wants_rows { write_litefile(environment, &def, out) } else { Ok(()) }
    }
}

/// What the builder says, with its hint.
fn failed(error: GenimageError) -> Stop {
    CommandError::unavailable(error.to_string()).maybe_hint(error.hint()).into()
}

impl Args {
    fn image_name(&self) -> Result<String, Stop> {
        match (&self.image, &self.os, &self.arch, &self.profile) {
            (Some(image), ..) => Ok(image.clone()),
            (None, Some(os), Some(arch), Some(profile)) => Ok(format!("{os}-{arch}-netboot-{profile}")),
            _ => Err(Stop::usage("Name an image, or its OS, architecture and profile with -o, -a and -p.")),
        }
    }

    /// Attributes given on the command line.
    fn given(&self) -> Vec<(&'static str, &String)> {
        [
            ("osarch", &self.arch),
            ("osvers", &self.os),
            ("profile", &self.profile),
            ("nodebootif", &self.nic),
            ("netdrivers", &self.drivers),
            ("otherifce", &self.other_nics),
            ("kernelver", &self.kernel),
            ("krpmver", &self.kernel_package),
            ("kerneldir", &self.kerneldir),
            ("permission", &self.permission),
        ]
        .into_iter()
        .filter_map(|(attr, value)| Some((attr, value.as_ref()?)))
        .collect()
    }

    fn store(&self, environment: &Environment, image: &str) -> Done {
        let given = self.given();
        if given.is_empty() {
            return Ok(());
        }
        // An image that does not exist must not come into being here.
        definition(environment, image, None)?;
        let mut words = vec!["-t".to_owned(), "osimage".to_owned(), image.to_owned()];
        words.extend(given.into_iter().map(|(attr, value)| format!("{attr}={value}")));
        ask(environment, "chdef", words)?;
        Ok(())
    }

    fn override_values(&self, def: &mut ImageDef) -> Done {
        let list = |text: &String| text.split(',').map(str::to_owned).collect();
        for (attr, value) in self.given() {
            match attr {
                "osarch" => def.arch.clone_from(value),
                "osvers" => def.osvers.clone_from(value),
                "profile" => def.profile.clone_from(value),
                "netdrivers" => def.netdrivers = list(value),
                "kernelver" => def.kernelver = Some(value.clone()),
                "permission" => {
                    let mode = u32::from_str_radix(value, 8).ok().filter(|mode| *mode <= 0o7777);
                    def.permission =
                        Some(mode.ok_or_else(|| Stop::usage(format!("{value} is not an octal mode")))?);
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// A statelite image without a row has a root that its nodes cannot write at all. Rows that are there, those
/// for all images included, are never added to.
fn write_litefile(environment: &Environment, def: &ImageDef, out: &mut Out<'_>) -> Done {
    let (image, paths) = (&def.name, default_paths(&def.osvers));
    for path in &paths {
        let words = [format!("image={image},file={path}"), format!("litefile.options={DEFAULT_OPTION}")];
        ask(environment, "chtab", words.into())?;
    }
    let added = Deed::new("added", "litefile", image.as_str()).with("option", DEFAULT_OPTION);
    out.report(&added.with("files", paths.clone()).line(format!(
        "{image} had no rows in litefile and got the default ones: {DEFAULT_OPTION} for {}",
        paths.join(" ")
    )))?;
    out.notice(
        "dawn explain NODE names what else its services write to; --no-litefile leaves the table alone.",
    )
}
