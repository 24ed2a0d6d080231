//! Virtual machines of this machine, by QEMU's monitor (QMP, `docs/interop/qmp-spec` of QEMU).
//!
//! A machine that was started with `-S -no-shutdown` has a power button: it begins switched off, and its
//! guest's shutdown leaves it switched off instead of ending QEMU. Off is every state in which it does not
//! run. QEMU does not report the boot device that was set, so a query is refused.
//!
//! QEMU serves one client of a monitor at a time; a monitor that does not answer for [`QMP_TIME_MAX`] is an
//! error.

use dawn_ipmi::command::chassis::{BootOverride, Control, Device};
use serde_json::{Value, json};
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::time::timeout;

use crate::driver::{Answer, Driver, Processor};
use crate::error::Error;
use crate::limits::{QMP_EVENTS_MAX, QMP_LINE_BYTES_MAX, QMP_TIME_MAX};
use crate::power::Style;

/// A virtual machine.
#[derive(Debug)]
pub struct Machine {
    socket: String,
}

/// A conversation with the monitor.
struct Monitor {
    stream: BufReader<UnixStream>,
}

impl Machine {
    /// The machine whose monitor listens at this path.
    pub fn new(socket: String) -> Self {
        Self { socket }
    }

    /// Runs commands one after the other; what the last one returned.
    async fn ask(&self, commands: &[Value]) -> Result<Value, Error> {
        let talk = async {
            let mut monitor = Monitor::connect(&self.socket).await?;
            let mut last = Value::Null;
            for command in commands {
                last = monitor.execute(command).await?;
            }
            Ok(last)
        };
        let late = || Error::Machine(format!("QEMU's monitor {} does not answer", self.socket));
        timeout(QMP_TIME_MAX, talk).await.map_err(|_| late())?
    }

    /// The machine's state, as QEMU names it.
    async fn state(&self) -> Result<String, Error> {
        let status = self.ask(&[json!({"execute": "query-status"})]).await?;
        Ok(status.get("status").and_then(Value::as_str).unwrap_or_default().to_owned())
    }

    async fn switch(&self, control: Control) -> Result<(), Error> {
        let execute = |name: &str| json!({ "execute": name });
        let commands = match control {
            // A guest that has shut down is not resumed but started: reset comes first.
            Control::On if self.state().await? == "running" => return Ok(()),
            Control::On => vec![execute("system_reset"), execute("cont")],
            Control::Off => vec![execute("stop"), execute("system_reset")],
            Control::Cycle => vec![execute("stop"), execute("system_reset"), execute("cont")],
            Control::Reset => vec![execute("system_reset")],
            Control::SoftOff => vec![execute("system_powerdown")],
            Control::Diagnostic => vec![execute("inject-nmi")],
        };
        self.ask(&commands).await.map(drop)
    }

    async fn boot_from(&self, wanted: Option<BootOverride>) -> Result<Option<BootOverride>, Error> {
        let letter = match wanted.map(|wanted| wanted.device) {
            None | Some(Device::Default) => "cdn",
            Some(Device::Network) => "n",
            Some(Device::Disk) => "c",
            Some(Device::Optical) => "d",
            Some(Device::Floppy) => "a",
            Some(Device::Setup | Device::Other(_)) => {
                return Err(Error::Unsupported("QEMU cannot boot from this device".to_owned()));
            }
        };
        let line = format!("boot_set {letter}");
        let said = self
            .ask(&[json!({"execute": "human-monitor-command", "arguments": {"command-line": line}})])
            .await?;
        match said.as_str().map(str::trim) {
            Some(text) if text.to_lowercase().contains("error") => {
                Err(Error::Machine(format!("QEMU: {}", excerpt(text))))
            }
            _ => Ok(wanted),
        }
    }
}

fn excerpt(text: &str) -> String {
    text.lines().next().unwrap_or_default().chars().take(200).collect()
}

impl Monitor {
    async fn connect(path: &str) -> Result<Self, Error> {
        let stream = UnixStream::connect(path).await;
        let stream = stream.map_err(|error| Error::Machine(format!("QEMU's monitor {path}: {error}")))?;
        let mut monitor = Self { stream: BufReader::new(stream) };
        if monitor.message().await?.get("QMP").is_none() {
            return Err(Error::Machine(format!("{path} is not a QMP monitor of QEMU")));
        }
        monitor.execute(&json!({"execute": "qmp_capabilities"})).await?;
        Ok(monitor)
    }

    async fn execute(&mut self, command: &Value) -> Result<Value, Error> {
        let line = format!("{command}\n");
        self.stream.get_mut().write_all(line.as_bytes()).await.map_err(broken)?;
        for _ in 0..QMP_EVENTS_MAX {
            let mut message = self.message().await?;
            if let Some(error) = message.get("error") {
                let text = error.get("desc").and_then(Value::as_str).unwrap_or("an error without a text");
                return Err(Error::Machine(format!("QEMU: {}", excerpt(text))));
            }
            if let Some(answer) = message.get_mut("return") {
                return Ok(answer.take());
            }
        }
        Err(Error::Machine("QEMU's monitor sends events without end".to_owned()))
    }

    async fn message(&mut self) -> Result<Value, Error> {
        let line = read_line(&mut self.stream).await?;
        serde_json::from_str(&line)
            .map_err(|_| Error::Machine("QEMU's monitor does not speak QMP".to_owned()))
    }
}

/// A line of [`QMP_LINE_BYTES_MAX`] at most.
async fn read_line(stream: &mut (impl AsyncBufRead + Unpin)) -> Result<String, Error> {
    let mut line = String::new();
    let count = stream.take(QMP_LINE_BYTES_MAX).read_line(&mut line).await.map_err(broken)?;
    if count == 0 || !line.ends_with('\n') {
        return Err(Error::Machine("QEMU's monitor closed the connection".to_owned()));
    }
    Ok(line)
}

fn broken(error: std::io::Error) -> Error {
    Error::Machine(format!("QEMU's monitor: {error}"))
}

impl Driver for Machine {
    fn style(&self) -> Style {
        Style::Processor
    }

    fn is_on(&self) -> Answer<'_, bool> {
        Box::pin(async { Ok(self.state().await? == "running") })
    }

    fn control(&self, control: Control) -> Answer<'_, ()> {
        Box::pin(self.switch(control))
    }

    fn boot_device(&self) -> Answer<'_, Option<BootOverride>> {
        Box::pin(async { Err(Error::Unsupported("QEMU does not report the boot device".to_owned())) })
    }

    fn set_boot_device(&self, wanted: Option<BootOverride>) -> Answer<'_, Option<BootOverride>> {
        Box::pin(self.boot_from(wanted))
    }

    fn identify(&self, _on: bool) -> Answer<'_, ()> {
        Box::pin(async { Err(Error::Unsupported("a virtual machine has no identify light".to_owned())) })
    }

    fn processor(&self) -> Option<&dyn Processor> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::UnixListener;

    /// A monitor that answers each line with the next of these.
    async fn monitor(
        path: &std::path::Path,
        answers: Vec<&'static str>,
    ) -> tokio::task::JoinHandle<Vec<String>> {
        let listener = UnixListener::bind(path).unwrap();
        tokio::spawn(async move {
            let (mut heard, mut answers) = (Vec::new(), answers.into_iter().peekable());
            while answers.peek().is_some() {
                let (stream, _) = listener.accept().await.unwrap();
                let mut stream = BufReader::new(stream);
                stream.get_mut().write_all(b"{\"QMP\": {\"version\": {}}}\n").await.unwrap();
                let mut line = String::new();
                while stream.read_line(&mut line).await.unwrap() > 0 {
                    let name = line.split('"').rfind(|word| {
                        word.contains('_') || word.contains('-') || *word == "stop" || *word == "cont"
                    });
                    heard.push(name.unwrap_or_default().to_owned());
                    let answer = if line.contains("qmp_capabilities") {
                        "{\"return\": {}}"
                    } else {
                        answers.next().unwrap_or("{\"return\": {}}")
                    };
                    stream
                        .get_mut()
                        .write_all(format!("{{\"event\": \"NOISE\"}}\n{answer}\n").as_bytes())
                        .await
                        .unwrap();
                    line.clear();
                }
            }
            heard
        })
    }

    #[tokio::test]
    async fn power() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("cn1.qmp");
        let answers = vec![
            r#"{"return": {"status": "prelaunch", "running": false}}"#,
            r#"{"return": {"status": "shutdown"}}"#,
            r#"{"return": {}}"#,
            r#"{"return": {}}"#,
            r#"{"error": {"class": "GenericError", "desc": "no such thing"}}"#,
        ];
        let serving = monitor(&path, answers).await;
        let machine = Machine::new(path.to_string_lossy().into_owned());
        assert_eq!(machine.is_on().await, Ok(false));
        assert_eq!(machine.control(Control::On).await, Ok(()));
        let error = machine.control(Control::Diagnostic).await.unwrap_err();
        assert_eq!(error.to_string(), "QEMU: no such thing");
        let heard = serving.await.unwrap();
        let commands: Vec<_> = heard.iter().filter(|name| *name != "qmp_capabilities").collect();
        assert_eq!(commands, ["query-status", "query-status", "system_reset", "cont", "inject-nmi"]);
    }

    #[tokio::test]
    async fn nobody_listens() {
        let error = Machine::new("/nonexistent/cn1.qmp".to_owned()).is_on().await.unwrap_err();
        assert!(error.to_string().starts_with("QEMU's monitor /nonexistent/cn1.qmp:"), "{error}");
    }
}
