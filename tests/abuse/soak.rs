//! Everything at once, for as long as one likes:
//!
//! ```text
//! PARSEC_SOAK_SECONDS=180 cargo test --release --test abuse soak -- --ignored --nocapture
//! ```

use std::env;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use crate::faults::{FAULTS, Fault};
use crate::outside::{Kind, Outside};
use crate::sources::TOKENS;
use crate::watch::Watch;

/// Half of the time for one fault after the other, and half for all of them at once, with ill
/// sources and rules besides.
#[test]
#[ignore = "takes 20 seconds, or PARSEC_SOAK_SECONDS"]
fn the_page_withstands_each_fault_and_all_of_them_at_once() {
    let seconds = env::var("PARSEC_SOAK_SECONDS").map_or(Ok(20), |text| text.parse());
    let half = Duration::from_secs(seconds.expect("a number of seconds")) / 2;
    let each = half / u32::try_from(FAULTS.len() + 1).expect("a few");
    for fault in &FAULTS {
        let one = std::slice::from_ref(fault);
        withstands(fault.name, one, Kind::Usual, 0, each);
    }
    withstands("ill sources and rules", &[], Kind::Ill, TOKENS, each);
    withstands("all of them at once", &FAULTS, Kind::Ill, TOKENS, half);
}

fn withstands(name: &str, faults: &[Fault], kind: Kind, tokens: i64, time: Duration) {
    let server = Outside::start(kind);
    let mut watch = Watch::of(&server, tokens);
    let (begun, ended) = (Instant::now(), AtomicBool::new(false));
    thread::scope(|scope| {
        // However this ends, they do.
        let _end = End(&ended);
        for fault in faults {
            scope.spawn(|| fault.until(&ended, server.at));
        }
        watch.looks_on(|| begun.elapsed() < time);
    });
    watch.sees_it_well();
    println!("{name}: {watch}");
}

struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
    }
}
