//! `pack_squashfs DIR IMAGE [LEVEL]`: pack a directory, for measuring against mksquashfs.

use dawn_imagebuilder::{exlist::Exlist, squashfs, tree::Tree};

#[allow(clippy::disallowed_methods, reason = "a program of its own")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().collect();
    let [_, dir, image, level @ ..] = args.as_slice() else { return Err("DIR IMAGE [LEVEL]".into()) };
    let mut options = squashfs::Options::default();
    if let Some(level) = level.first() {
        options.compressor = squashfs::Compressor::Zstd(level.parse()?);
    }
    let start = std::time::Instant::now();
    let tree = Tree::scan(dir.as_ref(), &Exlist::default())?;
    let scanned = start.elapsed();
    let summary = squashfs::write(&tree, &mut std::fs::File::create(image)?, &options, &mut |_| {})?;
    println!("scan {scanned:.2?}, all {:.2?}, {summary:?}", start.elapsed());
    Ok(())
}
