//! The servers that are compared, each on one thread in a process of its own, set up as its documentation recommends.

use std::convert::Infallible;
use std::future::{Future, pending, ready};
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::thread;
use std::time::Duration;

use axum::response::IntoResponse;
use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use metrics_exporter_prometheus::PrometheusBuilder;
use parsec_telemetry::Format;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tokio::runtime;
use tokio::sync::oneshot;

use crate::Result;
use crate::page::{self, Sample};

/// Ends a server whose parent process has ended without closing the server's input.
const LIFETIME: Duration = Duration::from_secs(600);

const JSON: &str = "/parsec/metrics";
pub(crate) const TEXT: &str = "/parsec/telemetry/metrics";

pub(crate) struct Server {
    /// The argument that makes a child process run this server.
    pub(crate) key: &'static str,
    pub(crate) name: &'static str,
    pub(crate) path: &'static str,
}

pub(crate) const COALESCED: [&str; 2] = ["json", "text"];

/// Bare hyper, the reference: any path, and a body of fixed length.
pub(crate) const BARE: Server = Server::new("bare", "bare hyper", "/");

pub(crate) const SERVERS: [Server; 5] = [
    Server::new(COALESCED[0], "parsec-telemetry, JSON", JSON),
    Server::new(COALESCED[1], "parsec-telemetry, text", TEXT),
    Server::new("fresh", "parsec-telemetry, text, not coalesced", TEXT),
    Server::new("axum", "axum + prometheus-client", "/metrics"),
    Server::new("metrics", "metrics-exporter-prometheus", "/metrics"),
];

impl Server {
    const fn new(key: &'static str, name: &'static str, path: &'static str) -> Self {
        Self { key, name, path }
    }
}

/// Serves until the standard input ends. Prints the port first.
pub(crate) fn serve(key: &str, body_bytes: usize) -> Result<()> {
    let (ended, end) = oneshot::channel();
    thread::spawn(move || {
        let _ = io::stdin().read_to_end(&mut Vec::new());
        ended.send(())
    });
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        tokio::select! {
            done = run(key, body_bytes) => done,
            _ = end => Ok(()),
            () = tokio::time::sleep(LIFETIME) => Err("the parent process did not end this server".into()),
        }
    })
}

async fn run(key: &str, body_bytes: usize) -> Result<()> {
    let listener = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await?;
    let address = listener.local_addr()?;
    let print_port = || {
        println!("{}", address.port());
        io::stdout().flush()
    };
    match key {
        "bare" => {
            print_port()?;
            bare(listener, body_bytes).await
        }
        "json" | "text" => {
            let server = parsec_telemetry::Server::builder(page::aggregator()?);
            print_port()?;
            // One snapshot: under callgrind, it depends on the wall time how many requests share one of 100 ms.
            let server = server.max_snapshot_age(Duration::from_secs(3600)).build();
            Ok(server.serve(listener, pending::<()>()).await?)
        }
        "fresh" => {
            let server = parsec_telemetry::Server::builder(page::aggregator()?);
            print_port()?;
            let server = server.max_snapshot_age(Duration::ZERO).build();
            Ok(server.serve(listener, pending::<()>()).await?)
        }
        "axum" => {
            let registry = registry().await?;
            print_port()?;
            axum(listener, registry).await
        }
        "metrics" => {
            // It binds the address itself, and does not tell which port the system has chosen.
            drop(listener);
            let exporter = metrics_exporter(address).await?;
            print_port()?;
            exporter.await
        }
        _ => Err(format!("unknown server {key:?}").into()),
    }
}

/// The accept loop of hyper's examples, with a response that is ready.
async fn bare(listener: TcpListener, body_bytes: usize) -> Result<()> {
    let body = Bytes::from(vec![b'x'; body_bytes]);
    let content_type = HeaderValue::from_static(Format::Prometheus.content_type());
    let service = service_fn(move |_: Request<Incoming>| {
        let mut response = Response::new(Full::new(body.clone()));
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, content_type.clone());
        ready(Ok::<_, Infallible>(response))
    });
    loop {
        let (stream, _) = listener.accept().await?;
        let connection =
            hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service.clone());
        tokio::spawn(connection);
    }
}

/// The example of `prometheus-client` for axum.
async fn axum(listener: TcpListener, registry: Registry) -> Result<()> {
    type State = axum::extract::State<Arc<tokio::sync::Mutex<Registry>>>;

    async fn metrics(state: State) -> impl IntoResponse {
        let registry = state.lock().await;
        let mut buffer = String::new();
        encode(&mut buffer, &registry).expect("writing to a String does not fail");
        let content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
        ([(CONTENT_TYPE, content_type)], buffer)
    }

    let state = Arc::new(tokio::sync::Mutex::new(registry));
    let router = axum::Router::new().route("/metrics", axum::routing::get(metrics)).with_state(state);
    axum::serve(listener, router).await?;
    Ok(())
}

async fn registry() -> Result<Registry> {
    type Labels = Vec<(String, String)>;

    let mut registry = Registry::default();
    for family in page::families().await? {
        // The crate appends both.
        let name = family.name.trim_end_matches("_total").to_owned();
        let help = family.help.trim_end_matches('.').to_owned();
        if family.is_counter {
            let counters = Family::<Labels, Counter<f64, AtomicU64>>::default();
            for Sample { labels, value } in &family.samples {
                counters.get_or_create(labels).inc_by(*value);
            }
            registry.register(name, help, counters);
        } else {
            let gauges = Family::<Labels, Gauge<f64, AtomicU64>>::default();
            for Sample { labels, value } in &family.samples {
                gauges.get_or_create(labels).set(*value);
            }
            registry.register(name, help, gauges);
        }
    }
    Ok(registry)
}

async fn metrics_exporter(address: SocketAddr) -> Result<impl Future<Output = Result<()>>> {
    let (recorder, exporter) = PrometheusBuilder::new().with_http_listener(address).build()?;
    metrics::set_global_recorder(recorder).map_err(|_| "a recorder is installed already")?;
    for family in page::families().await? {
        let (name, help) = (family.name, family.help);
        if family.is_counter {
            metrics::describe_counter!(name.clone(), help);
        } else {
            metrics::describe_gauge!(name.clone(), help);
        }
        for Sample { labels, value } in family.samples {
            if family.is_counter {
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "counters are whole and positive, but for processor seconds"
                )]
                metrics::counter!(name.clone(), &labels).absolute(value as u64);
            } else {
                metrics::gauge!(name.clone(), &labels).set(value);
            }
        }
    }
    Ok(async { exporter.await.map_err(|error| format!("{error:?}").into()) })
}
