//! The built-in clients. They use the broker as any other client would, through its port, so that
//! the page has something to show: publishers, subscribers, and visitors who take a token, use it
//! once, and let it expire.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::client::{Client, Error};
use crate::report;

const ASPECTS: [&str; 6] = ["data", "data", "data", "cursor", "data", "typing"];

pub(crate) fn start(tasks: &mut JoinSet<()>, address: SocketAddr, patterns: &[Arc<str>]) {
    // Two channels of each pattern, whatever the patterns are.
    let channels: Arc<[String]> = patterns
        .iter()
        .flat_map(|pattern| ["room1", "room2"].map(|room| pattern.replace('*', room)))
        .collect();
    for number in 0..3 {
        tasks.spawn(again(address, Arc::clone(&channels), number, publisher));
        tasks.spawn(again(address, Arc::clone(&channels), number, user));
        tasks.spawn(again(address, Arc::clone(&channels), number, agent));
    }
    tasks.spawn(again(address, channels, 0, visitor));
}

/// Runs a client over and over. One that fails says why and pauses: it must neither end the demo
/// nor flood the terminal.
async fn again<R>(address: SocketAddr, channels: Arc<[String]>, number: usize, run: fn(Visit) -> R)
where
    R: Future<Output = Result<(), Error>>,
{
    for round in number.. {
        let visit = Visit {
            address,
            channels: Arc::clone(&channels),
            round,
        };
        if let Err(error) = run(visit).await {
            report::complain(&format!(
                "a built-in client failed and starts again in 5 s: {error}"
            ));
            sleep(Duration::from_secs(5)).await;
        }
    }
}

struct Visit {
    address: SocketAddr,
    channels: Arc<[String]>,
    round: usize,
}

impl Visit {
    fn channel(&self, step: usize) -> &str {
        &self.channels[(self.round + step) % self.channels.len()]
    }
}

/// Publishes for a while on one token and gives it back: about 30 messages a second.
async fn publisher(visit: Visit) -> Result<(), Error> {
    let mut client = Client::connect(visit.address).await?;
    let token = client.take_token(60).await?;
    for step in 0..100 {
        let aspect = ASPECTS[step % ASPECTS.len()];
        client
            .publish(
                &token,
                visit.channel(step),
                aspect,
                &format!("message {step}"),
            )
            .await?;
        sleep(Duration::from_millis(30)).await;
    }
    client.give_back(&token).await
}

async fn user(visit: Visit) -> Result<(), Error> {
    listen(visit, "user", 50).await
}

async fn agent(visit: Visit) -> Result<(), Error> {
    listen(visit, "agent", 150).await
}

/// Listens, is away for a moment, and comes back for what it has missed.
async fn listen(visit: Visit, kind: &str, messages: usize) -> Result<(), Error> {
    let channel = visit.channel(0);
    let mut last_seen = 0;
    for _ in 0..3 {
        let client = Client::connect(visit.address).await?;
        last_seen = client.read(channel, kind, last_seen, messages).await?;
        // Not all at the same time.
        let seconds = 1 + visit.round % 3;
        sleep(Duration::from_secs(seconds as u64)).await;
    }
    Ok(())
}

/// A crowd that comes and goes: each takes a token, publishes once, and lets the token expire.
/// Between them they hold more tokens than the cache has room for, so the cache has to evict.
async fn visitor(visit: Visit) -> Result<(), Error> {
    let mut client = Client::connect(visit.address).await?;
    for step in 0..100 {
        let token = client.take_token(4).await?;
        client
            .publish(&token, visit.channel(step), "presence", "hello")
            .await?;
        sleep(Duration::from_millis(50)).await;
    }
    sleep(Duration::from_secs(5)).await;
    Ok(())
}
