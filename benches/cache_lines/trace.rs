//! Counts cache line transfers between threads from a trace of their loads and stores.
//!
//! [`interleave`] runs an operation on several threads in turn, each time between two stores to marker words of that
//! thread. Valgrind's lackey prints the address of every load and store. [`Trace`] finds the operations by the markers
//! and replays them on one simulated cache per thread:
//!
//! ```text
//!  trace    S begin[1]   L 5c0a40,8   L 5c1080,8   S 5c1080,8   S end[1]
//!  caches   line 5c0a00: held by 0, 1, 2, 3   line 5c1080: held by 1       two reads, one write: no line was taken
//! ```
//!
//! An operation *takes* a line if another thread has written the line since this thread held it, or if it writes a line
//! that another thread holds. Such transfers are what makes threads slow each other down. A line that no cache holds
//! does not count. The simulated caches never evict.
//!
//! Valgrind runs one thread at a time, so the result is the same on every machine and under any load.

use std::collections::{BTreeSet, HashMap};
use std::error::Error;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::thread;

use crossbeam_utils::CachePadded;

/// Two neighbouring lines of 64 bytes, which some processors fetch together.
const LINE_BYTES: u64 = 128;

/// Repetitions that do not count: thread ids are assigned, names are interned, caches fill.
const WARM_UP: usize = 4;

/// Repetitions that count.
const REPETITIONS: usize = 16;

struct Markers {
    begin: CachePadded<AtomicU64>,
    end: CachePadded<AtomicU64>,
}

/// One for each thread, and one for the main thread. Static, so that no other data ever has these addresses.
static MARKERS: [Markers; 128] =
    [const { Markers { begin: CachePadded::new(AtomicU64::new(0)), end: CachePadded::new(AtomicU64::new(0)) } }; 128];

impl Markers {
    fn around(&self, operation: impl FnOnce()) {
        self.begin.store(1, SeqCst);
        operation();
        self.end.store(1, SeqCst);
    }
}

/// Repeats: `between` on this thread, then one operation on each of `threads` threads (127 at most) in turn.
///
/// [`Trace::of`] runs a process that calls this.
pub(crate) fn interleave<O: FnMut()>(threads: usize, operation: impl Fn() -> O + Sync, mut between: impl FnMut()) {
    let markers = &MARKERS[..=threads];
    for Markers { begin, end } in markers {
        let address = |word: &AtomicU64| std::ptr::from_ref(word).addr();
        println!("{:x} {:x}", address(begin), address(end));
    }
    let turn = AtomicUsize::new(threads);
    let wait_for_turn = |mine: usize| {
        while turn.load(SeqCst) != mine {
            thread::park();
        }
    };
    let main = thread::current();
    thread::scope(|scope| {
        // Each thread wakes the next, and the last one wakes this: no other thread can run meanwhile.
        let mut next = (threads, main);
        for index in (0..threads).rev() {
            let (markers, operation, turn) = (&markers[index], &operation, &turn);
            let (next_index, next_thread) = next;
            let thread = scope.spawn(move || {
                let mut operation = operation();
                for _ in 0..WARM_UP + REPETITIONS {
                    wait_for_turn(index);
                    markers.around(&mut operation);
                    turn.store(next_index, SeqCst);
                    next_thread.unpark();
                }
            });
            next = (index, thread.thread().clone());
        }
        for _ in 0..WARM_UP + REPETITIONS {
            wait_for_turn(threads);
            markers[threads].around(&mut between);
            turn.store(next.0, SeqCst);
            next.1.unpark();
        }
        wait_for_turn(threads);
    });
}

/// The loads and stores of the operations, in order.
pub(crate) struct Trace {
    threads: usize,
    operations: Vec<Operation>,
}

struct Operation {
    thread: usize,
    accesses: Vec<Access>,
}

struct Access {
    address: u64,
    bytes: u64,
    is_write: bool,
}

impl Trace {
    /// Runs a program that calls [`interleave`] under lackey.
    ///
    /// # Errors
    ///
    /// If valgrind is not installed, or if the program fails or does not call [`interleave`].
    pub(crate) fn of(program: &Path, arguments: &[&str]) -> Result<Self, Box<dyn Error>> {
        let output = Command::new("valgrind")
            .args(["--tool=lackey", "--trace-mem=yes", "--log-fd=2"])
            .arg(program)
            .args(arguments)
            .output()
            .map_err(|error| format!("valgrind: {error}: install it"))?;
        let log = String::from_utf8_lossy(&output.stderr);
        if !output.status.success() {
            let tail: Vec<_> = log.lines().rev().take(5).collect();
            return Err(format!("{arguments:?} ended with {}: {tail:?}", output.status).into());
        }
        Self::parse(&String::from_utf8_lossy(&output.stdout), &log)
    }

    fn parse(markers: &str, log: &str) -> Result<Self, Box<dyn Error>> {
        let (mut begins, mut ends) = (HashMap::new(), HashMap::new());
        let pairs = markers.lines().filter_map(|line| line.split_once(' '));
        for (thread, (begin, end)) in pairs.enumerate() {
            begins.insert(u64::from_str_radix(begin, 16)?, thread);
            ends.insert(u64::from_str_radix(end, 16)?, thread);
        }
        let mut operations = Vec::new();
        let mut current: Option<Operation> = None;
        for access in log.lines().filter_map(Access::parse) {
            if let Some(thread) = begins.get(&access.address).filter(|_| access.is_write) {
                current = Some(Operation { thread: *thread, accesses: Vec::new() });
            } else if ends.contains_key(&access.address) {
                operations.extend(current.take());
            } else if let Some(operation) = &mut current {
                operation.accesses.push(access);
            }
        }
        let threads = begins.len().saturating_sub(1);
        let (found, expected) = (operations.len(), (threads + 1) * (WARM_UP + REPETITIONS));
        if found != expected {
            return Err(format!("found {found} operations in the trace, not {expected}").into());
        }
        Ok(Self { threads, operations })
    }

    /// The number of lines that each operation of the threads took, after the warm-up.
    pub(crate) fn lines_taken(&self) -> Vec<usize> {
        let mut caches = Caches::default();
        let all: Vec<_> = self
            .operations
            .iter()
            .map(|operation| {
                let mut taken = BTreeSet::new();
                for access in &operation.accesses {
                    let last = access.address + access.bytes - 1;
                    for line in access.address / LINE_BYTES..=last / LINE_BYTES {
                        if caches.takes(operation.thread, line, access.is_write) {
                            taken.insert(line);
                        }
                    }
                }
                (operation.thread, taken.len())
            })
            .collect();
        all.into_iter()
            .skip(WARM_UP * (self.threads + 1))
            .filter(|(thread, _)| *thread < self.threads)
            .map(|(_, taken)| taken)
            .collect()
    }
}

impl Access {
    /// Parses a line such as ` S 1ffefff0a8,8`: a load (`L`), a store (`S`), or a load and a store (`M`).
    fn parse(line: &str) -> Option<Self> {
        let (kind, range) = line.trim_start().split_once(' ')?;
        let is_write = match kind {
            "L" => false,
            "S" | "M" => true,
            _ => return None,
        };
        let (address, bytes) = range.trim().split_once(',')?;
        Some(Self { address: u64::from_str_radix(address, 16).ok()?, bytes: bytes.parse().ok()?, is_write })
    }
}

/// The cached lines, by their number.
#[derive(Default)]
struct Caches {
    lines: HashMap<u64, Line>,
}

/// The threads whose caches hold the line, and those that have lost it to a writer: one bit for each thread.
#[derive(Default)]
struct Line {
    holders: u128,
    losers: u128,
}

impl Caches {
    /// Records an access. Returns whether it takes the line from another thread's cache.
    fn takes(&mut self, thread: usize, line: u64, is_write: bool) -> bool {
        let line = self.lines.entry(line).or_default();
        let this = 1 << thread;
        let lost = line.losers & this != 0;
        line.losers &= !this;
        if !is_write {
            line.holders |= this;
            return lost;
        }
        let others = line.holders & !this;
        line.losers |= others;
        line.holders = this;
        lost || others != 0
    }
}
