//! The load: connections that each send the next request when the last answer has come.

use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime;
use tokio::task::JoinSet;

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

/// How long the parts of an answer are.
struct Answer {
    head: usize,
    body: usize,
}

impl Answer {
    /// None as long as the head is not there.
    fn parse(received: &[u8]) -> std::result::Result<Option<Self>, String> {
        const END: &[u8] = b"\r\n\r\n";
        let Some(end) = received.windows(END.len()).position(|four| four == END) else {
            return Ok(None);
        };
        let head = String::from_utf8_lossy(&received[..end]);
        if !head.starts_with("HTTP/1.1 200 ") {
            return Err(format!("not what was asked for: {head}"));
        }
        let body = head
            .lines()
            .filter_map(|line| line.split_once(':'))
            .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
            .and_then(|(_, length)| length.trim().parse().ok())
            .ok_or_else(|| format!("no length: {head}"))?;
        Ok(Some(Self {
            head: end + END.len(),
            body,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::Answer;

    #[test]
    fn an_answer_is_as_long_as_it_says() {
        let received = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel";
        let answer = Answer::parse(received).expect("good").expect("whole head");
        assert_eq!((answer.head, answer.body), (received.len() - 3, 5));
        assert!(matches!(Answer::parse(&received[..20]), Ok(None)));
        assert!(Answer::parse(b"HTTP/1.1 404 Not Found\r\n\r\n").is_err());
    }
}
