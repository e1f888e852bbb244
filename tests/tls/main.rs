//! A handler behind a TLS acceptor of the application, here rustls.
//!
//! The key beside this file is public, and used by this test only:
//!
//! ```text
//! openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 36500 \
//!   -subj /CN=localhost -addext subjectAltName=DNS:localhost \
//!   -addext basicConstraints=critical,CA:FALSE -keyout key.pem -outform DER -out certificate.der
//! openssl pkcs8 -topk8 -nocrypt -in key.pem -outform DER -out key.der
//! ```

#![cfg(feature = "serve")]

use std::error::Error;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Empty};
use hyper_util::rt::TokioIo;
use parsec_telemetry::{Aggregator, Handler, Snapshot, TokenCounters};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use tokio_rustls::rustls::time_provider::TimeProvider;
use tokio_rustls::rustls::{ClientConfig, RootCertStore, ServerConfig, crypto};
use tokio_rustls::{TlsAcceptor, TlsConnector};

const CERTIFICATE: &[u8] = include_bytes!("certificate.der");
const KEY: &[u8] = include_bytes!("key.der");

const DEADLINE: Duration = Duration::from_secs(30);

/// Returns a time in 2100, when the certificate is valid, whatever the clock of the machine shows.
#[derive(Debug)]
struct FixedTime;

impl TimeProvider for FixedTime {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(Duration::from_secs(4_102_444_800)))
    }
}

/// An accept loop as an application has it: TLS handshake, then hyper with the handler.
async fn serve(listener: TcpListener, acceptor: TlsAcceptor, handler: Handler) {
    while let Ok((stream, _)) = listener.accept().await {
        let (acceptor, handler) = (acceptor.clone(), handler.clone());
        tokio::spawn(async move {
            let stream = timeout(DEADLINE, acceptor.accept(stream)).await??;
            hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), handler).await?;
            Ok::<_, Box<dyn Error + Send + Sync>>(())
        });
    }
}

#[tokio::test]
async fn handler_behind_a_tls_acceptor_serves_its_page_to_tls_clients_only() -> Result<(), Box<dyn Error>> {
    let tokens = TokenCounters::new();
    tokens.issued();
    let handler = Aggregator::new().source(tokens).handler();
    let certificate = CertificateDer::from(CERTIFICATE);
    let key = PrivateKeyDer::try_from(KEY)?;
    let server = ServerConfig::builder().with_no_client_auth().with_single_cert(vec![certificate.clone()], key)?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let address = listener.local_addr()?;
    tokio::spawn(serve(listener, TlsAcceptor::from(Arc::new(server)), handler));

    let mut plain = TcpStream::connect(address).await?;
    plain.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await?;
    let mut response = Vec::new();
    timeout(DEADLINE, plain.read_to_end(&mut response)).await??;
    assert!(!response.starts_with(b"HTTP/"), "{response:?}");

    let mut trusted = RootCertStore::empty();
    trusted.add(certificate)?;
    let provider = Arc::new(crypto::ring::default_provider());
    let client = ClientConfig::builder_with_details(provider, Arc::new(FixedTime))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(trusted)
        .with_no_client_auth();
    let connector = TlsConnector::from(Arc::new(client));
    let stream = TcpStream::connect(address).await?;
    let stream = connector.connect(ServerName::try_from("localhost")?, stream);
    let stream = TokioIo::new(timeout(DEADLINE, stream).await??);
    let (mut requests, connection) = hyper::client::conn::http1::handshake(stream).await?;
    tokio::spawn(connection);
    // The connection is reused.
    for _ in 0..3 {
        let request = Request::get("/").header("host", "localhost");
        let response = requests.send_request(request.body(Empty::<Bytes>::new())?);
        let response = timeout(DEADLINE, response).await??;
        assert_eq!(response.status(), StatusCode::OK);
        let body = response.into_body().collect().await?.to_bytes();
        let snapshot: Snapshot = serde_json::from_slice(&body)?;
        assert_eq!(snapshot.tokens.active_count, 1);
    }
    Ok(())
}
