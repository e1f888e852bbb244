//! Writes `REPORT.md` and `plots/` from what the benchmarks have left.
//!
//! `./report` runs it last, with the folder of the figures and the names of the chapters.

use std::env;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

mod around;
mod budgets;
mod chapter;
mod chart;
mod counting;
mod growing;
mod growth;
mod model;
mod prose;
mod samples;
mod serving;
mod transfers;

use samples::Samples;
use serving::Serving;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

const OURS: &str = parsec_telemetry_peers::subjects::OURS;

fn main() -> ExitCode {
    let mut arguments = env::args().skip(1);
    let Some(figures) = arguments.next().map(PathBuf::from) else {
        eprintln!("usage: report FIGURES CHAPTER...");
        return ExitCode::FAILURE;
    };
    match write(&figures, &arguments.collect::<Vec<_>>()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("report: {error}");
            ExitCode::FAILURE
        }
    }
}

fn write(figures: &Path, names: &[String]) -> Result<()> {
    let of = |chapter| Samples::read(figures, chapter);
    let (counting, reading, memory) = (of("counting")?, of("reading")?, of("memory")?);
    let transfers = of("transfers")?;
    let chapters = [
        counting::chapter(&counting),
        around::work(&of("work")?),
        around::original(&of("original")?),
        transfers::chapter(&transfers),
        growing::reading(&reading),
        around::writers(&of("writers")?),
        growing::memory(&memory),
        growing::rendering(&of("rendering")?, &memory),
        model::chapter(&counting, &transfers, &reading, &memory),
        Serving::read(figures)?.chapter(),
    ];

    fs::create_dir_all("plots")?;
    for (name, drawing) in chapters.iter().flat_map(|chapter| &chapter.plots) {
        svg::save(format!("plots/{name}.svg"), drawing)?;
    }
    let mut sections = vec![
        prose::OPENING.to_owned(),
        prose::run(figures, names, &counting)?,
        budgets::section(chapters.iter().flat_map(|chapter| &chapter.budgets)),
    ];
    sections.extend(chapters.into_iter().map(|chapter| chapter.text));
    sections.extend([prose::OTHERS.to_owned(), prose::MEASURED.to_owned()]);
    let sections: Vec<_> = sections.iter().map(|text| text.trim()).collect();
    fs::write("REPORT.md", sections.join("\n\n") + "\n")?;
    Ok(())
}
