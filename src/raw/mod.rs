//! The wait-free core: slots, rings, shards and names. Nothing here is public.
//!
//! In level order, each file imports only from those before it: slot, ring, `thread_id`, shards, interner, recorder.

pub(crate) mod interner;
pub(crate) mod recorder;
pub(crate) mod ring;
pub(crate) mod shards;
pub(crate) mod slot;
pub(crate) mod thread_id;
