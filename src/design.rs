//! Mechanism, guarantees and costs. This module has no code.
//!
//! # Recording
//!
//! **A counter consists of shards, a shard of a ring and totals, a ring of slots.**
//!
//! ```text
//!  EnvelopeCounters
//!  ┌───────────────────────────────────────────────────────────────────────────┐
//!  │ clock ──► tick (one word, advanced once per second)                       │
//!  │ interner: "data" ─► 1, "cursor" ─► 2, …; "__overflow__" ─► 0              │
//!  │                                                                           │
//!  │ shards, one per recording thread                                          │
//!  │ ┌──────────────────────────────┐ ┌──────────────────────────────┐         │
//!  │ │ ring                         │ │ ring                         │         │
//!  │ │ ┌────┬────┬────┬────┬────┐   │ │ ┌────┬────┬────┬────┬────┐   │         │
//!  │ │ │ s0 │ s1 │ s2 │ …  │ s63│   │ │ │ s0 │ s1 │ s2 │ …  │ s63│   │    …    │
//!  │ │ └────┴────┴────┴────┴────┘   │ │ └────┴────┴────┴────┴────┘   │         │
//!  │ │ totals [__overflow__, data…] │ │ totals [__overflow__, data…] │         │
//!  │ └──────────────────────────────┘ └──────────────────────────────┘         │
//!  └───────────────────────────────────────────────────────────────────────────┘
//!
//!  a slot, one word:   │ lap (29 bits) │ index + count (35 bits) │
//! ```
//!
//! Each recording thread owns one shard of each counter and is the only thread that writes it. To record an event is
//! to load the tick, and to load, increment and store two words:
//!
//! ```text
//!  tick  = clock.load()
//!  slot  = ring[tick % 64];  if slot.load() < tick: rotate it: restart it with a count of 1
//!                            else: slot.store(slot.load() + 1)
//!  total = totals[aspect];   total.store(total.load() + 1)
//! ```
//!
//! No instruction is locked, there is no retry and no fence. A tick is stored as the word of its empty slot, so one
//! comparison separates a slot of an earlier lap from one of this lap: see the drawing in `raw/slot.rs`. A slot
//! rotates once per second; the ring then also stores its newest tick, so that a reader skips an idle ring with one
//! load.
//!
//! A thread finds its shard by a small dense id, which it acquires with its first event. The shards of the first ids
//! are in one slab. When a thread ends, its id is released. The next new thread acquires the id and continues the
//! shards with their contents. A thread without an id uses the shared shard, by atomic read-modify-writes: in the
//! destructors of its thread-locals, after the release, or if 16,384 other threads hold ids.
//!
//! Recording does not read the time. Each clock has a thread that wakes at the start of each second and publishes the
//! tick. A snapshot publishes it too if that thread is late.
//!
//! On x86-64, `Aspect::observe` takes about 20 instructions. A thread whose shard is not in the slab takes about 60.
//! By name, `observe` takes about 60 for up to 8 bytes and 100 to 110 for up to 64 bytes. Such a name is read as its
//! first and last bytes, which overlap or meet, and hashed and compared in a few wide words.
//!
//! Other designs were measured with `cargo bench --bench observe`, each in one run, and rejected:
//!
//! - Totals in a box of their own, beside the shard: 3.5 × BASELINE; inline: 3.0 ×. Rings and totals in two slabs:
//!   4.5 ×.
//! - A handle bound to its thread (`!Send`), which does not look up its shard: 18 instructions instead of 21, but no
//!   faster where the handle is loaded each time (both 2.3 ns). A handle in a thread-local could outlive the thread's
//!   id.
//! - Names compared by a call to `memcmp`, after a hash of three multiplications: 174 instructions instead of 101,
//!   and 11.6 ns instead of 6.6 ns.
//!
//! # Guarantees
//!
//! | guarantee | because | held by |
//! | --- | --- | --- |
//! | No event is lost. | Each word has one writer, or is changed by atomic read-modify-writes. A shard outlives its thread; all stores of its old owner happen before the first load of the new one (`Release` and `Acquire` on the id). | models in `raw/{ring,shards,thread_id,recorder}.rs`; `tests/stress.rs`; `tests/threads.rs` |
//! | Recording is wait-free after a thread's first event. | There is nothing to wait for, see above. A thread's first event acquires an id (at most one try for each of 16,384 bits) and allocates a shard if the slab is full. A new name takes a lock while it is inserted. | `tests/faults.rs`, fault 3: a recording thread never sleeps |
//! | Recording does not allocate after a thread's first event. | It only writes existing words. | `tests/allocations.rs` |
//! | A snapshot includes every event that was recorded before it began, and none twice. | A reader loads each word once. By coherence it sees the word's value at the start of the snapshot, or a later one. | models in `raw/ring.rs`, `raw/shards.rs`; `tests/threads.rs` |
//! | A snapshot is not an atomic cut. | An event recorded during the snapshot may or may not be in it, for each word separately. | the outcomes of these models |
//! | A snapshot that includes a token's revocation or expiry also includes its issuance. | A retirement is stored with `Release`; a reader loads all of them with `Acquire` before it loads issuances. | models in `tokens.rs`; `tests/threads.rs` |
//! | A name has one id; beyond the limit, names overflow. | A tag is stored last, with `Release`; names are inserted under a lock. | models in `raw/interner.rs` |
//! | A reader writes nothing that a recording thread reads, except the tick, at most once per second. | `snapshot` only loads; the tick is written only if it must advance. | `clock.rs`: a tick never decreases |
//! | A batch (`observe_many`) never corrupts a slot's lap or wraps a total. | A batch fills at most half of a count's range and leaves the rest to single events. No thread records as many in one second (17 per nanosecond), or in 290 years. | unit tests in `raw/{slot,recorder}.rs` |
//! | Memory is bounded. | Shards: the slab, or the maximum number of threads that recorded at once. Names: `max_aspects`, of up to 128 bytes. | `tests/stress.rs`, `tests/allocations.rs` |
//! | Numbers mean what is documented below. | Integer arithmetic up to a final division. | `tests/properties.rs`, `tests/rate_window.rs`, `fuzz/`: a plain model of them |
//! | A source or rule that panics does not affect the others. | Each call is isolated. | `tests/failing_sources.rs` |
//! | A step of the cycle counter or of the wall clock does not distort the rate. | A reading that is more than 1 ms off the system's monotonic clock is replaced by that. | unit tests in `clock.rs` |
//!
//! The models run under [loom](https://docs.rs/loom), which explores every schedule and every value that a load may
//! return: `RUSTFLAGS="--cfg parsec_loom" cargo test --no-default-features --lib loom::`. Each model collects the
//! outcomes of its schedules and asserts the exact set, so a model that explores nothing fails. `.ci/mutations`
//! breaks each ordering and step in a copy, one at a time, and expects a model to fail.
//!
//! # What the numbers mean
//!
//! - **Rate**: events of the last 60 seconds, divided by 60. The slot at the far edge of the window is weighted by
//!   the fraction of it inside, so an even stream of 100 per second reads 100.0. Until the counter has covered 60
//!   seconds, the divisor is the time covered, at least one second: since its creation, or since the oldest event
//!   that `observe_at` placed before that. The rate of a counter that is younger than a second and empty is NaN.
//! - **Last hour**: the same over 60 minutes, rounded to a whole number of events, halves up.
//! - **`observe_at`**: an event is placed by its age on the clock's wall time. Older than the window, it counts in
//!   the totals only; in the future, it counts as now.
//! - **Cache**: the growth of the cache's own counters within the last hour, or since the source was created.
//!
//! # Memory
//!
//! ```text
//!  a counter = (slab + shards beyond it + 1 shared) × shard + names
//!
//!  slab               = twice the cores, 16 to 32, rounded up to a power of two; or `preallocated_shards`
//!  shard of envelopes = 64 slots × 8 + 65 totals × 8 + 24 bytes
//!                       padded to cache lines: 1,152 bytes, and 8 for each aspect beyond 64
//!  shard of tokens    = 2 × (64 slots × 8 + 16) + 8 bytes, padded: 1,152 bytes
//! ```
//!
//! With 16 shards in the slab this is 19 KiB, plus about 6 KiB for the table of names and the names themselves; from
//! 16 cores on it is 43 KiB, on 96 cores too. It does not grow with time or with reads.
//!
//! # Limits
//!
//! - A counter keeps one window, of a minute or an hour, and totals. Use a time series database for history.
//! - It counts events and does not measure durations: there are no histograms.
//! - A snapshot takes time in proportion to the number of shards. Use these counters where events are far more
//!   frequent than reads.
//! - In a child process after `fork`, the clock's thread starts again at the first snapshot. Events before that count
//!   as of the time of the `fork`. A new name or a thread's first event waits forever if another thread of the parent
//!   was inserting one at that instant.
//! - A program built with `panic = "abort"` does not survive a source that panics.
