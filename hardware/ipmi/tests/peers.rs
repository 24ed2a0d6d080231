//! Other implementations: `ipmi_sim` as a BMC (it has suite 3 and IPMI 1.5), `ipmitool` as a client of the
//! simulated BMC (which holds suite 17 against another implementation's key exchange).
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod support;

use std::net::Ipv4Addr;
use std::time::Duration;

use dawn_ipmi::command::app::GetDeviceId;
use dawn_ipmi::command::channel::{GetUserName, THIS_CHANNEL};
use dawn_ipmi::command::chassis::{self, BootOverride, Control, Device, GetBootOption, GetStatus, Identify};
use dawn_ipmi::command::fru::{self, Field, Fru};
use dawn_ipmi::command::lan::{self, Parameter};
use dawn_ipmi::command::sel;
use dawn_ipmi::command::{Completion, Transport};
use dawn_ipmi::engine::error::{SessionError, Unreachable};
use dawn_ipmi::limits::Budget;
use dawn_ipmi::sim::{Bmc, Habits};
use dawn_ipmi::wire::v15::AuthType;
use dawn_ipmi::{Client, ConnectError, Fallback, Protection, Seed, SessionOptions, Suite};
use dawn_ipmi::{Console, ConsoleEvent};
use dawn_test_ports::free_port;
use support::{IpmiSim, Served, credentials, data, ipmitool};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

#[tokio::test]
async fn power_and_boot_device_of_ipmi_sim() {
    let sim = IpmiSim::start(&data("bmc.emu"), "").await;
    let client = Client::start().unwrap();
    // Suite 17 is proposed first and refused.
    let session =
        client.connect(sim.address, &credentials("ADMINPW"), &SessionOptions::default()).await.unwrap();
    assert_eq!(session.info().unwrap().protection, Protection::RmcpPlus(Suite::Sha1));
    let id = session.run(GetDeviceId).await.unwrap();
    assert_eq!((id.device, id.firmware_major, id.firmware_minor), (0x23, 9, 8));
    assert_eq!((id.manufacturer, id.product), (0x1291, 0xf02));
    assert!(!session.run(GetStatus).await.unwrap().is_on());
    session.run(Control::On).await.unwrap();
    assert!(session.run(GetStatus).await.unwrap().is_on());
    session.run(Control::Reset).await.unwrap();
    session.run(Identify::Seconds(10)).await.unwrap();
    let network = BootOverride { device: Device::Network, persistent: false, uefi: false };
    // `ipmi_sim` takes the flags, but never says that they are valid.
    assert_eq!(chassis::set_boot_override(&session, Some(network)).await, Ok(None));
    assert_eq!(session.run(GetBootOption { number: 5 }).await.unwrap()[1], 1 << 2);
    let unknown = session.run(dawn_ipmi::command::app::GetSystemGuid).await;
    assert!(unknown.is_ok() || unknown.unwrap_err().completion() == Some(Completion::INVALID_COMMAND));
    let controls = sim.controls();
    for control in ["power=1", "reset=1", "identify=", "boot=pxe"] {
        assert!(controls.contains(control), "{control} in {controls}");
    }
}

#[tokio::test]
async fn sessions_of_ipmi_1_5() {
    let sim = IpmiSim::start(&data("bmc.emu"), "").await;
    let client = Client::start().unwrap();
    let options =
        SessionOptions { suites: Vec::new(), fallback: Fallback::Unprotected, ..SessionOptions::default() };
    let session = client.connect(sim.address, &credentials("ADMINPW"), &options).await.unwrap();
    assert_eq!(session.info().unwrap().protection, Protection::V15(AuthType::Md5));
    assert_eq!(session.run(GetDeviceId).await.unwrap().device, 0x23);
}

#[tokio::test]
async fn network_of_ipmi_sim() {
    let sim = IpmiSim::start(&data("bmc.emu"), "").await;
    let client = Client::start().unwrap();
    let options = SessionOptions::default();
    let session = client.connect(sim.address, &credentials("ADMINPW"), &options).await.unwrap();
    let address = lan::address(&session, THIS_CHANNEL, Parameter::Address).await.unwrap();
    // `ipmi_sim` has an address there only if a program of the configuration gives it one.
    assert_eq!(address, Ipv4Addr::UNSPECIFIED);
    // A refusal of the BMC is reported, and the lock is released.
    for _ in 0..2 {
        let set = vec![(Parameter::Vlan, lan::vlan_value(Some(12)))];
        let refused = lan::set_parameters(&session, THIS_CHANNEL, set).await;
        assert!(refused.is_ok() || refused.unwrap_err().completion().is_some());
    }
    assert_eq!(session.run(GetUserName(2)).await.unwrap(), "ADMIN");
}

#[tokio::test]
async fn inventory_of_ipmi_sim() {
    let sim = IpmiSim::start(&data("fru.emu"), "").await;
    let client = Client::start().unwrap();
    let options = SessionOptions::default();
    let session = client.connect(sim.address, &credentials("ADMINPW"), &options).await.unwrap();
    let bytes = fru::read_fru(&session, 0).await.unwrap();
    let board = Fru::parse(&bytes).unwrap().board.unwrap().unwrap();
    assert_eq!(board.fields[0], Some(Field::Text("ACME".to_owned())));
}

#[tokio::test]
async fn log_of_ipmi_sim() {
    let sim = IpmiSim::start(&data("sel.emu"), "").await;
    let client = Client::start().unwrap();
    let options = SessionOptions::default();
    let session = client.connect(sim.address, &credentials("ADMINPW"), &options).await.unwrap();
    let records = sel::read_sel(&session).await.unwrap();
    let sensors: Vec<u8> = records.iter().map(|record| record[11]).collect();
    assert_eq!(sensors, [1, 2]);
    sel::clear_sel(&session).await.unwrap();
    assert_eq!(sel::read_sel(&session).await.unwrap(), Vec::<sel::Record>::new());
}

#[tokio::test]
async fn refusals() {
    let sim = IpmiSim::start(&data("bmc.emu"), "").await;
    let client = Client::start().unwrap();
    let options = SessionOptions::default();
    let wrong = client.connect(sim.address, &credentials("wrong"), &options).await.unwrap_err();
    assert!(matches!(wrong, ConnectError::Session(SessionError::WrongPassword)), "{wrong}");
    let only_17 = SessionOptions { suites: vec![Suite::Sha256], ..SessionOptions::default() };
    let refused = client.connect(sim.address, &credentials("ADMINPW"), &only_17).await.unwrap_err();
    assert!(matches!(refused, ConnectError::Session(SessionError::Refused { .. })), "{refused}");
    // Nothing listens here: the kernel's ICMP message ends the wait.
    let nobody = std::net::SocketAddr::from(([127, 0, 0, 1], free_port()));
    let closed = client.connect(nobody, &credentials("ADMINPW"), &options).await.unwrap_err();
    assert!(
        matches!(closed, ConnectError::Session(SessionError::Unreachable(Unreachable::Port))),
        "{closed}"
    );
    assert_eq!(client.ping(nobody, Budget::SHORT).await, Err(Some(Unreachable::Port)));
}

/// A peer that does not do a thing in this time will never do it.
const PEER_TIME_MAX: Duration = Duration::from_secs(20);

/// Output of the machine is read, typed characters arrive, and a console has one owner, who is replaced on
/// request.
#[tokio::test]
async fn console_of_ipmi_sim() {
    let serial = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = serial.local_addr().unwrap().port();
    let sim = IpmiSim::start(&data("bmc.emu"), &format!("sol \"tcp:127.0.0.1:{port}\" 115200")).await;
    let client = Client::start().unwrap();
    let connect = async || {
        client.connect(sim.address, &credentials("ADMINPW"), &SessionOptions::default()).await.unwrap()
    };
    let mut first = connect().await.console(false).await.unwrap();
    let accepted = tokio::time::timeout(PEER_TIME_MAX, serial.accept()).await;
    let (mut machine, _) = accepted.expect("ipmi_sim opens the serial port").unwrap();
    machine.write_all(b"cn1 login: ").await.unwrap();
    assert_eq!(read(&mut first, 11).await, b"cn1 login: ");
    let long = [b'x'; 3000];
    assert_eq!(first.keyboard().send(&long), 3000);
    let mut typed = vec![0; 3000];
    let arrived = tokio::time::timeout(PEER_TIME_MAX, machine.read_exact(&mut typed)).await;
    arrived.expect("all that was typed arrives").unwrap();
    assert_eq!(typed, long);
    let flood: Vec<u8> = (0..20_000_u32).map(|n| n.to_le_bytes()[0]).collect();
    machine.write_all(&flood).await.unwrap();
    assert!(read(&mut first, flood.len()).await == flood);

    let refused = connect().await.console(false).await.unwrap_err();
    assert_eq!(refused.completion(), Some(Completion::CONSOLE_IN_USE));
    let mut second = connect().await.console(true).await.unwrap();
    // `ipmi_sim` does not notify the first one; what it types is no longer acknowledged.
    assert_eq!(first.keyboard().send(b"x"), 1);
    let next = tokio::time::timeout(PEER_TIME_MAX, first.next()).await;
    assert_eq!(next, Ok(Some(ConsoleEvent::Silent)));
    assert_eq!(first.next().await, None);
    machine.write_all(b"again").await.unwrap();
    assert_eq!(read(&mut second, 5).await, b"again");
}

/// So many bytes of a console's output.
async fn read(console: &mut Console, bytes: usize) -> Vec<u8> {
    let mut output = Vec::new();
    while output.len() < bytes {
        let next = tokio::time::timeout(PEER_TIME_MAX, console.next()).await;
        match next.unwrap_or_else(|_| panic!("nothing after {} bytes", output.len())) {
            Some(ConsoleEvent::Output(more)) => output.extend(more),
            other => panic!("{other:?} after {} bytes", output.len()),
        }
    }
    output
}

/// Many sessions at one time over one socket; all are closed when they are dropped.
#[tokio::test]
async fn many_bmcs_from_one_socket() {
    let served: Vec<Served> = (0..100)
        .map(|n| Served::start(Bmc::new(credentials("ADMINPW"), Habits::default(), Seed([n; 32]))))
        .collect();
    let client = Client::start().unwrap();
    let mut jobs = tokio::task::JoinSet::new();
    for address in served.iter().map(|served| served.address) {
        let client = client.clone();
        jobs.spawn(async move {
            let options = SessionOptions::default();
            let session = client.connect(address, &credentials("ADMINPW"), &options).await.unwrap();
            session.run(Control::On).await.unwrap();
            session.run(GetStatus).await.unwrap().is_on()
        });
    }
    assert!(jobs.join_all().await.iter().all(|on| *on));
    drop(client);
    for bmc in served.into_iter().map(Served::stop) {
        assert!(bmc.machine.on);
    }
}

/// Both suites against the key exchange, encryption and integrity of another implementation.
#[test]
fn ipmitool_and_the_simulated_bmc() {
    for suite in [3, 17] {
        let bmc = Bmc::new(credentials("ADMINPW"), Habits::default(), Seed([suite; 32]));
        let served = Served::start(bmc);
        assert_eq!(
            ipmitool(served.address, suite, &["chassis", "power", "status"]),
            "Chassis Power is off\n"
        );
        assert_eq!(
            ipmitool(served.address, suite, &["chassis", "power", "on"]),
            "Chassis Power Control: Up/On\n"
        );
        let bmc = served.stop();
        assert!(bmc.machine.on, "suite {suite}");
        assert_eq!(bmc.active_sessions(), 0, "suite {suite}");
    }
}
