//! A client of the broker's HTTP interface: one connection, one request at a time.

use std::net::SocketAddr;

use bytes::Bytes;
use http::header::{AUTHORIZATION, HOST};
use http::{Method, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

pub(crate) type Error = Box<dyn std::error::Error + Send + Sync>;

pub(crate) struct Client {
    address: SocketAddr,
    sender: SendRequest<Full<Bytes>>,
}

impl Client {
    pub(crate) async fn connect(address: SocketAddr) -> Result<Self, Error> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await?;
        // The task ends when `sender` is dropped.
        tokio::spawn(connection);
        Ok(Self { address, sender })
    }

    pub(crate) async fn issue_token(&mut self, ttl_seconds: u64) -> Result<String, Error> {
        let path = format!("/tokens?ttl={ttl_seconds}");
        let body = self.request(Method::POST, &path, None, "").await?;
        let body: serde_json::Value = serde_json::from_slice(&body)?;
        Ok(body["token"].as_str().ok_or("the response has no token")?.to_owned())
    }

    pub(crate) async fn revoke_token(&mut self, token: &str) -> Result<(), Error> {
        let path = format!("/tokens/{token}");
        self.request(Method::DELETE, &path, None, "").await?;
        Ok(())
    }

    pub(crate) async fn publish(&mut self, token: &str, channel: &str, aspect: &str, text: &str) -> Result<(), Error> {
        let path = format!("/channels/{channel}/publish?aspect={aspect}");
        self.request(Method::POST, &path, Some(token), text).await?;
        Ok(())
    }

    /// Subscribes, reads `count` events, and returns the id of the last one.
    pub(crate) async fn read_events(
        mut self,
        channel: &str,
        kind: &str,
        last_event_id: u64,
        count: usize,
    ) -> Result<u64, Error> {
        let request = Request::get(format!("/channels/{channel}/events?kind={kind}"))
            .header(HOST, self.address.to_string())
            .header("last-event-id", last_event_id)
            .body(Full::default())?;
        let mut events = self.send(request).await?.into_body();
        let (mut text, mut last_event_id, mut remaining) = (String::new(), last_event_id, count);
        while remaining > 0 {
            let Some(frame) = events.frame().await else {
                break;
            };
            text.push_str(&String::from_utf8_lossy(frame?.data_ref().map_or(&[], |data| data)));
            while let Some(end) = text.find('\n') {
                if let Some(id) = text[..end].strip_prefix("id: ") {
                    last_event_id = id.parse()?;
                    remaining = remaining.saturating_sub(1);
                }
                text.drain(..=end);
            }
        }
        Ok(last_event_id)
    }

    async fn request(&mut self, method: Method, path: &str, token: Option<&str>, body: &str) -> Result<Bytes, Error> {
        let mut request = Request::builder().method(method).uri(path).header(HOST, self.address.to_string());
        if let Some(token) = token {
            request = request.header(AUTHORIZATION, format!("Bearer {token}"));
        }
        let request = request.body(Full::from(body.to_owned()))?;
        let response = self.send(request).await?;
        Ok(response.into_body().collect().await?.to_bytes())
    }

    async fn send(&mut self, request: Request<Full<Bytes>>) -> Result<Response<Incoming>, Error> {
        self.sender.ready().await?;
        let response = self.sender.send_request(request).await?;
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status();
        let body = response.into_body().collect().await?.to_bytes();
        Err(format!("{status}: {}", String::from_utf8_lossy(&body).trim_end()).into())
    }
}
