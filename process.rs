//! The process as the operating system sees it, under Prometheus's conventional names.
//!
//! Linux only: elsewhere every value is `None`, and so is one that cannot be read, for example
//! because no file descriptor is left.
//!
//! Considered: `procfs` and `sysinfo` add five or more crates for six numbers; the collectors of
//! the `prometheus` crate write to its own registry.

use std::fs;
use std::sync::OnceLock;
use std::time::SystemTime;

use crate::encode::text::{Page, counter, gauge};

/// The unit of times in `/proc/self/stat`. Linux reports 100 per second to every process,
/// independently of the kernel's own tick.
const TICKS_PER_SECOND: f64 = 100.0;

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ProcessStats {
    pub(super) cpu_seconds: Option<f64>,
    /// Seconds since 1970, not in the future.
    pub(super) start_time_seconds: Option<f64>,
    pub(super) virtual_memory_bytes: Option<u64>,
    pub(super) resident_memory_bytes: Option<u64>,
    pub(super) open_fds: Option<u64>,
    pub(super) max_fds: Option<u64>,
}

impl ProcessStats {
    pub(super) fn read() -> Self {
        let stat = read("/proc/self/stat").and_then(|text| Stat::parse(&text));
        let limits = read("/proc/self/limits");
        Self {
            cpu_seconds: stat.as_ref().map(|stat| stat.cpu_ticks as f64 / TICKS_PER_SECOND),
            start_time_seconds: stat.as_ref().and_then(|stat| {
                let now = SystemTime::UNIX_EPOCH.elapsed().ok()?.as_secs_f64();
                Some(start_time(boot_time()?, stat.start_ticks, now))
            }),
            virtual_memory_bytes: stat.as_ref().map(|stat| stat.virtual_bytes),
            resident_memory_bytes: stat
                .as_ref()
                .and_then(|stat| stat.resident_pages.checked_mul(page_size()?)),
            open_fds: open_fds(),
            max_fds: limits.and_then(|limits| number_after(&limits, "Max open files")),
        }
    }

    /// Appends the values that are known.
    pub(super) fn write(&self, page: &mut Page<'_>) {
        if let Some(value) = self.cpu_seconds {
            let help = counter!(
                "process_cpu_seconds",
                "Total user and system CPU time spent in seconds."
            );
            page.single(help, value);
        }
        if let Some(value) = self.start_time_seconds {
            let help = gauge!(
                "process_start_time_seconds",
                "Start time of the process since unix epoch in seconds."
            );
            page.single(help, value);
        }
        if let Some(value) = self.virtual_memory_bytes {
            let help = gauge!(
                "process_virtual_memory_bytes",
                "Virtual memory size in bytes."
            );
            page.single(help, value);
        }
        if let Some(value) = self.resident_memory_bytes {
            let help = gauge!(
                "process_resident_memory_bytes",
                "Resident memory size in bytes."
            );
            page.single(help, value);
        }
        if let Some(value) = self.open_fds {
            let help = gauge!("process_open_fds", "Number of open file descriptors.");
            page.single(help, value);
        }
        if let Some(value) = self.max_fds {
            let help = gauge!(
                "process_max_fds",
                "Maximum number of open file descriptors."
            );
            page.single(help, value);
        }
    }
}

/// The fields of `/proc/self/stat` that are reported: see proc_pid_stat(5).
struct Stat {
    cpu_ticks: u64,
    start_ticks: u64,
    virtual_bytes: u64,
    resident_pages: u64,
}

impl Stat {
    fn parse(text: &str) -> Option<Self> {
        // The second field is the process's name in parentheses, which may itself contain any
        // character. The fields after it are numbered from 3.
        let (_, fields) = text.rsplit_once(") ")?;
        let fields: Vec<&str> = fields.split(' ').collect();
        let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
        Some(Self {
            cpu_ticks: field(14)?.checked_add(field(15)?)?,
            start_ticks: field(22)?,
            virtual_bytes: field(23)?,
            resident_pages: field(24)?,
        })
    }
}

/// Boot time is in whole seconds and may be adjusted, so the sum can exceed the present.
fn start_time(boot_seconds: u64, start_ticks: u64, now_seconds: f64) -> f64 {
    (boot_seconds as f64 + start_ticks as f64 / TICKS_PER_SECOND).min(now_seconds)
}

/// Linux 6.2 and later report the number of descriptors as the directory's size. Before, each
/// descriptor is an entry, and one of them belongs to the directory that is being read.
fn open_fds() -> Option<u64> {
    const FDS: &str = "/proc/self/fd";
    match fs::metadata(FDS).ok()?.len() {
        0 => Some(fs::read_dir(FDS).ok()?.skip(1).count() as u64),
        open => Some(open),
    }
}

/// The size of a memory page, from the auxiliary vector: pairs of a key and a value.
fn page_size() -> Option<u64> {
    static PAGE_SIZE: OnceLock<Option<u64>> = OnceLock::new();
    const AT_PAGESZ: usize = 6;
    *PAGE_SIZE.get_or_init(|| {
        let bytes = fs::read("/proc/self/auxv").ok()?;
        let (words, _) = bytes.as_chunks().0.as_chunks::<2>();
        let mut pairs = words.iter().map(|pair| pair.map(usize::from_ne_bytes));
        let [_, size] = pairs.find(|[key, _]| *key == AT_PAGESZ)?;
        u64::try_from(size).ok()
    })
}

/// When the system booted, in seconds since 1970. Read once: `/proc/stat` has a line per core.
fn boot_time() -> Option<u64> {
    static BOOT_TIME: OnceLock<Option<u64>> = OnceLock::new();
    *BOOT_TIME.get_or_init(|| number_after(&read("/proc/stat")?, "btime"))
}

/// Reads a file that may contain a process's name, which need not be UTF-8.
fn read(path: &str) -> Option<String> {
    Some(String::from_utf8_lossy(&fs::read(path).ok()?).into_owned())
}

/// Returns the first word after `name` on the line that starts with it, if it is a number.
fn number_after(text: &str, name: &str) -> Option<u64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
    rest.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn number_after_a_name_is_read_from_the_line_that_starts_with_it() {
        let text = "VmPeak:\t    9 kB\nVmSize:\t    8 kB\nMax open files   unlimited  unlimited\n";
        assert_eq!(number_after(text, "VmSize:"), Some(8));
        assert_eq!(number_after(text, "Max open files"), None);
        assert_eq!(number_after(text, "VmRSS:"), None);
        assert_eq!(number_after("a b 7\nb 8\n", "b"), Some(8));
    }

    #[test]
    fn stat_fields_are_found_after_a_name_with_parentheses_and_spaces() {
        let fields: Vec<String> = (3..=52).map(|field| field.to_string()).collect();
        let stat = format!("1 (a) b (c)) {}", fields.join(" "));
        let stat = Stat::parse(&stat).expect("all fields are present");
        assert_eq!(
            (stat.cpu_ticks, stat.start_ticks, stat.virtual_bytes),
            (14 + 15, 22, 23)
        );
        assert_eq!(stat.resident_pages, 24);
        assert!(Stat::parse("1 (a) R 2 3").is_none());
    }

    #[test]
    #[allow(clippy::float_cmp)]
    fn start_time_after_now_is_clamped_to_now() {
        assert_eq!(start_time(1000, 250, 2000.0), 1002.5);
        assert_eq!(start_time(1000, 250, 1001.0), 1001.0);
    }
}
