//! The cache lines that a count takes from another thread.

use crate::OURS;
use crate::budgets::{Bound, Budget};
use crate::chapter::Chapter;
use crate::chart::{Chart, Scale};
use crate::samples::{Samples, Times};

/// As many threads as all have been traced with.
pub(crate) const FEW: usize = 4;
/// As many as have their shards outside of the slab, most of them.
pub(crate) const MANY: usize = 64;
pub(crate) const HANDLE: &str = "by handle";
const NAME: &str = "by name";

const QUESTIONS: [&str; 4] = [
    HANDLE,
    NAME,
    "by handle, in a new tick",
    "by handle, after a snapshot",
];

pub(crate) fn chapter(samples: &Samples) -> Chapter {
    let mut chapter = Chapter::new(
        "Cache lines, counted",
        "Threads that count in turn, each once, under valgrind's lackey, which shows every load and store of the machine code with \
         its address; they are played back on caches, one for each thread, that never overflow. A line is *taken* if another \
         thread wrote it since this one had it, or has it and this one writes it. Four rounds are left to warm up, 16 counted; a \
         range is of different operations. *In pairs* is by 128 bytes, which some processors fetch at once. A line of *its own* \
         is one that no other thread reads or writes; the stack is among them. The figures are the same on every run and \
         however busy the machine is. The turns are the worst case: each finds the line where another has left it.",
    );
    let asked = |question: &str, what: &str| format!("{question}: lines {what}");
    let cases: Vec<(&str, &str, usize)> = QUESTIONS
        .into_iter()
        .flat_map(|question| {
            let mut subjects = samples.subjects(&asked(question, "taken"));
            subjects.sort_by_key(|subject| *subject != OURS);
            let ats = move |subject| {
                samples
                    .ats(&asked(question, "taken"), subject)
                    .into_iter()
                    .map(move |at| (question, subject, at))
            };
            subjects.into_iter().flat_map(ats)
        })
        .collect();
    let mut subjects: Vec<&str> = cases.iter().map(|(_, subject, _)| *subject).collect();
    subjects.sort_by_key(|subject| (*subject != OURS, *subject));
    subjects.dedup();
    let ways = [HANDLE, NAME];
    let of = |subject: &str| ways.map(|way| taken(samples, way, subject, FEW)).to_vec();
    let chart = Chart {
        title: "Cache lines taken from another thread",
        unit: "lines a count",
        scale: Scale::Linear,
        series: ways.map(str::to_owned).to_vec(),
        rows: subjects
            .iter()
            .map(|subject| ((*subject).to_owned(), of(subject)))
            .collect(),
    };
    chapter.plot("Cache lines taken from another thread", chart.draw());
    let rows = cases.iter().map(|&(question, subject, threads)| {
        let cells = ["taken", "taken in pairs", "touched", "of its own"]
            .map(|what| range(samples, &asked(question, what), subject, threads));
        let shown = if subject == OURS {
            format!("**{OURS}**")
        } else {
            subject.to_owned()
        };
        [question.to_owned(), shown, threads.to_string()]
            .into_iter()
            .chain(cells)
            .collect()
    });
    chapter.table(
        &[
            "counted",
            "",
            "threads",
            "taken",
            "taken in pairs",
            "touched",
            "of its own",
        ],
        rows,
    );
    for (question, bound) in [
        (HANDLE, 0.0),
        (NAME, 0.0),
        (QUESTIONS[2], 1.0),
        (QUESTIONS[3], 2.0),
    ] {
        let ats = samples.ats(&asked(question, "taken"), OURS);
        let most = ats
            .iter()
            .filter_map(|at| samples.of(&asked(question, "taken in pairs"), OURS, *at));
        chapter.budgets.push(Budget {
            what: format!("cache lines that a count takes from another thread, {question}"),
            bound: Bound::AtMost(bound),
            unit: "lines",
            reached: most.map(Times::most).fold(f64::NAN, f64::max),
            beside: format!(
                "shared AtomicU64 {}",
                range(samples, &asked(HANDLE, "taken"), "shared AtomicU64", FEW)
            ),
            in_the_way: "",
        });
    }
    chapter
}

fn range(samples: &Samples, question: &str, subject: &str, threads: usize) -> String {
    samples
        .of(question, subject, threads)
        .map_or("–".to_owned(), |lines| {
            let (least, most) = (lines.least(), lines.most());
            if least < most {
                format!("{least}–{most}")
            } else {
                most.to_string()
            }
        })
}

pub(crate) fn taken(samples: &Samples, question: &str, subject: &str, threads: usize) -> f64 {
    samples.median(&format!("{question}: lines taken"), subject, threads)
}

/// Nanoseconds until a line that one core wrote is in the other's cache.
pub(crate) fn line_goes_over(samples: &Samples) -> f64 {
    samples.median("a line goes over", "between two cores", 2)
}
