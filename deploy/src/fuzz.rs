//! The entry for fuzzers: any text as a template. Panics when the masked text shows a password, or when a
//! text grows beyond its limit, which is what a fuzzer looks for.

use crate::files::{FileError, Files};
use crate::render::{Job, render};
use dawn_cluster::{Secret, Snapshot};
use dawn_plan::view::AnswerPart;
use dawn_plan::{LocalAddresses, PackedRoots, Ports, Surroundings};

/// A password that no fuzzer writes by chance.
const PASSWORD: &str = "qT7vPz0wLx";
/// Bytes that are more than any text has.
const BYTES_MAX: usize = 3 << 20;

/// The template is fuzzed; it may include itself, and another file.
struct Fuzzed<'t>(&'t str);

impl Files for Fuzzed<'_> {
    fn read(&self, path: &str) -> Result<String, FileError> {
        match path {
            "/install/custom/t.tmpl" | "/install/custom/subiquity.tmpl" | "/install/custom/list" => {
                Ok(self.0.to_owned())
            }
            "/install/custom/short" => Ok("@base\n-nano  \n#HOSTNAME#\n".to_owned()),
            _ => Err(FileError::Absent),
        }
    }
}

/// Renders any text; the first byte chooses the system.
pub fn fuzz_template(data: &[u8]) {
    let Some((which, text)) = data.split_first() else { return };
    let Ok(text) = std::str::from_utf8(text) else { return };
    if text.contains(PASSWORD) {
        return;
    }
    let systems = ["rhels9.4", "sles15.5", "debian12", "ubuntu22.04"];
    let osvers = systems.get(usize::from(*which) % systems.len()).copied().unwrap_or_default();
    let is_ubuntu = osvers == "ubuntu22.04";
    let template = if is_ubuntu { "/install/custom/subiquity.tmpl" } else { "/install/custom/t.tmpl" };
    let snapshot = Snapshot::from_rows([
        ("site", &[("key", "master"), ("value", "10.1.0.1")][..]),
        ("nodelist", &[("node", "cn1"), ("groups", "all")]),
        ("hosts", &[("node", "cn1"), ("ip", "10.1.0.5")]),
        ("mac", &[("node", "cn1"), ("mac", "52:54:00:00:00:01")]),
        ("nodetype", &[("node", "all"), ("provmethod", "disk")]),
        ("passwd", &[("key", "system"), ("username", "root"), ("password", PASSWORD)]),
        (
            "osimage",
            &[("imagename", "disk"), ("provmethod", "install"), ("osvers", osvers), ("osarch", "x86_64")],
        ),
        (
            "linuximage",
            &[
                ("imagename", "disk"),
                ("template", template),
                ("pkglist", "/install/custom/list"),
                ("partitionfile", "/install/custom/short"),
            ],
        ),
    ]);
    let addresses = LocalAddresses::one("eth1", [10, 1, 0, 1], [255, 255, 0, 0]);
    let packed = &PackedRoots::default();
    let here = Surroundings { addresses: &addresses, ports: Ports::default(), packed, proof: None };
    let hash = |text: &str| Some(Secret::new(format!("$6${text}")));
    let job = Job { snapshot: &snapshot, node: "cn1", here, files: &Fuzzed(text), hash: &hash };
    let part = if is_ubuntu { AnswerPart::UserData } else { AnswerPart::Whole };
    if let Ok(answers) = render(&job, part) {
        let masked = answers.text.masked();
        assert!(!masked.contains(PASSWORD), "{masked}");
        assert!(answers.text.reveal().len() <= BYTES_MAX);
        let shown = answers.text.values().iter().find(|value| value.shown.contains(PASSWORD));
        assert_eq!(shown, None);
    }
}
