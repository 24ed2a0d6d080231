//! How much each service may use: derived once, at the start, from the limit of open files and a limit of
//! memory.
//!
//! Every service is given its part as a number; together the parts fit. Within its part a service keeps
//! shares for nodes, certificates and this machine ([`dawn_serving::shares`]); who has an address is
//! answered from the snapshot. `docs/limits.md` has the same table for administrators.

use dawn_cluster::Model;
use dawn_nfs::sys::raise_descriptor_limit;
use dawn_plan::CurrentAddresses;
use dawn_serving::shares::{Callers, Kind};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

/// Descriptors for everything that is not counted below: database, journals, listening sockets,
/// directories, the files and children of commands.
const DESCRIPTORS_RESERVED: usize = 512;
/// What HTTP and HTTPS may have at most, connections each; a connection needs two descriptors, its socket
/// and a file.
const HTTP_CONNECTIONS_MAX: usize = 20_000;
/// Descriptors of one HTTP connection.
const HTTP_DESCRIPTORS: usize = 2;
/// TFTP transfers at most; each may hold a file.
const TFTP_TRANSFERS_MAX: usize = 16_384;
/// Files that NFS keeps open between calls, at most.
const NFS_OBJECTS_MAX: usize = 16_384;
/// Connections of the name server, at most.
const DNS_CONNECTIONS_MAX: usize = 1024;
/// When descriptors are short, the command port gets at most one part in so many of them.
const COMMANDS_PART: usize = 4;
/// Smallest memory limit, bytes: less does not hold the tables of a small cluster and one image build.
pub const MEMORY_MIN: u64 = 256 << 20;
/// One part in so many of a limit is for one address, at most.
const ADDRESS_PART: usize = 4;
/// The part of the machine's memory that is the limit unless an administrator says another: one in so many.
const MEMORY_PART: u64 = 4;
/// Memory of one TFTP transfer, bytes: its state, blocks read ahead, the request.
const TFTP_TRANSFER_BYTES: u64 = 32 << 10;
/// Memory of one connection of HTTP, bytes: a head that arrives, a piece of content.
const HTTP_CONNECTION_BYTES: u64 = 12 << 10;
/// Memory of one connection of HTTPS and of the command port, bytes: the buffers of TLS and what is in them.
const TLS_CONNECTION_BYTES: u64 = 64 << 10;
/// Time between two looks at the memory in use.
const MEMORY_LOOK_PERIOD: Duration = Duration::from_secs(5);
/// Memory is given back to the system when so much more is in use than after the last time, bytes.
const TRIM_STEP_BYTES: u64 = 32 << 20;
/// Memory is given back at least so often while it is above the least seen by [`TRIM_STEP_BYTES`].
const TRIM_LOOKS: u32 = 6;

/// The parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// Memory the daemon may use, bytes.
    pub memory: u64,
    /// Connections of the command port.
    pub commands: usize,
    /// Sessions of the node status port.
    pub sessions: usize,
    /// Bytes of requests without certificate on the command port.
    pub request_bytes: usize,
    /// Connections of HTTP.
    pub http: usize,
    /// Connections of HTTPS.
    pub https: usize,
    /// Connections of NFS.
    pub nfs: usize,
    /// Files that NFS keeps open.
    pub nfs_objects: usize,
    /// Bytes of NFS calls and replies of slow clients.
    pub nfs_waiting_bytes: usize,
    /// TFTP transfers.
    pub tftp: usize,
    /// Connections of the name server.
    pub dns: usize,
    /// Questions that the name server may have pending at other servers at once.
    pub dns_waiting: usize,
    /// What was wanted and does not fit the limit of open files: descriptors, if so.
    pub short_of_descriptors: Option<usize>,
}

impl Budget {
    /// Divides descriptors and memory (bytes).
    #[must_use]
    pub fn new(descriptors: u64, memory: u64) -> Self {
        let memory = memory.max(MEMORY_MIN);
        let part = |parts: u64| memory / 16 * parts;
        let affordable = |parts: u64, each: u64| usize::try_from(part(parts) / each).unwrap_or(usize::MAX);
        let bytes = |parts: u64| usize::try_from(part(parts)).unwrap_or(usize::MAX);
        // Seven parts of sixteen are the tables', the commands' and the images'.
        let by_memory = Self {
            memory,
            commands: dawn_xcatd::limits::CONNECTIONS_MAX.min(affordable(1, TLS_CONNECTION_BYTES)),
            sessions: dawn_xcatd::limits::NODE_SESSIONS_MAX,
            request_bytes: bytes(2),
            http: HTTP_CONNECTIONS_MAX.min(affordable(1, HTTP_CONNECTION_BYTES)),
            https: HTTP_CONNECTIONS_MAX.min(affordable(1, TLS_CONNECTION_BYTES)),
            nfs: dawn_nfs::CONNECTIONS_MAX,
            nfs_objects: NFS_OBJECTS_MAX,
            nfs_waiting_bytes: bytes(2),
            tftp: TFTP_TRANSFERS_MAX.min(affordable(2, TFTP_TRANSFER_BYTES)),
            dns: DNS_CONNECTIONS_MAX,
            dns_waiting: dawn_dns::forward::WAITING_MAX,
            short_of_descriptors: None,
        };
        by_memory.within(usize::try_from(descriptors).unwrap_or(usize::MAX))
    }

    fn descriptors(&self) -> usize {
        let http = (self.http + self.https) * HTTP_DESCRIPTORS;
        let dns = self.dns + self.dns_waiting * dawn_dns::forward::ATTEMPTS_MAX;
        self.commands + self.sessions + http + self.nfs + self.nfs_objects + self.tftp + dns
    }

    /// The same, each number made smaller so that all fit.
    fn within(self, descriptors: usize) -> Self {
        let wanted = self.descriptors();
        let available = descriptors.saturating_sub(DESCRIPTORS_RESERVED.min(descriptors / 2));
        if wanted <= available {
            return self;
        }
        // Commands come first: scripts of the administrator open hundreds of connections at once.
        let commands = self.commands.min(available / COMMANDS_PART).max(1);
        let (left, others) = (available - commands, wanted - self.commands);
        let share = |number: usize| (number * left / others).max(1);
        Self {
            commands,
            sessions: share(self.sessions),
            http: share(self.http),
            https: share(self.https),
            nfs: share(self.nfs),
            nfs_objects: share(self.nfs_objects),
            tftp: share(self.tftp),
            dns: share(self.dns),
            dns_waiting: share(self.dns_waiting),
            short_of_descriptors: Some(wanted + DESCRIPTORS_RESERVED),
            ..self
        }
    }

    /// The limits of this process and machine: raises the limit of open files as far as it goes. `memory`
    /// is what an administrator set, bytes.
    #[must_use]
    pub fn of_this_process(memory: Option<u64>) -> Self {
        let descriptors = raise_descriptor_limit();
        let budget = Self::new(descriptors, memory.unwrap_or_else(|| memory_of_machine() / MEMORY_PART));
        if let Some(wanted) = budget.short_of_descriptors {
            tracing::warn!(
                "the limit of open files is {descriptors}, {wanted} are wanted: at most {} HTTP and {} NFS connections and {} TFTP \
                 transfers at a time; raise it with LimitNOFILE= of the service or ulimit -n",
                budget.http,
                budget.nfs,
                budget.tftp
            );
        }
        budget
    }
}

/// What one address may have of a limit: as much as usual, but never so much that few addresses have all.
#[must_use]
pub fn of_one_address(usual: usize, limit: usize) -> usize {
    usual.min(limit / ADDRESS_PART).max(1)
}

/// Memory of the machine in bytes, or of the control group if that has less.
fn memory_of_machine() -> u64 {
    let machine = rustix::system::sysinfo();
    let total = machine.totalram.saturating_mul(u64::from(machine.mem_unit));
    let group = std::fs::read_to_string("/sys/fs/cgroup/memory.max").ok();
    group.and_then(|text| text.trim().parse().ok()).map_or(total, |limit: u64| limit.min(total))
}

/// Resident memory of this process, bytes; 0 if the system does not say.
fn memory_in_use() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = statm.split_ascii_whitespace().nth(1).and_then(|text| text.parse::<u64>().ok()).unwrap_or(0);
    pages.saturating_mul(rustix::param::page_size() as u64)
}

/// Gives memory back to the system after load, and reports when the limit is still exceeded. Runs
/// until it is dropped.
///
/// The allocator keeps freed memory between pieces that are in use: without this the daemon would forever
/// hold the memory of its worst moment.
pub async fn watch_memory(limit: u64) {
    let (mut trimming, mut reported) = (Trimming::new(memory_in_use()), false);
    loop {
        tokio::time::sleep(MEMORY_LOOK_PERIOD).await;
        let mut now = memory_in_use();
        if trimming.is_due(now, limit) {
            let _ = tokio::task::spawn_blocking(trim).await;
            now = memory_in_use();
            trimming.done(now);
        }
        if now > limit && !reported {
            let (now, limit) = (now >> 20, limit >> 20);
            tracing::warn!(
                "{now} MiB of memory are in use, more than the limit of {limit} MiB (--memory-max)"
            );
        }
        reported = now > limit;
    }
}

/// When memory is given back: sizes are those of the whole process, in bytes.
struct Trimming {
    /// The least seen, but half of the last size at least: the tables may have grown.
    least: u64,
    /// The most seen since memory was given back last. Memory below it is what the load has left allocated.
    most: u64,
    /// Looks since then.
    looks: u32,
}

impl Trimming {
    fn new(now: u64) -> Self {
        Self { least: now, most: now, looks: 0 }
    }

    fn is_due(&mut self, now: u64, limit: u64) -> bool {
        self.looks = self.looks.saturating_add(1);
        self.least = self.least.min(now).max(now / 2);
        self.most = self.most.max(now);
        let has_grown = now > self.least.saturating_add(TRIM_STEP_BYTES);
        let has_shrunk = self.most > now.saturating_add(TRIM_STEP_BYTES);
        now > limit || (self.looks >= TRIM_LOOKS && (has_grown || has_shrunk))
    }

    fn done(&mut self, now: u64) {
        *self = Self { least: self.least.min(now), most: now, looks: 0 };
    }
}

fn trim() {
    // SAFETY: malloc_trim takes no pointers and may be called at any time by any thread (malloc_trim(3)).
    unsafe { libc::malloc_trim(0) };
}

/// Limits the allocator to few arenas: with one for each thread, each would keep the memory freed in it.
/// Called before threads are started.
pub fn few_arenas() {
    const ARENAS: libc::c_int = 4;
    // SAFETY: mallopt takes no pointers; it is called while the process has one thread (mallopt(3)).
    unsafe { libc::mallopt(libc::M_ARENA_MAX, ARENAS) };
}

/// Who has an address by the tables, and which are this machine's own, from memory.
pub struct TableCallers {
    model: Arc<Model>,
    addresses: Arc<CurrentAddresses>,
}

impl TableCallers {
    /// Answers from the newest snapshot of the model.
    #[must_use]
    pub fn new(model: Arc<Model>, addresses: Arc<CurrentAddresses>) -> Self {
        Self { model, addresses }
    }
}

impl Callers for TableCallers {
    fn kind(&self, ip: IpAddr) -> Kind {
        match ip.to_canonical() {
            // The kernel takes no packet from elsewhere that has one of our addresses.
            ip if self.addresses.now().are_of(ip) => Kind::Local,
            ip if self.model.snapshot().node_by_ip(ip).is_some() => Kind::Node,
            _ => Kind::Stranger,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dawn_cluster::{Change, Edit};
    use dawn_plan::{LocalAddress, LocalAddresses};
    use std::net::Ipv4Addr;

    #[test]
    fn addresses_of_this_machine_are_local() {
        let model = Arc::new(Model::in_memory().unwrap());
        let edits = [
            Edit::set("nodelist", &[("node", "cn1")], &[("groups", "all")]).unwrap(),
            Edit::set("hosts", &[("node", "cn1")], &[("ip", "10.0.0.1")]).unwrap(),
        ];
        model.apply(Change::new("root", "test", edits.into())).unwrap();
        let (address, mask) = (Ipv4Addr::new(10, 0, 0, 254), Ipv4Addr::new(255, 255, 0, 0));
        let own = LocalAddresses::new(vec![LocalAddress { interface: "eth1".into(), address, mask }]);
        let callers = TableCallers::new(model, Arc::new(CurrentAddresses::from(own)));
        for (address, kind) in [
            ("127.0.0.1", Kind::Local),
            ("::1", Kind::Local),
            ("10.0.0.254", Kind::Local),
            ("::ffff:10.0.0.254", Kind::Local),
            ("10.0.0.1", Kind::Node),
            ("10.0.0.253", Kind::Stranger),
        ] {
            assert_eq!(callers.kind(address.parse().unwrap()), kind, "{address}");
        }
    }

    /// After a load its memory is freed in part at once, which says that there is more to give back.
    #[test]
    fn memory_is_given_back_after_a_load() {
        let mut trimming = Trimming::new(77 << 20);
        let mut due = |mebibytes: u64| trimming.is_due(mebibytes << 20, 4 << 30);
        let looks = usize::try_from(TRIM_LOOKS).unwrap();
        assert_eq!((0..looks).filter(|_| due(77)).count(), 0);
        assert!(due(305));
        trimming.done(305 << 20);
        let mut due = |mebibytes: u64| trimming.is_due(mebibytes << 20, 4 << 30);
        assert_eq!((0..looks).filter(|_| due(164)).count(), 1);
        trimming.done(79 << 20);
        let mut due = |mebibytes: u64| trimming.is_due(mebibytes << 20, 4 << 30);
        assert_eq!((0..100).filter(|_| due(79)).count(), 0);
        assert!(due(5000), "above the limit at once");
    }

    #[test]
    fn a_large_machine_has_the_usual_limits() {
        let budget = Budget::new(1 << 20, 32 << 30);
        assert_eq!(
            (budget.commands, budget.http, budget.https, budget.nfs, budget.tftp),
            (4096, 20_000, 20_000, 16_384, 16_384)
        );
        assert_eq!(budget.short_of_descriptors, None);
    }

    #[test]
    fn what_is_given_out_fits() {
        for descriptors in [64, 256, 1024, 4096, 20_000, 65_536, 1 << 20] {
            for memory in [0, 1 << 28, 1 << 30, 1 << 32, 1 << 36] {
                let budget = Budget::new(descriptors, memory);
                let used = u64::try_from(budget.descriptors()).unwrap();
                assert!(used < descriptors.max(16), "{descriptors} {memory}: {budget:?}");
                let connections =
                    u64::try_from(budget.commands + budget.https).unwrap() * TLS_CONNECTION_BYTES;
                let clear = u64::try_from(budget.http).unwrap() * HTTP_CONNECTION_BYTES;
                let tftp = u64::try_from(budget.tftp).unwrap() * TFTP_TRANSFER_BYTES;
                let bytes = u64::try_from(budget.request_bytes + budget.nfs_waiting_bytes).unwrap();
                assert!(connections + clear + tftp + bytes <= budget.memory / 16 * 9, "{budget:?}");
            }
        }
    }

    #[test]
    fn a_low_limit_of_files_is_told_and_divided() {
        let budget = Budget::new(20_000, 8 << 30);
        assert!(budget.short_of_descriptors.is_some_and(|wanted| wanted > 100_000), "{budget:?}");
        assert!(budget.http > 2000 && budget.nfs > 2000 && budget.commands == 4096, "{budget:?}");
    }
}
