//! The step `runimage=`: an archive that is fetched, compared with its digest, unpacked, and run.
//!
//! Nothing of it is looked at before the digest is known to be right. One without a digest is run as it came:
//! then nothing but the server vouches for it.

use std::fs::{self, File};
use std::io::{self, Read};
use std::process::Command;

use dawn_wire::run_image::{DIGEST_BYTES, RunImage};
use ring::digest::{Context, SHA256};

use super::Session;
use super::program::{Done, TaskError, run};
use crate::error::Error;
use crate::url::Url;
use crate::{log, stateless, sys};

/// Where archives are kept and unpacked: memory, of the default size of a tmpfs, half of the machine's.
const PLACE: &str = "/run/dawn/runimage";
/// The program of an archive (xCAT's name).
const PROGRAM: &str = "runme.sh";
/// The server's address in an argument (xCAT's name).
const SERVER: &str = "$xcatmaster";
const BUFFER_BYTES: usize = 64 << 10;

/// Carries out the step with this argument.
pub(super) fn run_image(session: &Session, argument: &str) -> Done {
    let argument = argument.replace(SERVER, &session.server.to_string());
    let image = RunImage::parse(&argument).map_err(|wrong| Some(TaskError::Digest(wrong)))?;
    let url = Url::parse(image.url).ok_or_else(|| Some(TaskError::Address(image.url.to_owned())))?;
    sys::detach(PLACE);
    let result = fetched(session, &url, image.digest).and_then(|root| {
        let mut command = Command::new(format!("./{PROGRAM}"));
        command.current_dir(root);
        run(&mut command, PROGRAM)
    });
    sys::detach(PLACE);
    result.map(Some).map_err(Some)
}

/// Fetches the archive and unpacks it; gives the directory.
fn fetched(session: &Session, url: &Url, digest: Option<[u8; DIGEST_BYTES]>) -> Result<String, TaskError> {
    let (archive, root) = (format!("{PLACE}/archive"), format!("{PLACE}/root"));
    let failed = |cause| Error::file("unpack", archive.as_str(), cause);
    sys::tmpfs(PLACE, "mode=700")?;
    stateless::download(url, &|host| session.resolve(host), &archive)?;
    match digest {
        Some(digest) => compare(&digest, File::open(&archive).map_err(failed)?)?,
        None => {
            let text = format!("runimage: {url} has no digest (#sha256=...) and is not verified");
            log::step(&text);
            // What was said on the console is no reason to stop.
            let _ = session.report(&text);
        }
    }
    fs::create_dir(&root).map_err(failed)?;
    File::open(&archive).and_then(|file| crate::unpack::unpack(file, &root)).map_err(failed)?;
    // Its memory is the program's.
    let _ = fs::remove_file(&archive);
    Ok(root)
}

fn compare(expected: &[u8; DIGEST_BYTES], archive: impl Read) -> Result<(), TaskError> {
    let got = sha256(archive).map_err(|cause| Error::file("read", PLACE, cause))?;
    match got == *expected {
        true => Ok(()),
        false => Err(TaskError::OtherDigest { got: hexadecimal(&got) }),
    }
}

fn sha256(mut source: impl Read) -> io::Result<[u8; DIGEST_BYTES]> {
    let mut context = Context::new(&SHA256);
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        match source.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => context.update(buffer.get(..count).unwrap_or_default()),
            Err(cause) if cause.kind() == io::ErrorKind::Interrupted => {}
            Err(cause) => return Err(cause),
        }
    }
    context.finish().as_ref().try_into().map_err(io::Error::other)
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The second example of FIPS 180-2.
    #[test]
    fn an_archive_is_compared() {
        let text = "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq";
        let right = "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1";
        let digest = |hex: &str| RunImage::parse(&format!("u#sha256={hex}")).unwrap().digest.unwrap();
        assert!(compare(&digest(right), text.as_bytes()).is_ok());
        let wrong = compare(&digest(&right.replace("24", "25")), text.as_bytes()).unwrap_err();
        assert_eq!(
            wrong.to_string(),
            format!("the archive has the SHA-256 {right}, not the one of the step")
        );
    }
}
