//! How it works, what is promised, and what it costs. There is no code in this module.
//!
//! # Counting
//!
//! **A counter is made of shards, a shard of a ring and totals, a ring of slots.**
//!
//! ```text
//!  EnvelopeCounters
//!  ┌───────────────────────────────────────────────────────────────────────────┐
//!  │ clock ──► tick (one word, advanced by somebody else)                      │
//!  │ names: "data" ─► 1, "cursor" ─► 2, …; "__overflow__" ─► 0                 │
//!  │                                                                           │
//!  │ shards, one for each thread that counts                                   │
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
//! Each thread that counts owns a shard of each counter and is the only one to write it. So a count is a load of the
//! tick, and on each of two words that no other thread writes a load, an addition and a store:
//!
//! ```text
//!  tick  = clock.load()
//!  slot  = ring[tick % 64];  if slot.load() < tick: begin it anew, with a count of 1
//!                            else: slot.store(slot.load() + 1)
//!  total = totals[aspect];   total.store(total.load() + 1)
//! ```
//!
//! There is no locked instruction in it, no retry and no fence. A tick is kept as the word that its slot holds when
//! it is empty, so that one comparison tells a slot of an earlier lap from one of this: see the drawing at the head
//! of `raw/slot.rs`. Lap and count change in one word; no reader can see half of it. That `if` is taken once a
//! second, and it is also where a ring notes its newest tick, by which a reader passes over a silent ring for one
//! load.
//!
//! A thread finds its shard by a small dense number that it was given at its first count. The shards of the first
//! numbers (twice as many as there are cores, up to the next power of two, 16 at the least) stand in one slab. When a
//! thread ends, its number goes back and the next new thread takes it over, and with it the shards and all that they
//! hold.
//!
//! A thread that has no number counts on a shard that is shared, by atomic read-modify-writes: one that is in the
//! destructors of its thread-locals, after its number has gone back, and one that starts while 16,384 others hold
//! numbers.
//!
//! Nobody reads the time in order to count. A clock has a thread that wakes at the turn of each second and publishes
//! the tick; whoever takes a snapshot publishes it as well, if the turn has come.
//!
//! On x86-64 a count by handle is some twenty instructions; in a loop:
//!
//! ```text
//!  mov   %fs:(number),%rax          this thread's number
//!  cmp   slab.len(%rdi),%rax        has it a shard in the slab?
//!  jae   elsewhere
//!  lea   (%rax,%rax,8),%rax         × 9 …
//!  shl   $7,%rax                    … × 128: a shard is 1,152 bytes
//!  add   slab.ptr(%rdi),%rax
//!  mov   ticks(%rdi),%rcx           the clock's ticks
//!  mov   second(%rcx),%rcx          the tick
//!  mov   %ecx,%r8d
//!  and   $63,%r8d                   its slot
//!  mov   ring(%rax,%r8,8),%r9
//!  cmp   %rcx,%r9                   of an earlier lap?
//!  jb    turn_over
//!  inc   %r9
//!  mov   %r9,ring(%rax,%r8,8)
//!  incq  totals(%rax,%rsi,8)        the aspect's total
//! ```
//!
//! with a few more to copy a register, to see that the aspect's total is one of the first 65, and for the loop. By a
//! thread whose shard is not in the slab, it is some sixty. By a name of up to eight bytes it is about sixty, by one
//! of up to 64 bytes about a hundred: such a name is read as its two ends, which overlap or meet, hashed and compared
//! in a few wide words.
//!
//! Other shapes were measured, by `cargo bench --bench observe` in one run each, and left:
//!
//! - The totals in a box of their own, beside the shard: 3.5 × FLOOR where inline is 3.0 ×. Rings and totals in two
//!   slabs: 4.5 ×.
//! - A handle bound to its thread (`!Send`), which need not look for its shard: 18 instructions instead of 21. In a
//!   loop that does nothing but count it is 2.4 × as fast; where the handle is read each time it is not faster (2.3
//!   ns both). A thread that counts does something else as well, and such a handle in a thread-local could outlive
//!   its thread's number.
//! - A name compared by a call (`memcmp`) behind a hash of three multiplications: 174 instructions instead of 101,
//!   and 11.6 ns instead of 6.6.
//!
//! # What is promised
//!
//! | promise | because | held by |
//! | --- | --- | --- |
//! | No count is lost. | A word has one writer, or is changed by one atomic instruction. A shard outlives its thread, and its next owner's first load comes after the last owner's last store (`Release` and `Acquire` on the number). | models in `raw/{ring,shards,thread}.rs` and `envelopes.rs`; `tests/stress.rs`; `tests/threads.rs` |
//! | Counting is wait-free after a thread's first count. | There is nothing to wait for: see above. The first count of a thread takes a number (at most one look at each of 16,384 bits), and outside of the slab it allocates a shard. A name's first appearance takes a lock while the name is copied. | `tests/faults.rs`, fault 3: a thread that counts never sleeps |
//! | Counting does not allocate after a thread's first count. | It only writes words that are there. | `tests/allocations.rs` |
//! | Every event counted before a snapshot began is in it, none is in it twice. | A reader loads each word once; coherence gives it the word as it was when the snapshot began, or later. | models in `raw/ring.rs`, `raw/shards.rs`; `tests/threads.rs` |
//! | A snapshot is not a cut in time. | What is counted while it runs may be in or out, on each word for itself. | the outcomes of those models |
//! | No token is seen gone that was not seen come. | A retirement is stored with `Release`; a reader loads all of them first, with `Acquire`, and issues last. | models in `tokens.rs`; `tests/threads.rs` |
//! | One name has one number, and past the last place a name overflows. | A tag is stored last, with `Release`; names are added under a lock. | models in `raw/names.rs` |
//! | Readers write nothing that a counting thread reads, but the tick, and that once a second at most. | `snapshot` only loads; the tick is written only if it has to move. | `clock.rs`: a tick never goes back |
//! | Memory is bounded. | Shards: the slab, or as many as there were threads counting at once. Names: `max_aspects`, of 128 bytes at most. | `tests/stress.rs` |
//! | The numbers mean what is said below. | Integers up to one division. | `tests/laws.rs`, `tests/windows.rs`, `fuzz/`: a plain model of them |
//! | A source or rule that panics leaves the rest right. | Each call is caught for itself. | `tests/aggregator.rs` |
//!
//! The models run under [loom](https://docs.rs/loom), which tries every schedule and every value that a load may see:
//! `RUSTFLAGS="--cfg parsec_loom" cargo test --no-default-features --lib loom::`. Each collects what its schedules
//! come to and names every outcome that may be, so that one which explores nothing fails.
//!
//! `.ci/mutations` breaks each ordering and each step above in a copy, one at a time, and expects the models to
//! notice. All twenty are caught: a slot not turned over, turned over at every count, or counted on from an earlier
//! lap; the newest tick not set, by the owner or on the shared ring; the shared ring or the shared totals without an
//! exchange; a held-up writer counting in the next lap; numbers given back without `Release`, taken without
//! `Acquire`, or taken without an exchange; names published without `Release`, found without `Acquire`, their id
//! stored after their tag, not looked for again under the lock, or when the table is full, or a full table seen
//! without `Acquire`; retirements without `Release`, without `Acquire`, or loaded after issues.
//!
//! # What the numbers mean
//!
//! - **Rate**: the events of the last 60 seconds, divided by 60. The slot that straddles the far edge of the window
//!   counts for the part of it that is still inside, so that an even stream of 100 a second reads as 100 and not as a
//!   saw. In its first minute a counter divides by its age instead, but by one second at least.
//! - **Last hour**: the same with 60 minutes, rounded to a whole number of events, halves up.
//! - **An event of another time** (`observe_at`) is placed by its age against the clock's wall time. Older than the
//!   window it is in the totals only; from the future it counts as now.
//! - **Averages** are taken over the sources that report a section, zeros included. Counts are summed.
//! - **Cache**: from what the cache's own counters gained within the last hour, or since the source was made.
//!
//! # Memory
//!
//! ```text
//!  a counter = (slab + shards of later threads + 1 shared) × shard + names
//!
//!  shard of envelopes = 64 slots × 8 + 65 totals × 8 + 24 bytes
//!                       padded to cache lines: 1,152 bytes, and 8 for each aspect beyond 64
//!  shard of tokens    = 2 × (64 slots × 8 + 16) + 8 bytes, padded: 1,152 bytes
//! ```
//!
//! With 16 shards in the slab that is 19 KiB, and some 6 KiB for the table of names, beside the names themselves:
//! flat for ever, whether or not it is read.
//!
//! # Where it stops
//!
//! - It keeps one window, of a minute or an hour, and the totals. History belongs in a time series database.
//! - It counts events, not durations: there are no histograms.
//! - Reading costs time in proportion to the shards: use it for counts that are written far more often than read.
//! - In a child process after `fork` the clock's thread does not exist. Every snapshot still advances the clock, so
//!   totals are exact and the rate is as fresh as snapshots are frequent.
//! - A program built with `panic = "abort"` cannot survive a source that panics.
