//! Requests to a server while it is attacked, and the resources that it uses.

use std::fmt;
use std::thread;
use std::time::{Duration, Instant};

use crate::child_server::{ChildServer, Usage};
use crate::local_server::assert_tokens;
use crate::support::poll::poll;
use crate::wire::{KeepAlive, request};
use crate::{ANSWER_DEADLINE, GET_HEALTH, GET_JSON, GET_TEXT, MIB};

/// May stay allocated after an attack: the last snapshot in formats that the baseline does not have, and the
/// runtime's memory for sockets.
const KEPT: u64 = 2 * MIB;

pub(crate) struct Observer<'a> {
    server: &'a ChildServer,
    /// The number of active tokens on a correct page.
    tokens: i64,
    keep_alive: KeepAlive,
    /// `/healthz`, each on a connection of its own.
    health: Tally,
    /// A page, each on a connection of its own: 503 while the connection limit is reached.
    page: Tally,
    /// A page on a connection from before the attack.
    kept: Tally,
    max_usage: Usage,
    usage_after: Option<Usage>,
}

#[derive(Debug, Default)]
struct Tally {
    served: u64,
    refused: u64,
    /// Connections that were closed without a response. The request is then sent again.
    closed: u64,
    slowest: Duration,
}

impl Tally {
    fn request(&mut self, server: &ChildServer, text: &str) {
        let start = Instant::now();
        let response = loop {
            match request(server.address, text) {
                Ok(response) => break response,
                Err(error) => assert!(start.elapsed() < ANSWER_DEADLINE, "{text}{error}"),
            }
            self.closed += 1;
        };
        let status = response.split(' ').nth(1).expect("a status");
        self.add(status.parse().expect("a number"), start.elapsed());
    }

    fn add(&mut self, status: u16, elapsed: Duration) {
        match status {
            200 => self.served += 1,
            503 => self.refused += 1,
            other => panic!("status {other}"),
        }
        assert!(elapsed < ANSWER_DEADLINE, "{elapsed:?}, status {status}");
        self.slowest = self.slowest.max(elapsed);
    }
}

impl<'a> Observer<'a> {
    /// Opens a connection that stays open.
    pub(crate) fn new(server: &'a ChildServer, tokens: i64) -> Self {
        Self {
            server,
            tokens,
            keep_alive: server.keep_alive(),
            health: Tally::default(),
            page: Tally::default(),
            kept: Tally::default(),
            max_usage: server.baseline,
            usage_after: None,
        }
    }

    /// Asserts that every response is correct and in time while `attack` returns true.
    pub(crate) fn observe_while(&mut self, mut attack: impl FnMut() -> bool) {
        let mut requests = [GET_JSON, GET_TEXT].into_iter().cycle();
        while attack() {
            let request = requests.next().expect("a cycle is endless");
            let start = Instant::now();
            let (status, body) = self.keep_alive.request(request).expect("a response");
            self.kept.add(status, start.elapsed());
            assert_eq!(status, 200, "{body:.1000}");
            assert_tokens(&body, self.tokens);

            self.health.request(self.server, GET_HEALTH);
            assert_eq!(self.health.refused, 0);
            self.page.request(self.server, request);

            self.max_usage = self.max_usage.max(self.server.usage());
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Asserts that both pages are correct and in time after the attack, and that the resources return to the
    /// baseline.
    pub(crate) fn assert_recovers(&mut self) {
        for page in [GET_JSON, GET_TEXT] {
            let start = Instant::now();
            let body = poll("a connection within the limit", || {
                let response = request(self.server.address, page).ok()?;
                let (head, body) = response.split_once("\r\n\r\n")?;
                head.starts_with("HTTP/1.1 200 ").then(|| body.to_owned())
            });
            assert!(start.elapsed() < ANSWER_DEADLINE, "{:?}", start.elapsed());
            assert_tokens(&body, self.tokens);
        }
        let baseline = self.server.baseline;
        poll("the resources return to the baseline", || {
            let now = self.server.usage();
            self.usage_after = Some(now);
            // One descriptor is that of `keep_alive`.
            let is_back = now.descriptors <= baseline.descriptors + 1
                && now.threads <= baseline.threads
                && now.allocated <= baseline.allocated + KEPT;
            is_back.then_some(())
        });
    }
}

impl fmt::Display for Observer<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { health, page, kept, .. } = self;
        write!(f, "health {health}; page {page}; kept {kept}")?;
        let (before, max) = (self.server.baseline, self.max_usage);
        write!(f, " | before {before}; maximum {max}")?;
        self.usage_after.map_or(Ok(()), |after| write!(f, "; after {after}"))
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} served", self.served)?;
        for (count, outcome) in [(self.refused, "refused"), (self.closed, "closed")] {
            if count > 0 {
                write!(f, ", {count} {outcome}")?;
            }
        }
        write!(f, ", {:.0?} at most", self.slowest)
    }
}
