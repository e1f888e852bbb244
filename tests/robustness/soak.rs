//! Every attack in turn, then all at once:
//!
//! ```text
//! PARSEC_SOAK_SECONDS=180 cargo test --release --test robustness soak -- --ignored --nocapture
//! ```

use std::env;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use crate::attacks::{ATTACKS, Attack};
use crate::child_server::{ChildServer, Kind};
use crate::observer::Observer;
use crate::sources::TOKENS;

/// Half of the time is for the attacks in turn, half for all of them together with failing sources and rules.
#[test]
#[ignore = "takes 20 seconds, or PARSEC_SOAK_SECONDS"]
fn server_survives_each_attack_and_all_of_them_at_once() {
    let seconds = env::var("PARSEC_SOAK_SECONDS").map_or(Ok(20), |text| text.parse());
    let half = Duration::from_secs(seconds.expect("a number of seconds")) / 2;
    let each = half / u32::try_from(ATTACKS.len() + 1).expect("a small number");
    for attack in &ATTACKS {
        let one = std::slice::from_ref(attack);
        survives(attack.name, one, Kind::Default, 0, each);
    }
    let failing = Kind::FailingSources;
    survives("failing sources and rules", &[], failing, TOKENS, each);
    survives("all attacks at once", &ATTACKS, failing, TOKENS, half);
}

fn survives(name: &str, attacks: &[Attack], kind: Kind, tokens: i64, duration: Duration) {
    let server = ChildServer::start(kind);
    let mut observer = Observer::new(&server, tokens);
    let (start, stop) = (Instant::now(), AtomicBool::new(false));
    thread::scope(|scope| {
        // Stops the attacks even if an assertion fails.
        let _guard = StopOnDrop(&stop);
        for attack in attacks {
            scope.spawn(|| attack.run_until(&stop, server.address));
        }
        observer.observe_while(|| start.elapsed() < duration);
    });
    observer.assert_recovers();
    println!("{name}: {observer}");
}

struct StopOnDrop<'a>(&'a AtomicBool);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
    }
}
