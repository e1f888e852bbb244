//! The events of the feature `tracing`.

#![cfg(all(feature = "tracing", feature = "serve"))]

use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex};

use parsec_telemetry::{Aggregator, AlertRule, Report, Severity, Source, SourceError};
use tracing_subscriber::fmt::MakeWriter;

/// Collects what is logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn take(&self) -> String {
        let bytes = std::mem::take(&mut *self.0.lock().expect("no panic"));
        String::from_utf8(bytes).expect("events are UTF-8")
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("no panic").write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Log {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

struct Database(Arc<AtomicBool>);

impl Source for Database {
    fn collect(&self) -> Result<Report, SourceError> {
        if self.0.load(SeqCst) { Ok(Report::default()) } else { Err("connection refused".into()) }
    }
}

#[test]
fn stale_source_is_logged_once_from_the_start_and_so_is_its_return() {
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt().with_writer(log.clone()).with_ansi(false).finish();
    let is_reachable = Arc::new(AtomicBool::new(false));
    let aggregator = Aggregator::new().named_source("sessions", Database(Arc::clone(&is_reachable)));
    tracing::subscriber::with_default(subscriber, || {
        for (reachable, expected) in [(false, "source is stale"), (true, "source reports"), (false, "source is stale")]
        {
            is_reachable.store(reachable, SeqCst);
            for _ in 0..3 {
                let _ = aggregator.snapshot();
            }
            let events = log.take();
            assert_eq!(events.lines().count(), 1, "{events}");
            assert!(events.contains(expected) && events.contains("source=\"sessions\""), "{events}");
            assert_eq!(events.contains("connection refused"), !reachable, "{events}");
        }
    });
}

#[test]
fn transition_of_an_alert_is_logged_once() {
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt().with_writer(log.clone()).with_ansi(false).finish();
    let fires = Arc::new(AtomicBool::new(false));
    let condition = Arc::clone(&fires);
    let rule = AlertRule::new("cache_cold", Severity::Warning, move |_| condition.load(SeqCst));
    let aggregator = Aggregator::new().with_alerts(vec![rule]).expect("a valid rule");
    tracing::subscriber::with_default(subscriber, || {
        for (is_true, from, to) in [(true, "inactive", "firing"), (false, "firing", "resolved")] {
            fires.store(is_true, SeqCst);
            for _ in 0..3 {
                let _ = aggregator.snapshot();
            }
            let events = log.take();
            assert_eq!(events.lines().count(), 1, "{events}");
            for field in [
                "alert=\"cache_cold\"".to_owned(),
                "severity=\"warning\"".to_owned(),
                format!("from=\"{from}\""),
                format!("to=\"{to}\""),
            ] {
                assert!(events.contains(&field), "{field}: {events}");
            }
        }
    });
}
