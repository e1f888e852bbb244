//! One counter, one alert rule, and the telemetry pages on a port of their own, until Ctrl-C.
//!
//! ```text
//! cargo run --example minimal
//! ```

use std::error::Error;
use std::time::Duration;

use parsec_telemetry::{Aggregator, AlertRule, Aspect, EnvelopeCounters, Severity};
use tokio::net::TcpListener;
use tokio::time::sleep;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let envelopes = EnvelopeCounters::new();
    let aggregator = Aggregator::new().source(envelopes.clone()).with_alerts(vec![AlertRule::new(
        "slow",
        Severity::Warning,
        |s| s.envelopes.rate_per_second < 10.0,
    )])?;

    let data = envelopes.aspect("data"); // once, where the publisher is built
    tokio::spawn(publish(data));

    let listener = TcpListener::bind("127.0.0.1:9464").await?;
    println!("open http://{}/", listener.local_addr()?);
    parsec_telemetry::serve(listener, aggregator, parsec_telemetry::shutdown_signal()).await?;
    Ok(())
}

/// Stands for the application: about 50 envelopes per second.
async fn publish(data: Aspect) {
    loop {
        data.observe(); // on every publish
        sleep(Duration::from_millis(20)).await;
    }
}
