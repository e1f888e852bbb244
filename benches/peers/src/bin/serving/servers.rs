//! The servers, each as its own documentation says, on one thread.

use std::convert::Infallible;
use std::future::pending;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::thread;
use std::time::Duration;

use axum::response::IntoResponse;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::header::CONTENT_TYPE;
use hyper::service::{Service, service_fn};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use metrics_exporter_prometheus::PrometheusBuilder;
use parsec_telemetry::Format;
use parsec_telemetry_peers::stay_on_core;
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

/// A server is ended by the end of its input; should that never come, by this.
const LIFETIME: Duration = Duration::from_secs(600);

const JSON: &str = "/parsec/metrics";
const TEXT: &str = "/parsec/telemetry/metrics";
const BARE: &str = "bare hyper, static body";
const HANDLER: &str = "parsec-telemetry, Handler";
const FRESH: &str = "parsec-telemetry, serve(), fresh";
const SHARED: &str = "parsec-telemetry, serve()";
/// The text page of a server of ours says something of the server, too.
const LONG: &str = "text, of serve()";

pub(crate) struct Server {
    /// By which the process that is to be it is told so.
    pub(crate) key: &'static str,
    pub(crate) name: &'static str,
    pub(crate) page: &'static str,
    pub(crate) path: &'static str,
}

impl Server {
    pub(crate) const ALL: &[Self] = &[
        Self::of("bare-json", BARE, "JSON", JSON),
        Self::of("handler-json", HANDLER, "JSON", JSON),
        Self::of("fresh-json", FRESH, "JSON", JSON),
        Self::of("shared-json", SHARED, "JSON", JSON),
        Self::of("bare-text", BARE, "text", TEXT),
        Self::of("handler-text", HANDLER, "text", TEXT),
        Self::of("axum", "axum + prometheus-client", "text", "/metrics"),
        Self::of("metrics", "metrics-exporter-prometheus", "text", "/metrics"),
        Self::of("bare-long", BARE, LONG, TEXT),
        Self::of("fresh-text", FRESH, LONG, TEXT),
        Self::of("shared-text", SHARED, LONG, TEXT),
    ];

    pub(crate) fn is_bare(&self) -> bool {
        self.name == BARE
    }

    const fn of(
        key: &'static str,
        name: &'static str,
        page: &'static str,
        path: &'static str,
    ) -> Self {
        Self {
            key,
            name,
            page,
            path,
        }
    }
}

/// Is a server until the input ends. Says its port first.
pub(crate) fn serve(key: &str) -> Result<()> {
    stay_on_core(thread::available_parallelism()?.get() - 1);
    let (ended, end) = oneshot::channel();
    thread::spawn(move || {
        let _ = io::stdin().read_to_end(&mut Vec::new());
        ended.send(())
    });
    let runtime = runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        tokio::select! {
            done = server(key) => done,
            _ = end => Ok(()),
            () = tokio::time::sleep(LIFETIME) => Err("nobody ended this server".into()),
        }
    })
}

async fn server(key: &str) -> Result<()> {
    let aggregator = page::aggregator()?;
    let local = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let listener = TcpListener::bind(local).await?;
    let address = listener.local_addr()?;
    match key {
        "bare-json" => bare(listener, aggregator.render(Format::Json), Format::Json).await,
        "bare-text" => {
            let body = aggregator.render(Format::Prometheus);
            bare(listener, body, Format::Prometheus).await
        }
        "handler-json" => accept(listener, aggregator.handler()).await,
        "handler-text" => accept(listener, aggregator.prometheus_handler()).await,
        "bare-long" => {
            let server = parsec_telemetry::Server::builder(aggregator).build();
            let page = server.handle(&Request::get(TEXT).body(())?);
            let body = page.into_body().collect().await?.to_bytes();
            bare(listener, body.to_vec(), Format::Prometheus).await
        }
        "fresh-json" | "fresh-text" => {
            // Each page of a snapshot of its own, as those of the others.
            let server = parsec_telemetry::Server::builder(aggregator).freshness(Duration::ZERO);
            say_port(address)?;
            Ok(server.build().serve(listener, pending::<()>()).await?)
        }
        "shared-json" | "shared-text" => {
            say_port(address)?;
            Ok(parsec_telemetry::serve(listener, aggregator, pending::<()>()).await?)
        }
        "axum" => {
            say_port(address)?;
            axum(listener).await
        }
        "metrics" => {
            // It binds its address by itself, and would not say which port it was given.
            drop(listener);
            let exporter = metrics_exporter(address)?;
            say_port(address)?;
            exporter.await
        }
        _ => Err(format!("no server is called {key}").into()),
    }
}

fn say_port(address: SocketAddr) -> io::Result<()> {
    println!("{}", address.port());
    io::stdout().flush()
}

/// hyper's way, as its examples have it, and nothing more.
async fn accept<S>(listener: TcpListener, service: S) -> Result<()>
where
    S: Service<Request<Incoming>, Response = Response<Full<Bytes>>, Error = Infallible>
        + Clone
        + Send
        + 'static,
    S::Future: Send,
{
    say_port(listener.local_addr()?)?;
    loop {
        let (stream, _) = listener.accept().await?;
        let connection = hyper::server::conn::http1::Builder::new()
            .serve_connection(TokioIo::new(stream), service.clone());
        tokio::spawn(connection);
    }
}

async fn bare(listener: TcpListener, body: Vec<u8>, format: Format) -> Result<()> {
    let (body, content_type) = (Bytes::from(body), format.content_type());
    let content_type = hyper::header::HeaderValue::from_static(content_type);
    let service = service_fn(move |_: Request<Incoming>| {
        let mut response = Response::new(Full::new(body.clone()));
        response
            .headers_mut()
            .insert(CONTENT_TYPE, content_type.clone());
        std::future::ready(Ok(response))
    });
    accept(listener, service).await
}

/// As the crate's example does it.
async fn axum(listener: TcpListener) -> Result<()> {
    type State = axum::extract::State<Arc<tokio::sync::Mutex<Registry>>>;

    async fn metrics(state: State) -> impl IntoResponse {
        let registry = state.lock().await;
        let mut buffer = String::new();
        encode(&mut buffer, &registry).expect("a String takes everything");
        let content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
        ([(CONTENT_TYPE, content_type)], buffer)
    }

    let state = Arc::new(tokio::sync::Mutex::new(registry()?));
    let router = axum::Router::new()
        .route("/metrics", axum::routing::get(metrics))
        .with_state(state);
    axum::serve(listener, router).await?;
    Ok(())
}

fn registry() -> Result<Registry> {
    type Labels = Vec<(String, String)>;

    let mut registry = Registry::default();
    for family in page::families()? {
        // It puts them there by itself.
        let name = family.name.trim_end_matches("_total").to_owned();
        let help = family.help.trim_end_matches('.').to_owned();
        if family.is_counter {
            let counters = Family::<Labels, Counter>::default();
            for sample in &family.samples {
                counters
                    .get_or_create(&sample.labels)
                    .inc_by(sample.value.parse()?);
            }
            registry.register(name, help, counters);
        } else {
            let gauges = Family::<Labels, Gauge<f64, AtomicU64>>::default();
            for sample in &family.samples {
                gauges
                    .get_or_create(&sample.labels)
                    .set(sample.value.parse()?);
            }
            registry.register(name, help, gauges);
        }
    }
    Ok(registry)
}

fn metrics_exporter(address: SocketAddr) -> Result<impl Future<Output = Result<()>>> {
    let (recorder, exporter) = PrometheusBuilder::new()
        .with_http_listener(address)
        .build()?;
    metrics::set_global_recorder(recorder).map_err(|_| "there is a recorder already")?;
    for family in page::families()? {
        let (name, help) = (family.name, family.help);
        if family.is_counter {
            metrics::describe_counter!(name.clone(), help);
        } else {
            metrics::describe_gauge!(name.clone(), help);
        }
        for Sample { labels, value } in family.samples {
            if family.is_counter {
                metrics::counter!(name.clone(), &labels).absolute(value.parse()?);
            } else {
                metrics::gauge!(name.clone(), &labels).set(value.parse::<f64>()?);
            }
        }
    }
    Ok(async { exporter.await.map_err(|error| format!("{error:?}").into()) })
}
