//! What a page costs to serve: table and charts.

use std::fmt::Write as _;
use std::path::Path;

use parsec_telemetry_peers::figures::{Request, Serving as Figures};

use crate::budgets::{Bound, Budget};
use crate::chapter::Chapter;
use crate::chart::{Chart, Scale, amount};
use crate::samples::read_json;
use crate::{OURS, Result};

pub(crate) struct Serving(Figures);

const FRESH: &str = "A fresh snapshot for each request: maps of aspects, patterns and alerts that it owns, and the numbers \
                     written out, are twice what all of hyper is; two threads handing over (so that a source or a \
                     rule that is stuck holds up nobody else) and the memory that they pass are the rest.";
const SHARED: &str = "Snapshots are shared here, but for ten a second.";

impl Serving {
    /// Nothing, if it has not been measured.
    pub(crate) fn read(figures: &Path) -> Result<Self> {
        let file = figures.join("serving.json");
        if !file.is_file() {
            eprintln!("serving: not measured");
            return Ok(Self(Figures::default()));
        }
        read_json(&file).map(Self)
    }

    pub(crate) fn chapter(&self) -> Chapter {
        let charts = self.charts().into_iter();
        Chapter {
            text: self.section(),
            plots: charts.map(|(name, chart)| (name, chart.draw())).collect(),
            budgets: self.budgets(),
        }
    }

    fn budgets(&self) -> Vec<Budget> {
        let mut budgets = Vec::new();
        for (server, page, in_the_way) in [
            ("Handler", "JSON", FRESH),
            ("Handler", "text", FRESH),
            ("serve(), fresh", "JSON", FRESH),
            ("serve(), fresh", "text, of serve()", FRESH),
            ("serve()", "JSON", SHARED),
            ("serve()", "text, of serve()", SHARED),
        ] {
            budgets.push(Budget {
                what: format!("user instructions a request, `{server}`, {page}, to bare hyper"),
                unit: "×",
                bound: Bound::AtMost(2.0),
                reached: self.ratio(&format!("{OURS}, {server}"), page),
                beside: String::new(),
                in_the_way,
            });
        }
        budgets
    }

    fn section(&self) -> String {
        let Figures {
            rounds,
            connections,
            requests,
            counted,
            ..
        } = &self.0;
        let mut text = format!(
            "## Serving\n\nEach server on one core, the load on another, {connections} connections that each wait for \
             their answer, {rounds} rounds of {} requests in turn. The load is the limit of the faster servers' requests \
             a second and is in their latencies, so they are ranked by user instructions (callgrind, {} requests more on \
             one connection) and user processor time (from the kernel, all threads of the process). Bare hyper answers \
             with a body made beforehand, as long as ours but for a few digits. `Handler` is ours mounted on that same \
             loop; `serve()` is our server: `fresh` without the sharing of snapshots that it does by default (100 ms), and then \
             with it. Its text page is longer, since it reports on itself and on its process. The peers show the same families and series with the same values; they \
             take no snapshot of sources, hold no window and evaluate no rule.\n\n\
             ![User instructions a request](plots/serving-instructions.svg)\n\n\
             ![User processor time a request](plots/serving-time.svg)\n\n\
             | page | server | bytes | instructions a request | × bare | user µs | × bare | system µs \
             | requests a second | p50 µs | p99 µs |\n\
             | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |\n",
            amount(*requests as f64),
            amount(*counted as f64),
        );
        for row in &self.0.rows {
            let name = if row.server.starts_with(OURS) {
                format!("**{}**", row.server)
            } else {
                row.server.clone()
            };
            let of_bare = |value: fn(&Request) -> f64| {
                self.bare(row)
                    .map_or("–".to_owned(), |bare| amount(value(row) / value(bare)))
            };
            let mut rates = row.requests_per_second.clone();
            rates.sort_by(f64::total_cmp);
            let (least, most) = (rates.first(), rates.last());
            let rate = |rate: Option<&f64>| rate.map_or("–".to_owned(), |rate| amount(*rate));
            let _ = writeln!(
                text,
                "| {} | {name} | {} | {} | {} | {} | {} | {} | {}–{} | {} | {} |",
                row.page,
                amount(row.body_bytes as f64),
                amount(row.counted()),
                of_bare(Request::counted),
                amount(row.user_us),
                of_bare(|row| row.user_us),
                amount(row.system_us),
                rate(least),
                rate(most),
                amount(row.p50_us),
                amount(row.p99_us),
            );
        }
        text
    }

    fn charts(&self) -> Vec<(String, Chart<'static>)> {
        let rows = |value: fn(&Request) -> f64| {
            let label = |row: &Request| format!("{} ({})", row.server, row.page);
            self.0
                .rows
                .iter()
                .map(|row| (label(row), vec![value(row)]))
                .collect()
        };
        let instructions = Chart {
            title: "Serving a page: user instructions",
            unit: "instructions a request, logarithmic",
            scale: Scale::Logarithmic,
            series: vec!["instructions".to_owned()],
            rows: rows(Request::counted),
        };
        let time = Chart {
            title: "Serving a page: user processor time",
            unit: "µs a request, logarithmic",
            scale: Scale::Logarithmic,
            series: vec!["user time".to_owned()],
            rows: rows(|row| row.user_us),
        };
        vec![
            ("serving-instructions".to_owned(), instructions),
            ("serving-time".to_owned(), time),
        ]
    }

    /// Instructions of one of ours, by those of bare hyper with a body of that size.
    fn ratio(&self, server: &str, page: &str) -> f64 {
        self.0
            .rows
            .iter()
            .find(|row| row.server == server && row.page == page)
            .and_then(|row| Some(row.counted() / self.bare(row)?.counted()))
            .unwrap_or(f64::NAN)
    }

    fn bare(&self, row: &Request) -> Option<&Request> {
        self.0
            .rows
            .iter()
            .find(|bare| bare.bare && bare.page == row.page)
    }
}
