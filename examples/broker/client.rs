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
    connection: SendRequest<Full<Bytes>>,
}

impl Client {
    pub(crate) async fn connect(address: SocketAddr) -> Result<Self, Error> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let (connection, driver) = handshake(TokioIo::new(stream)).await?;
        // It ends with the connection, and so with this client.
        tokio::spawn(driver);
        Ok(Self {
            address,
            connection,
        })
    }

    pub(crate) async fn take_token(&mut self, ttl_seconds: u64) -> Result<String, Error> {
        let path = format!("/tokens?ttl={ttl_seconds}");
        let answer = self.ask(Method::POST, &path, None, "").await?;
        let answer: serde_json::Value = serde_json::from_slice(&answer)?;
        Ok(answer["token"]
            .as_str()
            .ok_or("the answer has no token")?
            .to_owned())
    }

    pub(crate) async fn give_back(&mut self, token: &str) -> Result<(), Error> {
        self.ask(Method::DELETE, &format!("/tokens/{token}"), None, "")
            .await?;
        Ok(())
    }

    pub(crate) async fn publish(
        &mut self,
        token: &str,
        channel: &str,
        aspect: &str,
        text: &str,
    ) -> Result<(), Error> {
        let path = format!("/channels/{channel}/publish?aspect={aspect}");
        self.ask(Method::POST, &path, Some(token), text).await?;
        Ok(())
    }

    /// Subscribes, reads `messages` events, and gives the id of the last one, with which it can go
    /// on later.
    pub(crate) async fn read(
        mut self,
        channel: &str,
        kind: &str,
        last_seen: u64,
        messages: usize,
    ) -> Result<u64, Error> {
        let request = Request::get(format!("/channels/{channel}/events?kind={kind}"))
            .header(HOST, self.address.to_string())
            .header("last-event-id", last_seen)
            .body(Full::default())?;
        let mut events = self.send(request).await?.into_body();
        let (mut text, mut last_seen, mut left) = (String::new(), last_seen, messages);
        while left > 0 {
            let Some(frame) = events.frame().await else {
                break;
            };
            text.push_str(&String::from_utf8_lossy(
                frame?.data_ref().map_or(&[], |data| data),
            ));
            while let Some(end) = text.find('\n') {
                if let Some(id) = text[..end].strip_prefix("id: ") {
                    last_seen = id.parse()?;
                    left = left.saturating_sub(1);
                }
                text.drain(..=end);
            }
        }
        Ok(last_seen)
    }

    async fn ask(
        &mut self,
        method: Method,
        path: &str,
        token: Option<&str>,
        body: &str,
    ) -> Result<Bytes, Error> {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, self.address.to_string());
        if let Some(token) = token {
            request = request.header(AUTHORIZATION, format!("Bearer {token}"));
        }
        let response = self
            .send(request.body(Full::from(body.to_owned()))?)
            .await?;
        Ok(response.into_body().collect().await?.to_bytes())
    }

    async fn send(&mut self, request: Request<Full<Bytes>>) -> Result<Response<Incoming>, Error> {
        self.connection.ready().await?;
        let response = self.connection.send_request(request).await?;
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status();
        let reason = response.into_body().collect().await?.to_bytes();
        Err(format!("{status}: {}", String::from_utf8_lossy(&reason).trim_end()).into())
    }
}
