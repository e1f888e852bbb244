//! Snapshots that are taken while other threads record.
//!
//! Properties:
//!
//! 1. A snapshot holds every event that was recorded before it began, and none whose recording began after it ended.
//! 2. A snapshot that includes a revocation or an expiry also includes the issuance it belongs to.

#![allow(clippy::float_cmp, reason = "the tests check that the numbers are exact")]

mod common;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst, fence};
use std::sync::{Mutex, mpsc};
use std::thread;
use std::time::Instant;

use common::TIMEOUT;
use common::counters::{frozen_envelopes, frozen_tokens, total, total_of};
use common::threads::{OnDrop, run_threads};
use parsec_telemetry::{EnvelopeCounters, TokenCounters};

/// How many events of a kind have begun to be recorded, and how many have been.
#[derive(Default)]
struct Tally {
    started: AtomicU64,
    finished: AtomicU64,
}

impl Tally {
    /// This fence and that of [`started`](Self::started) are partners: a thread that has seen the event in a snapshot
    /// sees its start, too.
    fn record(&self, record: impl FnOnce()) {
        self.started.fetch_add(1, SeqCst);
        fence(SeqCst);
        record();
        self.finished.fetch_add(1, SeqCst);
    }

    fn started(&self) -> u64 {
        fence(SeqCst);
        self.started.load(SeqCst)
    }

    fn finished(&self) -> u64 {
        self.finished.load(SeqCst)
    }
}

/// Repeats `work` on some threads and `check` on this one: at least 200 checks and 2,000 times `work`.
fn while_recording(threads: usize, work: impl Fn(usize) + Sync, mut check: impl FnMut()) {
    let (done, worked) = (AtomicBool::new(false), AtomicU64::new(0));
    let deadline = Instant::now() + TIMEOUT;
    thread::scope(|scope| {
        for number in 0..threads {
            let (work, done, worked) = (&work, &done, &worked);
            scope.spawn(move || {
                while !done.load(SeqCst) {
                    work(number);
                    worked.fetch_add(1, SeqCst);
                }
            });
        }
        // The threads also stop if a check panics.
        let _stop = OnDrop(|| done.store(true, SeqCst));
        let mut checks = 0;
        while checks < 200 || worked.load(SeqCst) < 2000 {
            check();
            checks += 1;
            assert!(Instant::now() < deadline, "timed out after {TIMEOUT:?}: 2,000 repetitions");
        }
    });
}

/// Property 1, and counts never decrease.
#[test]
fn snapshot_while_threads_record_holds_all_events_before_it_and_none_after_it() {
    const ASPECTS: [&str; 3] = ["data", "cursor", "an aspect with a long name"];
    let envelopes = frozen_envelopes();
    let handles = ASPECTS.map(|name| envelopes.aspect(name));
    let tallies: [Tally; 3] = Default::default();
    let mut seen_before = [0; 3];
    while_recording(
        4,
        |number| {
            for (at, tally) in tallies.iter().enumerate() {
                if number % 2 == 0 {
                    tally.record(|| handles[at].observe());
                } else {
                    tally.record(|| envelopes.observe(ASPECTS[at]));
                }
            }
        },
        || {
            let at_least: Vec<u64> = tallies.iter().map(Tally::finished).collect();
            let stats = envelopes.snapshot();
            let at_most: Vec<u64> = tallies.iter().map(Tally::started).collect();
            for (at, name) in ASPECTS.into_iter().enumerate() {
                let seen = stats.by_aspect[name];
                let range = at_least[at]..=at_most[at];
                assert!(range.contains(&seen), "{name}: {seen} outside of {range:?}");
                assert!(seen >= seen_before[at], "{name}: {seen} after {seen_before:?}");
                seen_before[at] = seen;
            }
            // In the counter's first second its rate equals its total. `rate_window` tests exact rates.
            let range = at_least.iter().sum::<u64>() as f64..=at_most.iter().sum::<u64>() as f64;
            let rate = stats.rate_per_second.round();
            // Without events there is none yet.
            let agrees = range.contains(&rate) || rate.is_nan() && range.contains(&0.0);
            assert!(agrees, "rate: {rate} outside of {range:?}");
        },
    );
    let stats = envelopes.snapshot();
    for (name, tally) in ASPECTS.into_iter().zip(&tallies) {
        assert_eq!(stats.by_aspect[name], tally.finished());
    }
}

/// Property 1.
#[test]
fn snapshot_while_threads_end_holds_their_events() {
    let envelopes = frozen_envelopes();
    let tally = Tally::default();
    while_recording(
        2,
        |_| {
            // A thread for each event would be too slow, but shards must change owners while they are read.
            if tally.started() % 50 == 0 {
                run_threads(1, |_| tally.record(|| envelopes.observe("data")));
            } else {
                tally.record(|| envelopes.observe("data"));
            }
        },
        || {
            let at_least = tally.finished();
            let seen = total(&envelopes);
            let range = at_least..=tally.started();
            assert!(range.contains(&seen), "{seen} outside of {range:?}");
        },
    );
    assert_eq!(total(&envelopes), tally.finished());
}

/// Compares the active tokens of snapshots with the bounds that tallies give.
struct ActiveTokens {
    tokens: TokenCounters,
    issued: Tally,
    gone: Tally,
}

impl ActiveTokens {
    const HELD: u64 = 3;

    /// Issues some tokens that are never revoked.
    fn new() -> Self {
        let (tokens, issued) = (frozen_tokens(), Tally::default());
        for _ in 0..Self::HELD {
            issued.record(|| tokens.issued());
        }
        Self { tokens, issued, gone: Tally::default() }
    }

    fn issue(&self) {
        self.issued.record(|| self.tokens.issued());
    }

    fn revoke(&self) {
        self.gone.record(|| self.tokens.revoked());
    }

    fn expire(&self) {
        self.gone.record(|| self.tokens.expired());
    }

    fn check(&self) {
        let (issued_at_least, gone_at_least) = (self.issued.finished(), self.gone.finished());
        let stats = self.tokens.snapshot();
        let (issued_at_most, gone_at_most) = (self.issued.started(), self.gone.started());
        let active = i128::from(stats.active_count);
        let difference = |issued, gone| i128::from(issued) - i128::from(gone);
        let at_least = difference(issued_at_least, gone_at_most).max(Self::HELD.into());
        let range = at_least..=difference(issued_at_most, gone_at_least);
        assert!(range.contains(&active), "{active} outside of {range:?}");
        let (range, issued) = (issued_at_least..=issued_at_most, stats.issued_last_hour);
        assert!(range.contains(&issued), "issued: {issued} outside of {range:?}");
    }
}

/// Property 2.
#[test]
fn snapshot_with_a_token_gone_includes_its_issuance() {
    let active = ActiveTokens::new();
    while_recording(
        4,
        |number| {
            active.issue();
            if number % 2 == 0 {
                active.revoke();
            } else {
                active.expire();
            }
        },
        || active.check(),
    );
    assert_eq!(active.tokens.snapshot().active_count, 3);
}

/// Property 2 without tallies, which are slower than recording: more happens during a snapshot.
#[test]
fn active_count_is_never_below_the_tokens_that_are_held() {
    let tokens = frozen_tokens();
    for _ in 0..3 {
        tokens.issued();
    }
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let _stop = OnDrop(|| done.store(true, SeqCst));
        for _ in 0..3 {
            scope.spawn(|| {
                while !done.load(SeqCst) {
                    tokens.issued();
                    tokens.revoked();
                    tokens.issued();
                    tokens.expired();
                }
            });
        }
        for _ in 0..3000 {
            let active = tokens.snapshot().active_count;
            assert!(active >= 3, "{active} active, and three are never revoked");
        }
    });
    assert_eq!(tokens.snapshot().active_count, 3);
}

/// Property 2 across threads: a snapshot may read the issuing thread's shard first.
#[test]
fn snapshot_with_a_token_gone_includes_its_issuance_by_another_thread() {
    let active = ActiveTokens::new();
    let (senders, receivers): (Vec<_>, Vec<_>) = (0..2)
        .map(|_| {
            let (sender, receiver) = mpsc::sync_channel::<()>(4);
            (sender, Mutex::new(receiver))
        })
        .unzip();
    while_recording(
        4,
        |number| {
            let pair = number / 2;
            if number % 2 == 0 {
                active.issue();
                if senders[pair].try_send(()).is_err() {
                    // The channel is full: the token ends on this thread.
                    active.expire();
                }
            } else if receivers[pair].lock().expect("no panic").try_recv().is_ok() {
                active.revoke();
            }
        },
        || active.check(),
    );
    let left = receivers.iter().map(|receiver| receiver.lock().expect("no panic").try_iter().count());
    let left = left.sum::<usize>() + 3;
    let active = active.tokens.snapshot().active_count;
    assert_eq!(usize::try_from(active), Ok(left));
}

/// Property 1 while other names are being registered.
#[test]
fn snapshot_after_the_first_event_of_a_name_includes_the_name() {
    let envelopes = EnvelopeCounters::builder().max_aspects(1000).build();
    let (named, shown) = (AtomicU64::new(0), AtomicU64::new(0));
    while_recording(
        2,
        |_| {
            let number = named.fetch_add(1, SeqCst);
            if number < 1000 {
                envelopes.observe(&format!("n{number}"));
                shown.fetch_add(1, SeqCst);
            }
        },
        || {
            let at_least = shown.load(SeqCst);
            let stats = envelopes.snapshot();
            assert!(total_of(&stats) >= at_least);
            assert!(stats.by_aspect.values().all(|&count| count <= 1));
        },
    );
}
