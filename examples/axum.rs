//! Both telemetry pages mounted in an axum application, beside a route of its own.
//!
//! ```text
//! cargo run --example axum
//! ```
//!
//! `GET /publish` records one envelope; both pages then show it.

use std::error::Error;

use axum::Router;
use axum::routing::{any_service, get};
use parsec_telemetry::{Aggregator, EnvelopeCounters};
use tokio::net::TcpListener;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let envelopes = EnvelopeCounters::new();
    let aggregator = Aggregator::new().source(envelopes.clone());

    let data = envelopes.aspect("data");
    let publish = async move || {
        data.observe();
        "published\n"
    };
    // `any_service`: the handlers answer methods other than GET and HEAD with 405.
    let app = Router::new()
        .route("/publish", get(publish))
        .route("/parsec/metrics", any_service(aggregator.handler()))
        .route("/parsec/telemetry/metrics", any_service(aggregator.prometheus_handler()));

    let listener = TcpListener::bind("127.0.0.1:3000").await?;
    let address = listener.local_addr()?;
    println!("publish:    curl http://{address}/publish");
    println!("JSON:       open http://{address}/parsec/metrics");
    println!("Prometheus: open http://{address}/parsec/telemetry/metrics");
    axum::serve(listener, app).await?;
    Ok(())
}
