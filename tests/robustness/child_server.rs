//! A server in a child process, whose descriptors, threads and memory are its own.

use std::alloc::System;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::SocketAddr;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Mutex, MutexGuard};
use std::{env, fmt, fs, panic};

use parsec_telemetry::Aggregator;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

use crate::local_server::{LocalServer, exclusive};
use crate::sources::{self, ManyPatterns};
use crate::support::poll::poll;
use crate::support::socket::connect;
use crate::wire::{KeepAlive, request};
use crate::{GET_JSON, GET_TEXT, MIB, NEVER, SHORT};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The default options, and 256 KiB of patterns.
    Default,
    /// At most 64 descriptors.
    FewDescriptors,
    /// Idle connections are never closed.
    NoTimeouts,
    /// Every kind of failing source and rule, and short timeouts.
    FailingSources,
    /// A million patterns, until [`ChildServer::report_no_patterns`].
    ManyPatterns,
}

const KINDS: [(Kind, &str); 5] = [
    (Kind::Default, "default"),
    (Kind::FewDescriptors, "few-descriptors"),
    (Kind::NoTimeouts, "no-timeouts"),
    (Kind::FailingSources, "failing-sources"),
    (Kind::ManyPatterns, "many-patterns"),
];

/// Selects the [`Kind`] in the child process.
const VARIABLE: &str = "PARSEC_TEST_SERVER";

/// Commands on the child's standard input.
const PRINT_ALLOCATED: u8 = b'?';
const NO_PATTERNS: u8 = b'!';

/// Counts the bytes in use: the resident size also has what the allocator keeps after a `free`.
#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Not a test but the child's `main`. Does nothing unless the environment names a [`Kind`].
#[test]
fn child_process() {
    let Ok(name) = env::var(VARIABLE) else {
        return;
    };
    let kind = KINDS.iter().find(|(_, known)| *known == name);
    let (kind, _) = *kind.expect("a known kind");
    // The sources that panic would fill the output.
    panic::set_hook(Box::new(|_| {}));
    let patterns = ManyPatterns::default();
    let aggregator = match kind {
        Kind::Default => sources::large(),
        Kind::ManyPatterns => Aggregator::new().source(patterns.clone()),
        Kind::FewDescriptors | Kind::NoTimeouts => Aggregator::new(),
        Kind::FailingSources => sources::failing(),
    };
    if kind == Kind::FewDescriptors {
        limit_descriptors(64);
    }
    let server = LocalServer::without_baseline(aggregator, |server| match kind {
        Kind::Default => server,
        Kind::FewDescriptors | Kind::NoTimeouts => server.header_read_timeout(NEVER).idle_timeout(NEVER),
        Kind::FailingSources => server
            .header_read_timeout(2 * SHORT)
            .idle_timeout(10 * SHORT)
            .write_timeout(2 * SHORT)
            .scrape_timeout(SHORT),
        // A debug build is slow.
        Kind::ManyPatterns => server.scrape_timeout(NEVER),
    });
    println!("listening at {}", server.address);
    for command in io::stdin().lock().bytes().map_while(Result::ok) {
        match command {
            PRINT_ALLOCATED => {
                let stats = ALLOCATOR.stats();
                println!("allocated {}", stats.bytes_allocated - stats.bytes_deallocated);
            }
            _ => patterns.report_none(),
        }
    }
}

/// The resources that a process uses.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Usage {
    pub(crate) allocated: u64,
    resident: u64,
    pub(crate) descriptors: u64,
    pub(crate) threads: u64,
}

impl Usage {
    pub(crate) fn max(self, other: Self) -> Self {
        Self {
            allocated: self.allocated.max(other.allocated),
            resident: self.resident.max(other.resident),
            descriptors: self.descriptors.max(other.descriptors),
            threads: self.threads.max(other.threads),
        }
    }
}

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mib = |bytes: u64| bytes as f64 / MIB as f64;
        write!(
            f,
            "{:.1} MiB allocated ({:.1} resident), {} fds, {} threads",
            mib(self.allocated),
            mib(self.resident),
            self.descriptors,
            self.threads
        )
    }
}

pub(crate) struct ChildServer {
    process: Child,
    pipes: Mutex<(ChildStdin, BufReader<ChildStdout>)>,
    pub(crate) address: SocketAddr,
    /// After the first requests.
    pub(crate) baseline: Usage,
    _exclusive: MutexGuard<'static, ()>,
}

impl ChildServer {
    pub(crate) fn start(kind: Kind) -> Self {
        let exclusive = exclusive();
        let (_, name) = KINDS.iter().find(|(known, _)| *known == kind).expect("every kind");
        let mut process = Command::new(env::current_exe().expect("this program"))
            .args(["--exact", "child_server::child_process", "--nocapture"])
            .env(VARIABLE, name)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a process");
        let stdin = process.stdin.take().expect("a pipe");
        let stdout = BufReader::new(process.stdout.take().expect("a pipe"));
        let mut this = Self {
            process,
            pipes: Mutex::new((stdin, stdout)),
            // Until the child prints it.
            address: SocketAddr::from(([0; 4], 0)),
            baseline: Usage::default(),
            _exclusive: exclusive,
        };
        this.address = this.read_after("listening at ").parse().expect("an address");
        // The memory for the first pages and their formats is kept.
        let rounds = if kind == Kind::ManyPatterns { 0 } else { 20 };
        for _ in 0..rounds {
            for page in [GET_JSON, GET_TEXT] {
                let response = request(this.address, page).expect("a response");
                assert!(response.starts_with("HTTP/1.1 200 "), "{response:.1000}");
            }
        }
        poll("the number of descriptors is stable", || {
            let now = this.usage();
            let is_stable = now.descriptors == this.baseline.descriptors;
            this.baseline = now;
            is_stable.then_some(())
        });
        this
    }

    pub(crate) fn usage(&self) -> Usage {
        self.write(PRINT_ALLOCATED);
        let allocated = self.read_after("allocated ").parse().expect("a number");
        let proc = format!("/proc/{}", self.process.id());
        let status = fs::read_to_string(format!("{proc}/status")).expect("Linux");
        let field = |name| {
            let value = status.lines().find_map(|line| line.strip_prefix(name));
            let number = value.and_then(|value| value.split_whitespace().next());
            number.expect(name).parse::<u64>().expect("a number")
        };
        let descriptors = fs::read_dir(format!("{proc}/fd")).expect("Linux").count();
        Usage {
            allocated,
            resident: field("VmRSS:") * 1024,
            descriptors: descriptors as u64,
            threads: field("Threads:"),
        }
    }

    /// Makes a [`Kind::ManyPatterns`] server report no patterns from now on.
    pub(crate) fn report_no_patterns(&self) {
        self.write(NO_PATTERNS);
    }

    fn write(&self, byte: u8) {
        let mut pipes = self.pipes.lock().expect("no panic");
        pipes.0.write_all(&[byte]).expect("the child reads");
    }

    /// Reads lines until one has `prefix`, and returns the rest of it. The test harness prints lines in between.
    fn read_after(&self, prefix: &str) -> String {
        let mut pipes = self.pipes.lock().expect("no panic");
        let mut lines = pipes.1.by_ref().lines().map(|line| line.expect("text"));
        let rest = lines.find_map(|line| Some(line.split_once(prefix)?.1.to_owned()));
        rest.expect("the child runs")
    }

    /// The CPU time used, in hundredths of a second.
    pub(crate) fn cpu_ticks(&self) -> u64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.process.id())).expect("Linux");
        let (_, after_name) = stat.rsplit_once(") ").expect("a name");
        let fields: Vec<&str> = after_name.split(' ').collect();
        let [user, system] = [fields[11], fields[12]].map(str::parse::<u64>);
        user.expect("a number") + system.expect("a number")
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.process.try_wait().expect("a child").is_none()
    }

    pub(crate) fn keep_alive(&self) -> KeepAlive {
        KeepAlive::new(connect(self.address))
    }
}

impl Drop for ChildServer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Raises this process's limit if necessary. Returns whether it may open this many descriptors.
pub(crate) fn allow_descriptors(count: u64) -> bool {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let suffices = |limit: Option<u64>| limit.is_none_or(|limit| limit >= count);
    if !suffices(current) && suffices(maximum) {
        limit_descriptors(count);
    }
    suffices(getrlimit(Resource::Nofile).current)
}

fn limit_descriptors(count: u64) {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    let limit = Rlimit { current: Some(count), maximum };
    setrlimit(Resource::Nofile, limit).expect("at most the maximum");
}
