//! What is left for the report: samples, each of something that was asked about.

use std::fs;
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

/// What was measured of one subject at one number: of threads, of shards, whatever the question is.
#[derive(Debug, Serialize, Deserialize)]
pub struct Figure {
    pub question: String,
    pub subject: String,
    pub at: usize,
    pub samples: Vec<f64>,
}

/// The figures of a chapter.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Figures {
    pub all: Vec<Figure>,
}

impl Figures {
    pub fn add(&mut self, question: &str, subject: &str, at: usize, samples: Vec<f64>) {
        let (middle, many) = (median(samples.clone()), samples.len());
        eprintln!("{question}: {subject}, {at}: {middle:.3} in the middle of {many}");
        self.all.push(Figure {
            question: question.to_owned(),
            subject: subject.to_owned(),
            at,
            samples,
        });
    }

    /// # Errors
    ///
    /// If the file cannot be written.
    pub fn write(&self, path: &Path) -> io::Result<()> {
        fs::write(path, serde_json::to_vec(self)?)
    }
}

/// The middle one.
#[must_use]
pub fn median(mut samples: Vec<f64>) -> f64 {
    samples.sort_by(f64::total_cmp);
    let half = samples.len() / 2;
    match samples.len() {
        0 => f64::NAN,
        length if length % 2 == 1 => samples[half],
        _ => f64::midpoint(samples[half - 1], samples[half]),
    }
}
