//! Looking on while a server is abused: what the page does, and what the process takes.

use std::fmt;
use std::thread;
use std::time::{Duration, Instant};

use crate::outside::{Outside, Taken};
use crate::site::is_right;
use crate::wire::{Kept, ask, poll};
use crate::{GET, GET_HEALTH, GET_TEXT, IN_TIME, MIB};

/// What may be held that was not before: the last snapshot and its pages, in formats that nobody had
/// asked for, and the room that the runtime makes for sockets and keeps for the next.
const KEPT: u64 = 2 * MIB;

/// A second is the promise. The rest is for a machine that has more to do than this: the tools take
/// all of a processor that they get.
const AT_MOST: Duration = IN_TIME.saturating_mul(3);

/// Who looks on, and what was seen.
pub(crate) struct Watch<'a> {
    server: &'a Outside,
    /// How many live tokens a page shows that is right.
    tokens: i64,
    scraper: Kept,
    /// `/healthz`, each time on a connection of its own.
    health: Tally,
    /// The page, likewise: it is refused where every place is taken.
    page: Tally,
    /// The page, on one connection that was there before the abuse began.
    kept: Tally,
    before: Taken,
    worst: Taken,
    after: Option<Taken>,
}

#[derive(Debug, Default)]
struct Tally {
    served: u64,
    refused: u64,
    /// Connections that were closed before they had an answer: who asks again gets one in time.
    closed: u64,
    slowest: Duration,
}

impl Tally {
    fn ask(&mut self, server: &Outside, request: &str) {
        let asked = Instant::now();
        let answer = loop {
            match ask(server.at, request) {
                Ok(answer) => break answer,
                Err(error) => assert!(asked.elapsed() < AT_MOST, "{request}{error}"),
            }
            self.closed += 1;
        };
        let status = answer.split(' ').nth(1).expect("a status");
        self.count(status.parse().expect("a number"), asked.elapsed());
    }

    fn count(&mut self, status: u16, took: Duration) {
        match status {
            200 => self.served += 1,
            503 => self.refused += 1,
            other => panic!("status {other}"),
        }
        assert!(took < AT_MOST, "{took:?}, status {status}");
        self.slowest = self.slowest.max(took);
    }
}

impl<'a> Watch<'a> {
    /// It keeps a connection from now on.
    pub(crate) fn of(server: &'a Outside, tokens: i64) -> Self {
        Self {
            server,
            tokens,
            scraper: server.scraper(),
            health: Tally::default(),
            page: Tally::default(),
            kept: Tally::default(),
            before: server.before,
            worst: server.before,
            after: None,
        }
    }

    /// Looks on for as long as it lasts. Every answer is right, and comes within a second.
    pub(crate) fn looks_on(&mut self, mut lasts: impl FnMut() -> bool) {
        let mut formats = [GET, GET_TEXT].into_iter().cycle();
        while lasts() {
            let page = formats.next().expect("for ever");
            let asked = Instant::now();
            let (status, body) = self.scraper.ask(page).expect("a kept connection");
            self.kept.count(status, asked.elapsed());
            assert_eq!(status, 200, "{body:.1000}");
            is_right(&body, self.tokens);

            self.health.ask(self.server, GET_HEALTH);
            assert_eq!(self.health.refused, 0);
            self.page.ask(self.server, page);

            self.worst = self.worst.at_worst(self.server.takes());
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Once the abuse is over, the page is right within a second, and the process takes what it
    /// took before.
    pub(crate) fn sees_it_well(&mut self) {
        for page in [GET, GET_TEXT] {
            let asked = Instant::now();
            let body = poll("a place", || {
                let answer = ask(self.server.at, page).ok()?;
                let (head, body) = answer.split_once("\r\n\r\n")?;
                head.starts_with("HTTP/1.1 200 ").then(|| body.to_owned())
            });
            assert!(asked.elapsed() < AT_MOST, "{:?}", asked.elapsed());
            is_right(&body, self.tokens);
        }
        let before = self.before;
        poll("what was taken is given back", || {
            let now = self.server.takes();
            self.after = Some(now);
            // The scraper's own connection is there still.
            let is_back = now.descriptors <= before.descriptors + 1
                && now.threads <= before.threads
                && now.held <= before.held + KEPT;
            is_back.then_some(())
        });
    }
}

impl fmt::Display for Watch<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            health,
            page,
            kept,
            before,
            worst,
            after,
            ..
        } = self;
        write!(f, "health {health}; page {page}; kept {kept}")?;
        write!(f, " | before {before}; worst {worst}")?;
        after.map_or(Ok(()), |after| write!(f, "; after {after}"))
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} served", self.served)?;
        for (count, what) in [(self.refused, "refused"), (self.closed, "closed")] {
            if count > 0 {
                write!(f, ", {count} {what}")?;
            }
        }
        write!(f, ", {:.0?} at most", self.slowest)
    }
}
