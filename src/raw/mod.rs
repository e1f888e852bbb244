//! The wait-free core: slots, rings, shards and names. Nothing here is public.
//!
//! Each file imports only from those above it:
//!
//! - [`slot`]: one word that holds a lap and a count.
//! - [`ring`]: one slot for each of the last 64 ticks.
//! - [`thread_id`]: a small dense id for each recording thread.
//! - [`shards`]: one shard for each of these ids, and a shared one.
//! - [`interner`]: a fixed table from names to small dense ids.
//! - [`recorder`]: records an event in the calling thread's shard.

pub(crate) mod interner;
pub(crate) mod recorder;
pub(crate) mod ring;
pub(crate) mod shards;
pub(crate) mod slot;
pub(crate) mod thread_id;
