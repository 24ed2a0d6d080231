//! `packimage`: pack the root tree of an image for stateless nodes.

use super::LocalCommand;
use crate::builder::definition;
use crate::environment::Environment;
use dawn_bootd::command::Registry;
use dawn_bootd::output::{CommandError, Deed, Done, Out, Stop, Warning};
use dawn_commands::edits::{FileDifference, written};
use dawn_commands::imagedef::Definition;
use dawn_commands::synclists;
use dawn_imagebuilder::packimage::{self, Method, Options};
use dawn_imagebuilder::password::RootPassword;
use dawn_remote::synclist::Synclist;
use std::cell::RefCell;
use std::io::IsTerminal;
use std::path::PathBuf;

/// Pack the root tree of a netboot image into the file that stateless nodes load
///
/// squashfs without --method. Runs in the process of the caller, as root.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// cpio, tar or squashfs
    #[arg(short = 'm', long, value_name = "METHOD")]
    method: Option<String>,
    /// gzip, pigz or xz, for cpio and tar
    #[arg(short = 'c', long, value_name = "PROGRAM")]
    compress: Option<String>,
    /// Leave out the files of the image's synclists
    #[arg(long)]
    nosyncfiles: bool,
    /// Do nothing if the file was packed from the same tree with the same options
    #[arg(long)]
    unless_changed: bool,
    /// Show what would change without changing anything
    #[arg(long)]
    dry_run: bool,
    /// File with the output of `imagedef`, to use instead of asking the daemon
    #[arg(long, value_name = "FILE")]
    definition: Option<PathBuf>,
    #[arg(short = 'o', hide = true)]
    os: Option<String>,
    #[arg(short = 'p', hide = true)]
    profile: Option<String>,
    #[arg(short = 'a', hide = true)]
    arch: Option<String>,
    /// Image
    #[arg(value_name = "IMAGE")]
    image: Option<String>,
}

impl LocalCommand for Args {
    const NAME: &'static str = "packimage";
    const WRITES: bool = true;
    const UNDO_LEAVES: Option<&'static str> =
        Some("Only the tables: the files of the image stay as they are.");

    fn run(self, environment: &Environment, _: &Registry, out: &mut Out<'_>) -> Done {
        if self.os.is_some() || self.profile.is_some() || self.arch.is_some() {
            let text = "-o, -p and -a options are obsoleted, please use 'packimage <osimage name>' instead.";
            return Err(Stop::usage(text));
        }
        let image = self
            .image
            .as_ref()
            .ok_or_else(|| Stop::usage("Name an image: packimage [-m METHOD] [-c PROGRAM] IMAGE"))?;
        let method = Method::parse(self.method.as_deref(), self.compress.as_deref());
        let method = method.map_err(|error| CommandError::usage(error.to_string()))?;
        let definition = definition(environment, image, self.definition.as_deref())?;
        if self.dry_run {
            let output = definition.image.paths().dir.join(method.file());
            return out.report(&FileDifference::of(written(&output), &output));
        }
        let options = self.options(method, &definition, out)?;
        let shared = RefCell::new(out);
        let is_terminal = std::io::stdout().is_terminal();
        let mut line = |line: &str| drop(shared.borrow_mut().notice(line));
        let mut percent = |percent: u8| {
            if is_terminal {
                let _ = shared.borrow_mut().progress(format!("{percent:3} %"));
            }
        };
        let outcome = packimage::run(&definition.image, &options, &mut line, &mut percent);
        let outcome = outcome.map_err(|error| CommandError::unavailable(error.to_string()))?;
        if outcome.packed {
            let file = outcome.file.display().to_string();
            let line = format!("{file}: {} MiB", outcome.bytes >> 20);
            let packed = Deed::new("packed", "osimage", image.as_str()).with("file", file);
            shared.borrow_mut().report(&packed.with("bytes", outcome.bytes).line(line))?;
        }
        Ok(())
    }
}

impl Args {
    fn options(&self, method: Method, definition: &Definition, out: &mut Out<'_>) -> Result<Options, Stop> {
        let postscripts = definition.image.installdir.join("postscripts");
        let root_password = match &definition.image.root_hash {
            _ if definition.secureroot => RootPassword::Locked,
            Some(hash) => RootPassword::Hash(dawn_wire::Secret::new(hash)),
            None => {
                let hint = "set one: `chtab key=system passwd.username=root passwd.password=PASSWORD`";
                out.warning(Warning::new("root has no password in this image").hint(hint))?;
                RootPassword::Locked
            }
        };
        Ok(Options {
            method,
            root_password,
            timezone: definition.timezone.clone(),
            postscripts: postscripts.is_dir().then_some(postscripts),
            sync_files: if self.nosyncfiles { Vec::new() } else { sync_files(&definition.synclists)? },
            unless_changed: self.unless_changed,
            ..Options::default()
        })
    }
}

/// The files of all lists: path in the image, file of this machine. Later lists win.
fn sync_files(lists: &[PathBuf]) -> Result<Vec<(String, PathBuf)>, Stop> {
    let mut all = Synclist::default();
    for list in lists {
        all.extend(synclists::read(list)?);
    }
    let plan = synclists::plan_for_image(all)?;
    Ok(plan.places.into_iter().map(|(place, source)| (place, PathBuf::from(source.path))).collect())
}
