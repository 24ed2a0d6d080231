//! `build_image ROOTIMGDIR [PKGLIST]`: genimage and packimage of a Debian 12 image without tables, for
//! trials.

use dawn_imagebuilder::{genimage, image::ImageDef, packimage, password::RootPassword};

#[allow(clippy::disallowed_methods, reason = "a program of its own")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [dir, lists @ ..] = args.as_slice() else { return Err("ROOTIMGDIR [PKGLIST]".into()) };
    let def = ImageDef {
        name: "debian12-x86_64-netboot-compute".into(),
        osvers: "debian12".into(),
        arch: "x86_64".into(),
        profile: "compute".into(),
        provmethod: "netboot".into(),
        rootimgdir: dir.into(),
        pkglist: lists.iter().map(Into::into).collect(),
        ..ImageDef::default()
    };
    let start = std::time::Instant::now();
    let mut line = |text: &str| println!("[{:6.2}] {text}", start.elapsed().as_secs_f64());
    let options = genimage::Options { unless_changed: true, ..genimage::Options::default() };
    let outcome = genimage::run(&def, &options, &genimage::Embedded::new(), &mut line)?;
    line(&format!("{outcome:?}"));
    let options = packimage::Options {
        root_password: RootPassword::Plain(dawn_wire::Secret::new("cluster")),
        unless_changed: true,
        ..packimage::Options::default()
    };
    let outcome = packimage::run(&def, &options, &mut line, &mut |_| {})?;
    line(&format!("{outcome:?}"));
    Ok(())
}
