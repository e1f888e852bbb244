//! Counters, clock and pages in a child process after `fork`, which has only the thread that called it.
//!
//! Properties:
//!
//! 1. The clock's thread starts again at the first read.
//! 2. Totals are those of the parent, and the child counts on from there.
//! 3. No read waits for a thread that is gone.
//! 4. A monitor goes on in the child, from its first use there.

#![cfg(unix)]

mod common;

use std::io::Write;
use std::panic::{self, AssertUnwindSafe};
use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread;

use common::sources::ManualCache;
use common::wait_until;
use fork::Fork;
use parsec_telemetry::{Aggregator, AlertRule, CoarseClock, EnvelopeCounters, Monitor, Severity, TokenCounters};
use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};

/// Runs `work` in a child process.
///
/// # Panics
///
/// If it panics there, or does not return within the time limit of tests.
fn in_child(work: impl FnOnce()) {
    let child = match fork::fork().expect("a process can be created") {
        Fork::Parent(child) => Pid::from_raw(child).expect("a child"),
        Fork::Child => {
            let result = panic::catch_unwind(AssertUnwindSafe(work));
            if let Err(panic) = &result {
                let text = panic.downcast_ref::<String>().map_or("a panic", String::as_str);
                // The test runner captures what `eprintln` prints, and the child ends without it.
                let _ = writeln!(std::io::stderr(), "in the child: {text}");
            }
            process::exit(i32::from(result.is_err()));
        }
    };
    let killed = OnDrop(|| {
        let _ = kill_process(child, Signal::KILL);
    });
    wait_until("the child ends", || match waitpid(Some(child), WaitOptions::NOHANG).expect("a child") {
        Some((_, status)) => {
            assert_eq!(status.exit_status(), Some(0), "the child fails");
            true
        }
        None => false,
    });
    std::mem::forget(killed);
}

struct OnDrop<F: FnMut()>(F);

impl<F: FnMut()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

/// Waits until the clock advances without a read.
fn wait_for_a_tick(clock: &CoarseClock) {
    // What `Debug` shows is the published tick.
    let before = format!("{clock:?}");
    wait_until("the clock advances", || format!("{clock:?}") != before);
}

/// Property 1, in a child and in a child of that.
#[test]
fn clock_advances_after_the_first_read_in_a_child() {
    let clock = CoarseClock::start();
    let envelopes = EnvelopeCounters::builder().clock(clock.clone()).build();
    in_child(|| {
        let _ = envelopes.snapshot();
        wait_for_a_tick(&clock);
        in_child(|| {
            let _ = envelopes.snapshot();
            wait_for_a_tick(&clock);
        });
        wait_for_a_tick(&clock);
    });
    wait_for_a_tick(&clock);
}

#[test]
fn shared_clock_advances_after_the_first_read_in_a_child() {
    let clock = CoarseClock::shared();
    let tokens = TokenCounters::new();
    in_child(|| {
        let _ = tokens.snapshot();
        wait_for_a_tick(&clock);
        // One that is created there.
        wait_for_a_tick(&CoarseClock::start());
        wait_for_a_tick(&CoarseClock::shared());
    });
}

#[test]
fn clock_that_is_dropped_in_a_child_leaves_its_parents_running() {
    let clock = CoarseClock::start();
    in_child(|| drop(clock.clone()));
    wait_for_a_tick(&clock);
}

/// Property 2. The other thread's shard is counted, and its id stays taken.
#[test]
fn child_counts_on_from_its_parents_totals() {
    let (envelopes, tokens) = (EnvelopeCounters::new(), TokenCounters::new());
    let data = envelopes.aspect("data");
    let record = || {
        data.observe();
        envelopes.observe("cursor");
        tokens.issued();
    };
    let ends = AtomicBool::new(false);
    let (recorded, is_recorded) = std::sync::mpsc::channel();
    thread::scope(|scope| {
        let other = || {
            record();
            recorded.send(()).expect("the test waits");
            while !ends.load(Relaxed) {
                thread::park();
            }
        };
        let other = scope.spawn(other);
        is_recorded.recv().expect("no panic");
        record();
        in_child(|| {
            record();
            thread::scope(|scope| {
                scope.spawn(record);
            });
            envelopes.observe("new");
            let stats = envelopes.snapshot();
            assert_eq!(stats.by_aspect, common::counts(&[("cursor", 4), ("data", 4), ("new", 1)]));
            assert_eq!(tokens.snapshot().active_count, 4);
        });
        ends.store(true, Relaxed);
        other.thread().unpark();
    });
    assert_eq!(envelopes.snapshot().by_aspect, common::counts(&[("cursor", 2), ("data", 2)]));
}

/// Property 3, while other threads of the parent record and read.
#[test]
fn child_of_a_busy_parent_reads_at_once() {
    let (envelopes, tokens) = (EnvelopeCounters::new(), TokenCounters::new());
    let ends = AtomicBool::new(false);
    thread::scope(|scope| {
        let end = OnDrop(|| ends.store(true, Relaxed));
        for _ in 0..2 {
            scope.spawn(|| {
                while !ends.load(Relaxed) {
                    envelopes.observe("data");
                    tokens.issued();
                    let _ = (envelopes.snapshot(), tokens.snapshot());
                }
            });
        }
        for _ in 0..20 {
            in_child(|| {
                envelopes.observe("data");
                tokens.revoked();
                assert!(envelopes.snapshot().by_aspect["data"] >= 1);
                let _ = tokens.snapshot();
            });
        }
        drop(end);
    });
}

/// Property 3: the collector's thread and the cache's worker are gone.
#[test]
fn page_is_served_in_a_child() {
    let envelopes = EnvelopeCounters::new();
    let (_clock, cache, source) = ManualCache::with_source();
    let aggregator = Aggregator::new().source(envelopes.clone()).source(source);
    envelopes.observe("data");
    cache.add(3, 1, 0);
    #[cfg(feature = "serve")]
    let server = parsec_telemetry::Server::builder(aggregator.clone()).build();
    let page = || {
        assert_eq!(common::json(&aggregator).cache.hit_rate_pct.to_bits(), 75f64.to_bits());
        #[cfg(feature = "serve")]
        {
            let request = http::Request::get("/parsec/metrics").body(()).expect("a valid request");
            assert_eq!(server.handle(&request).status(), 200);
        }
    };
    page();
    in_child(|| {
        envelopes.observe("data");
        page();
        assert_eq!(envelopes.snapshot().by_aspect["data"], 2);
    });
}

/// Property 4.
#[test]
fn monitor_of_a_child_takes_snapshots_and_delivers_transitions() {
    let (fires, transitions) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let (condition, counted) = (Arc::clone(&fires), Arc::clone(&transitions));
    let rule = AlertRule::new("fires", Severity::Info, move |_| condition.load(Relaxed));
    let aggregator = Aggregator::new().source(EnvelopeCounters::new()).with_alerts(vec![rule]).expect("a valid rule");
    let monitor = Monitor::builder(&aggregator)
        .on_transition(move |_| {
            counted.fetch_add(1, Relaxed);
        })
        .start();
    let points = || monitor.series().tiers.first().map_or(0, |minute| minute.n);
    wait_until("a point in the parent", || points() > 0);
    in_child(|| {
        wait_until("two points in the child", || points() > 1);
        fires.store(true, Relaxed);
        wait_until("a transition in the child", || transitions.load(Relaxed) == 1);
    });
    assert_eq!(transitions.load(Relaxed), 0);
    let before = points();
    wait_until("a point in the parent", || points() > before);
}
