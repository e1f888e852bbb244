//! Metrics of the process, under the names that Prometheus reserves for them.
//!
//! They are read from `/proc`, which only Linux has. A value that cannot be read is omitted, for example while the
//! process has no free descriptor.
//!
//! Considered: `procfs` adds five crates for six numbers, `sysinfo` requires Rust 1.95, and the process collector of
//! `prometheus` works only with the registry of that crate.

use std::fs;
use std::sync::OnceLock;
use std::time::SystemTime;

use crate::catalog::{FamilyMetadata, Value, counter, gauge};
use crate::encode::text::TextEncoder;

/// Ticks per second in `/proc/self/stat`: `USER_HZ`, which does not depend on the kernel's `HZ`.
const USER_HZ: f64 = 100.0;

// The fields of `/proc/self/stat`, by their numbers in proc(5).
const UTIME: usize = 14;
const STIME: usize = 15;
const STARTTIME: usize = 22;

pub(super) fn encode(encoder: &mut TextEncoder<'_>) {
    let stat = read("/proc/self/stat");
    let cpu_ticks = || Some(stat_field(&stat, UTIME)? + stat_field(&stat, STIME)?);
    let help = "Processor time used by the process, user and system, in seconds.";
    let cpu_seconds = cpu_ticks().map(|ticks| ticks as f64 / USER_HZ);
    write(encoder, counter("process_cpu_seconds_total", help), cpu_seconds);

    let help = "Start time of the process, in seconds since the Unix epoch.";
    let start_time = stat_field(&stat, STARTTIME).and_then(|ticks| start_time(boot_time()?, ticks));
    write(encoder, gauge("process_start_time_seconds", help), start_time);

    let status = read("/proc/self/status");
    let bytes = |name| Some(number_after(&status, name)?.saturating_mul(1024));
    write(encoder, gauge("process_virtual_memory_bytes", "Virtual memory of the process."), bytes("VmSize:"));
    write(encoder, gauge("process_resident_memory_bytes", "Resident memory of the process."), bytes("VmRSS:"));

    write(encoder, gauge("process_open_fds", "Open file descriptors."), open_fds());
    let max_fds = number_after(&read("/proc/self/limits"), "Max open files");
    write(encoder, gauge("process_max_fds", "Limit on open file descriptors."), max_fds);
}

fn write(encoder: &mut TextEncoder<'_>, metadata: FamilyMetadata, value: Option<impl Into<Value>>) {
    if let Some(value) = value {
        encoder.write_sample(&metadata, value);
    }
}

/// Returns the content of a file, or nothing if it cannot be read.
fn read(path: &str) -> String {
    // The name of the process, which some files contain, need not be UTF-8.
    String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned()
}

/// Parses a field of `/proc/self/stat` from the third on.
fn stat_field(stat: &str, number: usize) -> Option<u64> {
    // Field 2 is the name of the process, in parentheses, and may contain spaces and parentheses.
    let (_, fields) = stat.rsplit_once(") ")?;
    fields.split(' ').nth(number - 3)?.parse().ok()
}

/// Returns the start time in seconds since the Unix epoch, at most now.
///
/// Derived from the boot time, not from `/proc/uptime`: in LXC, lxcfs replaces the uptime with that of the container,
/// while the boot time and the ticks remain those of the host.
fn start_time(boot_time: u64, start_ticks: u64) -> Option<f64> {
    let now = SystemTime::UNIX_EPOCH.elapsed().ok()?.as_secs_f64();
    // The clock may have been set back, and an lxcfs of 2017 replaces the boot time as well.
    Some((boot_time as f64 + start_ticks as f64 / USER_HZ).min(now))
}

/// Returns the boot time in seconds since the Unix epoch. It is read once, because `/proc/stat` lists every processor
/// and interrupt.
fn boot_time() -> Option<u64> {
    static BOOT_TIME: OnceLock<u64> = OnceLock::new();
    BOOT_TIME.get().copied().or_else(|| {
        let boot_time = number_after(&read("/proc/stat"), "btime")?;
        Some(*BOOT_TIME.get_or_init(|| boot_time))
    })
}

fn open_fds() -> Option<u64> {
    const PATH: &str = "/proc/self/fd";
    // Before Linux 6.2 the length is 0, and the directory that is read contains its own descriptor.
    match fs::metadata(PATH).ok()?.len() {
        0 => Some(fs::read_dir(PATH).ok()?.skip(1).count() as u64),
        open => Some(open),
    }
}

/// Parses the word after the name at the start of a line.
fn number_after(text: &str, name: &str) -> Option<u64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
    rest.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn number_is_found_after_the_name_at_the_start_of_a_line() {
        let text = "VmPeak:\t    9 kB\nVmSize:\t    8 kB\nMax open files   unlimited  unlimited\n";
        assert_eq!(number_after(text, "VmSize:"), Some(8));
        assert_eq!(number_after(text, "Max open files"), None);
        assert_eq!(number_after(text, "VmRSS:"), None);
        assert_eq!(number_after("a b 7\nb 8\n", "b"), Some(8));
    }

    #[test]
    fn stat_field_is_found_after_any_process_name() {
        let fields: Vec<String> = (3..=52).map(|field| field.to_string()).collect();
        let stat = format!("1 (a) b (c)) {}", fields.join(" "));
        assert_eq!(stat_field(&stat, UTIME), Some(14));
        assert_eq!(stat_field(&stat, STIME), Some(15));
        assert_eq!(stat_field(&stat, STARTTIME), Some(22));
        assert_eq!(stat_field("1 (a) R 2 3", UTIME), None);
    }

    #[test]
    fn start_time_is_never_in_the_future() {
        let now = || SystemTime::UNIX_EPOCH.elapsed().expect("after 1970");
        let in_an_hour = now().as_secs() + 3600;
        for (boot_time, start_ticks) in [(in_an_hour, 0), (0, in_an_hour * 100)] {
            let start = start_time(boot_time, start_ticks).expect("the clock is after 1970");
            assert!(start <= now().as_secs_f64(), "{start}");
        }
        assert_eq!(start_time(1000, 250), Some(1002.5));
        if let (Some(boot_time), Some(ticks)) = (boot_time(), stat_field(&read("/proc/self/stat"), STARTTIME)) {
            let start = start_time(boot_time, ticks).expect("the clock is after 1970");
            assert!(start <= now().as_secs_f64(), "{start}");
        }
    }
}
