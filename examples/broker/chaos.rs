//! `--chaos`: faults on a schedule, to watch alerts fire and resolve, and a source become stale.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use parsec_telemetry::{CoarseClock, ManualClock};
use tokio::time::{interval, sleep};

use crate::broker::Broker;
use crate::{lock, terminal};

/// Causes each fault once per cycle, one twelfth of it after another: 10 s of the default cycle of 120 s. While the
/// source is stale, the revocations fire an alert, and the cache makes another one pending.
pub(crate) async fn run(broker: Arc<Broker>, cycle: Duration) {
    let twelfth = cycle / 12;
    loop {
        sleep(twelfth).await;
        announce(&format!("the source sessions stalls for {:.0} s", 4.0 * twelfth.as_secs_f64()));
        let stall = broker.channels.stall.begin();
        sleep(twelfth).await;
        let count = broker.tokens.revoke_new_tokens(cycle / 2);
        announce(&format!("{count} tokens are issued and revoked"));
        sleep(twelfth).await;
        announce(&format!("the token cache is cleared and stores nothing for {:.0} s", 2.0 * twelfth.as_secs_f64()));
        broker.tokens.set_cache_enabled(false);
        sleep(2 * twelfth).await;
        announce("the token cache stores tokens again");
        broker.tokens.set_cache_enabled(true);
        drop(stall);
        announce("the source sessions answers again");
        sleep(7 * twelfth).await;
    }
}

fn announce(event: &str) {
    terminal::print(&format!("chaos: {event}"));
}

/// Returns a clock on which a third of a cycle is one hour. Over a real hour, the hit rate would move too slowly for
/// a cycle of minutes.
pub(crate) fn cache_clock(cycle: Duration) -> CoarseClock {
    const HOUR: Duration = Duration::from_secs(3600);
    const STEP: Duration = Duration::from_millis(100);
    let manual = ManualClock::new();
    let clock = manual.clock();
    tokio::spawn(async move {
        let mut ticks = interval(STEP);
        loop {
            ticks.tick().await;
            manual.advance(HOUR.mul_f64(3.0 * STEP.as_secs_f64() / cycle.as_secs_f64()));
        }
    });
    clock
}

/// A source that calls [`wait`](Self::wait) blocks there during a stall.
#[derive(Default)]
pub(crate) struct Stall {
    stalled: Mutex<bool>,
    ended: Condvar,
}

impl Stall {
    pub(crate) fn wait(&self) {
        let stalled = lock(&self.stalled);
        drop(self.ended.wait_while(stalled, |stalled| *stalled).unwrap_or_else(PoisonError::into_inner));
    }

    /// The stall ends when the guard is dropped, also by a shutdown.
    fn begin(&self) -> StallGuard<'_> {
        *lock(&self.stalled) = true;
        StallGuard(self)
    }
}

struct StallGuard<'a>(&'a Stall);

impl Drop for StallGuard<'_> {
    fn drop(&mut self) {
        *lock(&self.0.stalled) = false;
        self.0.ended.notify_all();
    }
}
