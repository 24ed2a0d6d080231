//! Virtual machines of other machines: libvirt, by its program `virsh`.
//!
//! `virsh` runs here and reaches the hypervisor through ssh itself (`qemu+ssh://root@HOST/system`), so words
//! from tables are arguments of a program, and no shell of the other machine sees them. Machines are not
//! defined or changed: they must exist there, under the node's name.

use std::process::Stdio;
use std::sync::Arc;

use dawn_ipmi::command::chassis::{BootOverride, Control};
use tokio::process::Command;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::driver::{Answer, Driver, Processor};
use crate::error::Error;
use crate::limits::{VIRSH_SAYS_CHARS_MAX, VIRSH_TIME_MAX};
use crate::power::Style;

/// A virtual machine.
#[derive(Debug)]
pub struct Machine {
    program: String,
    uri: String,
    domain: String,
    calls: Arc<Semaphore>,
}

impl Machine {
    /// The machine `domain` on `host` (empty: this machine). Both are names, checked where tables are read.
    pub fn new(program: String, host: String, domain: String, calls: Arc<Semaphore>) -> Self {
        Self { program, uri: uri(&host), domain, calls }
    }

    async fn virsh(&self, verb: &[&str]) -> Result<String, Error> {
        let ended = || Error::Ended("cancelled");
        let _turn = self.calls.acquire().await.map_err(|_| ended())?;
        let mut command = Command::new(&self.program);
        command.args(["--connect", &self.uri, "--quiet"]).args(verb).arg("--domain").arg(&self.domain);
        command.stdin(Stdio::null()).kill_on_drop(true).env("LC_ALL", "C");
        let output = timeout(VIRSH_TIME_MAX, command.output()).await;
        let late = || Error::Machine(format!("virsh does not get an answer from {}", self.uri));
        let output = output.map_err(|_| late())?;
        let output = output.map_err(|error| Error::Machine(format!("{}: {error}", self.program)))?;
        if !output.status.success() {
            let text = String::from_utf8_lossy(&output.stderr);
            let text: String = text.trim().chars().take(VIRSH_SAYS_CHARS_MAX).collect();
            return Err(Error::Machine(text.trim_start_matches("error: ").replace('\n', " ")));
        }
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }
}

/// How libvirt of a machine is reached; empty: of this one.
pub(crate) fn uri(host: &str) -> String {
    match host {
        "" | "localhost" => "qemu:///system".to_owned(),
        host if host.contains(':') => format!("qemu+ssh://root@[{host}]/system"),
        host => format!("qemu+ssh://root@{host}/system"),
    }
}

impl Driver for Machine {
    fn style(&self) -> Style {
        Style::Virtual
    }

    fn is_on(&self) -> Answer<'_, bool> {
        Box::pin(async { Ok(self.virsh(&["domstate"]).await? != "shut off") })
    }

    fn control(&self, control: Control) -> Answer<'_, ()> {
        Box::pin(async move {
            let verbs: &[&str] = match control {
                Control::On => &["start"],
                Control::Off => &["destroy"],
                Control::SoftOff => &["shutdown"],
                Control::Reset => &["reset"],
                Control::Diagnostic => &["inject-nmi"],
                Control::Cycle => {
                    self.virsh(&["destroy"]).await?;
                    &["start"]
                }
            };
            self.virsh(verbs).await.map(drop)
        })
    }

    fn boot_device(&self) -> Answer<'_, Option<BootOverride>> {
        Box::pin(async { Err(no_boot_device()) })
    }

    fn set_boot_device(&self, _wanted: Option<BootOverride>) -> Answer<'_, Option<BootOverride>> {
        Box::pin(async { Err(no_boot_device()) })
    }

    fn identify(&self, _on: bool) -> Answer<'_, ()> {
        Box::pin(async { Err(Error::Unsupported("a virtual machine has no identify light".to_owned())) })
    }

    fn processor(&self) -> Option<&dyn Processor> {
        None
    }
}

fn no_boot_device() -> Error {
    Error::Unsupported("the boot order of a virtual machine is in its definition: virsh edit".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    /// A `virsh` that records its arguments and prints the content of the file `says`.
    fn fake() -> (tempfile::TempDir, String) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("virsh");
        let script = "#!/bin/sh\ncd \"$(dirname \"$0\")\"\nprintf '%s|' \"$@\" >>calls\necho >>calls\n\
                      if [ -e fails ]; then cat fails >&2; exit 1; fi\ncat says\n";
        std::fs::write(&path, script).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        std::fs::write(dir.path().join("says"), "running\n\n").unwrap();
        let path = path.to_string_lossy().into_owned();
        (dir, path)
    }

    #[tokio::test]
    async fn arguments() {
        let (dir, program) = fake();
        let machine = |host: &str| {
            Machine::new(program.clone(), host.to_owned(), "cn1".to_owned(), Arc::new(Semaphore::new(2)))
        };
        assert_eq!(machine("kvm1").is_on().await, Ok(true));
        assert_eq!(machine("").control(Control::Cycle).await, Ok(()));
        assert_eq!(machine("fd00::1").control(Control::SoftOff).await, Ok(()));
        let calls = std::fs::read_to_string(dir.path().join("calls")).unwrap();
        assert_eq!(
            calls.lines().collect::<Vec<_>>(),
            [
                "--connect|qemu+ssh://root@kvm1/system|--quiet|domstate|--domain|cn1|",
                "--connect|qemu:///system|--quiet|destroy|--domain|cn1|",
                "--connect|qemu:///system|--quiet|start|--domain|cn1|",
                "--connect|qemu+ssh://root@[fd00::1]/system|--quiet|shutdown|--domain|cn1|",
            ]
        );
    }

    #[tokio::test]
    async fn failures() {
        let (dir, program) = fake();
        std::fs::write(dir.path().join("fails"), "error: failed to get domain 'cn1'\n").unwrap();
        let calls = Arc::new(Semaphore::new(1));
        let machine = Machine::new(program, String::new(), "cn1".to_owned(), Arc::clone(&calls));
        assert_eq!(machine.is_on().await.unwrap_err().to_string(), "failed to get domain 'cn1'");
        let machine = Machine::new("/nonexistent/virsh".to_owned(), String::new(), "cn1".to_owned(), calls);
        let error = machine.is_on().await.unwrap_err().to_string();
        assert!(error.starts_with("/nonexistent/virsh: "), "{error}");
    }
}
