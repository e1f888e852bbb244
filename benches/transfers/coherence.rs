//! Counts the cache lines that threads take from each other, operation by operation.
//!
//! A [`probe`] is a process in which threads make an operation in turn, each between two stores to
//! words of its own. Valgrind's lackey prints the address of every load and store of that process,
//! as the machine code makes them with the layout that it has. [`Trace`] finds the operations by
//! those two words, and plays them back on caches that each hold whole lines for one thread:
//!
//! ```text
//!  trace       S begin[1]   L 5c0a40,8   L 5c1080,8   S 5c1080,8   S end[1]
//!              thread 1: ───────────────────────────────────────┘
//!  caches      line 170290: in 0, 1, 2, 3      line 170420: in 1        a read, a read, a write: no line was taken
//! ```
//!
//! A line is *taken* by an operation if it has to come from another thread's cache, or has to be
//! thrown out of it: another thread has written it since this one had it, or this one writes it and
//! another has it. These are the transfers that make threads slow each other down; what is in no
//! cache at all is not counted. Each thread has a core to itself, and a cache that never overflows.
//!
//! Valgrind runs one thread at a time, and here only the one whose turn it is can run: so it is the
//! same on every machine, and however busy that is.

use std::collections::{BTreeSet, HashMap};
use std::error::Error;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::thread;

use crossbeam_utils::CachePadded;

/// Bytes of a cache line.
pub(crate) const LINE: u64 = 64;

/// Bytes of two neighbouring lines, which some processors fetch together.
pub(crate) const PAIR: u64 = 2 * LINE;

/// Rounds that are not counted: numbers are given out, names are interned, lines come into caches.
const WARM_UP: usize = 4;

/// Rounds that are counted.
const ROUNDS: usize = 16;

/// Between stores to these, a thread makes one operation.
struct Marks {
    begin: CachePadded<AtomicU64>,
    end: CachePadded<AtomicU64>,
}

/// One for each thread, and one for somebody else. Static, so that nothing else ever stands at their
/// addresses.
static MARKS: [Marks; 128] = [const { Marks::new() }; 128];

impl Marks {
    const fn new() -> Self {
        Self { begin: CachePadded::new(AtomicU64::new(0)), end: CachePadded::new(AtomicU64::new(0)) }
    }

    fn around(&self, operation: impl FnOnce()) {
        self.begin.store(1, SeqCst);
        operation();
        self.end.store(1, SeqCst);
    }
}

/// In every round, somebody else does something, and then each of the threads makes its operation.
/// Meant to be run under lackey, which is what [`Trace::of`] does; with no more than 127 threads.
pub(crate) fn probe<O: FnMut()>(threads: usize, operation: impl Fn() -> O + Sync, mut somebody_else: impl FnMut()) {
    let marks = &MARKS[..=threads];
    for Marks { begin, end } in marks {
        let address = |word: &AtomicU64| std::ptr::from_ref(word).addr();
        println!("{:x} {:x}", address(begin), address(end));
    }
    let turn = AtomicUsize::new(threads);
    let wait_for_turn = |mine: usize| {
        while turn.load(SeqCst) != mine {
            thread::park();
        }
    };
    let this = thread::current();
    thread::scope(|scope| {
        // Each wakes the next, and the last one this: nobody else can run.
        let mut next = (threads, this.clone());
        for number in (0..threads).rev() {
            let (marks, operation, turn) = (&marks[number], &operation, &turn);
            let (following, woken) = next;
            let thread = scope.spawn(move || {
                let mut operation = operation();
                for _ in 0..WARM_UP + ROUNDS {
                    wait_for_turn(number);
                    marks.around(&mut operation);
                    turn.store(following, SeqCst);
                    woken.unpark();
                }
            });
            next = (number, thread.thread().clone());
        }
        for _ in 0..WARM_UP + ROUNDS {
            wait_for_turn(threads);
            marks[threads].around(&mut somebody_else);
            turn.store(next.0, SeqCst);
            next.1.unpark();
        }
        wait_for_turn(threads);
    });
}

/// What an operation did to the caches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Lines {
    /// Taken from another thread.
    pub(crate) taken: usize,
    /// Read or written at all.
    pub(crate) touched: usize,
    /// Read or written by this thread only.
    pub(crate) own: usize,
}

/// The accesses of a probe's operations, in their order.
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
    /// Runs a program, whose arguments have it call [`probe`], under lackey.
    ///
    /// # Errors
    ///
    /// If there is no valgrind, or the program fails or does not call [`probe`].
    pub(crate) fn of(program: &Path, arguments: &[&str]) -> Result<Self, Box<dyn Error>> {
        let ran = Command::new("valgrind")
            .args(["--tool=lackey", "--trace-mem=yes", "--log-fd=2"])
            .arg(program)
            .args(arguments)
            .output()
            .map_err(|error| format!("valgrind: {error}"))?;
        let said = String::from_utf8_lossy(&ran.stderr);
        if !ran.status.success() {
            let end: Vec<_> = said.lines().rev().take(5).collect();
            return Err(format!("{arguments:?} ended with {}: {end:?}", ran.status).into());
        }
        Self::parse(&String::from_utf8_lossy(&ran.stdout), &said)
    }

    fn parse(marks: &str, trace: &str) -> Result<Self, Box<dyn Error>> {
        let (mut begins, mut ends) = (HashMap::new(), HashMap::new());
        let pairs = marks.lines().filter_map(|line| line.split_once(' '));
        for (thread, (begin, end)) in pairs.enumerate() {
            begins.insert(u64::from_str_radix(begin, 16)?, thread);
            ends.insert(u64::from_str_radix(end, 16)?, thread);
        }
        let mut operations = Vec::new();
        let mut current: Option<Operation> = None;
        for access in trace.lines().filter_map(Access::parse) {
            if let Some(thread) = begins.get(&access.address).filter(|_| access.is_write) {
                current = Some(Operation { thread: *thread, accesses: Vec::new() });
            } else if ends.contains_key(&access.address) {
                operations.extend(current.take());
            } else if let Some(operation) = &mut current {
                operation.accesses.push(access);
            }
        }
        let threads = begins.len().saturating_sub(1);
        if operations.len() != (threads + 1) * (WARM_UP + ROUNDS) {
            return Err(format!("{} operations of {threads} threads", operations.len()).into());
        }
        Ok(Self { threads, operations })
    }

    /// Plays the trace back on caches with lines of so many bytes: what each of the threads'
    /// operations did, round by round, once it was warm.
    pub(crate) fn played_back(&self, line_bytes: u64) -> Vec<Lines> {
        let mut caches = Caches::default();
        let touched = |operation: &Operation| {
            let accesses = operation.accesses.iter();
            let lines = accesses.flat_map(|access| {
                let last = access.address + access.bytes - 1;
                let lines = access.address / line_bytes..=last / line_bytes;
                lines.map(|line| (line, access.is_write))
            });
            lines.collect::<Vec<_>>()
        };
        let mut threads_on: HashMap<u64, BTreeSet<usize>> = HashMap::new();
        for operation in &self.operations {
            for (line, _) in touched(operation) {
                threads_on.entry(line).or_default().insert(operation.thread);
            }
        }
        let lines = self.operations.iter().map(|operation| {
            let mut lines = [BTreeSet::new(), BTreeSet::new(), BTreeSet::new()];
            let [taken, all, own] = &mut lines;
            for (line, is_write) in touched(operation) {
                all.insert(line);
                if threads_on[&line].len() == 1 {
                    own.insert(line);
                }
                if caches.access(operation.thread, line, is_write) {
                    taken.insert(line);
                }
            }
            let [taken, touched, own] = lines.map(|lines| lines.len());
            Lines { taken, touched, own }
        });
        // All are played back, and only then the warm ones of the threads kept.
        let all: Vec<_> = lines.collect();
        all.into_iter()
            .zip(&self.operations)
            .skip(WARM_UP * (self.threads + 1))
            .filter(|(_, operation)| operation.thread < self.threads)
            .map(|(lines, _)| lines)
            .collect()
    }
}

impl Access {
    /// Of a line such as ` S 1ffefff0a8,8`: a load, a store, or one after the other (`M`).
    fn parse(line: &str) -> Option<Self> {
        let (kind, place) = line.trim_start().split_once(' ')?;
        let is_write = match kind {
            "L" => false,
            "S" | "M" => true,
            _ => return None,
        };
        let (address, bytes) = place.trim().split_once(',')?;
        Some(Self { address: u64::from_str_radix(address, 16).ok()?, bytes: bytes.parse().ok()?, is_write })
    }
}

/// A cache for each thread, by what is in it.
#[derive(Default)]
struct Caches {
    lines: HashMap<u64, Line>,
}

/// Which threads' caches hold a line, and which have lost it to a writer: a bit for each.
#[derive(Default)]
struct Line {
    holders: u128,
    losers: u128,
}

impl Caches {
    /// Whether the line had to be taken from another thread's cache.
    fn access(&mut self, thread: usize, line: u64, is_write: bool) -> bool {
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

#[cfg(test)]
mod tests {
    #[test]
    fn a_line_is_taken_by_who_lost_it_and_by_who_writes_what_others_have() {
        let mut caches = super::Caches::default();
        let mut taken = |thread, is_write| caches.access(thread, 7, is_write);
        // Two readers, of whom one becomes a writer.
        assert_eq!([taken(0, false), taken(1, false)], [false, false]);
        assert!(taken(0, true));
        assert_eq!([taken(0, true), taken(0, false)], [false, false]);
        // The other has lost it, and having it back costs the writer another turn.
        assert_eq!([taken(1, false), taken(1, false)], [true, false]);
        assert!(taken(0, true));
        // Somebody who never had it, and writes it.
        assert!(taken(2, true));
        assert!(taken(0, false));
    }

    #[test]
    fn loads_and_stores_are_read_and_instructions_are_not() {
        let read = |line| super::Access::parse(line).map(|a| (a.address, a.bytes, a.is_write));
        assert_eq!(read(" L 04222c48,8"), Some((0x0422_2c48, 8, false)));
        assert_eq!(read(" S 1ffefff0a8,4"), Some((0x1f_feff_f0a8, 4, true)));
        assert_eq!(read(" M 1ffefff0a8,8"), Some((0x1f_feff_f0a8, 8, true)));
        assert_eq!(read("I  0023C790,2"), None);
        assert_eq!(read("==123== Lackey, an example Valgrind tool"), None);
    }
}
