//! The samples of a chapter, from what criterion has left behind or from the chapter's own file.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use parsec_telemetry_peers::AT_ONCE;
use parsec_telemetry_peers::figures::{Figures, median};
use serde::Deserialize;

use crate::Result;

/// Nanoseconds for one operation, or whatever the question is about.
#[derive(Clone, Debug, Default)]
pub(crate) struct Times {
    sorted: Vec<f64>,
}

impl Times {
    fn of(mut times: Vec<f64>) -> Self {
        times.sort_by(f64::total_cmp);
        Self { sorted: times }
    }

    pub(crate) fn median(&self) -> f64 {
        median(self.sorted.clone())
    }

    /// As far from the least as so many percent of all.
    pub(crate) fn at_percent(&self, percent: usize) -> f64 {
        let last = self.sorted.len().saturating_sub(1);
        self.sorted
            .get(last * percent / 100)
            .copied()
            .unwrap_or(f64::NAN)
    }

    pub(crate) fn least(&self) -> f64 {
        self.sorted.first().copied().unwrap_or(f64::NAN)
    }

    pub(crate) fn most(&self) -> f64 {
        self.sorted.last().copied().unwrap_or(f64::NAN)
    }
}

pub(crate) const FLOOR: &str = "FLOOR";
const FLOOR_AGAIN: &str = "FLOOR again";

/// Every sample of a chapter: question, subject, and the number of threads or of what the question is
/// about.
#[derive(Default)]
pub(crate) struct Samples {
    times: BTreeMap<(String, String, usize), Times>,
    /// How long the samples lasted, in nanoseconds.
    lasted: Vec<f64>,
}

impl Samples {
    /// Reads what a chapter has left in the folder of the figures. Nothing, if it has not been
    /// measured: then there is nothing to be seen of it in the report.
    pub(crate) fn read(figures: &Path, chapter: &str) -> Result<Self> {
        let (home, file) = (
            figures.join(chapter),
            figures.join(format!("{chapter}.json")),
        );
        match (home.is_dir(), file.is_file()) {
            (true, _) => Self::of_criterion(&home),
            (_, true) => Self::of_figures(&file),
            _ => {
                eprintln!("{chapter}: not measured");
                Ok(Self::default())
            }
        }
    }

    /// Reads `<home>/<question>/<subject>/<threads>/new/`, by what stands in the files: criterion
    /// spells its folders differently from the names.
    fn of_criterion(home: &Path) -> Result<Self> {
        let mut samples = Self::default();
        for question in folders(home)? {
            for subject in folders(&question)? {
                for threads in folders(&subject)? {
                    samples.add(&threads.join("new"))?;
                }
            }
        }
        Ok(samples)
    }

    fn of_figures(path: &Path) -> Result<Self> {
        let mut samples = Self::default();
        let figures: Figures = read_json(path)?;
        for figure in figures.all {
            let key = (figure.question, figure.subject, figure.at);
            samples.times.insert(key, Times::of(figure.samples));
        }
        Ok(samples)
    }

    fn add(&mut self, folder: &Path) -> Result<()> {
        #[derive(Deserialize)]
        struct Benchmark {
            group_id: String,
            function_id: String,
            value_str: String,
        }
        #[derive(Deserialize)]
        struct Sample {
            iters: Vec<f64>,
            times: Vec<f64>,
        }

        let benchmark: Benchmark = read_json(&folder.join("benchmark.json"))?;
        let sample: Sample = read_json(&folder.join("sample.json"))?;
        let each = sample.iters.iter().zip(&sample.times);
        let times = Times::of(each.map(|(iterations, time)| time / iterations).collect());
        let threads = benchmark.value_str.parse()?;
        let lasted = sample.times.iter().map(|time| time * f64::from(AT_ONCE));
        self.lasted.extend(lasted);
        let key = (benchmark.group_id, benchmark.function_id, threads);
        self.times.insert(key, times);
        Ok(())
    }

    pub(crate) fn of(&self, question: &str, subject: &str, threads: usize) -> Option<&Times> {
        self.times
            .get(&(question.to_owned(), subject.to_owned(), threads))
    }

    pub(crate) fn median(&self, question: &str, subject: &str, threads: usize) -> f64 {
        self.of(question, subject, threads)
            .map_or(f64::NAN, Times::median)
    }

    /// The numbers at which a subject was measured.
    pub(crate) fn ats(&self, question: &str, subject: &str) -> Vec<usize> {
        let keys = self.times.keys();
        let of_subject = keys.filter(|(asked, who, _)| asked == question && who == subject);
        of_subject.map(|(_, _, at)| *at).collect()
    }

    /// Of both times that it was measured.
    pub(crate) fn floor(&self, question: &str, threads: usize) -> f64 {
        let both = [FLOOR, FLOOR_AGAIN].iter();
        let all = both
            .filter_map(|name| self.of(question, name, threads))
            .flat_map(|times| times.sorted.clone());
        Times::of(all.collect()).median()
    }

    /// Those asked about the question, the floor left out.
    pub(crate) fn subjects(&self, question: &str) -> Vec<&str> {
        let mut subjects: Vec<_> = self
            .times
            .keys()
            .filter(|(asked, _, _)| asked == question)
            .map(|(_, subject, _)| subject.as_str())
            .filter(|subject| ![FLOOR, FLOOR_AGAIN].contains(subject))
            .collect();
        subjects.dedup();
        subjects
    }

    /// Milliseconds that the shortest and the middle sample lasted.
    pub(crate) fn lasted(&self) -> (f64, f64) {
        let lasted = Times::of(self.lasted.iter().map(|time| time / 1e6).collect());
        (lasted.least(), lasted.median())
    }

    /// How far the floor was from itself, between the first and the last benchmark of each question
    /// and number of threads, at worst and in the middle: as shares of the lesser.
    pub(crate) fn drift(&self) -> (f64, f64) {
        let floors = self.times.keys().filter(|(_, subject, _)| subject == FLOOR);
        let drifts = floors.map(|(question, _, threads)| {
            let first = self.median(question, FLOOR, *threads);
            let last = self.median(question, FLOOR_AGAIN, *threads);
            first.max(last) / first.min(last) - 1.0
        });
        let drifts = Times::of(drifts.collect());
        (drifts.most(), drifts.median())
    }

    /// How far a benchmark's samples lie apart, as a share of the median: for nine in ten of the
    /// benchmarks no further than this.
    pub(crate) fn spread(&self) -> f64 {
        let spreads = self
            .times
            .values()
            .map(|times| (times.most() - times.least()) / times.median());
        let spreads = Times::of(spreads.collect());
        spreads.at_percent(90)
    }
}

pub(crate) fn read_json<T: for<'de> Deserialize<'de>>(path: &Path) -> Result<T> {
    let text = fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
    serde_json::from_slice(&text).map_err(|error| format!("{}: {error}", path.display()).into())
}

/// The folders in a folder, but for criterion's own summaries.
fn folders(path: &Path) -> Result<Vec<std::path::PathBuf>> {
    let entries = fs::read_dir(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let mut folders = Vec::new();
    for entry in entries {
        let entry = entry?.path();
        if entry.is_dir() && entry.file_name().is_some_and(|name| name != "report") {
            folders.push(entry);
        }
    }
    folders.sort();
    Ok(folders)
}

#[cfg(test)]
mod tests {
    use super::Times;

    #[test]
    fn the_median_is_the_middle_of_what_came_in_any_order() {
        assert!((Times::of(vec![3.0, 1.0, 2.0]).median() - 2.0).abs() < f64::EPSILON);
        assert!((Times::of(vec![4.0, 1.0, 2.0, 3.0]).median() - 2.5).abs() < f64::EPSILON);
        assert!(Times::default().median().is_nan());
    }
}
