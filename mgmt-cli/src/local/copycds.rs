//! `copycds`: installation media into the install directory, and the images that are installed from them.

use super::LocalCommand;
use crate::builder::{ask_with, report};
use crate::environment::Environment;
use dawn_bootd::command::Registry;
use dawn_bootd::output::{CommandError, Deed, Done, Lines, Out, Report, Stop};
use dawn_cluster::Advised;
use dawn_imagebuilder::media::{self, Copied, Family, Job, MediaError, Medium, Watch};
use serde::Serialize;
use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};

/// The profile of the images that are defined.
const PROFILE: &str = "compute";

/// Copy installation media to the install directory and define the images that are installed from them
///
/// A medium is an ISO file, a block device, or a directory where one is mounted. An interrupted copy is
/// continued when the command is run again. Runs in the process of the caller, as root.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Name of the distribution and release, instead of the medium's own
    #[arg(short = 'n', long, visible_alias = "osver", value_name = "NAME")]
    name: Option<String>,
    /// Architecture, for media that name none
    #[arg(short = 'a', long, value_name = "ARCH")]
    arch: Option<String>,
    /// Directory to copy to [default: NAME/ARCH below the install directory]
    #[arg(short = 'p', long, value_name = "DIR")]
    path: Option<PathBuf>,
    /// Only show what the media are
    #[arg(short = 'i', long)]
    inspection: bool,
    /// Define no images
    #[arg(short = 'o', long)]
    noosimage: bool,
    /// Refuse media that were copied before, and leave defined images as they are
    #[arg(short = 'w', long)]
    nonoverwrite: bool,
    /// Accepted for compatibility
    #[arg(short = 's', long)]
    specific: bool,
    /// Show what would change without changing anything
    #[arg(long)]
    dry_run: bool,
    /// ISO files, block devices or directories
    #[arg(value_name = "FILE", required = true)]
    media: Vec<PathBuf>,
}

impl LocalCommand for Args {
    const NAME: &'static str = "copycds";
    const WRITES: bool = true;
    const UNDO_LEAVES: Option<&'static str> = Some("Only the tables: the files that were copied stay.");

    fn run(self, environment: &Environment, _: &Registry, out: &mut Out<'_>) -> Done {
        if self.inspection {
            return self.inspect(environment, out);
        }
        let installdir = installdir(environment)?;
        if let Some(path) = self.path.as_ref().filter(|path| !path.starts_with(&installdir)) {
            out.warning(format!(
                "copycds: the specified path \"{}\" is not a subdirectory under {}. Nodes load files from there \
                 only, so an installation from this medium will fail.",
                path.display(),
                installdir.display()
            ))?;
        }
        self.media.iter().try_for_each(|file| self.copy(environment, &installdir, file, out))
    }
}

impl Args {
    fn inspect(&self, environment: &Environment, out: &mut Out<'_>) -> Done {
        for (option, _) in
            [("name", &self.name), ("arch", &self.arch)].iter().filter(|(_, value)| value.is_some())
        {
            out.warning(format!(
                "copycds: option --inspection specified, argument specified with option --{option} is ignored"
            ))?;
        }
        for file in &self.media {
            let medium = media::inspect(&environment.directory.join(file)).map_err(failed)?;
            out.report(&Inspected::of(file, &medium))?;
        }
        Ok(())
    }

    fn copy(&self, environment: &Environment, installdir: &Path, file: &Path, out: &mut Out<'_>) -> Done {
        let job = Job {
            source: environment.directory.join(file),
            name: self.name.clone(),
            arch: self.arch.clone(),
            installdir: installdir.to_owned(),
            directory: self.path.as_ref().map(|path| environment.directory.join(path)),
            only_new: self.nonoverwrite,
        };
        if self.dry_run {
            let copied = media::plan(&job).map_err(failed)?;
            let line = format!(
                "would copy {} files, {} MiB, to {}",
                copied.files,
                copied.bytes >> 20,
                copied.directory.display()
            );
            out.report(&deed("would copy", &copied).line(line))?;
        } else {
            let mut shown = Shown { out, is_terminal: std::io::stdout().is_terminal(), percent: None };
            let copied = media::copy(&job, &mut shown).map_err(failed)?;
            for link in &copied.left_out {
                out.warning(format!("{} leads out of the medium and was left out", link.display()))?;
            }
            out.report(&deed("copied", &copied).line("Media copy operation successful"))?;
            if !self.noosimage {
                self.define(environment, installdir, &copied, out)?;
            }
        }
        Ok(())
    }

    /// One change: the row of the distribution, and those of its images.
    fn define(
        &self,
        environment: &Environment,
        installdir: &Path,
        copied: &Copied,
        out: &mut Out<'_>,
    ) -> Done {
        let mut objects = objects(installdir, copied);
        if self.nonoverwrite {
            let defined: Vec<Named> = report(environment, "lsdef", &["-t", "osimage", "-s"])?;
            let defined: Vec<&str> = defined.iter().map(|image| image.name.as_str()).collect();
            objects.retain(|(name, _)| !defined.contains(&name.as_str()));
        }
        if objects.is_empty() {
            return Ok(());
        }
        let mut stanzas = String::from("# <xCAT data object stanza file>\n");
        for (name, attributes) in &objects {
            stanzas.push_str(&format!("\n{name}:\n"));
            attributes.iter().for_each(|(key, value)| stanzas.push_str(&format!("    {key}={value}\n")));
        }
        ask_with(environment, "chdef", vec!["-z".to_owned()], Some(stanzas))?;
        for (name, attributes) in
            objects.iter().filter(|(_, attributes)| attributes.contains_key("provmethod"))
        {
            let method = attributes.get("provmethod").cloned().unwrap_or_default();
            let defined = Deed::new("defined", "osimage", name.as_str()).with("provmethod", method);
            out.report(&defined.line(format!("The image {name} is defined.")))?;
        }
        Ok(())
    }
}

/// An object as `lsdef -s --json` lists it.
#[derive(serde::Deserialize)]
struct Named {
    name: String,
}

fn deed(action: &'static str, copied: &Copied) -> Deed {
    Deed::new(action, "medium", copied.medium.name.as_str())
        .with("arch", copied.medium.arch.as_str())
        .with("directory", copied.directory.display().to_string())
        .with("files", copied.files)
        .with("bytes", copied.bytes)
}

/// `site.installdir` of the daemon.
fn installdir(environment: &Environment) -> Result<PathBuf, Stop> {
    let rows: Vec<BTreeMap<String, String>> =
        report(environment, "gettab", &["key=installdir", "site.value"])?;
    let value = rows.into_iter().find_map(|row| row.into_values().next()).filter(|value| !value.is_empty());
    value.map(PathBuf::from).ok_or_else(|| Stop::conflict("site.installdir is not set"))
}

/// Stanzas of the distribution and of its images.
fn objects(installdir: &Path, copied: &Copied) -> Vec<(String, BTreeMap<&'static str, String>)> {
    let Medium { name, arch, family, .. } = &copied.medium;
    let distro = format!("{name}-{arch}");
    let version = name.trim_start_matches(|c: char| !c.is_ascii_digit());
    let (major, minor) = version.split_once('.').unwrap_or((version, ""));
    let basename = name.strip_suffix(version).unwrap_or(name);
    // The discs of SUSE are below one directory.
    let directory = match family {
        Family::Suse => copied.directory.parent().unwrap_or(&copied.directory),
        _ => &copied.directory,
    };
    let directory = directory.display().to_string();
    let path = |parts: &[&str]| {
        parts.iter().fold(installdir.to_owned(), |path, part| path.join(part)).display().to_string()
    };
    let mut all = vec![(
        distro.clone(),
        BTreeMap::from([
            ("objtype", "osdistro".to_owned()),
            ("basename", basename.to_owned()),
            ("majorversion", major.to_owned()),
            ("minorversion", minor.to_owned()),
            ("arch", arch.clone()),
            ("type", "Linux".to_owned()),
            ("dirpaths", directory.clone()),
        ]),
    )];
    let methods: &[&str] = match family {
        // Trees of netbooted images are made from mirrors: these media lack packages for them.
        Family::Debian | Family::Ubuntu | Family::Alt => &["install"],
        Family::EnterpriseLinux | Family::Suse => &["install", "netboot", "statelite"],
    };
    for method in methods {
        let mut image = BTreeMap::from([
            ("objtype", "osimage".to_owned()),
            ("imagetype", "linux".to_owned()),
            ("provmethod", (*method).to_owned()),
            ("profile", PROFILE.to_owned()),
            ("osname", "Linux".to_owned()),
            ("osvers", name.clone()),
            ("osarch", arch.clone()),
            ("osdistroname", distro.clone()),
            ("pkgdir", directory.clone()),
            ("otherpkgdir", path(&["post", "otherpkgs", name, arch])),
        ]);
        if *method != "install" {
            image.insert("rootimgdir", path(&["netboot", name, arch, PROFILE]));
        }
        all.push((format!("{distro}-{method}-{PROFILE}"), image));
    }
    all
}

/// Prints the progress of a copy.
struct Shown<'o, 's> {
    out: &'o mut Out<'s>,
    is_terminal: bool,
    percent: Option<u64>,
}

impl Watch for Shown<'_, '_> {
    fn begins(&mut self, directory: &Path) {
        let _ = self.out.notice(format!("Copying media to {}", directory.display()));
    }

    fn progress(&mut self, done: u64, all: u64) {
        let percent = done.saturating_mul(100) / all.max(1);
        if self.is_terminal && self.percent != Some(percent) {
            self.percent = Some(percent);
            let _ = self.out.progress(format!("{percent:3} % of {} MiB", all >> 20));
        }
    }
}

/// What `-i` shows of a medium.
#[derive(Serialize)]
struct Inspected {
    file: String,
    distname: String,
    arch: String,
    discno: Option<String>,
}

impl Inspected {
    fn of(file: &Path, medium: &Medium) -> Self {
        Self {
            file: file.display().to_string(),
            distname: medium.name.clone(),
            arch: medium.arch.clone(),
            discno: medium.disc.clone(),
        }
    }
}

impl Report for Inspected {
    fn print(&self, lines: &mut Lines<'_, '_>) -> Done {
        lines.line(format!("OS Image:{}", self.file))?;
        lines.line(format!("DISTNAME:{}", self.distname))?;
        lines.line(format!("ARCH:{}", self.arch))?;
        lines.line(format!("DISCNO:{}", self.discno.as_deref().unwrap_or_default()))
    }
}

fn failed(error: MediaError) -> Stop {
    let of_kind = match &error {
        MediaError::Source { source, .. } if source.kind() == std::io::ErrorKind::NotFound => {
            CommandError::not_found
        }
        MediaError::Known | MediaError::Busy(_) => CommandError::conflict,
        MediaError::OtherArch { .. } | MediaError::OtherName { .. } | MediaError::Word(_) => {
            CommandError::usage
        }
        _ => CommandError::unavailable,
    };
    let text = match std::error::Error::source(&error) {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    };
    of_kind(text).maybe_hint(error.hint()).into()
}
