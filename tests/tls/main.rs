//! TLS is the embedder's: a page behind an acceptor of theirs, here rustls.
//!
//! The key beside this file is no secret, and good for nothing but these tests:
//!
//! ```text
//! openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 36500 \
//!   -subj /CN=localhost -addext subjectAltName=DNS:localhost \
//!   -addext basicConstraints=critical,CA:FALSE -keyout key.pem -outform DER -out certificate.der
//! openssl pkcs8 -topk8 -nocrypt -in key.pem -outform DER -out key.der
//! ```

// Without `serve` there is no page to mount.
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

const PATIENCE: Duration = Duration::from_secs(10);

/// The certificate is from November 2026, and this is from 2100: whatever the machine thinks it is.
#[derive(Debug)]
struct WhileItIsValid;

impl TimeProvider for WhileItIsValid {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(Duration::from_secs(
            4_102_444_800,
        )))
    }
}

/// What an application does that has TLS already: accept, shake hands, and hand over.
async fn serve(listener: TcpListener, acceptor: TlsAcceptor, page: Handler) {
    while let Ok((stream, _)) = listener.accept().await {
        let (acceptor, page) = (acceptor.clone(), page.clone());
        tokio::spawn(async move {
            let stream = timeout(PATIENCE, acceptor.accept(stream)).await??;
            hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), page)
                .await?;
            Ok::<_, Box<dyn Error + Send + Sync>>(())
        });
    }
}

#[tokio::test]
async fn a_handler_behind_an_acceptor_serves_its_page_over_tls() -> Result<(), Box<dyn Error>> {
    let tokens = TokenCounters::new();
    tokens.issued();
    let page = Aggregator::new().source(tokens).handler();
    let certificate = CertificateDer::from(CERTIFICATE);
    let key = PrivateKeyDer::try_from(KEY)?;
    let server = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key)?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let at = listener.local_addr()?;
    tokio::spawn(serve(listener, TlsAcceptor::from(Arc::new(server)), page));

    // Whoever speaks no TLS is not answered in the clear.
    let mut plain = TcpStream::connect(at).await?;
    plain
        .write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        .await?;
    let mut answer = Vec::new();
    timeout(PATIENCE, plain.read_to_end(&mut answer)).await??;
    assert!(!answer.starts_with(b"HTTP/"), "{answer:?}");

    let mut trusted = RootCertStore::empty();
    trusted.add(certificate)?;
    let provider = Arc::new(crypto::ring::default_provider());
    let client = ClientConfig::builder_with_details(provider, Arc::new(WhileItIsValid))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(trusted)
        .with_no_client_auth();
    let connector = TlsConnector::from(Arc::new(client));
    let stream = TcpStream::connect(at).await?;
    let stream = connector.connect(ServerName::try_from("localhost")?, stream);
    let stream = TokioIo::new(timeout(PATIENCE, stream).await??);
    let (mut requests, connection) = hyper::client::conn::http1::handshake(stream).await?;
    tokio::spawn(connection);
    // More than one on a connection.
    for _ in 0..3 {
        let request = Request::get("/").header("host", "localhost");
        let response = requests.send_request(request.body(Empty::<Bytes>::new())?);
        let response = timeout(PATIENCE, response).await??;
        assert_eq!(response.status(), StatusCode::OK);
        let body = response.into_body().collect().await?.to_bytes();
        let snapshot: Snapshot = serde_json::from_slice(&body)?;
        assert_eq!(snapshot.tokens.active_count, 1);
    }
    Ok(())
}
