//! Who may publish: tokens with a time to live.
//!
//! A token leaves `live` exactly once, and whoever takes it out counts it, as revoked or as
//! expired. So the page's active count is the number of tokens that there are.

use std::collections::HashMap;
use std::collections::hash_map::{Entry, RandomState};
use std::hash::BuildHasher;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use parsec_telemetry::{CacheCounters, TokenCounters};

use crate::reply::Refusal;
use crate::token_cache::TokenCache;
use crate::{limits, lock};

pub(crate) struct Tokens {
    /// Stands for the database that a real broker would ask, which is why there is a cache in front
    /// of it.
    live: Mutex<HashMap<String, Arc<Token>>>,
    cache: TokenCache,
    counters: TokenCounters,
    ids: Ids,
}

pub(crate) struct Token {
    expires: Instant,
    revoked: AtomicBool,
}

impl Token {
    fn is_live(&self, now: Instant) -> bool {
        now < self.expires && !self.revoked.load(Ordering::Acquire)
    }
}

impl Tokens {
    pub(crate) fn new(counters: TokenCounters, cache: usize) -> Self {
        Self {
            live: Mutex::default(),
            cache: TokenCache::new(cache),
            counters,
            ids: Ids::default(),
        }
    }

    pub(crate) fn issue(&self, time_to_live: Duration) -> Result<String, Refusal> {
        let token = Token {
            expires: Instant::now() + time_to_live,
            revoked: AtomicBool::new(false),
        };
        let mut live = lock(&self.live);
        if live.len() >= limits::TOKENS {
            return Err(Refusal::unavailable(format!(
                "{} tokens are live, which is the most: revoke one with DELETE /tokens/ID, or wait until one expires",
                limits::TOKENS
            )));
        }
        loop {
            let id = self.ids.next();
            if let Entry::Vacant(place) = live.entry(id.clone()) {
                // Before it can be found, so that it is never counted out before it is counted in.
                self.counters.issued();
                place.insert(Arc::new(token));
                return Ok(id);
            }
        }
    }

    pub(crate) fn is_live(&self, id: &str) -> bool {
        let token = self.cache.get(id).or_else(|| {
            let token = lock(&self.live).get(id).cloned()?;
            self.cache.put(id, &token);
            Some(token)
        });
        // The cache holds the token itself and not an answer about it. A look-up that races with
        // the revocation may put it back after it was taken out, but it finds it revoked.
        token.is_some_and(|token| token.is_live(Instant::now()))
    }

    /// Whether there was such a token to revoke.
    pub(crate) fn revoke(&self, id: &str) -> bool {
        let Some(token) = lock(&self.live).remove(id) else {
            return false;
        };
        token.revoked.store(true, Ordering::Release);
        self.cache.remove(id);
        // It may have expired with the sweeper still on its way: then this is not a revocation.
        let in_time = Instant::now() < token.expires;
        if in_time {
            self.counters.revoked();
        } else {
            self.counters.expired();
        }
        in_time
    }

    /// Drops what has expired.
    pub(crate) fn sweep(&self, now: Instant) {
        let expired: Vec<_> = lock(&self.live)
            .extract_if(|_, token| token.expires <= now)
            .collect();
        for (id, _) in expired {
            self.cache.remove(&id);
            self.counters.expired();
        }
    }

    pub(crate) fn cache_counters(&self) -> CacheCounters {
        self.cache.counters()
    }
}

/// Ids that do not meet by accident: 128 bits, keyed anew by each process. This is an example and
/// no generator of secrets: a broker that faces strangers takes its tokens from the operating
/// system's random numbers.
#[derive(Default)]
struct Ids {
    count: AtomicU64,
    left: RandomState,
    right: RandomState,
}

impl Ids {
    fn next(&self) -> String {
        // Relaxed: only that no number comes twice matters.
        let count = self.count.fetch_add(1, Ordering::Relaxed);
        format!(
            "{:016x}{:016x}",
            self.left.hash_one(count),
            self.right.hash_one(count)
        )
    }
}
