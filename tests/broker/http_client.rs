//! Requests to the broker, and what it returns.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use http::header::{CONTENT_TYPE, HOST};
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::handshake;
use hyper_util::rt::TokioIo;
use parsec_telemetry::Snapshot;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use crate::process::{Broker, DEADLINE};

impl Broker {
    pub(crate) async fn issue_token(&self, ttl_seconds: u64) -> String {
        let path = format!("/tokens?ttl={ttl_seconds}");
        let response = self.request(Method::POST, &path, None, "").await;
        assert_eq!(response.status, StatusCode::CREATED, "{}", response.text());
        let body = response.json();
        assert_eq!(body["expires_in"], ttl_seconds);
        body["token"].as_str().expect("a token").to_owned()
    }

    /// Publishes to `path`, below `/channels/`, and returns the message's id.
    pub(crate) async fn publish(&self, token: &str, path: &str, payload: &str) -> u64 {
        let path = format!("/channels/{path}");
        let response = self.request(Method::POST, &path, Some(token), payload).await;
        assert_eq!(response.status, StatusCode::OK, "{path}: {}", response.text());
        response.json()["id"].as_u64().expect("an id")
    }

    pub(crate) async fn subscribe(&self, channel: &str, query: &str, last_event_id: Option<&str>) -> Events {
        let mut request = Request::get(format!("/channels/{channel}/events{query}"));
        if let Some(id) = last_event_id {
            request = request.header("last-event-id", id);
        }
        let response = self.send(request, "").await.expect("a response");
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()[CONTENT_TYPE], "text/event-stream");
        Events { body: response.into_body(), text: String::new(), comments: Vec::new() }
    }

    pub(crate) async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.expect("a connection")
    }

    /// Opens a connection and writes `bytes`.
    pub(crate) async fn connect_and_send(&self, bytes: impl AsRef<[u8]>) -> TcpStream {
        let mut stream = self.connect().await;
        stream.write_all(bytes.as_ref()).await.expect("a write");
        stream
    }

    /// Begins to publish: sends the head and 3 of 5 bytes of the payload.
    pub(crate) async fn begin_publish(&self, token: &str) -> TcpStream {
        let mut stream = self
            .connect_and_send(format!(
                "POST /channels/public:x/publish HTTP/1.1\r\nhost: x\r\n\
                 authorization: Bearer {token}\r\ncontent-length: 5\r\nexpect: 100-continue\r\n\r\n"
            ))
            .await;
        // hyper sends this when the handler reads the body: the request is in flight.
        let expected = b"HTTP/1.1 100 Continue\r\n\r\n";
        let mut interim = vec![0; expected.len()];
        timeout(DEADLINE, stream.read_exact(&mut interim))
            .await
            .expect("an interim response before the deadline")
            .expect("no error");
        assert_eq!(interim, expected);
        stream.write_all(b"hel").await.expect("a write");
        stream
    }

    pub(crate) async fn snapshot(&self) -> Snapshot {
        let response = self.get("/parsec/metrics").await;
        serde_json::from_slice(&response.body).expect("the JSON page deserializes")
    }

    /// Polls the JSON page until `condition` holds.
    pub(crate) async fn wait_until(&self, what: &str, condition: impl Fn(&Snapshot) -> bool) -> Snapshot {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let snapshot = self.snapshot().await;
            if condition(&snapshot) {
                return snapshot;
            }
            assert!(
                Instant::now() < deadline,
                "no snapshot with {what} within {DEADLINE:?}; the last one: {snapshot:#?}"
            );
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// Returns the response to a GET request, which must be 200.
    pub(crate) async fn get(&self, path: &str) -> Response {
        let response = self.request(Method::GET, path, None, "").await;
        assert_eq!(response.status, StatusCode::OK, "{path}");
        response
    }

    pub(crate) async fn request(&self, method: Method, path: &str, token: Option<&str>, body: &str) -> Response {
        self.try_request(method, path, token, body).await.expect("a response")
    }

    pub(crate) async fn try_request(
        &self,
        method: Method,
        path: &str,
        token: Option<&str>,
        body: &str,
    ) -> hyper::Result<Response> {
        let mut request = Request::builder().method(method).uri(path);
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        Response::read(self.send(request, body.to_owned()).await?).await
    }

    pub(crate) async fn request_with_header(
        &self,
        method: Method,
        path: &str,
        header: (&str, &str),
        body: impl Into<Bytes>,
    ) -> Response {
        let request = Request::builder().method(method).uri(path).header(header.0, header.1);
        let response = self.send(request, body).await.expect("a response");
        Response::read(response).await.expect("a complete response")
    }

    /// Uses a new connection, which is closed when the response's body is dropped.
    async fn send(
        &self,
        request: http::request::Builder,
        body: impl Into<Bytes>,
    ) -> hyper::Result<http::Response<Incoming>> {
        let (mut sender, connection) = handshake(TokioIo::new(self.connect().await)).await?;
        tokio::spawn(connection);
        let request = request.header(HOST, "localhost").body(Full::new(body.into())).expect("a valid request");
        timeout(DEADLINE, sender.send_request(request)).await.expect("a response before the deadline")
    }
}

pub(crate) struct Response {
    pub(crate) status: StatusCode,
    headers: http::HeaderMap,
    body: Bytes,
}

impl Response {
    async fn read(response: http::Response<Incoming>) -> hyper::Result<Self> {
        let (head, body) = response.into_parts();
        let body = timeout(DEADLINE, body.collect()).await.expect("a complete body before the deadline")?.to_bytes();
        Ok(Self { status: head.status, headers: head.headers, body })
    }

    /// Returns the header's value, or `""`.
    pub(crate) fn header(&self, name: http::HeaderName) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().expect("visible ASCII"))
    }

    pub(crate) fn text(&self) -> &str {
        str::from_utf8(&self.body).expect("UTF-8")
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).expect("JSON")
    }
}

/// A stream of server-sent events, parsed as the HTML standard specifies.
pub(crate) struct Events {
    body: Incoming,
    text: String,
    pub(crate) comments: Vec<String>,
}

#[derive(Debug, Default)]
pub(crate) struct Event {
    pub(crate) id: u64,
    pub(crate) aspect: String,
    pub(crate) data: String,
}

impl Events {
    /// Returns the next event, or `None` at the end of the stream.
    pub(crate) async fn next(&mut self) -> Option<Event> {
        loop {
            while let Some(end) = self.text.find("\n\n") {
                let block: String = self.text.drain(..end + 2).collect();
                if let Some(event) = self.parse(&block) {
                    return Some(event);
                }
            }
            let frame = timeout(DEADLINE, self.body.frame()).await.expect("an event before the deadline")?;
            let data = frame.expect("no error").into_data().expect("no trailers");
            self.text.push_str(str::from_utf8(&data).expect("each frame is UTF-8"));
        }
    }

    fn parse(&mut self, block: &str) -> Option<Event> {
        let mut event = Event::default();
        let mut data = Vec::new();
        for line in block.lines().filter(|line| !line.is_empty()) {
            match line.split_once(": ").expect("a field") {
                ("", comment) => self.comments.push(comment.to_owned()),
                ("id", id) => event.id = id.parse().expect("a number"),
                ("event", aspect) => aspect.clone_into(&mut event.aspect),
                ("data", line) => data.push(line),
                ("retry", _) => {}
                (field, _) => panic!("unknown field {field}"),
            }
        }
        event.data = data.join("\n");
        (event.id > 0).then_some(event)
    }
}

/// Returns users and agents.
pub(crate) fn subscribers(snapshot: &Snapshot) -> (u64, u64) {
    let presence = &snapshot.presence;
    (presence.total_users, presence.total_agents)
}

pub(crate) fn is_firing(snapshot: &Snapshot, alert: &str) -> bool {
    snapshot.alerts.iter().any(|firing| firing.name == alert)
}

pub(crate) fn entries(map: &BTreeMap<String, u64>) -> Vec<(&str, u64)> {
    map.iter().map(|(key, &count)| (key.as_str(), count)).collect()
}

pub(crate) fn assert_close(value: f64, expected: f64) {
    assert!((value - expected).abs() < 1e-9, "{value} is not {expected}");
}
