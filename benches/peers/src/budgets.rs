//! The budgets, and what was measured.

use crate::Figures;
use crate::recording::{HANDLE, NAME_8_BYTES, NAME_30_BYTES, NAME_64_BYTES};
use crate::report::figure;

pub(crate) struct Budget {
    what: String,
    limit: Limit,
    measured: f64,
    unit: &'static str,
}

enum Limit {
    AtMost(f64),
    AtLeast(f64),
}

use Limit::{AtLeast, AtMost};

pub(crate) fn all(figures: &Figures) -> Vec<Budget> {
    let times = &figures.recording;
    let mut budgets = Vec::new();
    let mut budget = |what: &str, limit, measured, unit| {
        let what = what.to_owned();
        budgets.push(Budget { what, limit, measured, unit });
    };
    for (what, benchmark, limit) in [
        ("`Aspect::observe`", HANDLE, 3.2),
        ("`observe`, a name of 8 bytes", NAME_8_BYTES, 6.5),
        ("`observe`, a name of 30 bytes", NAME_30_BYTES, 15.0),
        ("`observe`, a name of 64 bytes", NAME_64_BYTES, 15.0),
    ] {
        budget(what, AtMost(limit), times.to_baseline(benchmark), "× BASELINE");
    }
    for threads in [2, 8] {
        for benchmark in [HANDLE, NAME_8_BYTES] {
            let what = format!("each of {threads} threads, by {benchmark}");
            let measured = times.to_one_thread(benchmark, threads);
            budget(&what, AtMost(1.15), measured, "× one thread");
        }
    }
    for (operation, lines) in &figures.cache_lines {
        let what = format!("cache lines taken from another thread, `{operation}");
        budget(&what, AtMost(0.0), *lines, "lines");
    }
    for (what, share) in ["handle", NAME_8_BYTES].iter().zip(&figures.speed_while_read) {
        let what = format!("speed while both pages are read 1,000 times a second, by {what}");
        budget(&what, AtLeast(98.0), share.median(), "%");
    }
    budget("a monitor of three sources", AtMost(0.01), figures.monitor_share.median(), "% of a core");
    budget("allocations after a thread's first event", AtMost(0.0), figures.allocations, "");
    budget("a shard of 64 aspects", AtMost(1.2), figures.shard_bytes / 1_024.0, "KiB");
    for cost in figures.serving.iter().filter(|cost| cost.is_coalesced) {
        let what = format!("user instructions of a request, {}", cost.server);
        budget(&what, AtMost(2.0), cost.to_bare(), "× bare hyper");
    }
    for page in &figures.pages {
        budget(&page.operation, AtMost(2.0), page.micros.median(), "µs");
    }
    budgets
}

impl Budget {
    pub(crate) fn is_met(&self) -> bool {
        match self.limit {
            AtMost(limit) => self.measured <= limit,
            AtLeast(limit) => self.measured >= limit,
        }
    }

    pub(crate) fn row(&self) -> Vec<String> {
        let unit = self.unit;
        let limit = match self.limit {
            AtMost(limit) => format!("≤ {limit} {unit}"),
            AtLeast(limit) => format!("≥ {limit} {unit}"),
        };
        let ok = if self.is_met() { "yes" } else { "**no**" };
        vec![self.what.clone(), limit.trim_end().to_owned(), figure(self.measured), ok.to_owned()]
    }
}
