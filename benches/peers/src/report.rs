//! The page `docs/BENCHMARKS.md` and its plots.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use crate::budgets::Budget;
use crate::plots::{self, Dot};
use crate::recording::{HANDLE, NAME_8_BYTES, THREADS, Times};
use crate::samples::Samples;
use crate::subjects::{BASELINE, OURS};
use crate::{Figures, machine};

pub(crate) fn write(folder: &Path, figures: &Figures, budgets: &[Budget]) -> crate::Result<()> {
    fs::create_dir_all(folder.join("plots"))?;
    for (name, benchmark) in [("handle", HANDLE), ("name", NAME_8_BYTES)] {
        let plot = folder.join(format!("plots/{name}.svg"));
        plot_times(&plot, &figures.recording, benchmark)?;
    }
    plot_requests(&folder.join("plots/requests.svg"), figures)?;

    let note = if figures.is_forced {
        "\n**Machine not idle: figures are not valid.** This page was written with `--force`.\n"
    } else {
        ""
    };
    let mut machine: Vec<_> =
        machine::description().into_iter().map(|(name, value)| vec![name.to_owned(), value]).collect();
    machine.push(vec!["Load at the start".to_owned(), figures.load.describe()]);
    let rounds = figures.recording.of(HANDLE, OURS, 1).0.len();
    let page = include_str!("BENCHMARKS.md")
        .replace("{note}", note)
        .replace("{machine}", &table(&["", ""], &machine))
        .replace("{rounds}", &rounds.to_string())
        .replace("{budgets}", &budget_table(budgets))
        .replace("{handle}", &times_table(&figures.recording, HANDLE))
        .replace("{name}", &times_table(&figures.recording, NAME_8_BYTES))
        .replace("{reading}", &reading_table(figures))
        .replace("{serving}", &serving_table(figures));
    fs::write(folder.join("BENCHMARKS.md"), page)?;
    Ok(())
}

pub(crate) fn budget_table(budgets: &[Budget]) -> String {
    let rows: Vec<_> = budgets.iter().map(Budget::row).collect();
    table(&["what", "budget", "measured", "ok"], &rows)
}

fn times_table(times: &Times, benchmark: &'static str) -> String {
    let header = THREADS.map(|threads| format!("{}, ns", threads_label(threads)));
    let header = ["", &header[0], "× BASELINE", &header[1], &header[2]];
    let rows = times.subjects(benchmark).into_iter().map(|subject| {
        let of = |threads| times.of(benchmark, subject, threads);
        let ratio = of(1).ratio_to(times.of(benchmark, BASELINE, 1));
        let [one, two, eight] = THREADS.map(|threads| spread(of(threads)));
        let name = if subject == OURS { format!("**{subject}**") } else { subject.to_owned() };
        vec![name, one, figure(ratio), two, eight]
    });
    table(&header, &rows.collect::<Vec<_>>())
}

fn reading_table(figures: &Figures) -> String {
    let times = figures.snapshots.iter().chain(&figures.pages);
    let rows: Vec<_> = times.map(|time| vec![time.operation.clone(), spread(&time.micros)]).collect();
    table(&["", "µs"], &rows)
}

fn serving_table(figures: &Figures) -> String {
    let rows = figures.serving.iter().map(|cost| {
        vec![
            cost.server.to_owned(),
            figure(cost.body_bytes as f64),
            figure(cost.instructions),
            figure(cost.bare_instructions),
            format!("{} ×", figure(cost.to_bare())),
            spread(&cost.micros),
        ]
    });
    let header = ["", "bytes", "instructions", "bare hyper", "ratio", "response, µs"];
    table(&header, &rows.collect::<Vec<_>>())
}

fn plot_times(path: &Path, times: &Times, benchmark: &'static str) -> crate::Result<()> {
    let rows: Vec<_> = times
        .subjects(benchmark)
        .into_iter()
        .map(|subject| {
            let dots = THREADS.map(|threads| dot(times.of(benchmark, subject, threads)));
            (subject.to_owned(), dots.to_vec())
        })
        .collect();
    let title = format!("The time to record an event by {benchmark}");
    let unit = "nanoseconds of processor time, logarithmic";
    plots::dots(path, &title, unit, &THREADS.map(threads_label), &rows)
}

fn plot_requests(path: &Path, figures: &Figures) -> crate::Result<()> {
    let exact = |value: f64| (value, (value, value));
    let rows: Vec<_> = figures
        .serving
        .iter()
        .map(|cost| {
            let dots = vec![exact(cost.bare_instructions), exact(cost.instructions)];
            (cost.server.to_owned(), dots)
        })
        .collect();
    let series = ["bare hyper, as long a body", "the server"].map(str::to_owned);
    let title = "User instructions of a request";
    plots::dots(path, title, "instructions, logarithmic", &series, &rows)
}

pub(crate) fn threads_label(threads: usize) -> String {
    let unit = if threads == 1 { "thread" } else { "threads" };
    format!("{threads} {unit}")
}

fn dot(samples: &Samples) -> Dot {
    (samples.median(), samples.spread())
}

/// The median, and in brackets the quartiles.
fn spread(samples: &Samples) -> String {
    let (low, high) = samples.spread();
    format!("{} ({}–{})", figure(samples.median()), figure(low), figure(high))
}

/// Three significant digits, and all of those before the point.
pub(crate) fn figure(value: f64) -> String {
    match value.abs() {
        size if size >= 1_000.0 => {
            let digits = format!("{value:.0}");
            let head = digits.len() % 3;
            let groups = digits.as_bytes()[head..].chunks(3);
            let groups = groups.map(|group| String::from_utf8_lossy(group).into_owned());
            let groups: Vec<_> = groups.collect();
            format!("{},{}", &digits[..head], groups.join(",")).trim_start_matches(',').to_owned()
        }
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

fn table(header: &[&str], rows: &[Vec<String>]) -> String {
    let mut text = format!("| {} |\n|{}", header.join(" | "), " --- |".repeat(header.len()));
    for row in rows {
        let _ = write!(text, "\n| {} |", row.join(" | "));
    }
    text
}

#[cfg(test)]
mod tests {
    #[test]
    fn figure_has_three_significant_digits_and_groups_of_thousands() {
        let figures = [0.567, 12.34, 999.4, 1_234.5, 123_456.0, 1_234_567.0];
        assert_eq!(figures.map(super::figure), ["0.57", "12.3", "999", "1,234", "123,456", "1,234,567"]);
    }
}
