//! The cache in front of the tokens: bounded, and it counts what the telemetry page shows of it.
//!
//! The crate wants the cache's own ever-growing counters and does the windows itself. `quick_cache`
//! counts hits and misses; puts and evictions are counted here.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parsec_telemetry::CacheCounters;
use quick_cache::sync::Cache;
use quick_cache::{DefaultHashBuilder, Lifecycle, Weighter};

use crate::tokens::Token;

pub(crate) struct TokenCache {
    tokens: Cache<String, Arc<Token>, Bytes, DefaultHashBuilder, Evictions>,
    puts: AtomicU64,
    evictions: Evictions,
}

impl TokenCache {
    pub(crate) fn new(entries: usize) -> Self {
        let evictions = Evictions::default();
        // The cache is bounded by weight, which here is bytes; all tokens weigh the same.
        let bytes = entries as u64 * ENTRY_BYTES;
        let tokens = Cache::with(
            entries,
            bytes,
            Bytes,
            DefaultHashBuilder::default(),
            evictions.clone(),
        );
        Self {
            tokens,
            puts: AtomicU64::new(0),
            evictions,
        }
    }

    pub(crate) fn get(&self, id: &str) -> Option<Arc<Token>> {
        self.tokens.get(id)
    }

    pub(crate) fn put(&self, id: &str, token: &Arc<Token>) {
        self.tokens.insert(id.to_owned(), Arc::clone(token));
        self.puts.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn remove(&self, id: &str) {
        self.tokens.remove(id);
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

/// What an entry takes: the id's text, the token with the two counts of its `Arc`, and the pair
/// that the cache keeps.
const ENTRY_BYTES: u64 =
    (ID_BYTES + size_of::<Token>() + 2 * size_of::<usize>() + size_of::<(String, Arc<Token>)>())
        as u64;
const ID_BYTES: usize = 32;

#[derive(Clone)]
struct Bytes;

impl Weighter<String, Arc<Token>> for Bytes {
    fn weight(&self, _id: &String, _token: &Arc<Token>) -> u64 {
        ENTRY_BYTES
    }
}

/// Shared with the cache, which tells it of each entry that had to make room.
#[derive(Clone, Default)]
struct Evictions(Arc<AtomicU64>);

impl Lifecycle<String, Arc<Token>> for Evictions {
    type RequestState = ();

    fn on_evict(&self, (): &mut (), _id: String, _token: Arc<Token>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}
