//! What counting does to those around it, what reading does to counting, and what the original did.

use crate::budgets::{Bound, Budget};
use crate::chapter::Chapter;
use crate::chart::{Chart, Scale, amount};
use crate::samples::Samples;

const WORKS: [&str; 4] = [
    "multiplications in a chain",
    "loads in a chain",
    "multiplications side by side",
    "copying",
];
const COUNTS: [&str; 4] = ["by handle", "by name", "a shared ring", "nothing"];

pub(crate) fn work(samples: &Samples) -> Chapter {
    let mut chapter = Chapter::new(
        "Around real work",
        "Pieces of some 11 ns of work, alone and with a count after each, in turn: 31 rounds, on one thread and on two. Shown is \
         what the count adds to the slowest thread's processor time for a piece: the median, and in brackets the quarter and \
         the three quarters of the rounds. *Nothing* is the work alone once more: how far that is from naught is what cannot be \
         measured. In a chain each step waits for the one before, and a count fits into the waiting; side by side there is no \
         waiting, and a count takes what its instructions take. The shared ring is the usual window: a slot and a total, each an \
         atomic addition. By handle and by name is ours.",
    );
    let threads = [1, 2];
    let rows = WORKS.into_iter().flat_map(|work| {
        let alone = |threads: usize| samples.median("work alone", work, threads);
        let with = move |count: &str, threads: usize| {
            alone(threads) * (1.0 + added(samples, work, count, threads) / 100.0)
        };
        let alone = (format!("{work}, alone"), threads.map(alone).to_vec());
        let counted = COUNTS[..3].iter().map(move |count| {
            (
                format!("and {count}"),
                threads.map(|threads| with(count, threads)).to_vec(),
            )
        });
        [alone].into_iter().chain(counted)
    });
    let chart = Chart {
        title: "Around real work",
        unit: "ns a piece",
        scale: Scale::Linear,
        series: vec!["1 thread".to_owned(), "2 threads".to_owned()],
        rows: rows.collect(),
    };
    chapter.plot("Around real work", chart.draw());
    let rows = WORKS.into_iter().flat_map(|work| {
        threads.map(|threads| {
            let alone = amount(samples.median("work alone", work, threads));
            let counts =
                COUNTS.map(|count| percents(samples, &format!("work and {count}"), work, threads));
            [work.to_owned(), threads.to_string(), alone]
                .into_iter()
                .chain(counts)
                .collect()
        })
    });
    let head = [
        "work",
        "threads",
        "alone, ns",
        "**by handle**, + %",
        "**by name**, + %",
        "a shared ring, + %",
        "nothing, + %",
    ];
    chapter.table(&head, rows);

    for work in WORKS {
        for threads in threads {
            chapter.budgets.push(Budget {
                what: format!("by handle around {work}, {}", threads_of(threads)),
                bound: Bound::AtMost(2.0),
                unit: "%",
                reached: added(samples, work, "by handle", threads),
                beside: format!(
                    "by name {} %, a shared ring {} %",
                    amount(added(samples, work, "by name", threads)),
                    amount(added(samples, work, "a shared ring", threads)),
                ),
                in_the_way: "What the work leaves idle is not enough: a count is some twenty instructions, which take the units that the work needs.",
            });
        }
    }
    chapter
}

fn added(samples: &Samples, work: &str, count: &str, threads: usize) -> f64 {
    samples.median(&format!("work and {count}"), work, threads)
}

fn percents(samples: &Samples, question: &str, subject: &str, at: usize) -> String {
    samples
        .of(question, subject, at)
        .map_or("–".to_owned(), |times| {
            let [low, high] = [25, 75].map(|percent| amount(times.at_percent(percent)));
            format!("{} [{low} to {high}]", amount(times.median()))
        })
}

/// Reads a second; 0 stands for as many as the reader can.
const RATES: [usize; 4] = [1, 100, 1_000, 0];
const WAYS: [&str; 2] = ["by handle", "by name"];

pub(crate) fn writers(samples: &Samples) -> Chapter {
    const QUESTION: &str = "speed while read";
    let mut chapter = Chapter::new(
        "What reading costs the writers",
        "A thread that counts on the first core, and on the last one a reader that takes so many snapshots a second and renders \
         the JSON and the text page of each. The writer's speed by its own processor time, as a share of its speed while nobody \
         reads: the median of pairs of a read and an unread turn, one after the other, and in brackets the quarter and the three \
         quarters of them.",
    );
    let rate_of = |rate: usize| match rate {
        0 => "as many as it can".to_owned(),
        rate => amount(rate as f64),
    };
    let chart = Chart {
        title: "What reading costs the writers",
        unit: "% of the unread speed",
        scale: Scale::Linear,
        series: WAYS.map(str::to_owned).to_vec(),
        rows: RATES
            .map(|rate| {
                (
                    format!("{} a second", rate_of(rate)),
                    WAYS.map(|way| samples.median(QUESTION, way, rate)).to_vec(),
                )
            })
            .to_vec(),
    };
    chapter.plot("What reading costs the writers", chart.draw());
    let rows = RATES.map(|rate| {
        let shares = WAYS.map(|way| percents(samples, QUESTION, way, rate));
        [rate_of(rate)].into_iter().chain(shares).collect()
    });
    chapter.table(&["reads a second", "by handle, %", "by name, %"], rows);
    for way in WAYS {
        chapter.budgets.push(Budget {
            what: format!("speed {way} while the pages are read 1,000 times a second"),
            bound: Bound::AtLeast(98.0),
            unit: "%",
            reached: samples.median(QUESTION, way, 1_000),
            beside: format!(
                "as often as it can {} %",
                amount(samples.median(QUESTION, way, 0))
            ),
            in_the_way: "",
        });
    }
    chapter
}

const ORIGINALS: [&str; 2] = ["the original's way, in Go", "the original's way, in Rust"];

pub(crate) fn original(samples: &Samples) -> Chapter {
    const QUESTION: &str = "original";
    let mut chapter = Chapter::new(
        "The original's way",
        "Not the original itself: what its documentation describes, written down in Go (`go/original.go`) and once more in Rust: a lock \
         around a ring of sixty cells, and a lock around a map of totals, with the time given, so that reading the clock is left \
         out. Wall time of the slowest thread, since waiting for a lock is not processor time: the median of 15 rounds in turn, \
         and in brackets the least and the most.",
    );
    let subjects = [WAYS, ORIGINALS].concat();
    let shown = |subject: &&str| {
        if WAYS.contains(subject) {
            format!("parsec-telemetry, {subject}")
        } else {
            (*subject).to_owned()
        }
    };
    let threads = [1, 2];
    let chart = Chart {
        title: "The original's way",
        unit: "ns a count, wall time, logarithmic",
        scale: Scale::Logarithmic,
        series: threads.map(threads_of).to_vec(),
        rows: subjects
            .iter()
            .map(|subject| {
                (
                    shown(subject),
                    threads
                        .map(|threads| samples.median(QUESTION, subject, threads))
                        .to_vec(),
                )
            })
            .collect(),
    };
    chapter.plot("The original's way", chart.draw());
    let rows = subjects.iter().map(|subject| {
        let times = threads.map(|threads| {
            samples
                .of(QUESTION, subject, threads)
                .map_or("–".to_owned(), |times| {
                    let ours = samples.median(QUESTION, "by handle", threads);
                    let [median, least, most] =
                        [times.median(), times.least(), times.most()].map(amount);
                    format!(
                        "{median}, {} × [{least}–{most}]",
                        amount(times.median() / ours)
                    )
                })
        });
        [shown(subject)].into_iter().chain(times).collect()
    });
    chapter.table(&["", "1 thread, ns, × by handle", "2 threads"], rows);
    for (threads, bound) in [(1, 50.0), (2, 200.0)] {
        let ratio = |original: &str, ours: &str| {
            samples.median(QUESTION, original, threads) / samples.median(QUESTION, ours, threads)
        };
        let [in_go, in_rust] = ORIGINALS;
        chapter.budgets.push(Budget {
            what: format!("by handle, faster than the original's way in Go, {}", threads_of(threads)),
            bound: Bound::AtLeast(bound),
            unit: "×",
            reached: ratio(in_go, "by handle"),
            beside: format!(
                "{}; by name {} ×; to the same in Rust {} ×",
                if samples.of(QUESTION, in_go, threads).is_some_and(|times| times.median().is_finite()) {
                    format!("{} ns", amount(samples.median(QUESTION, in_go, threads)))
                } else {
                    "go not at hand".to_owned()
                },
                amount(ratio(in_go, "by name")),
                amount(ratio(in_rust, "by handle")),
            ),
            in_the_way: "The budget is of 60 and 220 ns that the original took elsewhere; what is described of it takes less than \
                         that here, where a count of ours takes three times FLOOR and FLOOR twice as long.",
        });
    }
    chapter
}

fn threads_of(threads: usize) -> String {
    let unit = if threads == 1 { "thread" } else { "threads" };
    format!("{threads} {unit}")
}
