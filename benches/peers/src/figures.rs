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

/// What a page costs to serve, by server.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Serving {
    pub rounds: usize,
    pub connections: usize,
    pub requests: usize,
    /// The requests of which the instructions are counted.
    pub counted: usize,
    pub rows: Vec<Request>,
}

/// What a request for a page costs one server.
#[derive(Debug, Serialize, Deserialize)]
pub struct Request {
    pub server: String,
    pub page: String,
    /// With which the others that show the page are compared.
    pub bare: bool,
    pub body_bytes: usize,
    pub requests_per_second: Vec<f64>,
    pub p50_us: f64,
    pub p99_us: f64,
    pub user_us: f64,
    pub system_us: f64,
    /// None without valgrind.
    pub instructions: Option<f64>,
}

impl Request {
    /// NaN where they were not counted.
    #[must_use]
    pub fn counted(&self) -> f64 {
        self.instructions.unwrap_or(f64::NAN)
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
