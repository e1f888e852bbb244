//! The samples in README.md have the same shape as the broker's pages: the same keys, labels, families and texts in
//! the same order, with any numbers and times.
//!
//! With `UPDATE_README=1` the test writes the samples instead of comparing them.

use std::fs;
use std::ops::Range;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use parsec_telemetry::Snapshot;
use tokio::time::sleep;

use crate::http_client::is_firing;
use crate::process::{Broker, DEADLINE};

/// Families of the text page that the README shows.
const FAMILIES: usize = 1;

#[tokio::test]
async fn readme_samples_have_the_shape_of_the_pages() {
    // With 6 channels the built-in clients reach the limit, so that an alert fires.
    let broker = Broker::start(&["--channels", "6"]);
    broker.wait_until("sample values", is_sample).await;
    let deadline = Instant::now() + DEADLINE;
    loop {
        let json = wrap(broker.get("/parsec/metrics").await.text());
        let text = broker.get("/parsec/telemetry/metrics").await;
        let text = first_families(text.text());
        if std::env::var_os("UPDATE_README").is_some() {
            return update(&json, &text);
        }
        let readme = fs::read_to_string(readme()).expect("README.md is readable");
        let expected = (shape(&readme[sample(&readme, "json")]), shape(&readme[sample(&readme, "text")]));
        let actual = (shape(&json), shape(&text));
        if actual == expected {
            return;
        }
        // A momentary state, such as a cold cache, may change the shape: poll.
        assert!(
            Instant::now() < deadline,
            "the samples in README.md are out of date: run \
             UPDATE_README=1 cargo test --test broker readme\n--- README.md\n{}\n{}\n--- pages\n{}\n{}",
            expected.0,
            expected.1,
            actual.0,
            actual.1,
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

fn update(json: &str, text: &str) {
    let mut readme_text = fs::read_to_string(readme()).expect("README.md is readable");
    for (kind, page) in [("json", json), ("text", text)] {
        let range = sample(&readme_text, kind);
        readme_text.replace_range(range, page);
    }
    fs::write(readme(), readme_text).expect("README.md is writable");
}

/// Returns where the sample of this kind is: between the lines of its code block, which is between `<!-- sample:KIND
/// -->` and `<!-- /sample -->`.
fn sample(readme: &str, kind: &str) -> Range<usize> {
    let open = format!("<!-- sample:{kind} -->\n```{kind}\n");
    let close = "```\n<!-- /sample -->";
    let start = readme.find(&open).unwrap_or_else(|| panic!("README.md has no {open:?}")) + open.len();
    let len = readme[start..].find(close).unwrap_or_else(|| panic!("README.md has no {close:?} after {open:?}"));
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

/// Returns the first families of the text page.
fn first_families(page: &str) -> String {
    let mut families = 0;
    page.split_inclusive('\n')
        .take_while(|line| {
            families += usize::from(line.starts_with("# HELP "));
            families <= FAMILIES
        })
        .collect()
}

/// Replaces numbers by 0 and times by `"TIME"`. Comment lines of the text page stay as they are.
fn shape(page: &str) -> String {
    if page.starts_with('{') {
        tokens(page)
            .map(str::trim)
            .map(|token| match token {
                _ if token.parse::<f64>().is_ok() => "0",
                _ if is_time(token) => "\"TIME\"",
                _ => token,
            })
            .collect::<String>()
            .replace(",\"", ",\n\"")
            // Absent from a rule that has not fired, as a cold cache may or may not have.
            .replace(",\n\"fired_total\":0", "")
    } else {
        page.lines()
            .map(|line| match line.rsplit_once(' ') {
                Some((series, _)) if !line.starts_with('#') => format!("{series} 0\n"),
                _ => format!("{line}\n"),
            })
            .collect()
    }
}

fn is_time(token: &str) -> bool {
    token.len() > 20 && token.starts_with("\"20") && token.ends_with("Z\"") && token.as_bytes()[11] == b'T'
}
