//! The sample in README.md has the same shape as the broker's JSON page: the same keys and texts in the same order,
//! with any numbers and times.
//!
//! With `UPDATE_README=1` the test writes the sample instead of comparing it.

use std::fs;
use std::ops::Range;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use parsec_telemetry::Snapshot;
use tokio::time::sleep;

use crate::http_client::is_firing;
use crate::process::{Broker, DEADLINE};

#[tokio::test]
async fn readme_sample_has_the_shape_of_the_page() {
    // As README.md says. With 6 channels the built-in clients reach the limit, so that an alert fires. The cache is cold
    // for less than 4 s after the start.
    let options = ["--channels", "6", "--for", "4"];
    let text = fs::read_to_string(readme()).expect("README.md is readable");
    assert!(text.contains(&format!("`{}`", options.join(" "))), "README.md does not name {options:?}");
    let broker = Broker::start(&options);
    broker.wait_until("sample values", is_sample).await;
    let deadline = Instant::now() + DEADLINE;
    loop {
        let json = wrap(broker.get("/parsec/metrics").await.text());
        if std::env::var_os("UPDATE_README").is_some() {
            return update(&json);
        }
        let readme = fs::read_to_string(readme()).expect("README.md is readable");
        let expected = shape(&readme[sample(&readme)]);
        let actual = shape(&json);
        if actual == expected {
            return;
        }
        // A momentary state, such as a cold cache, may change the shape: poll.
        assert!(
            Instant::now() < deadline,
            "the sample in README.md is out of date: run \
             UPDATE_README=1 cargo test --test broker readme\n--- README.md\n{expected}\n--- page\n{actual}",
        );
        sleep(Duration::from_millis(100)).await;
    }
}

/// Whether all sections have numbers and `too_many_channels` is the only firing alert.
fn is_sample(s: &Snapshot) -> bool {
    s.channels.by_pattern.len() == 3
        && s.envelopes.rate_per_second > 0.0
        && s.envelopes.by_aspect.len() == 4
        && s.presence.total_users > 0
        && s.presence.total_agents > 0
        && s.history.total_envelopes_buffered > 0
        && s.tokens.revoked_last_hour > 0
        && s.cache.size_entries > 0
        && s.cache.evictions_last_hour > 0
        && s.alerts.len() == 1
        && is_firing(s, "too_many_channels")
}

fn readme() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("README.md")
}

fn update(json: &str) {
    let mut readme_text = fs::read_to_string(readme()).expect("README.md is readable");
    let range = sample(&readme_text);
    readme_text.replace_range(range, json);
    fs::write(readme(), readme_text).expect("README.md is writable");
}

/// Returns where the sample is: between the lines of the code block that follows `<!-- sample:json -->`.
fn sample(readme: &str) -> Range<usize> {
    const OPEN: &str = "<!-- sample:json -->\n```json\n";
    let start = readme.find(OPEN).expect("README.md has a sample") + OPEN.len();
    let len = readme[start..].find("```\n").expect("the sample ends");
    start..start + len
}

/// Breaks the JSON page after each top-level member.
fn wrap(json: &str) -> String {
    let mut out = String::new();
    let mut depth = 0;
    for token in tokens(json.trim_end()) {
        match token {
            "{" | "[" => depth += 1,
            "}" | "]" => depth -= 1,
            _ => {}
        }
        out.push_str(token);
        if token == "," && depth == 1 {
            out.push_str("\n ");
        }
    }
    out + "\n"
}

/// Splits JSON into strings with their quotes, single punctuation characters, and everything else.
fn tokens(json: &str) -> impl Iterator<Item = &str> {
    let mut rest = json;
    std::iter::from_fn(move || {
        let first = rest.chars().next()?;
        let len = match first {
            '"' => {
                let mut escaped = false;
                let end = rest[1..].find(|c| {
                    let closes = c == '"' && !escaped;
                    escaped = c == '\\' && !escaped;
                    closes
                });
                end.expect("a string ends") + 2
            }
            '{' | '}' | '[' | ']' | ',' | ':' => 1,
            _ => rest.find(|c| "\"{}[],:".contains(c)).unwrap_or(rest.len()),
        };
        let (token, tail) = rest.split_at(len);
        rest = tail;
        Some(token)
    })
}

/// Replaces numbers by 0 and times by `"TIME"`.
fn shape(page: &str) -> String {
    let shape: String = tokens(page)
        .map(str::trim)
        .map(|token| match token {
            _ if token.parse::<f64>().is_ok() => "0",
            _ if is_time(token) => "\"TIME\"",
            _ => token,
        })
        .collect();
    // Absent from a rule that has not fired, as a cold cache may or may not have.
    shape.replace(",\"", ",\n\"").replace(",\n\"fired_total\":0", "")
}

fn is_time(token: &str) -> bool {
    token.len() > 20 && token.starts_with("\"20") && token.ends_with("Z\"") && token.as_bytes()[11] == b'T'
}
