//! A server in a process of its own, whose descriptors and memory are nobody else's.

use std::io::{self, BufRead as _, BufReader, Read as _};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::MutexGuard;
use std::{env, fmt, fs, panic};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::site::{Site, alone};
use crate::wire::{Kept, ask, connect, poll};
use crate::{GET, GET_TEXT, NEVER, SOON, sources};

/// Which server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// With the defaults, and a quarter of a mebibyte of patterns.
    Usual,
    /// With 64 descriptors.
    Few,
    /// Whose clients may be idle for as long as they like.
    Patient,
    /// With every ill source and rule, and little patience.
    Ill,
}

const KINDS: [(Kind, &str); 4] = [
    (Kind::Usual, "usual"),
    (Kind::Few, "few"),
    (Kind::Patient, "patient"),
    (Kind::Ill, "ill"),
];

const VARIABLE: &str = "PARSEC_SERVER";

/// What glibc's allocator is told, so that it gives back what was freed, and what stays is ours.
const ALLOCATOR: [(&str, &str); 3] = [
    ("MALLOC_ARENA_MAX", "1"),
    ("MALLOC_MMAP_THRESHOLD_", "4096"),
    ("MALLOC_TRIM_THRESHOLD_", "0"),
];

/// The server: it runs where the environment says so.
#[test]
fn a_server_of_its_own() {
    let Ok(named) = env::var(VARIABLE) else {
        return;
    };
    let kind = KINDS.iter().find(|(_, name)| *name == named);
    let (kind, _) = *kind.expect("a kind that there is");
    // Some panic on purpose, and often.
    panic::set_hook(Box::new(|_| {}));
    let aggregator = match kind {
        Kind::Usual => sources::long(),
        Kind::Few | Kind::Patient => sources::none(),
        Kind::Ill => sources::ill(),
    };
    if kind == Kind::Few {
        limit_descriptors(64);
    }
    let site = Site::begin(aggregator, |server| match kind {
        Kind::Usual => server,
        Kind::Few | Kind::Patient => server.header_timeout(NEVER).idle_timeout(NEVER),
        Kind::Ill => server
            .header_timeout(2 * SOON)
            .idle_timeout(10 * SOON)
            .write_timeout(2 * SOON)
            .source_timeout(SOON),
    });
    println!("listening at {}", site.at);
    // Until the other side goes away.
    let _ = io::stdin().read(&mut [0]);
}

/// What a process takes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Taken {
    pub(crate) resident_kib: u64,
    pub(crate) descriptors: usize,
}

impl fmt::Display for Taken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mib = self.resident_kib as f64 / 1024.0;
        write!(f, "{mib:.1} MiB, {}", self.descriptors)
    }
}

pub(crate) struct Outside {
    process: Child,
    pub(crate) at: SocketAddr,
    pub(crate) before: Taken,
    _alone: MutexGuard<'static, ()>,
}

impl Outside {
    pub(crate) fn start(kind: Kind) -> Self {
        let alone = alone();
        let (_, name) = KINDS.iter().find(|(known, _)| *known == kind).expect("all");
        let mut process = Command::new(env::current_exe().expect("this program"))
            .args(["--exact", "outside::a_server_of_its_own", "--nocapture"])
            .env(VARIABLE, name)
            .envs(ALLOCATOR)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a process");
        let said = process.stdout.take().expect("a pipe");
        // From here on it is ended, whatever happens.
        let mut this = Self {
            process,
            at: SocketAddr::from(([0; 4], 0)),
            before: Taken {
                resident_kib: 0,
                descriptors: 0,
            },
            _alone: alone,
        };
        let mut lines = BufReader::new(said).lines().map_while(Result::ok);
        let address = lines.find_map(|line| Some(line.split_once("listening at ")?.1.to_owned()));
        let address = address.expect("where it listens");
        this.at = address.parse().expect("an address");
        // What a first page needs stays.
        for _ in 0..20 {
            for page in [GET, GET_TEXT] {
                let answer = ask(this.at, page).expect("an answer");
                assert!(answer.starts_with("HTTP/1.1 200 "), "{answer:.1000}");
            }
        }
        poll("the first clients are gone", || {
            let now = this.takes();
            let still = now.descriptors == this.before.descriptors;
            this.before = now;
            still.then_some(())
        });
        this
    }

    pub(crate) fn takes(&self) -> Taken {
        let of = format!("/proc/{}", self.process.id());
        let status = fs::read_to_string(format!("{of}/status")).expect("Linux");
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = resident.and_then(|rest| rest.split_whitespace().next()?.parse().ok());
        Taken {
            resident_kib: kib.expect("a number"),
            descriptors: fs::read_dir(format!("{of}/fd")).expect("Linux").count(),
        }
    }

    /// Hundredths of a second that it has spent.
    pub(crate) fn cpu_ticks(&self) -> u64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.process.id())).expect("Linux");
        let (_, behind_the_name) = stat.rsplit_once(") ").expect("a name");
        let fields: Vec<&str> = behind_the_name.split(' ').collect();
        [fields[11], fields[12]]
            .map(|ticks| ticks.parse::<u64>().expect("a number"))
            .iter()
            .sum()
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.process.try_wait().expect("a child").is_none()
    }

    pub(crate) fn scraper(&self) -> Kept {
        Kept::of(connect(self.at))
    }
}

impl Drop for Outside {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Raises this process's own limit where it is too low, and says whether that could be done.
pub(crate) fn may_open(descriptors: u64) -> bool {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let suffices = |limit: Option<u64>| limit.is_none_or(|limit| limit >= descriptors);
    if !suffices(current) && suffices(maximum) {
        limit_descriptors(descriptors);
    }
    suffices(getrlimit(Resource::Nofile).current)
}

fn limit_descriptors(most: u64) {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    let limit = Rlimit {
        current: Some(most),
        maximum,
    };
    setrlimit(Resource::Nofile, limit).expect("below the maximum");
}
