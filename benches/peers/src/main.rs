//! Measures parsec-telemetry against its budgets and beside its peers, and writes `docs/BENCHMARKS.md`.
//!
//! `cargo run --release --manifest-path benches/peers/Cargo.toml [-- --force]`
//!
//! Fails if the machine is not idle at the start, or if a budget is not met. `--force` measures quickly on any machine,
//! for developing this program: its figures are not valid, and the page says so.

use std::env;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;

use reading::Time;
use samples::Samples;

mod budgets;
mod machine;
mod page;
mod plots;
mod reading;
mod recording;
mod report;
mod samples;
mod servers;
mod serving;
mod subjects;
#[path = "../../support/mod.rs"]
mod support;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// How long to measure.
struct Effort {
    rounds: usize,
    /// The length of a sample.
    sample: Duration,
    /// The length of a turn of the recording thread, with or without a reader.
    turn: Duration,
    /// The length of a span with or without a monitor.
    monitored: Duration,
    requests: usize,
}

impl Effort {
    const FULL: Self = Self {
        rounds: 10,
        sample: Duration::from_millis(100),
        turn: Duration::from_millis(200),
        monitored: Duration::from_secs(10),
        requests: 2_000,
    };
    const QUICK: Self = Self {
        rounds: 2,
        sample: Duration::from_millis(5),
        turn: Duration::from_millis(50),
        monitored: Duration::from_secs(2),
        requests: 1_000,
    };
}

/// Everything that was measured.
struct Figures {
    is_forced: bool,
    load: machine::Load,
    recording: recording::Times,
    speed_while_read: [Samples; 2],
    monitor_share: Samples,
    snapshots: Vec<Time>,
    pages: Vec<Time>,
    /// By operation.
    cache_lines: Vec<(String, f64)>,
    shard_bytes: f64,
    allocations: f64,
    serving: Vec<serving::Cost>,
}

fn main() -> ExitCode {
    let arguments: Vec<_> = env::args().skip(1).collect();
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    let done = match arguments.as_slice() {
        [] => run(false),
        ["--force"] => run(true),
        // A child process of `serving`.
        ["serve", server, body_bytes] => {
            body_bytes.parse().map_err(Into::into).and_then(|bytes| servers::serve(server, bytes))
        }
        _ => Err("usage: parsec-telemetry-peers [--force]".into()),
    };
    if let Err(error) = done {
        eprintln!("parsec-telemetry-peers: {error}");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

fn run(is_forced: bool) -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let peers = root.join("benches/peers");
    // Builds everything before the machine has to be idle.
    cargo(&root, &["bench", "--bench", "cache_lines", "--no-run"])?;
    cargo(&peers, &["build", "--release", "--bins"])?;

    let (effort, load) = if is_forced {
        (Effort::QUICK, machine::Load::measure()?)
    } else {
        (Effort::FULL, machine::wait_until_idle()?)
    };
    let recording = recording::measure(&effort);
    let speed_while_read = reading::speed_while_read(&effort);
    let monitor_share = reading::monitor_share(&effort);
    let (snapshots, pages) = (reading::snapshots(&effort), reading::pages(&effort)?);
    let (shard_bytes, allocations) = memory()?;
    let figures = Figures {
        is_forced,
        load,
        recording,
        speed_while_read,
        monitor_share,
        snapshots,
        pages,
        cache_lines: cache_lines(&root)?,
        shard_bytes,
        allocations,
        serving: serving::measure(&effort)?,
    };
    let budgets = budgets::all(&figures);
    report::write(&root.join("docs"), &figures, &budgets)?;
    println!("{}", report::budget_table(&budgets));
    if is_forced {
        println!("machine not idle: figures are not valid");
        return Ok(());
    }
    match budgets.iter().filter(|budget| !budget.is_met()).count() {
        0 => Ok(()),
        missed => Err(format!("{missed} budgets are not met").into()),
    }
}

/// Runs the program next to this one: the bytes of a shard, and the allocations of an event.
fn memory() -> Result<(f64, f64)> {
    eprintln!("memory");
    let program: PathBuf = env::current_exe()?.with_file_name("memory");
    let output = Command::new(program).output()?;
    let output = String::from_utf8(output.stdout)?;
    let (bytes, allocations) = output.trim().split_once(' ').ok_or("memory failed")?;
    Ok((bytes.parse()?, allocations.parse()?))
}

/// Runs the crate's benchmark of that name. Keeps the operations that only record an event.
fn cache_lines(root: &Path) -> Result<Vec<(String, f64)>> {
    eprintln!("cache lines");
    let output = cargo(root, &["bench", "--bench", "cache_lines", "--", "check"])?;
    let rows = output.lines().filter_map(|line| {
        let words: Vec<_> = line.split_whitespace().take(5).collect();
        let [operation, threads, "threads", "take", lines] = words.as_slice() else {
            return None;
        };
        let lines = lines.parse().ok()?;
        let is_record = ["observe/handle", "observe/name_8_bytes"].contains(operation);
        is_record.then(|| (format!("{operation}`, {threads} threads"), lines))
    });
    Ok(rows.collect())
}

fn cargo(folder: &Path, arguments: &[&str]) -> Result<String> {
    let (subcommand, arguments) = arguments.split_first().ok_or("no subcommand")?;
    let program = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output =
        Command::new(program).args([subcommand, "--locked", "--quiet"]).args(arguments).current_dir(folder).output()?;
    if output.status.success() {
        return Ok(String::from_utf8(output.stdout)?);
    }
    let error = String::from_utf8_lossy(&output.stderr);
    Err(format!("cargo {subcommand} {arguments:?}: {error}").into())
}
