//! The machine: whether it is idle, and its description.

use std::fs;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use crate::Result;

/// The most that an idle machine is busy, in percent of all cores over [`INTERVAL`].
const MAX_BUSY: f64 = 5.0;
const INTERVAL: Duration = Duration::from_secs(2);

/// The highest load average of an idle machine, over the last minute.
const MAX_LOAD: f64 = 0.5;

/// Long enough for the load average to fall after a build.
const MAX_WAIT: Duration = Duration::from_secs(240);

/// The load of the machine, measured while this program sleeps.
pub(crate) struct Load {
    busy_pct: f64,
    average: f64,
}

impl Load {
    pub(crate) fn measure() -> Result<Self> {
        let (busy, all) = processor_times()?;
        thread::sleep(INTERVAL);
        let (busy_after, all_after) = processor_times()?;
        let average = fs::read_to_string("/proc/loadavg")?;
        let average = average.split(' ').next().ok_or("/proc/loadavg is empty")?;
        Ok(Self { busy_pct: 100.0 * (busy_after - busy) / (all_after - all).max(1.0), average: average.parse()? })
    }

    fn is_idle(&self) -> bool {
        self.busy_pct <= MAX_BUSY && self.average <= MAX_LOAD
    }

    pub(crate) fn describe(&self) -> String {
        format!("{:.1} % busy over {} s, load average {:.2}", self.busy_pct, INTERVAL.as_secs(), self.average)
    }
}

/// Waits until the machine is idle.
///
/// # Errors
///
/// If it is still busy after [`MAX_WAIT`].
pub(crate) fn wait_until_idle() -> Result<Load> {
    let start = Instant::now();
    loop {
        let load = Load::measure()?;
        if load.is_idle() {
            return Ok(load);
        }
        let measured = load.describe();
        if start.elapsed() >= MAX_WAIT {
            return Err(format!(
                "machine is not idle after {} s: {measured}, allowed are {MAX_BUSY} % and {MAX_LOAD}: \
                 stop other work and run again, or pass --force for a quick run whose figures are not valid",
                MAX_WAIT.as_secs()
            )
            .into());
        }
        eprintln!("waiting until the machine is idle: {measured}");
        thread::sleep(Duration::from_secs(8));
    }
}

/// The processor time of all cores so far, busy and in all, in clock ticks. Time that the hypervisor has given to other
/// machines (`steal`) is busy.
fn processor_times() -> Result<(f64, f64)> {
    let stat = fs::read_to_string("/proc/stat")?;
    let fields = stat.lines().next().unwrap_or_default().split_whitespace();
    // user, nice, system, idle, iowait, irq, softirq, steal
    let ticks: Vec<f64> = fields.skip(1).take(8).flat_map(str::parse).collect();
    let [_, _, _, idle, iowait, ..] = ticks.as_slice() else {
        return Err("/proc/stat has no line of all cores".into());
    };
    let all: f64 = ticks.iter().sum();
    Ok((all - idle - iowait, all))
}

/// Rows of a name and a value.
pub(crate) fn description() -> Vec<(&'static str, String)> {
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let field = |name: &str| {
        let line = cpuinfo.lines().find(|line| line.starts_with(name));
        line.and_then(|line| line.split_once(": ")).map_or("unknown", |(_, value)| value)
    };
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let virtual_machine = if field("flags").contains(" hypervisor") { ", virtual" } else { "" };
    let processor = format!(
        "{} (family {}, model {}), {cores} cores{virtual_machine}",
        field("model name"),
        field("cpu family"),
        field("model\t"),
    );
    vec![
        ("Processor", processor),
        ("System", output("uname", &["-sr"])),
        ("Compiler", output("rustc", &["--version"])),
        ("Date", output("date", &["-u", "+%Y-%m-%d"])),
        ("Commit", output("git", &["describe", "--always", "--dirty", "--exclude", "*"])),
    ]
}

fn output(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    output.map_or("unknown".to_owned(), |output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
