//! Recording in the destructors of thread-locals, when a thread's id may already be gone.
//!
//! Property: once a thread has been joined, every snapshot holds what its destructors recorded.

#![allow(clippy::float_cmp, reason = "the tests check that the numbers are exact")]

mod common;

use std::cell::RefCell;
use std::sync::{Arc, Barrier};
use std::thread;

use common::counters::{envelopes_on, frozen_envelopes, frozen_tokens, tokens_on, total_of};
use common::threads::{ExitJobs, at_thread_exit, run_threads};
use common::{HOUR, MINUTE, SECOND, counts};
use parsec_telemetry::{Aspect, EnvelopeCounters, ManualClock, TokenStats};

thread_local! {
    static LATER_JOBS: RefCell<ExitJobs> = const { RefCell::new(ExitJobs(Vec::new())) };
}

/// Which thread-local a thread uses first. Most systems destroy them in the reverse order.
#[derive(Clone, Copy, Debug)]
enum FirstUse {
    /// The test's: when its destructor runs, the crate's may be gone.
    Test,
    /// The crate's: when the test's destructor runs, it may still be there.
    Crate,
    /// The thread records nothing before its destructors run.
    AtExit,
    /// A destructor uses another thread-local, whose destructor records.
    TestThenAnotherAtExit,
}

const ALL_ORDERS: [FirstUse; 4] = [FirstUse::Test, FirstUse::Crate, FirstUse::AtExit, FirstUse::TestThenAnotherAtExit];

/// Calls `record` twice on this thread: in its destructors, and before them or in them.
fn record_at_exit(first: FirstUse, record: &(impl Fn() + Clone + Send + 'static)) {
    let (before, at_exit) = (record.clone(), record.clone());
    match first {
        FirstUse::Test => {
            at_thread_exit(at_exit);
            before();
        }
        FirstUse::Crate => {
            before();
            at_thread_exit(at_exit);
        }
        FirstUse::AtExit => {
            at_thread_exit(before);
            at_thread_exit(at_exit);
        }
        FirstUse::TestThenAnotherAtExit => {
            at_thread_exit(move || {
                LATER_JOBS.with_borrow_mut(|jobs| jobs.0.push(Box::new(at_exit)));
            });
            before();
        }
    }
}

#[test]
fn envelopes_recorded_in_destructors_are_counted() {
    for first in ALL_ORDERS {
        let clock = ManualClock::new();
        let envelopes = envelopes_on(&clock);
        let data = envelopes.aspect("data");
        clock.advance(MINUTE);
        let record = {
            let (envelopes, now) = (envelopes.clone(), clock.now());
            move || {
                data.observe();
                envelopes.observe("data");
                envelopes.observe("a name of any thread");
                envelopes.aspect("a handle at exit").observe();
                envelopes.observe_at(now - 30 * SECOND, "late");
                data.observe_at(now - 90 * SECOND);
            }
        };
        // In sequence, so that each thread gets the id of the one before.
        for _ in 0..5 {
            run_threads(1, |_| record_at_exit(first, &record));
        }
        let stats = envelopes.snapshot();
        let expected = [("a handle at exit", 10), ("data", 30), ("late", 10), ("a name of any thread", 10)];
        assert_eq!(stats.by_aspect, counts(&expected), "{first:?}");
        assert_eq!(stats.rate_per_second, 50.0 / 60.0, "{first:?}");
    }
}

#[test]
fn tokens_recorded_in_destructors_are_counted() {
    for first in ALL_ORDERS {
        let clock = ManualClock::new();
        let tokens = tokens_on(&clock);
        let record = {
            let (tokens, now) = (tokens.clone(), clock.now());
            move || {
                tokens.issued();
                tokens.issued();
                tokens.issued_at(now - MINUTE);
                tokens.issued_at(now - HOUR - SECOND);
                tokens.revoked();
                tokens.revoked_at(now - MINUTE);
                tokens.expired();
            }
        };
        for _ in 0..5 {
            run_threads(1, |_| record_at_exit(first, &record));
        }
        let expected = TokenStats { issued_last_hour: 30, revoked_last_hour: 20, active_count: 10 };
        assert_eq!(tokens.snapshot(), expected, "{first:?}");
    }
}

/// Threads without an id write the same shared shard.
#[test]
fn destructors_of_64_threads_at_once_are_all_counted() {
    let (envelopes, tokens) = (frozen_envelopes(), frozen_tokens());
    let threads = 64;
    let ending = Arc::new(Barrier::new(threads));
    run_threads(threads, |number| {
        let (envelopes, tokens) = (envelopes.clone(), tokens.clone());
        let ending = Arc::clone(&ending);
        let job = move || {
            ending.wait();
            for _ in 0..2000 {
                envelopes.observe("data");
                tokens.issued();
                tokens.revoked();
                tokens.issued();
                tokens.expired();
                tokens.issued();
            }
        };
        // Registered first, so it runs last, when the crate's thread-locals are gone.
        at_thread_exit(job);
        if number % 4 != 0 {
            frozen_envelopes().observe("the crate's thread-locals are there");
        }
    });
    let stats = envelopes.snapshot();
    assert_eq!((total_of(&stats), stats.rate_per_second), (128_000, 128_000.0));
    let expected = TokenStats { issued_last_hour: 3 * 128_000, revoked_last_hour: 128_000, active_count: 128_000 };
    assert_eq!(tokens.snapshot(), expected);
}

/// The exiting thread records without an id, while the next thread has the id that it released.
#[test]
fn exiting_thread_and_the_next_with_its_id_do_not_overwrite_each_other() {
    let envelopes = frozen_envelopes();
    for _ in 0..20 {
        let (exiting, resume) = (Arc::new(Barrier::new(2)), Arc::new(Barrier::new(2)));
        let first = thread::spawn({
            let (envelopes, exiting, resume) = (envelopes.clone(), exiting.clone(), resume.clone());
            move || {
                at_thread_exit({
                    let envelopes = envelopes.clone();
                    move || {
                        exiting.wait();
                        for _ in 0..500 {
                            envelopes.observe("exiting");
                        }
                        resume.wait();
                    }
                });
                envelopes.observe("living");
            }
        });
        exiting.wait();
        run_threads(3, |_| {
            for _ in 0..500 {
                envelopes.observe("living");
            }
        });
        resume.wait();
        first.join().expect("no panic");
    }
    let stats = envelopes.snapshot();
    let expected = [("exiting", 20 * 500), ("living", 20 * 1501)];
    assert_eq!(stats.by_aspect, counts(&expected));
    assert_eq!(stats.rate_per_second, 20.0 * 2001.0);
}

#[test]
fn counter_dropped_in_a_destructor_leaves_its_handles_usable() {
    let data = dropped_at_thread_exit(frozen_envelopes());
    assert_eq!(data.name(), "data");
    data.observe();
}

/// Passes counters to a thread that records with them in a destructor and drops them there.
fn dropped_at_thread_exit(envelopes: EnvelopeCounters) -> Aspect {
    let data = envelopes.aspect("data");
    let thread = thread::spawn(move || {
        at_thread_exit(move || {
            envelopes.observe("data");
            drop(envelopes);
        });
    });
    thread.join().expect("no panic");
    data
}
