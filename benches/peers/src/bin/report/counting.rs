//! What a count costs: tables and charts.

use std::fmt::Write as _;

use crate::OURS;
use crate::budgets::{Bound, Budget};
use crate::chapter::Chapter;
use crate::chart::{Chart, Scale, amount};
use crate::samples::{FLOOR, Samples};

const THREADS: [usize; 3] = [1, 2, 8];
pub(crate) const HANDLE: &str = "by handle";
const NAME: &str = "by name";
const EIGHT: &str = "eight names in turn";
const LENGTHS: [usize; 4] = [3, 8, 20, 60];

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

const TURNS: &str = "Two of the eight are longer than eight bytes and cost what the rows above say; and which length comes next is not \
     always guessed right.";
const LONG: &str = "A name of up to eight bytes is one word, and compared as one. A longer one is read and hashed whole, and compared with \
                    the name that is there: 100 instructions instead of 60.";
const NEIGHBOURS: &str = "No line is shared, so it is the caches, the clock rate and the neighbours: compare the floor's own \
                       ratio beside it.";
const CONTENTION: &str = "What the peers lose by contention depends on the two threads running at once: other work on the \
                          cores separates them, and on one cache for both cores a line changes hands quickly.";

pub(crate) fn chapter(samples: &Samples) -> Chapter {
    let charts = charts(samples).into_iter();
    Chapter {
        text: section(samples),
        plots: charts.map(|(name, chart)| (name, chart.draw())).collect(),
        budgets: budgets(samples),
    }
}

fn length(bytes: usize) -> String {
    format!("name of {bytes} bytes")
}

fn section(samples: &Samples) -> String {
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

fn charts(samples: &Samples) -> Vec<(String, Chart<'static>)> {
    let mut charts = Vec::new();
    for (question, title, _) in QUESTIONS {
        let rows = ordered(samples, question, 2).into_iter().map(|subject| {
            let values = THREADS.map(|threads| samples.median(question, subject, threads));
            (subject.to_owned(), values.to_vec())
        });
        let chart = Chart {
            title,
            unit: "ns a count, slowest thread's processor time, logarithmic",
            scale: Scale::Logarithmic,
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
        scale: Scale::Logarithmic,
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

fn budgets(samples: &Samples) -> Vec<Budget> {
    let mut budgets = vec![
        floors(
            samples,
            "`Aspect::observe`, one thread, to FLOOR",
            HANDLE,
            4.0,
            "",
        ),
        floors(
            samples,
            "`observe(&str)`, one name of 8 bytes, one thread, to FLOOR",
            NAME,
            8.0,
            "",
        ),
    ];
    for bytes in LENGTHS.into_iter().filter(|bytes| *bytes != 8) {
        let what = format!("the same, of {bytes} bytes");
        budgets.push(floors(samples, &what, &length(bytes), 8.0, LONG));
    }
    budgets.push(floors(
        samples,
        "the same, eight names in turn",
        EIGHT,
        8.0,
        TURNS,
    ));
    for (question, what) in [(HANDLE, "by handle"), (NAME, "by name")] {
        for threads in [2, 8] {
            budgets.push(alone(samples, what, question, threads));
        }
    }
    budgets.push(ahead(samples, "by handle", HANDLE, 12.0));
    budgets.push(ahead(samples, "by name", NAME, 15.0));
    budgets
}

fn floors(
    samples: &Samples,
    what: &str,
    question: &str,
    bound: f64,
    in_the_way: &'static str,
) -> Budget {
    let (ours, floor) = (
        samples.median(question, OURS, 1),
        samples.floor(question, 1),
    );
    Budget {
        what: what.to_owned(),
        unit: "×",
        bound: Bound::AtMost(bound),
        reached: ours / floor,
        beside: format!("{} ns, FLOOR {} ns", amount(ours), amount(floor)),
        in_the_way,
    }
}

/// To itself on one thread.
fn alone(samples: &Samples, what: &str, question: &str, threads: usize) -> Budget {
    let floors = samples.floor(question, threads) / samples.floor(question, 1);
    Budget {
        what: format!("{what}, each of {threads} threads, to one alone"),
        unit: "×",
        bound: Bound::AtMost(1.15),
        reached: samples.median(question, OURS, threads) / samples.median(question, OURS, 1),
        beside: format!("FLOOR {floors:.2} ×"),
        in_the_way: NEIGHBOURS,
    }
}

/// Before the fastest crate at two threads.
fn ahead(samples: &Samples, what: &str, question: &str, bound: f64) -> Budget {
    let crates = samples.subjects(question).into_iter().filter(|subject| {
        ![OURS, "shared AtomicU64", "Mutex<HashMap>"].contains(subject)
            && !subject.contains("not flushed")
    });
    let times = crates.map(|peer| (samples.median(question, peer, 2), peer));
    let (time, peer) = times
        .min_by(|(one, _), (other, _)| one.total_cmp(other))
        .unwrap_or((f64::NAN, "no peer"));
    Budget {
        what: format!("{what}, two threads, faster than the fastest peer"),
        unit: "×",
        bound: Bound::AtLeast(bound),
        reached: time / samples.median(question, OURS, 2),
        beside: format!("{peer} {} ns", amount(time)),
        in_the_way: CONTENTION,
    }
}
