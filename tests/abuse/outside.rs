//! A server in a process of its own, whose descriptors and memory are nobody else's.

use std::alloc::System;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::SocketAddr;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Mutex, MutexGuard};
use std::{env, fmt, fs, panic};

use parsec_telemetry::Aggregator;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

use crate::site::{Site, alone};
use crate::sources::{self, Million};
use crate::wire::{Kept, ask, connect, poll};
use crate::{GET, GET_TEXT, MIB, NEVER, SOON};

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
    /// With a million patterns until it is [told](Outside::tell) that this is enough.
    Long,
}

const KINDS: [(Kind, &str); 5] = [
    (Kind::Usual, "usual"),
    (Kind::Few, "few"),
    (Kind::Patient, "patient"),
    (Kind::Ill, "ill"),
    (Kind::Long, "long"),
];

const VARIABLE: &str = "PARSEC_SERVER";

/// What it is told, a byte each.
const HOW_MUCH: u8 = b'?';
const ENOUGH: u8 = b'!';

/// Counts what the server holds: what the system's allocator keeps of that when it is given back is
/// its own affair.
#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

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
    let million = Million::default();
    let aggregator = match kind {
        Kind::Usual => sources::long(),
        Kind::Long => Aggregator::new().source(million.clone()),
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
        // A debug build takes its time.
        Kind::Long => server.source_timeout(NEVER),
    });
    println!("listening at {}", site.at);
    // Until the other side goes away.
    for told in io::stdin().lock().bytes().map_while(Result::ok) {
        match told {
            HOW_MUCH => {
                let stats = ALLOCATOR.stats();
                println!("holds {}", stats.bytes_allocated - stats.bytes_deallocated);
            }
            _ => million.is_enough(),
        }
    }
}

/// What a process takes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Taken {
    /// Allocated, and not given back.
    pub(crate) held: u64,
    resident: u64,
    pub(crate) descriptors: u64,
    pub(crate) threads: u64,
}

impl Taken {
    pub(crate) fn at_worst(self, other: Self) -> Self {
        Self {
            held: self.held.max(other.held),
            resident: self.resident.max(other.resident),
            descriptors: self.descriptors.max(other.descriptors),
            threads: self.threads.max(other.threads),
        }
    }
}

impl fmt::Display for Taken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [held, resident] = [self.held, self.resident].map(|bytes| bytes as f64 / MIB as f64);
        let (fds, threads) = (self.descriptors, self.threads);
        write!(
            f,
            "{held:.1} MiB held ({resident:.1} resident), {fds} fds, {threads} threads"
        )
    }
}

pub(crate) struct Outside {
    process: Child,
    talk: Mutex<(ChildStdin, BufReader<ChildStdout>)>,
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
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a process");
        let hand = process.stdin.take().expect("a pipe");
        let said = BufReader::new(process.stdout.take().expect("a pipe"));
        // From here on it is ended, whatever happens.
        let mut this = Self {
            process,
            talk: Mutex::new((hand, said)),
            at: SocketAddr::from(([0; 4], 0)),
            before: Taken::default(),
            _alone: alone,
        };
        this.at = this.said("listening at ").parse().expect("an address");
        // What a first page needs stays.
        let pages = if kind == Kind::Long { 0 } else { 20 };
        for _ in 0..pages {
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
        self.say(HOW_MUCH);
        let held = self.said("holds ").parse().expect("a number");
        let of = format!("/proc/{}", self.process.id());
        let status = fs::read_to_string(format!("{of}/status")).expect("Linux");
        let behind = |name| {
            let rest = status.lines().find_map(|line| line.strip_prefix(name));
            let word = rest.and_then(|rest| rest.split_whitespace().next());
            word.expect(name).parse::<u64>().expect("a number")
        };
        let descriptors = fs::read_dir(format!("{of}/fd")).expect("Linux").count();
        Taken {
            held,
            resident: behind("VmRSS:") * 1024,
            descriptors: descriptors as u64,
            threads: behind("Threads:"),
        }
    }

    /// That a million patterns are enough.
    pub(crate) fn tell(&self) {
        self.say(ENOUGH);
    }

    fn say(&self, byte: u8) {
        let mut talk = self.talk.lock().expect("no panic");
        talk.0.write_all(&[byte]).expect("it listens");
    }

    /// What it says behind this, whatever the test harness says in between.
    fn said(&self, what: &str) -> String {
        let mut talk = self.talk.lock().expect("no panic");
        let mut lines = talk.1.by_ref().lines().map(|line| line.expect("text"));
        let said = lines.find_map(|line| Some(line.split_once(what)?.1.to_owned()));
        said.expect("it still runs")
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
