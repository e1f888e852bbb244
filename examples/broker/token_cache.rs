//! The cache in front of the tokens, with the counters for the telemetry pages.
//!
//! `CacheSource` takes cumulative counters and computes the windows itself. `quick_cache` counts hits and misses;
//! puts and evictions are counted here.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parsec_telemetry::CacheCounters;
use quick_cache::sync::Cache;
use quick_cache::{DefaultHashBuilder, Lifecycle, Weighter};

use crate::tokens::Token;

pub(crate) struct TokenCache {
    tokens: Cache<String, Arc<Token>, EntryBytes, DefaultHashBuilder, Evictions>,
    puts: AtomicU64,
    is_disabled: AtomicBool,
    evictions: Evictions,
}

impl TokenCache {
    pub(crate) fn new(capacity: usize) -> Self {
        let evictions = Evictions::default();
        let tokens = Cache::with(
            capacity,
            capacity as u64 * ENTRY_BYTES,
            EntryBytes,
            DefaultHashBuilder::default(),
            evictions.clone(),
        );
        Self { tokens, puts: AtomicU64::new(0), is_disabled: AtomicBool::new(false), evictions }
    }

    pub(crate) fn get(&self, id: &str) -> Option<Arc<Token>> {
        self.tokens.get(id)
    }

    pub(crate) fn put(&self, id: &str, token: &Arc<Token>) {
        if self.is_disabled.load(Ordering::Relaxed) {
            return;
        }
        self.tokens.insert(id.to_owned(), Arc::clone(token));
        self.puts.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn remove(&self, id: &str) {
        self.tokens.remove(id);
    }

    /// A disabled cache is empty: every lookup misses.
    pub(crate) fn set_enabled(&self, is_enabled: bool) {
        self.is_disabled.store(!is_enabled, Ordering::Relaxed);
        self.tokens.clear();
    }

    pub(crate) fn counters(&self) -> CacheCounters {
        CacheCounters {
            hits: self.tokens.hits(),
            misses: self.tokens.misses(),
            puts: self.puts.load(Ordering::Relaxed),
            evictions: self.evictions.0.load(Ordering::Relaxed),
            size_entries: self.tokens.len() as u64,
            size_bytes: self.tokens.weight(),
        }
    }
}

/// Size of an entry: the id's text, the token with the two reference counts of its `Arc`, and the cache's key and
/// value.
const ENTRY_BYTES: u64 =
    (ID_BYTES + size_of::<Token>() + 2 * size_of::<usize>() + size_of::<(String, Arc<Token>)>()) as u64;
const ID_BYTES: usize = 32;

/// The cache is limited by total weight; the weight of an entry is its size.
#[derive(Clone)]
struct EntryBytes;

impl Weighter<String, Arc<Token>> for EntryBytes {
    fn weight(&self, _id: &String, _token: &Arc<Token>) -> u64 {
        ENTRY_BYTES
    }
}

/// Counts evictions. A clone inside the cache is notified of each one.
#[derive(Clone, Default)]
struct Evictions(Arc<AtomicU64>);

impl Lifecycle<String, Arc<Token>> for Evictions {
    type RequestState = ();

    fn on_evict(&self, (): &mut (), _id: String, _token: Arc<Token>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}
