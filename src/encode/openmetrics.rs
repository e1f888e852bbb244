//! The OpenMetrics text page, version 1.0.0.
//!
//! It is the Prometheus text page but for two things, so it is made of that one and cannot drift
//! from it: a counter's family is named without the `_total` of its samples, and the page says where
//! it ends. Every family named `…_total` is a counter, and no other is.

use crate::alerts::AlertRule;
use crate::encode::prometheus;
use crate::snapshot::Snapshot;

pub(super) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

pub(super) fn render(page: &mut Vec<u8>, snapshot: &Snapshot, rules: &[AlertRule]) {
    let mut text = Vec::with_capacity(4096);
    prometheus::render(&mut text, snapshot, rules);
    convert(page, &text);
}

/// Appends what a Prometheus text page is in OpenMetrics.
pub(crate) fn convert(page: &mut Vec<u8>, text: &[u8]) {
    page.reserve(text.len() + 64);
    // Labels' values have their line feeds escaped, so a line is a line.
    for line in text.split_inclusive(|&byte| byte == b'\n') {
        match without_total(line) {
            Some((before, behind)) => {
                page.extend(before);
                page.extend(behind);
            }
            None => page.extend(line),
        }
    }
    page.extend(b"# EOF\n");
}

/// Of a line about a counter's family, what is before and behind the `_total` of its name.
fn without_total(line: &[u8]) -> Option<(&[u8], &[u8])> {
    const PREFIX: usize = "# HELP ".len();
    const TOTAL: &[u8] = b"_total";
    if !line.starts_with(b"# HELP ") && !line.starts_with(b"# TYPE ") {
        return None;
    }
    let name = line[PREFIX..].iter().position(|&byte| byte == b' ')?;
    let (before, behind) = line.split_at(PREFIX + name);
    Some((before.strip_suffix(TOTAL)?, behind))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_lose_their_suffix_and_the_page_ends() {
        let text = "\
# HELP a_total Of all, the a_total is one.
# TYPE a_total counter
a_total{b=\"# TYPE c_total counter\"} 1
# HELP total_users Not one.
# TYPE total_users gauge
total_users 2
";
        let expected = "\
# HELP a Of all, the a_total is one.
# TYPE a counter
a_total{b=\"# TYPE c_total counter\"} 1
# HELP total_users Not one.
# TYPE total_users gauge
total_users 2
# EOF
";
        let mut page = Vec::new();
        convert(&mut page, text.as_bytes());
        assert_eq!(String::from_utf8(page).expect("UTF-8"), expected);
    }

    #[test]
    fn an_empty_page_ends_too() {
        let mut page = Vec::new();
        convert(&mut page, b"");
        assert_eq!(page, b"# EOF\n");
    }
}
