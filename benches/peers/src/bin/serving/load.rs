//! The load: connections that each send the next request when the last answer has come.

use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime;
use tokio::task::JoinSet;

use parsec_telemetry_peers::http::Answer;

use crate::Result;

pub(crate) struct Loaded {
    pub(crate) elapsed: Duration,
    pub(crate) latencies: Vec<Duration>,
    pub(crate) body_bytes: usize,
}

/// Sends so many requests over so many connections, on this thread.
pub(crate) fn run(port: u16, path: &str, connections: usize, requests: usize) -> Result<Loaded> {
    let request = format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n");
    let runtime = runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let mut tasks = JoinSet::new();
        let began = Instant::now();
        for connection in 0..connections {
            let share = requests / connections + usize::from(connection < requests % connections);
            tasks.spawn(requests_on_one(port, request.clone(), share));
        }
        let mut latencies = Vec::with_capacity(requests);
        let mut body_bytes = 0;
        while let Some(done) = tasks.join_next().await {
            let (times, length) = done??;
            latencies.extend(times);
            body_bytes = length;
        }
        let elapsed = began.elapsed();
        Ok(Loaded {
            elapsed,
            latencies,
            body_bytes,
        })
    })
}

type Sent = std::result::Result<(Vec<Duration>, usize), String>;

async fn requests_on_one(port: u16, request: String, requests: usize) -> Sent {
    let say = |error: std::io::Error| error.to_string();
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.map_err(say)?;
    stream.set_nodelay(true).map_err(say)?;
    let mut latencies = Vec::with_capacity(requests);
    let mut body_bytes = 0;
    let mut buffer = vec![0; 1 << 16];
    for _ in 0..requests {
        let began = Instant::now();
        stream.write_all(request.as_bytes()).await.map_err(say)?;
        let (mut filled, mut whole) = (0, None);
        while whole.is_none_or(|whole| filled < whole) {
            match stream.read(&mut buffer[filled..]).await.map_err(say)? {
                0 => return Err("the server closed the connection".into()),
                read => filled += read,
            }
            if whole.is_none()
                && let Some(answer) = Answer::parse(&buffer[..filled])?
            {
                body_bytes = answer.body;
                whole = Some(answer.head + answer.body);
            }
        }
        latencies.push(began.elapsed());
    }
    Ok((latencies, body_bytes))
}
