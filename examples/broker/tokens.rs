//! The tokens that publishing requires, each with a time to live.
//!
//! A token is removed from `live` exactly once. The code that removes it records the revocation or the expiry, so
//! `active_count` on the telemetry pages equals the number of entries of `live`.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use parsec_telemetry::{CacheCounters, TokenCounters, TokenStats};

use crate::error::ApiError;
use crate::token_cache::TokenCache;
use crate::{limits, lock};

pub(crate) struct Tokens {
    /// Stands for the database of a real broker, which is why there is a cache in front of it.
    live: Mutex<HashMap<String, Arc<Token>>>,
    cache: TokenCache,
    counters: TokenCounters,
}

pub(crate) struct Token {
    expires_at: Instant,
    revoked: AtomicBool,
}

impl Token {
    fn is_live(&self, now: Instant) -> bool {
        now < self.expires_at && !self.revoked.load(Ordering::Acquire)
    }
}

impl Tokens {
    pub(crate) fn new(counters: TokenCounters, cache: usize) -> Self {
        Self { live: Mutex::default(), cache: TokenCache::new(cache), counters }
    }

    /// Returns the id of a new token.
    pub(crate) fn issue(&self, time_to_live: Duration) -> Result<String, ApiError> {
        let token = Token { expires_at: Instant::now() + time_to_live, revoked: AtomicBool::new(false) };
        let id = random_id();
        let mut live = lock(&self.live);
        if live.len() >= limits::MAX_TOKENS {
            return Err(ApiError::unavailable(format!(
                "token limit reached ({}): revoke one with DELETE /tokens/TOKEN, or retry after one has expired",
                limits::MAX_TOKENS
            )));
        }
        // Before the insertion: otherwise the expiry could be recorded before the issuance.
        self.counters.issued();
        live.insert(id.clone(), Arc::new(token));
        Ok(id)
    }

    pub(crate) fn is_live(&self, id: &str) -> bool {
        let token = self.cache.get(id).or_else(|| {
            let token = lock(&self.live).get(id).cloned()?;
            self.cache.put(id, &token);
            Some(token)
        });
        // A lookup that races with `revoke` may put the token back into the cache. The cache shares the token with
        // `live`, so the token's own flag still rejects it.
        token.is_some_and(|token| token.is_live(Instant::now()))
    }

    /// Returns whether the token was live.
    pub(crate) fn revoke(&self, id: &str) -> bool {
        let Some(token) = lock(&self.live).remove(id) else {
            return false;
        };
        token.revoked.store(true, Ordering::Release);
        self.cache.remove(id);
        // An expired token that `remove_expired` has not reached yet is recorded as expired.
        let was_live = Instant::now() < token.expires_at;
        if was_live {
            self.counters.revoked();
        } else {
            self.counters.expired();
        }
        was_live
    }

    pub(crate) fn remove_expired(&self, now: Instant) {
        let expired: Vec<_> = lock(&self.live).extract_if(|_, token| token.expires_at <= now).collect();
        for (id, _) in expired {
            self.cache.remove(&id);
            self.counters.expired();
        }
    }

    /// Issues and revokes tokens until more than half of the last hour's are revoked, and remain so for about
    /// `duration` while the built-in clients issue further ones. Returns how many.
    pub(crate) fn revoke_new_tokens(&self, duration: Duration) -> usize {
        // The built-in clients issue about 11 tokens per second and revoke one, so `issued - 2 * revoked` grows by 9.
        const GROWTH_PER_SECOND: u64 = 9;
        let TokenStats { issued_last_hour, revoked_last_hour, .. } = self.counters.snapshot();
        let excess = GROWTH_PER_SECOND * duration.as_secs();
        let count = (issued_last_hour + excess).saturating_sub(2 * revoked_last_hour);
        (0..count).filter(|_| self.issue(Duration::from_secs(1)).is_ok_and(|id| self.revoke(&id))).count()
    }

    pub(crate) fn set_cache_enabled(&self, is_enabled: bool) {
        self.cache.set_enabled(is_enabled);
    }

    pub(crate) fn cache_counters(&self) -> CacheCounters {
        self.cache.counters()
    }
}

/// Returns 128 random bits as hexadecimal digits.
fn random_id() -> String {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).expect("the operating system provides random bytes");
    format!("{:032x}", u128::from_ne_bytes(bytes))
}
