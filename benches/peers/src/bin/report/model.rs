//! A process of 64 cores and 4,000 threads, from what was counted and measured.

use crate::OURS;
use crate::chapter::Chapter;
use crate::chart::{Curve, Lines, amount};
use crate::counting;
use crate::growing::{BYTES_BY_THREADS, SNAPSHOT_BY_SHARDS};
use crate::growth::{BYTES, KIB, MICROS};
use crate::samples::Samples;
use crate::transfers::{self, FEW, HANDLE, MANY};

const CORES: [usize; 7] = [1, 2, 4, 8, 16, 32, 64];
const THREADS: usize = 4_000;
const LINE: f64 = 64.0;

/// Cores on which a line goes over as fast as it does here; beyond them it comes from another socket.
const ONE_SOCKET: usize = 32;

/// Assumed, not measured: nanoseconds until a line has come from another socket, at worst.
const FROM_ANOTHER_SOCKET: f64 = 200.0;

const SHARED: &str = "shared AtomicU64";

/// What is known of one way to count.
struct Way {
    /// On one core, with nobody else.
    alone: f64,
    taken: f64,
}

impl Way {
    /// Nanoseconds for a count on each of so many cores. What takes no line costs what it costs
    /// alone. A line that is taken is in one place at a time: all wait for each other, at best for
    /// the counts themselves, and at worst for the line to go over each time.
    fn nanos(&self, cores: usize, line: f64) -> f64 {
        match cores {
            2.. if self.taken > 0.0 => cores as f64 * (self.alone + self.taken * line),
            _ => self.alone,
        }
    }

    /// Millions a second, by all cores.
    fn millions(&self, cores: usize, line: f64) -> f64 {
        cores as f64 * 1e3 / self.nanos(cores, line)
    }
}

pub(crate) fn chapter(
    counting: &Samples,
    counted: &Samples,
    reading: &Samples,
    memory: &Samples,
) -> Chapter {
    // Most of so many threads have their shards outside of the slab.
    let ours = Way {
        alone: counted.median("a count", "outside of the slab", 1),
        taken: transfers::taken(counted, HANDLE, OURS, MANY),
    };
    let shared = Way {
        alone: counting.median(counting::HANDLE, SHARED, 1),
        taken: transfers::taken(counted, HANDLE, SHARED, FEW),
    };
    let near = transfers::line_goes_over(counted);

    let mut chapter = Chapter::new(
        "A model of 64 cores and 4,000 threads",
        &format!(
            "Counted: a count by handle takes {} lines from other threads, one on a shared word {}. Measured: a count takes {} ns by \
             handle, outside of the slab as it is for most of so many threads ({} ns in it), and {} ns on the shared word, on one \
             thread; a line that one core wrote is in the other's cache after {} ns (two threads that wait for each other's \
             store). Assumed: on up to {ONE_SOCKET} cores a line goes over as fast as here, and beyond them it comes from another \
             socket in {FROM_ANOTHER_SOCKET} ns at worst (what it is on which is in [such measurements](https://chipsandcheese.com/2023/11/07/core-to-core-latency-data-on-large-systems/)). A \
             word that all write is in one place at a time: at best all cores together change it as fast as \
             one alone, and at worst each finds it where another has left it.",
            ours.taken,
            shared.taken,
            amount(ours.alone),
            amount(counted.median("a count", "in the slab", 1)),
            amount(shared.alone),
            amount(near),
        ),
    );

    plot(&mut chapter, counting, &ours, &shared, near);
    chapter.table(&BY_CORES, by_cores(&ours, &shared, near));
    chapter.section(
        "What else there is to pay",
        "On all cores, with all threads.",
    );
    chapter.table(
        &["what", "how much", "from"],
        rest(counted, reading, memory, near),
    );
    chapter.text += LEFT_OUT;
    chapter
}

/// Nanoseconds that a line takes from one of so many cores to another, at worst.
fn line(cores: usize, near: f64) -> f64 {
    if cores > ONE_SOCKET {
        FROM_ANOTHER_SOCKET
    } else {
        near
    }
}

fn plot(chapter: &mut Chapter, counting: &Samples, ours: &Way, shared: &Way, near: f64) {
    let curve = |name: &str, millions: &dyn Fn(usize) -> f64| {
        let points = CORES.map(|cores| (cores as f64, millions(cores)));
        Curve {
            name: name.to_owned(),
            points: points.to_vec(),
            line: None,
        }
    };
    let measured = |name: &str, subject: &str| Curve {
        name: name.to_owned(),
        points: [1, 2]
            .map(|cores| {
                (
                    cores as f64,
                    cores as f64 * 1e3 / counting.median(counting::HANDLE, subject, cores),
                )
            })
            .to_vec(),
        line: None,
    };
    let title = "Counts a second by cores";
    let drawing = Lines {
        title,
        x: "cores",
        y: "millions a second",
        curves: vec![
            curve("ours", &|cores| ours.millions(cores, 0.0)),
            curve("shared, at best", &|cores| shared.millions(cores, 0.0)),
            curve("shared, at worst", &|cores| {
                shared.millions(cores, line(cores, near))
            }),
            measured("ours in the slab, measured", OURS),
            measured("shared, measured", SHARED),
        ],
    };
    chapter.plot(title, drawing.draw());
}

const BY_CORES: [&str; 6] = [
    "cores",
    "ours, ns",
    "ours, millions a second",
    "shared word, ns",
    "shared word, millions a second",
    "ours to shared",
];

fn by_cores(ours: &Way, shared: &Way, near: f64) -> [Vec<String>; CORES.len()] {
    CORES.map(|cores| {
        let by = |way: &Way, line| (way.nanos(cores, line), way.millions(cores, line));
        let line = line(cores, near);
        let (ours, best, worst) = (by(ours, line), by(shared, 0.0), by(shared, line));
        let range = |one: f64, other: f64| match (amount(one), amount(other)) {
            (one, other) if one == other => one,
            (one, other) => format!("{one}–{other}"),
        };
        vec![
            cores.to_string(),
            amount(ours.0),
            amount(ours.1),
            range(best.0, worst.0),
            range(worst.1, best.1),
            range(ours.1 / best.1, ours.1 / worst.1),
        ]
    })
}

fn rest(counted: &Samples, reading: &Samples, memory: &Samples, near: f64) -> Vec<Vec<String>> {
    let [.., cores] = CORES;
    let each = THREADS.div_ceil(cores);
    let lines = |what: &str| counted.median(&format!("{HANDLE}: lines {what}"), OURS, MANY);
    let (own, touched) = (lines("of its own"), lines("touched"));
    let footprint = (touched - own + own * each as f64) * LINE;
    let snapshot = |subject| SNAPSHOT_BY_SHARDS.line(reading, subject).at(THREADS as f64);
    let bytes = BYTES_BY_THREADS.line(memory, "64 aspects");
    let shard_lines = (bytes.each / LINE).ceil();
    let row = |what: &str, much: String, from: String| vec![what.to_owned(), much, from];
    vec![
        row(
            "the turn of a tick",
            format!("{} ns a second on each core", amount(near)),
            "one line taken in a new tick, counted; a line's way, measured".to_owned(),
        ),
        row(
            "a snapshot, to each thread that counts",
            format!("{} ns of its next count", amount(2.0 * near)),
            "two lines taken after a snapshot, counted".to_owned(),
        ),
        row(
            "what a core's threads touch by counting, in turn",
            format!("{} of {each} threads", KIB.show(footprint)),
            format!(
                "{own} lines of each thread's own, its stack among them, and {} that all only read, counted; a first-level cache holds 32 to 48 KiB, \
                     a second-level one 512 KiB and more: a thread that comes back finds its lines in the second",
                touched - own
            ),
        ),
        row(
            "a snapshot, 1 aspect",
            MICROS.show(snapshot("1 aspect")),
            "the line of [Reading](#reading): nobody counts meanwhile".to_owned(),
        ),
        row(
            "a snapshot, 64 aspects",
            MICROS.show(snapshot("64 aspects")),
            "the same".to_owned(),
        ),
        row(
            "a snapshot, 64 aspects, all silent",
            MICROS.show(snapshot("64 aspects, silent")),
            "the same".to_owned(),
        ),
        row(
            "a snapshot, 64 aspects, all of it in other caches",
            format!(
                "at most {}",
                MICROS.show(snapshot("64 aspects") + near * shard_lines * THREADS as f64)
            ),
            format!("and {shard_lines} lines of each shard taken, one after the other"),
        ),
        row(
            "memory, 64 aspects",
            KIB.show(bytes.at(THREADS as f64)),
            format!(
                "the line of [Memory](#memory): {} a thread",
                BYTES.show(bytes.each)
            ),
        ),
    ]
}

const LEFT_OUT: &str = "
**What the model leaves out.** A core that has the line may count several times before it gives it away, which is what lies \
between the best and the worst: nearer to the best in a tight loop, nearer to the worst the more work there is between two counts. \
It knows neither more than one hop between sockets nor the line's way back to memory, no sharing of a core by two \
hardware threads, no clock rates that fall when all cores work, and no scheduler: 63 threads a core are taken to run in turn, \
each long enough that bringing its lines back does not matter.
";
