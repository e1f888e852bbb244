//! What a count costs: tables and charts.

use std::fmt::Write as _;

use crate::OURS;
use crate::chart::{Chart, amount};
use crate::samples::{FLOOR, Samples};

pub(crate) const THREADS: [usize; 3] = [1, 2, 8];
pub(crate) const HANDLE: &str = "by handle";
pub(crate) const NAME: &str = "by name";
pub(crate) const EIGHT: &str = "eight names in turn";
pub(crate) const LENGTHS: [usize; 4] = [3, 8, 20, 60];

const QUESTIONS: [(&str, &str, &str); 3] = [
    (
        HANDLE,
        "By a handle that was resolved beforehand",
        "All threads count on one counter. `opentelemetry_sdk` binds by an experimental feature. `prometheus, local` counts \
         on the thread's own and shows nothing before it is flushed, which the loop does not do.",
    ),
    (
        NAME,
        "By one name",
        "Of eight bytes, among eight that are known.",
    ),
    (
        EIGHT,
        "By eight names in turn",
        "Of 3, 4, 6, 6, 8, 8, 20 and 60 bytes.",
    ),
];

pub(crate) fn length(bytes: usize) -> String {
    format!("name of {bytes} bytes")
}

pub(crate) fn section(samples: &Samples) -> String {
    let mut text = String::from("## Counting\n\n");
    text += "Nanoseconds of the slowest thread's processor time for one count: the median, and × FLOOR; in brackets the least \
             and the most of ten samples.\n";
    for (question, title, note) in QUESTIONS {
        let plot = question.replace(' ', "-");
        let _ = write!(
            text,
            "\n### {title}\n\n{note}\n\n![{title}](plots/{plot}.svg)\n\n| |"
        );
        for threads in THREADS {
            let _ = write!(text, " {} |", threads_of(threads));
        }
        text += "\n| --- | --- | --- | --- |\n";
        for subject in ordered(samples, question, 2) {
            let _ = write!(text, "| {} |", shown(subject));
            for threads in THREADS {
                let _ = write!(text, " {} |", cell(samples, question, subject, threads));
            }
            text.push('\n');
        }
    }
    text + &lengths(samples)
}

fn lengths(samples: &Samples) -> String {
    let title = "By names of four lengths";
    let mut text = format!("\n### {title}\n\nOn one thread, one name at a time.\n\n");
    let _ = write!(text, "![{title}](plots/name-lengths.svg)\n\n| |");
    for bytes in LENGTHS {
        let _ = write!(text, " {bytes} bytes |");
    }
    text += "\n| --- | --- | --- | --- | --- |\n";
    for subject in ordered(samples, &length(8), 1) {
        let _ = write!(text, "| {} |", shown(subject));
        for bytes in LENGTHS {
            let _ = write!(text, " {} |", cell(samples, &length(bytes), subject, 1));
        }
        text.push('\n');
    }
    text
}

fn cell(samples: &Samples, question: &str, subject: &str, threads: usize) -> String {
    let Some(times) = samples.of(question, subject, threads) else {
        return "–".to_owned();
    };
    let median = times.median();
    let ratio = median / samples.floor(question, threads);
    let (least, most) = (amount(times.least()), amount(times.most()));
    format!("{}, {} × [{least}–{most}]", amount(median), amount(ratio))
}

pub(crate) fn charts(samples: &Samples) -> Vec<(String, Chart<'static>)> {
    let mut charts = Vec::new();
    for (question, title, _) in QUESTIONS {
        let rows = ordered(samples, question, 2).into_iter().map(|subject| {
            let values = THREADS.map(|threads| samples.median(question, subject, threads));
            (subject.to_owned(), values.to_vec())
        });
        let chart = Chart {
            title,
            unit: "ns a count, slowest thread's processor time, logarithmic",
            series: THREADS.map(threads_of).to_vec(),
            rows: rows.collect(),
        };
        charts.push((question.replace(' ', "-"), chart));
    }
    let rows = ordered(samples, &length(8), 1).into_iter().map(|subject| {
        let values = LENGTHS.map(|bytes| samples.median(&length(bytes), subject, 1));
        (subject.to_owned(), values.to_vec())
    });
    let chart = Chart {
        title: "By names of four lengths, on one thread",
        unit: "ns a count, processor time, logarithmic",
        series: LENGTHS.map(|bytes| format!("{bytes} bytes")).to_vec(),
        rows: rows.collect(),
    };
    charts.push(("name-lengths".to_owned(), chart));
    charts
}

/// The floor, ours, and the others from the fastest to the slowest at so many threads.
fn ordered<'a>(samples: &'a Samples, question: &str, threads: usize) -> Vec<&'a str> {
    let mut others = samples.subjects(question);
    others.retain(|subject| *subject != OURS);
    others.sort_by(|one, other| {
        let of = |subject| samples.median(question, subject, threads);
        of(one).total_cmp(&of(other))
    });
    [FLOOR, OURS].into_iter().chain(others).collect()
}

fn shown(subject: &str) -> String {
    if subject == OURS {
        format!("**{OURS}**")
    } else {
        subject.to_owned()
    }
}

fn threads_of(threads: usize) -> String {
    let unit = if threads == 1 { "thread" } else { "threads" };
    format!("{threads} {unit}")
}
