//! The words around the figures.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use crate::Result;
use crate::samples::Samples;

pub(crate) const OPENING: &str = "\
# Beside the peers

Written by `./report`, which measures everything anew: not to be edited by hand. Ratios are within a chapter, which is measured in one run.

FLOOR is the least that a windowed count can be: one load of a tick that somebody else writes, and a load, an addition \
and a store on each of two words that the thread owns.

**None of the peers keeps a window.** parsec-telemetry's figures contain the upkeep of the rate over the last 60 seconds, \
beside the exact total; the peers' contain a total, from which a database makes the rate.";

pub(crate) fn run(figures: &Path, chapters: &[String], counting: &Samples) -> Result<String> {
    let mut text = String::from("## The run\n\n| | |\n| --- | --- |\n");
    let machine = fs::read_to_string(figures.join("machine.txt"))?;
    for (name, fact) in machine.lines().filter_map(|line| line.split_once('\t')) {
        let _ = writeln!(text, "| {name} | {fact} |");
    }
    text += "\n| chapter | command, in `benches/peers` | date | commit | load average before, after |\n\
             | --- | --- | --- | --- | --- |\n";
    for chapter in chapters {
        let Ok(facts) = fs::read_to_string(figures.join(format!("{chapter}.tsv"))) else {
            let _ = writeln!(text, "| {chapter} | not measured | | | |");
            continue;
        };
        if let [name, command, rest @ ..] = &*facts.trim().split('\t').collect::<Vec<_>>() {
            let _ = writeln!(text, "| {name} | `{command}` | {} |", rest.join(" | "));
        }
    }
    let (worst, middle) = counting.drift();
    let lasted = counting.lasted();
    let percent = |share: f64| format!("{:.0} %", share * 100.0);
    let _ = write!(
        text,
        "\nCounting has 10 samples a benchmark, of {} ms in the middle and {} ms at the shortest, after a warm-up of 200 ms, \
         or of 1 s for more threads than cores. FLOOR, measured first and last of each table's column, differs from itself \
         by {} in the middle and {} at worst; nine in ten benchmarks' samples lie within {} of their median.\n",
        lasted.1.round(),
        lasted.0.round(),
        percent(middle),
        percent(worst),
        percent(counting.spread()),
    );
    Ok(text)
}

pub(crate) const OTHERS: &str = "\
## When another crate is the better choice

Often. parsec-telemetry counts events by one name, keeps one window, and shows one fixed set of sections. If you need \
**histograms or summaries** of durations and sizes, take `prometheus`, `prometheus-client`, `metrics` or \
`opentelemetry_sdk`: there are none here. If your counters have **several labels**, or label sets that come and go, they \
have families for that, `measured` with types that make a wrong label impossible; here it is one name of a small closed \
set. If you **push** (to a gateway, over OTLP, to StatsD) or send traces and logs the same way, take `opentelemetry_sdk` or \
an exporter of `metrics`; here one page is read. If you write a **library**, instrument it with `metrics` or `opentelemetry` \
and let the application choose: that ecosystem is worth more than nanoseconds. If a service counts some thousand events a \
second, **every crate here is fast enough**, and a database makes better rates of their totals than any window in a process. \
If memory matters more than speed and threads are many, one shared word a counter is smaller than a shard a thread. And \
`prometheus` can buffer on the thread (`local()`), which is as fast as counting gets, where it does not matter that a \
reader sees the counts only after a flush, and that what was not flushed when the thread ends is lost.";

pub(crate) const MEASURED: &str = "\
## What is measured, and what is not

Measured is the throughput of one operation in a tight loop with warm caches: what it costs at most in a row, and what \
threads do to each other when they do nothing else; what a count costs around work is in a chapter of its own. The time is \
the slowest thread's processor time, so waiting in the kernel for a lock is not in it: that flatters \
`Mutex<HashMap>`. Threads have their \
cores to themselves only as far as the machine leaves them: the load average above says how far, and what two threads do to \
each other shows only while both run. So on a busy machine everything that shares a word looks better here at 2 and 8 \
threads than it is: on two idle cores expect a shared word to cost several times what it costs one thread. Names are static strings, which spares `metrics` and `opentelemetry_sdk` an \
allocation each time that names made at run time would cost them; `measured` is told the names beforehand. \
`opentelemetry_sdk` has a reader that never reads. Not measured here: latencies of single operations, cold caches, more \
than one socket, how fast threads come and go, other architectures, and what memory the peers take. Serving \
is over loopback with connections kept open; opening them, TLS and compression are not in it, and system time is for the \
kernel that it ran on. Callgrind counts instructions and not what they wait for.";
