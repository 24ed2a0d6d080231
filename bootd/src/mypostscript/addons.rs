//! Variables of what a cluster adds to its nodes: monitoring, VLANs of switch ports and virtual machines, and
//! kits of the image.
//!
//! A kit's parameters are in a file of the kit, read when the script is rendered; one that cannot be read is
//! left out with a line in the log.

use super::{Export, cell, image_name, is_name};
use dawn_cluster::list::elements;
use dawn_cluster::{OsImage, Row, Snapshot, col, row_subnet};
use dawn_serving::bounded_read::read_text;
use std::path::Path;

/// Bytes of a kit's file of parameters at most.
const KIT_PARAMETERS_BYTES_MAX: u64 = 64 << 10;

/// The servers that a node's monitoring reports to: the one that this machine `host` talks to, and the same
/// one as the node sees it.
pub(super) fn monitoring(snapshot: &Snapshot, node: &str, host: &str, export: &mut Export<'_>) {
    let attr = |column| Some(cell(snapshot, node, column)).filter(|text| !text.is_empty());
    let (server, master) = match attr(col::noderes::MONSERVER) {
        Some(pair) => match pair.split_once([',', ':']) {
            Some((server, master)) => (server.to_owned(), master.to_owned()),
            None => (pair.clone(), pair),
        },
        None => {
            let pool = attr(col::noderes::SERVICENODE).unwrap_or_else(|| host.to_owned());
            let own =
                attr(col::noderes::XCATMASTER).or_else(|| snapshot.site("master").map(|t| t.to_string()));
            (pool.split(',').next().unwrap_or_default().to_owned(), own.unwrap_or_default())
        }
    };
    export("MONSERVER", server.trim());
    export("MONMASTER", master.trim());
}

/// The tagged networks of the node: those of its switch ports, or of a virtual machine's interfaces `vl<ID>`.
pub(super) fn vlans(snapshot: &Snapshot, node: &str, export: &mut Export<'_>) {
    let columns = [col::switch::VLAN, col::switch::INTERFACE];
    let ports = snapshot.attr_rows(node, col::switch::VLAN.table, &columns);
    let mut count = 0;
    for port in &ports {
        let [vlans, interface] = port.as_slice() else { continue };
        let interface = interface.as_ref().map_or("primary", |interface| &interface.value);
        let vlans = vlans.as_ref().map_or("", |vlans| &vlans.value);
        for id in elements(vlans) {
            count += 1;
            export(&format!("VLANID_{count}"), id);
            export(&format!("VLANNIC_{count}"), interface);
            network(snapshot, node, id, count, export);
        }
    }
    let nics = cell(snapshot, node, col::vm::NICS);
    if ports.is_empty() && !nics.is_empty() {
        export("VMNODE", "YES");
        export("VMNICS", &nics);
        for (nic, position) in nics.split(',').zip(1..) {
            let id = nic.trim().strip_prefix("vl").filter(|id| !id.is_empty());
            let Some(id) = id.filter(|id| id.bytes().all(|byte| byte.is_ascii_digit())) else { continue };
            count += 1;
            export(&format!("VLANID_{count}"), id);
            export(&format!("VLAN_VMNICPOS_{count}"), &position.to_string());
            network(snapshot, node, id, count, export);
        }
    }
    if count > 0 {
        export("VLANMAXINDEX", &count.to_string());
    }
}

/// Name and address that the node has in the network of a VLAN.
fn network(snapshot: &Snapshot, node: &str, id: &str, index: usize, export: &mut Export<'_>) {
    let of_vlan = |row: &&Row| row.get(col::networks::VLANID).is_some_and(|text| &**text == id);
    let subnet = snapshot.enabled_rows("networks").find(of_vlan).and_then(row_subnet);
    let Some(subnet) = subnet else { return };
    let others = snapshot.named_addresses(node).into_iter().filter(|address| address.name != node);
    let is_in = |ip| matches!(ip, std::net::IpAddr::V4(ip) if subnet.contains(ip));
    let Some(own) = others.into_iter().find(|address| is_in(address.ip)) else { return };
    export(&format!("VLANHOSTNAME_{index}"), &own.name);
    export(&format!("VLANIP_{index}"), &own.ip.to_string());
    export(&format!("VLANSUBNET_{index}"), &subnet.address().to_string());
    export(&format!("VLANNETMASK_{index}"), &subnet.mask().to_string());
}

/// The parameters of the kits whose components the image has: lines `#ENV:NAME=VALUE#`.
pub(super) fn kits(snapshot: &Snapshot, image: &OsImage, export: &mut Export<'_>) {
    let components = image.get(col::osimage::KITCOMPONENTS).map(|text| text.to_string()).unwrap_or_default();
    let mut seen: Vec<String> = Vec::new();
    for component in elements(&components) {
        let component = snapshot.find_row(&[(col::kitcomponent::KITCOMPNAME, component)]);
        let Some(kit) = component.and_then(|row| row.get(col::kitcomponent::KITNAME).cloned()) else {
            continue;
        };
        let Some(row) = snapshot.find_row(&[(col::kit::KITNAME, &kit)]) else { continue };
        let (dir, file) = (row.get(col::kit::KITDIR), row.get(col::kit::KITDEPLOYPARAMS));
        let (Some(dir), Some(file)) = (dir, file) else { continue };
        let path = Path::new(&**dir).join("other_files").join(&**file);
        if seen.contains(&kit.to_string()) {
            continue;
        }
        seen.push(kit.to_string());
        match read_text(&path, KIT_PARAMETERS_BYTES_MAX) {
            Ok(text) => parameters(&text, export),
            Err(why) => {
                let (image, path) = (image_name(image), path.display());
                tracing::warn!(image, kit = %kit, %path, %why, "nodes get no parameters of this kit");
            }
        }
    }
}

fn parameters(text: &str, export: &mut Export<'_>) {
    let pairs = text.lines().filter_map(|line| line.trim_end().strip_prefix("#ENV:")?.strip_suffix('#'));
    for (name, value) in pairs.filter_map(|pair| pair.split_once('=')) {
        if is_name(name) && !value.is_empty() {
            export(name, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is exported, one assignment a line.
    fn exported(of: impl FnOnce(&mut Export<'_>)) -> String {
        let mut text = String::new();
        of(&mut |name, value| text.push_str(&format!("{name}={value}\n")));
        text
    }

    #[test]
    fn servers_of_monitoring() {
        let site: (&str, &[(&str, &str)]) = ("site", &[("key", "master"), ("value", "10.1.0.1")]);
        for (columns, expected) in [
            (&[][..], "MONSERVER=mn1\nMONMASTER=10.1.0.1\n"),
            (&[("monserver", "m1")], "MONSERVER=m1\nMONMASTER=m1\n"),
            (&[("monserver", "m1,m1-ib")], "MONSERVER=m1\nMONMASTER=m1-ib\n"),
            (&[("monserver", "m1:m1-ib")], "MONSERVER=m1\nMONMASTER=m1-ib\n"),
            (&[("servicenode", "sn1,sn2"), ("xcatmaster", "sn1-ib")], "MONSERVER=sn1\nMONMASTER=sn1-ib\n"),
        ] {
            let row: Vec<(&str, &str)> =
                [("node", "cn1")].into_iter().chain(columns.iter().copied()).collect();
            let rows = [site, ("nodelist", &[("node", "cn1")]), ("noderes", &row)];
            let snapshot = Snapshot::from_rows(rows);
            assert_eq!(exported(|export| monitoring(&snapshot, "cn1", "mn1", export)), expected);
        }
    }

    #[test]
    fn vlans_of_ports_and_of_virtual_machines() {
        let snapshot = Snapshot::from_rows([
            ("nodelist", &[("node", "cn1")][..]),
            ("nodelist", &[("node", "vm1")]),
            (
                "switch",
                &[("node", "cn1"), ("switch", "s1"), ("port", "1"), ("vlan", "3,9"), ("interface", "eth1")],
            ),
            ("vm", &[("node", "vm1"), ("nics", "br0,vl3")]),
            ("networks", &[("net", "10.3.0.0"), ("mask", "255.255.0.0"), ("vlanid", "3")]),
            (
                "hosts",
                &[("node", "cn1"), ("ip", "10.1.0.5"), ("otherinterfaces", "-ib:10.9.0.5,-v3:10.3.0.5")],
            ),
        ]);
        assert_eq!(
            exported(|export| vlans(&snapshot, "cn1", export)),
            "VLANID_1=3\nVLANNIC_1=eth1\nVLANHOSTNAME_1=cn1-v3\nVLANIP_1=10.3.0.5\nVLANSUBNET_1=10.3.0.0\n\
             VLANNETMASK_1=255.255.0.0\nVLANID_2=9\nVLANNIC_2=eth1\nVLANMAXINDEX=2\n"
        );
        assert_eq!(
            exported(|export| vlans(&snapshot, "vm1", export)),
            "VMNODE=YES\nVMNICS=br0,vl3\nVLANID_1=3\nVLAN_VMNICPOS_1=2\nVLANMAXINDEX=1\n"
        );
    }

    #[test]
    fn parameters_of_kits() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("other_files")).unwrap();
        let text = "#ENV:KITVAR=a b#\nbash\n#ENV:1BAD=x#\n#ENV:EMPTY=#\n#ENV:PAIR=k=v#\n";
        std::fs::write(dir.path().join("other_files/params"), text).unwrap();
        let kitdir = dir.path().to_string_lossy();
        let snapshot = Snapshot::from_rows([
            ("osimage", &[("imagename", "img"), ("kitcomponents", "c1,c2,gone")][..]),
            ("kitcomponent", &[("kitcompname", "c1"), ("kitname", "k")]),
            ("kitcomponent", &[("kitcompname", "c2"), ("kitname", "k")]),
            ("kit", &[("kitname", "k"), ("kitdir", &kitdir), ("kitdeployparams", "params")]),
        ]);
        let image = snapshot.osimage("img").unwrap();
        assert_eq!(exported(|export| kits(&snapshot, &image, export)), "KITVAR=a b\nPAIR=k=v\n");
    }
}
