//! The process as the system sees it, under the names that the conventions have for it.
//!
//! On Linux, from `/proc`; elsewhere there is nothing. What cannot be read, as when no descriptor is
//! left to read it with, is left out.

use std::fs;
use std::sync::OnceLock;

use crate::serve::text::Text;

/// Ticks a second in `/proc/self/stat`, whatever the kernel's own are: part of its interface.
const TICKS: f64 = 100.0;

pub(super) fn write(page: &mut Vec<u8>) {
    let mut text = Text(page);
    if let Some(stat) = Stat::read() {
        text.single(
            "process_cpu_seconds_total",
            "counter",
            "Time that the processors spent on this process, in seconds.",
            stat.cpu_ticks / TICKS,
        );
        if let Some(boot) = boot_time() {
            text.single(
                "process_start_time_seconds",
                "gauge",
                "When this process started, in seconds since 1970.",
                boot + stat.start_ticks / TICKS,
            );
        }
    }
    if let Ok(status) = fs::read_to_string("/proc/self/status") {
        let bytes = |name| Some(number_behind(&status, name)? * 1024.0);
        for (name, help, value) in [
            (
                "process_resident_memory_bytes",
                "Memory in use.",
                bytes("VmRSS:"),
            ),
            (
                "process_virtual_memory_bytes",
                "Address space in use.",
                bytes("VmSize:"),
            ),
        ] {
            if let Some(value) = value {
                text.single(name, "gauge", help, value);
            }
        }
    }
    if let Ok(open) = fs::read_dir("/proc/self/fd") {
        // One of them is that by which they are counted.
        let open = open.count().saturating_sub(1);
        text.single("process_open_fds", "gauge", "Descriptors open now.", open);
    }
    let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
    if let Some(most) = number_behind(&limits, "Max open files") {
        text.single(
            "process_max_fds",
            "gauge",
            "Descriptors that may be open.",
            most,
        );
    }
}

struct Stat {
    cpu_ticks: f64,
    start_ticks: f64,
}

impl Stat {
    fn read() -> Option<Self> {
        let stat = fs::read_to_string("/proc/self/stat").ok()?;
        // The name, in brackets, may hold anything; what is behind it are fields from the third on.
        let (_, fields) = stat.rsplit_once(") ")?;
        let field = |number: usize| fields.split(' ').nth(number - 3)?.parse::<f64>().ok();
        Some(Self {
            cpu_ticks: field(14)? + field(15)?,
            start_ticks: field(22)?,
        })
    }
}

/// When the system started, in seconds since 1970. It is read once: the file is long.
fn boot_time() -> Option<f64> {
    static BOOT: OnceLock<Option<f64>> = OnceLock::new();
    let read = || number_behind(&fs::read_to_string("/proc/stat").ok()?, "btime");
    *BOOT.get_or_init(read)
}

/// The first word behind a line's name, where it is a number.
fn number_behind(text: &str, name: &str) -> Option<f64> {
    let mut lines = text.lines();
    let rest = lines.find_map(|line| line.strip_prefix(name))?;
    rest.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_found_behind_their_names() {
        let text = "VmPeak:\t    9 kB\nVmSize:\t    8 kB\nMax open files   unlimited  unlimited\n";
        assert_eq!(number_behind(text, "VmSize:"), Some(8.0));
        assert_eq!(number_behind(text, "Max open files"), None);
        assert_eq!(number_behind(text, "VmRSS:"), None);
    }
}
