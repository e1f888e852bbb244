//! The process as the system sees it, under the names that the conventions have for it.
//!
//! On Linux, from `/proc`; elsewhere there is nothing. What cannot be read, as when no descriptor is left to read it
//! with, is left out.

use std::borrow::Cow;
use std::fs::{self, File};
use std::io::Read as _;
use std::sync::OnceLock;

use crate::catalog::{counter, gauge};
use crate::encode::text::TextEncoder;

/// Ticks a second in `/proc/self/stat`, whatever the kernel's own are: part of its interface.
const TICKS: f64 = 100.0;

pub(super) fn encode(encoder: &mut TextEncoder<'_>) {
    let mut buffer = Buffer::new();
    if let Some(stat) = buffer.read("/proc/self/stat").and_then(|stat| Stat::of(&stat)) {
        encoder.write_sample(
            &counter("process_cpu_seconds_total", "Time that the processors spent on this process, in seconds."),
            stat.cpu_ticks as f64 / TICKS,
        );
        if let Some(boot) = boot_time() {
            encoder.write_sample(
                &gauge("process_start_time_seconds", "When this process started, in seconds since 1970."),
                boot as f64 + stat.start_ticks as f64 / TICKS,
            );
        }
        encoder.write_sample(&gauge("process_virtual_memory_bytes", "Address space in use."), stat.virtual_bytes);
        if let Some(page_size) = page_size() {
            encoder.write_sample(
                &gauge("process_resident_memory_bytes", "Memory in use."),
                stat.resident_pages.saturating_mul(page_size),
            );
        }
    }
    if let Some(open) = open_descriptors() {
        encoder.write_sample(&gauge("process_open_fds", "Descriptors open now."), open);
    }
    let limits = buffer.read("/proc/self/limits");
    if let Some(most) = limits.and_then(|limits| number_behind(&limits, "Max open files")) {
        encoder.write_sample(&gauge("process_max_fds", "Descriptors that may be open."), most);
    }
}

/// Holds any file that is read here, as the kernel writes them: at one go, and in less than a page.
struct Buffer([u8; 4096]);

impl Buffer {
    fn new() -> Self {
        Self([0; 4096])
    }

    fn read(&mut self, path: &str) -> Option<Cow<'_, str>> {
        let length = File::open(path).ok()?.read(&mut self.0).ok()?;
        let bytes = &self.0[..length];
        // A process may call itself what it likes, and does not often.
        let text = str::from_utf8(bytes).map(Cow::Borrowed);
        Some(text.unwrap_or_else(|_| String::from_utf8_lossy(bytes)))
    }
}

struct Stat {
    cpu_ticks: u64,
    start_ticks: u64,
    virtual_bytes: u64,
    resident_pages: u64,
}

impl Stat {
    fn of(stat: &str) -> Option<Self> {
        // The name, in brackets, may hold anything; what is behind it are fields from the third on.
        let (_, fields) = stat.rsplit_once(") ")?;
        let mut fields = fields.split(' ').skip(14 - 3);
        let mut after = |skipped: usize| fields.nth(skipped)?.parse::<u64>().ok();
        // In the order in which they stand: the 14th and 15th, the 22nd to 24th.
        Some(Self {
            cpu_ticks: after(0)? + after(0)?,
            start_ticks: after(6)?,
            virtual_bytes: after(0)?,
            resident_pages: after(0)?,
        })
    }
}

/// How many descriptors are open. Linux says so since version 6.2; before, they have to be counted, and one of them
/// is that by which they are.
fn open_descriptors() -> Option<u64> {
    const OPEN: &str = "/proc/self/fd";
    match fs::metadata(OPEN).ok()?.len() {
        0 => Some(fs::read_dir(OPEN).ok()?.skip(1).count() as u64),
        open => Some(open),
    }
}

/// Bytes in a page of memory, from what the kernel told the process when it began: pairs of words.
fn page_size() -> Option<u64> {
    static PAGE: OnceLock<Option<u64>> = OnceLock::new();
    const AT_PAGESZ: usize = 6;
    let read = || {
        let told = fs::read("/proc/self/auxv").ok()?;
        let (words, _) = told.as_chunks().0.as_chunks::<2>();
        let mut pairs = words.iter().map(|pair| pair.map(usize::from_ne_bytes));
        let [_, size] = pairs.find(|[key, _]| *key == AT_PAGESZ)?;
        u64::try_from(size).ok()
    };
    *PAGE.get_or_init(read)
}

/// When the system started, in seconds since 1970. It is read once: the file is long.
fn boot_time() -> Option<u64> {
    static BOOT: OnceLock<Option<u64>> = OnceLock::new();
    let read = || number_behind(&fs::read_to_string("/proc/stat").ok()?, "btime");
    *BOOT.get_or_init(read)
}

/// The first word behind a line's name, where it is a number.
fn number_behind(text: &str, name: &str) -> Option<u64> {
    let mut found = text.match_indices(name);
    let (at, _) = found.find(|&(at, _)| at == 0 || text[..at].ends_with('\n'))?;
    text[at + name.len()..].split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_found_behind_their_names() {
        let text = "VmPeak:\t    9 kB\nVmSize:\t    8 kB\nMax open files   unlimited  unlimited\n";
        assert_eq!(number_behind(text, "VmSize:"), Some(8));
        assert_eq!(number_behind(text, "Max open files"), None);
        assert_eq!(number_behind(text, "VmRSS:"), None);
        // Behind the name of a line, and not in the midst of one.
        assert_eq!(number_behind("a b 7\nb 8\n", "b"), Some(8));
    }

    #[test]
    fn the_fields_are_counted_behind_a_name_that_may_be_anything() {
        let fields: Vec<String> = (3..=52).map(|field| field.to_string()).collect();
        let stat = format!("1 (a) b (c)) {}", fields.join(" "));
        let stat = Stat::of(&stat).expect("a stat line");
        assert_eq!((stat.cpu_ticks, stat.start_ticks, stat.virtual_bytes), (14 + 15, 22, 23));
        assert_eq!(stat.resident_pages, 24);
        assert!(Stat::of("1 (a) R 2 3").is_none());
    }
}
