//! What grows with something: reading, memory and rendering.

use crate::budgets::{Bound, Budget};
use crate::chapter::Chapter;
use crate::chart::amount;
use crate::growth::{BYTES, Growth, KIB, MICROS, NANOS, unit};
use crate::samples::Samples;

pub(crate) const SNAPSHOT_BY_SHARDS: Growth = Growth {
    question: "a snapshot by shards",
    title: "A snapshot by shards",
    note: "So many threads were alive at once and have counted each aspect: just now, or, where it says silent, longer ago than \
           the window.",
    by: "shards",
    subjects: &[
        "1 aspect",
        "64 aspects",
        "1 aspect, silent",
        "64 aspects, silent",
    ],
    from: 16,
    unit: MICROS,
    each: NANOS,
};

pub(crate) const BYTES_BY_THREADS: Growth = Growth {
    question: "bytes by threads",
    title: "Memory by threads alive at once",
    note: "Of one counter, with as many aspects as it may have. The first 16 shards, or two for each core if that is more, are there from the start: the line begins with them.",
    by: "threads",
    subjects: &["1 aspect", "64 aspects", "1024 aspects"],
    from: 16,
    unit: KIB,
    each: BYTES,
};

pub(crate) fn reading(samples: &Samples) -> Chapter {
    let mut chapter = Chapter::new(
        "Reading",
        "The time of a snapshot, median, and a line through the points: the least squares of the deviations as shares of the points. \
         Nobody counts meanwhile.",
    );
    let growths = [
        SNAPSHOT_BY_SHARDS,
        Growth {
            question: "a snapshot by aspects",
            title: "A snapshot by aspects",
            note: "One thread has counted them all.",
            by: "aspects",
            subjects: &["1 thread"],
            from: 0,
            unit: MICROS,
            each: NANOS,
        },
        Growth {
            question: "a snapshot by sources",
            title: "A snapshot by sources",
            note: "An aggregator over so many counters, each with a source of its own.",
            by: "sources",
            subjects: &["envelopes", "tokens"],
            from: 0,
            unit: MICROS,
            each: NANOS,
        },
    ];
    for growth in growths {
        growth.add_to(&mut chapter, samples);
    }
    chapter
}

const MEMORY: [Growth; 8] = [
    BYTES_BY_THREADS,
    Growth {
        question: "bytes by threads that have come and gone",
        title: "Memory by threads that have come and gone",
        note: "One after the other: the next takes over the shard of the last.",
        by: "threads",
        subjects: &["64 aspects"],
        from: 0,
        unit: KIB,
        each: BYTES,
    },
    Growth {
        question: "bytes by hours",
        title: "Memory by hours",
        note: "A counter of envelopes and one of tokens, an event for each in every second of a clock that is moved by hand, \
                   and a snapshot every minute or never.",
        by: "hours",
        subjects: &["read", "unread"],
        from: 0,
        unit: KIB,
        each: BYTES,
    },
    Growth {
        question: "bytes by aspects",
        title: "Memory by aspects",
        note: "Of one counter that may have so many and has them, on one thread, with 17 shards in all.",
        by: "aspects",
        subjects: &["one thread"],
        from: 64,
        unit: KIB,
        each: BYTES,
    },
    Growth {
        question: "bytes by patterns",
        title: "Memory by patterns",
        note: "Of one snapshot of the channels, as long as it is kept.",
        by: "patterns",
        subjects: &["a snapshot"],
        from: 100,
        unit: KIB,
        each: BYTES,
    },
    Growth {
        question: "bytes by sources",
        title: "Memory by sources",
        note: "Of an aggregator over so many counters.",
        by: "sources",
        subjects: &["envelopes", "tokens"],
        from: 0,
        unit: KIB,
        each: BYTES,
    },
    Growth {
        question: "bytes by scrapers",
        title: "Memory by scrapers",
        note: "Connections to one `serve()` that each have got a text page and stay open.",
        by: "connections",
        subjects: &["a connection that is kept"],
        from: 0,
        unit: KIB,
        each: BYTES,
    },
    Growth {
        question: "time by scrapers",
        title: "Time by scrapers",
        note: "Processor time of the server, system time included, until each of so many connections has a text page that \
                   all asked for at once.",
        by: "connections",
        subjects: &["all at once"],
        from: 0,
        unit: unit("µs", 1.0),
        each: unit("µs", 1.0),
    },
];

pub(crate) fn memory(samples: &Samples) -> Chapter {
    let mut chapter = Chapter::new(
        "Memory",
        "Bytes that were asked for and not given back, as the allocator counts them: what the allocator itself adds to them is \
         not in it.",
    );
    for growth in &MEMORY {
        growth.add_to(&mut chapter, samples);
    }

    let [threads, gone, hours, ..] = &MEMORY;
    chapter.budgets.push(Budget {
        what: "memory of one more shard, 64 aspects".to_owned(),
        bound: Bound::AtMost(1.2),
        unit: "KiB",
        reached: threads.line(samples, "64 aspects").each / KIB.holds,
        beside: "of 1 to 4,096 threads alive at once".to_owned(),
        in_the_way: "",
    });
    for (what, growth, subject) in [
        ("10,000 threads one after the other add", gone, "64 aspects"),
        ("a thousand hours add, read", hours, "read"),
        ("a thousand hours add, unread", hours, "unread"),
    ] {
        let ats = samples.ats(growth.question, subject);
        let ends = [ats.first(), ats.last()]
            .map(|at| at.map_or(f64::NAN, |at| samples.median(growth.question, subject, *at)));
        chapter.budgets.push(Budget {
            what: format!("memory: {what}"),
            bound: Bound::AtMost(0.0),
            unit: "bytes",
            reached: ends[1] - ends[0],
            beside: String::new(),
            in_the_way: "",
        });
    }
    chapter
}

const FORMATTING: &str = "Numbers are written out, and names looked at for what has to be escaped; copying does neither.";

const FORMATS: [&str; 3] = ["JSON", "text", "OpenMetrics"];

pub(crate) fn rendering(samples: &Samples, memory: &Samples) -> Chapter {
    let mut chapter = Chapter::new(
        "Rendering",
        "A page of a snapshot that is there, into a buffer that has been used before, with as many patterns as aspects: three lines \
         of the text pages for each key.",
    );
    Growth {
        question: "a page by keys",
        title: "A page by keys",
        note: "Copied is the least that it could be: its bytes, copied at once.",
        by: "keys",
        subjects: &[
            "JSON",
            "text",
            "OpenMetrics",
            "JSON, copied",
            "text, copied",
            "OpenMetrics, copied",
        ],
        from: 0,
        unit: MICROS,
        each: NANOS,
    }
    .add_to(&mut chapter, samples);

    let time = |subject: &str, keys| samples.median("a page by keys", subject, keys);
    chapter.budgets.push(Budget {
        what: "a JSON page of 4 keys".to_owned(),
        bound: Bound::AtMost(350.0),
        unit: "ns",
        reached: time("JSON", 4),
        beside: format!("copying its bytes {} ns", amount(time("JSON, copied", 4))),
        in_the_way: FORMATTING,
    });
    chapter.budgets.push(Budget {
        what: "a text page of 4 keys, to copying its bytes".to_owned(),
        bound: Bound::AtMost(4.0),
        unit: "×",
        reached: time("text", 4) / time("text, copied", 4),
        beside: format!(
            "{} ns and {} ns",
            amount(time("text", 4)),
            amount(time("text, copied", 4))
        ),
        in_the_way: FORMATTING,
    });
    for format in FORMATS {
        chapter.budgets.push(Budget {
            what: format!("time of a key in a page of 100,000 keys ({format}), to one of 1,000"),
            bound: Bound::AtMost(1.25),
            unit: "×",
            reached: time(format, 100_000) / 100.0 / time(format, 1_000),
            beside: format!(
                "copying its bytes {} ×",
                amount(
                    time(&format!("{format}, copied"), 100_000)
                        / 100.0
                        / time(&format!("{format}, copied"), 1_000)
                )
            ),
            in_the_way: "The caches hold less of a longer page.",
        });
    }

    chapter.section(
        "What a render allocates",
        "Allocations of the second render, of so many aspects, into the buffer of the first.",
    );
    let question = "allocations of a render";
    let keys = memory.ats(question, "JSON");
    let mut head = vec!["keys".to_owned()];
    head.extend(keys.iter().map(|keys| amount(*keys as f64)));
    let rows = FORMATS.map(|format| {
        let counts = keys
            .iter()
            .map(|keys| memory.median(question, format, *keys).to_string());
        [format.to_owned()].into_iter().chain(counts).collect()
    });
    chapter.table(&head.iter().map(String::as_str).collect::<Vec<_>>(), rows);
    for format in FORMATS {
        let most = keys
            .iter()
            .map(|keys| memory.median(question, format, *keys));
        chapter.budgets.push(Budget {
            what: format!("allocations of a {format} page into a used buffer, of 4 to 100,000 keys"),
            bound: Bound::AtMost(3.0),
            unit: "allocations",
            reached: most.fold(f64::NAN, f64::max),
            beside: String::new(),
            in_the_way: "It is made of the text page, which is rendered into a buffer of its own that grows by doubling.",
        });
    }
    chapter
}
