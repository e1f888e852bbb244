//! The whole server mounted in an axum application, beside a route of its own.
//!
//! ```text
//! cargo run --example axum
//! ```
//!
//! `GET /publish` records one envelope; the pages then show it.

use std::error::Error;

use axum::Router;
use axum::routing::get;
use parsec_telemetry::{Aggregator, EnvelopeCounters, Server};
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
    let server = Server::builder(aggregator).build();
    let app = Router::new().route("/publish", get(publish)).nest_service("/ops", server);

    let listener = TcpListener::bind("127.0.0.1:3000").await?;
    let address = listener.local_addr()?;
    println!("publish:    curl http://{address}/publish");
    println!("console:    open http://{address}/ops");
    println!("JSON:       open http://{address}/ops/parsec/metrics");
    println!("Prometheus: open http://{address}/ops/metrics");
    axum::serve(listener, app).await?;
    Ok(())
}
