//! Writes `REPORT.md` and `plots/` from what the benchmarks have left.
//!
//! `./report` runs it last, with the folder of the figures.

use std::env;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

mod budgets;
mod chart;
mod counting;
mod prose;
mod samples;
mod serving;

use samples::Samples;
use serving::Serving;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

const OURS: &str = "parsec-telemetry";

fn main() -> ExitCode {
    let Some(figures) = env::args_os().nth(1).map(PathBuf::from) else {
        eprintln!("usage: report FIGURES");
        return ExitCode::FAILURE;
    };
    match write(&figures) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("report: {error}");
            ExitCode::FAILURE
        }
    }
}

fn write(figures: &Path) -> Result<()> {
    let samples = Samples::read(&figures.join("criterion"))?;
    let serving: Serving = samples::read_json(&figures.join("serving.json"))?;
    let run = fs::read_to_string(figures.join("run.tsv"))?;

    fs::create_dir_all("plots")?;
    for (name, chart) in counting::charts(&samples)
        .into_iter()
        .chain(serving.charts())
    {
        svg::save(format!("plots/{name}.svg"), &chart.draw())?;
    }
    let sections = [
        prose::OPENING.to_owned(),
        prose::run(&run, &samples),
        budgets::section(&samples, &serving),
        counting::section(&samples),
        serving.section(),
        prose::OTHERS.to_owned(),
        prose::MEASURED.to_owned(),
    ];
    fs::write(
        "REPORT.md",
        sections.map(|text| text.trim().to_owned()).join("\n\n") + "\n",
    )?;
    Ok(())
}
