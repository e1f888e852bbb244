//! How it grows, and what it does to those around it: a chapter of the report at a time.
//!
//! `cargo run --release --bin scale -- CHAPTER FIGURES.json`

use std::alloc::System;
use std::env;
use std::error::Error;
use std::path::Path;
use std::process::ExitCode;

use parsec_telemetry_peers::figures::Figures;
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

mod memory;
mod original;
mod transfers;
mod work;
mod writers;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Counts what is allocated, for the chapter on memory; the others allocate nothing that is timed.
#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

fn main() -> ExitCode {
    let arguments: Vec<_> = env::args().skip(1).collect();
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    let done = match arguments.as_slice() {
        // What the chapter on transfers has traced.
        [transfers::PROBE, question, subject, threads] => {
            transfers::probe(question, subject, threads)
        }
        [chapter, output] => measure(chapter, Path::new(output)),
        _ => Err("usage: scale writers|work|original|memory|transfers FIGURES.json".into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("scale: {error}");
            ExitCode::FAILURE
        }
    }
}

fn measure(chapter: &str, output: &Path) -> Result<()> {
    let mut figures = Figures::default();
    match chapter {
        "writers" => writers::measure(&mut figures),
        "work" => work::measure(&mut figures),
        "original" => original::measure(&mut figures, &output.with_extension("go"))?,
        "memory" => memory::measure(&mut figures)?,
        "transfers" => transfers::measure(&mut figures)?,
        _ => return Err(format!("no chapter is called {chapter:?}").into()),
    }
    figures.write(output)?;
    Ok(())
}
