//! `bench_squashfs [DIR] [ROUNDS]`: pack a directory with our writer and with mksquashfs, turn by turn.
//!
//! Both make the same kind of image (zstd, 128 KiB blocks, fragments, export table) with the same level. What
//! is compared is CPU time (user and system of the whole process), the most memory it had, and the size; wall
//! time depends on what else the machine does. `bench_squashfs --pack DIR IMAGE LEVEL` is one of our turns.

use std::io;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use dawn_imagebuilder::{exlist::Exlist, squashfs, tree::Tree};

type Failure = Box<dyn std::error::Error>;

/// Resources that a child used.
#[derive(Clone, Copy)]
struct Cost {
    cpu_s: f64,
    wall_s: f64,
    memory_mb: f64,
    image_mb: f64,
}

#[allow(clippy::disallowed_methods, reason = "a program of its own")]
fn main() -> Result<(), Failure> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if let [flag, dir, image, level] = args.as_slice()
        && flag == "--pack"
    {
        return pack(Path::new(dir), Path::new(image), level.parse()?);
    }
    let dir = args.first().map_or("/usr/lib", String::as_str);
    let rounds: usize = args.get(1).map_or(Ok(2), |text| text.parse())?;
    let work = tempfile::tempdir()?;
    let image = work.path().join("image").display().to_string();
    let me = std::env::current_exe()?.display().to_string();
    println!("| level | writer | CPU s | wall s | memory MB | image MB |\n|---|---|---:|---:|---:|---:|");
    for level in ["3", "9"] {
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for _ in 0..rounds {
            ours.push(run(&me, &["--pack", dir, &image, level], &image)?);
            let options =
                ["-comp", "zstd", "-Xcompression-level", level, "-no-progress", "-quiet", "-noappend"];
            theirs.push(run("mksquashfs", &[&[dir, &image], options.as_slice()].concat(), &image)?);
        }
        let (ours, theirs) = (best(&ours), best(&theirs));
        for (name, cost) in [("dawn", ours), ("mksquashfs", theirs)] {
            let Cost { cpu_s, wall_s, memory_mb, image_mb } = cost;
            println!("| {level} | {name} | {cpu_s:.2} | {wall_s:.2} | {memory_mb:.0} | {image_mb:.1} |");
        }
        println!(
            "| {level} | dawn to mksquashfs | {:.2} | {:.2} | {:.2} | {:.3} |",
            ours.cpu_s / theirs.cpu_s,
            ours.wall_s / theirs.wall_s,
            ours.memory_mb / theirs.memory_mb,
            ours.image_mb / theirs.image_mb
        );
    }
    Ok(())
}

fn pack(dir: &Path, image: &Path, level: i32) -> Result<(), Failure> {
    let options =
        squashfs::Options { compressor: squashfs::Compressor::Zstd(level), ..squashfs::Options::default() };
    let tree = Tree::scan(dir, &Exlist::default())?;
    squashfs::write(&tree, &mut std::fs::File::create(image)?, &options, &mut |_| {})?;
    Ok(())
}

/// The round that was disturbed least.
fn best(rounds: &[Cost]) -> Cost {
    let least = |pick: fn(&Cost) -> f64| rounds.iter().map(pick).fold(f64::INFINITY, f64::min);
    Cost {
        cpu_s: least(|c| c.cpu_s),
        wall_s: least(|c| c.wall_s),
        memory_mb: least(|c| c.memory_mb),
        image_mb: least(|c| c.image_mb),
    }
}

#[allow(
    clippy::cast_precision_loss,
    clippy::zombie_processes,
    reason = "figures for people; wait4 takes the child"
)]
fn run(program: &str, args: &[&str], image: &str) -> Result<Cost, Failure> {
    let _ = std::fs::remove_file(image);
    let start = Instant::now();
    let child = Command::new(program).args(args).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    let (mut status, mut usage) = (0, std::mem::MaybeUninit::<libc::rusage>::zeroed());
    // SAFETY: both pointers are valid for the call, and the child is ours and has not been waited for.
    let pid = unsafe { libc::wait4(i32::try_from(child.id())?, &raw mut status, 0, usage.as_mut_ptr()) };
    if pid < 0 || status != 0 {
        return Err(format!("{program}: {} (status {status})", io::Error::last_os_error()).into());
    }
    // SAFETY: wait4 has filled it, and zeros are a value of it anyway.
    let usage = unsafe { usage.assume_init() };
    let seconds = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 / 1e6;
    Ok(Cost {
        cpu_s: seconds(usage.ru_utime) + seconds(usage.ru_stime),
        wall_s: start.elapsed().as_secs_f64(),
        memory_mb: usage.ru_maxrss as f64 / 1024.0,
        image_mb: std::fs::metadata(image)?.len() as f64 / 1e6,
    })
}
