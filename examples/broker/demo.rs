//! The built-in clients: publishers, subscribers, and short-lived clients whose tokens expire. They use the broker
//! through its port, as any other client would.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::client::{Client, Error};
use crate::terminal;

const ASPECTS: [&str; 6] = ["data", "data", "data", "cursor", "data", "typing"];
const RETRY_DELAY: Duration = Duration::from_secs(5);

pub(crate) fn start(tasks: &mut JoinSet<()>, address: SocketAddr, patterns: &[Arc<str>]) {
    // Two channels for each pattern.
    let channels: Arc<[String]> =
        patterns.iter().flat_map(|pattern| ["room1", "room2"].map(|room| pattern.replace('*', room))).collect();
    for offset in 0..3 {
        tasks.spawn(repeat(address, Arc::clone(&channels), offset, publisher));
        tasks.spawn(repeat(address, Arc::clone(&channels), offset, user));
        tasks.spawn(repeat(address, Arc::clone(&channels), offset, agent));
    }
    tasks.spawn(repeat(address, channels, 0, short_lived_clients));
}

/// Runs a client again and again. After an error it waits for [`RETRY_DELAY`], so that a failing client does not
/// flood the terminal.
async fn repeat<R>(address: SocketAddr, channels: Arc<[String]>, offset: usize, client: fn(Session) -> R)
where
    R: Future<Output = Result<(), Error>>,
{
    for number in offset.. {
        let session = Session { address, channels: Arc::clone(&channels), number };
        if let Err(error) = client(session).await {
            let seconds = RETRY_DELAY.as_secs();
            terminal::warn(&format!("a built-in client failed: {error}; it restarts in {seconds} s"));
            sleep(RETRY_DELAY).await;
        }
    }
}

/// One run of a client. `number` spreads the clients over the channels.
struct Session {
    address: SocketAddr,
    channels: Arc<[String]>,
    number: usize,
}

impl Session {
    fn channel(&self, step: usize) -> &str {
        &self.channels[(self.number + step) % self.channels.len()]
    }
}

/// Publishes 100 messages with one token, about 30 per second, and revokes the token.
async fn publisher(session: Session) -> Result<(), Error> {
    let mut client = Client::connect(session.address).await?;
    let token = client.issue_token(60).await?;
    for step in 0..100 {
        let channel = session.channel(step);
        let aspect = ASPECTS[step % ASPECTS.len()];
        client.publish(&token, channel, aspect, &format!("message {step}")).await?;
        sleep(Duration::from_millis(30)).await;
    }
    client.revoke_token(&token).await
}

async fn user(session: Session) -> Result<(), Error> {
    subscriber(session, "user", 50).await
}

async fn agent(session: Session) -> Result<(), Error> {
    // Different counts, or all agents would disconnect at the same time.
    let count = 200 + 150 * (session.number % 3);
    subscriber(session, "agent", count).await
}

/// Reads `count` events, disconnects for 1 to 3 seconds, and resumes with the last id: three times.
async fn subscriber(session: Session, kind: &str, count: usize) -> Result<(), Error> {
    let channel = session.channel(0);
    // Different clients pause for different times.
    let pause = Duration::from_secs(1 + session.number as u64 % 3);
    let mut last_event_id = 0;
    for _ in 0..3 {
        let client = Client::connect(session.address).await?;
        last_event_id = client.read_events(channel, kind, last_event_id, count).await?;
        sleep(pause).await;
    }
    Ok(())
}

/// Issues 100 tokens, publishes once with each, and lets them expire. At any time more tokens are live than the cache
/// holds by default, so the cache evicts.
async fn short_lived_clients(session: Session) -> Result<(), Error> {
    let mut client = Client::connect(session.address).await?;
    for step in 0..100 {
        let token = client.issue_token(4).await?;
        client.publish(&token, session.channel(step), "presence", "hello").await?;
        sleep(Duration::from_millis(50)).await;
    }
    sleep(Duration::from_secs(5)).await;
    Ok(())
}
