//! The wait-free floor: slots, rings, shards and names. Nothing here is public.
//!
//! Bottom up, and each file imports only from those before it:
//!
//! - [`slot`]: one word that holds a lap and a count.
//! - [`ring`]: a slot for each of the last 64 ticks.
//! - [`thread`]: a small dense number for each thread that counts.
//! - [`shards`]: one of anything for each of those numbers.
//! - [`names`]: a fixed table from names to small dense numbers.

pub(crate) mod names;
pub(crate) mod ring;
pub(crate) mod shards;
pub(crate) mod slot;
pub(crate) mod thread;
