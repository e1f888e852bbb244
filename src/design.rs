//! How it works, what is promised, and what it costs. There is no code in this module.
//!
//! # Counting
//!
//! **A counter is made of shards, a shard of a ring and totals, a ring of slots.**
//!
//! ```text
//!  EnvelopeCounters
//!  ┌────────────────────────────────────────────────────────────────────────────────────────────┐
//!  │ clock ──► tick (one word, advanced by somebody else)                                       │
//!  │ names: "data" ─► 1, "cursor" ─► 2, …; "__overflow__" ─► 0                                  │
//!  │                                                                                            │
//!  │ shards, one for each thread that counts                                                    │
//!  │ ┌───────────────────────────────────────┐ ┌───────────────────────────────────────┐        │
//!  │ │ ring                                  │ │ ring                                  │        │
//!  │ │ ┌────┬────┬────┬─────────────┬────┐   │ │ ┌────┬────┬────┬─────────────┬────┐   │        │
//!  │ │ │ s0 │ s1 │ s2 │      …      │ s63│   │ │ │ s0 │ s1 │ s2 │      …      │ s63│   │   …    │
//!  │ │ └────┴────┴────┴─────────────┴────┘   │ │ └────┴────┴────┴─────────────┴────┘   │        │
//!  │ │ totals  [ __overflow__, data, … ]     │ │ totals  [ __overflow__, data, … ]     │        │
//!  │ └───────────────────────────────────────┘ └───────────────────────────────────────┘        │
//!  └────────────────────────────────────────────────────────────────────────────────────────────┘
//!
//!  a slot, one word:   │ lap (29 bits) │ index + count (35 bits) │
//! ```
//!
//! Each thread that counts owns a shard of each counter and is the only one to write it. So a count
//! is a load of the tick, and on each of two words that no other thread writes a load, an addition
//! and a store:
//!
//! ```text
//!  tick  = clock.load()
//!  slot  = ring[tick % 64];  slot.store(max(slot.load(), tick) + 1)
//!  total = totals[aspect];   total.store(total.load() + 1)
//! ```
//!
//! There is no locked instruction in it, no retry, no fence and, but for the shard's bounds check,
//! no branch. A tick is kept as the word that its slot holds when it is empty, so that `max` turns
//! a slot over that is still of an earlier lap: see the drawing at the head of `raw/slot.rs`. Lap
//! and count change in one word; no reader can see half of it.
//!
//! A thread finds its shard by a small dense number that it was given at its first count. The
//! shards of the first numbers (twice as many as there are cores, 16 at the least) stand in one
//! slab. When a thread ends, its number goes back and the next new thread takes it over, and with
//! it the shards and all that they hold.
//!
//! A thread that has no number counts on a shard that is shared, by atomic read-modify-writes: one
//! that is in the destructors of its thread-locals, after its number has gone back, and one that
//! starts while 16,384 others hold numbers.
//!
//! Nobody reads the time in order to count. A clock has a thread that wakes at the turn of each
//! second and publishes the tick; whoever takes a snapshot publishes it as well, if the turn has
//! come.
//!
//! # What is promised
//!
//! | promise | because |
//! | --- | --- |
//! | No count is lost. | A word has one writer, or is changed by one atomic instruction. A shard outlives its thread, and its next owner's first load comes after the last owner's last store (`Release` and `Acquire` on the number). |
//! | Counting is wait-free after a thread's first count. | There is nothing to wait for: see above. The first count of a thread takes a number (at most one look at each of 16,384 bits), and outside of the slab it allocates a shard. A name's first appearance takes a lock while the name is copied. |
//! | Every event counted before a snapshot began is in it, none is in it twice. | A reader loads each word once; coherence gives it the word as it was when the snapshot began, or later. |
//! | A snapshot is not a cut in time. | What is counted while it runs may be in or out, on each word for itself. |
//! | No token is seen gone that was not seen come. | A retirement is stored with `Release`; a reader loads all of them first, with `Acquire`, and issues last. |
//! | Readers write nothing that a counting thread reads, but the tick, and that once a second at most. | `snapshot` only loads; the tick is written only if it has to move. |
//! | Memory is bounded. | Shards: the slab, or as many as there were threads counting at once. Names: `max_aspects`, of 128 bytes at most. |
//!
//! # What the numbers mean
//!
//! - **Rate**: the events of the last 60 seconds, divided by 60. The slot that straddles the far
//!   edge of the window counts for the part of it that is still inside, so that an even stream of
//!   100 a second reads as 100 and not as a saw. In its first minute a counter divides by its age
//!   instead, but by one second at least.
//! - **Last hour**: the same with 60 minutes, as a whole number of events.
//! - **An event of another time** (`observe_at`) is placed by its age against the clock's wall
//!   time. Older than the window it is in the totals only; from the future it counts as now.
//! - **Averages** are taken over the sources that report a section, zeros included. Counts are
//!   summed.
//! - **Cache**: from what the cache's own counters gained within the last hour, or since the source
//!   was made.
//!
//! # Memory
//!
//! ```text
//!  a counter = (slab + shards of later threads + 1 shared) × shard + names
//!
//!  shard of envelopes = 64 slots × 8 + 65 totals × 8 + 16 bytes, padded to cache lines = 1,152 bytes
//!                     + 8 bytes for each aspect beyond 64
//!  shard of tokens    = 2 × (64 slots × 8 + 8) + 8 bytes, padded                       = 1,152 bytes
//! ```
//!
//! With 16 shards in the slab that is 19 KiB, flat for ever, whether or not it is read.
//!
//! # Where it stops
//!
//! - It keeps one window, of a minute or an hour, and the totals. History belongs in a time series
//!   database.
//! - It counts events, not durations: there are no histograms.
//! - Reading costs time in proportion to the shards: use it for counts that are written far more
//!   often than read.
//! - In a child process after `fork` the clock's thread does not exist. Every snapshot still
//!   advances the clock, so totals are exact and the rate is as fresh as snapshots are frequent.
//! - A program built with `panic = "abort"` cannot survive a source that panics.
