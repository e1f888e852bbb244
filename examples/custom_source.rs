//! A `Source` over the application's own atomics, and its snapshot as JSON on standard output.
//!
//! ```text
//! cargo run --example custom_source
//! ```
//!
//! There is no server here: this runs with `--no-default-features` too.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use parsec_telemetry::{Aggregator, Format, PresenceStats, Source};

/// What the application already counts.
#[derive(Default)]
struct Lobby {
    users: AtomicU64,
    agents: AtomicU64,
    rooms: AtomicU64,
}

/// Implement the sections that the source measures. The other ones default to `None`, which means "not measured
/// here".
impl Source for Lobby {
    fn presence(&self) -> Option<PresenceStats> {
        let users = self.users.load(Relaxed);
        let agents = self.agents.load(Relaxed);
        let rooms = self.rooms.load(Relaxed);
        Some(PresenceStats {
            total_users: users,
            total_agents: agents,
            average_per_channel: (users + agents) as f64 / rooms.max(1) as f64,
        })
    }
}

fn main() -> io::Result<()> {
    // The aggregator keeps one reference, the application the other.
    let lobby = Arc::new(Lobby::default());
    let aggregator = Aggregator::new().source(Arc::clone(&lobby));

    lobby.rooms.fetch_add(2, Relaxed);
    lobby.users.fetch_add(5, Relaxed);
    lobby.agents.fetch_add(1, Relaxed);

    // `presence` reads 5 users, 1 agent and 3 per channel.
    io::stdout().write_all(&aggregator.render(Format::Json))
}
