//! The budgets, and what became of them.

use std::fmt::Write as _;

use crate::OURS;
use crate::chart::amount;
use crate::counting::{EIGHT, HANDLE, LENGTHS, NAME, length};
use crate::samples::Samples;
use crate::serving::Serving;

struct Budget {
    what: String,
    bound: Bound,
    reached: f64,
    beside: String,
    /// Shown where the bound is missed.
    in_the_way: &'static str,
}

enum Bound {
    AtMost(f64),
    AtLeast(f64),
}

const TURNS: &str =
    "Two of the eight are longer than eight bytes and cost what the rows above say.";
const LONG: &str = "A name of up to eight bytes is one word, and compared as one; a longer name is hashed, and then compared.";
const THREADS: &str = "No line is shared, so it is the caches, the clock rate and the neighbours: compare the floor's own \
                       ratio beside it.";
const CONTENTION: &str = "What the peers lose by contention depends on the two threads running at once: other work on the \
                          cores separates them, and on one cache for both cores a line changes hands quickly.";
const RENDER: &str = "A fresh snapshot (the maps of aspects and patterns, the alerts) and the numbers' formatting, for each \
                      request.";
const HOP: &str = "The above, and the way to a thread for blocking work and back, so that a slow source holds up no other \
                   connection.";

pub(crate) fn section(samples: &Samples, serving: &Serving) -> String {
    let mut text = String::from(
        "## Budgets\n\n| what | budget | reached | | beside it | what stands in the way |\n\
         | --- | --- | --- | --- | --- | --- |\n",
    );
    for budget in budgets(samples, serving) {
        let (sign, bound, met) = match budget.bound {
            Bound::AtMost(bound) => ("≤", bound, budget.reached <= bound),
            Bound::AtLeast(bound) => ("≥", bound, budget.reached >= bound),
        };
        let (verdict, in_the_way) = match (budget.reached.is_finite(), met) {
            (false, _) => ("not measured", ""),
            (true, true) => ("met", ""),
            (true, false) => ("**missed**", budget.in_the_way),
        };
        let _ = writeln!(
            text,
            "| {} | {sign} {bound} × | {:.2} × | {verdict} | {} | {in_the_way} |",
            budget.what, budget.reached, budget.beside,
        );
    }
    text
}

fn budgets(samples: &Samples, serving: &Serving) -> Vec<Budget> {
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
    for (server, in_the_way) in [("Handler", RENDER), ("serve()", HOP)] {
        for page in ["JSON", "text"] {
            budgets.push(Budget {
                what: format!("user instructions a request, `{server}`, {page}, to bare hyper"),
                bound: Bound::AtMost(2.0),
                reached: serving.ratio(&format!("{OURS}, {server}"), page),
                beside: String::new(),
                in_the_way,
            });
        }
    }
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
        bound: Bound::AtMost(1.15),
        reached: samples.median(question, OURS, threads) / samples.median(question, OURS, 1),
        beside: format!("FLOOR {floors:.2} ×"),
        in_the_way: THREADS,
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
        bound: Bound::AtLeast(bound),
        reached: time / samples.median(question, OURS, 2),
        beside: format!("{peer} {} ns", amount(time)),
        in_the_way: CONTENTION,
    }
}
