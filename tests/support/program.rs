//! External programs.

use std::env;
use std::path::PathBuf;

/// Finds a program in `PATH`. Prints that the test is skipped and returns `None` if it is not installed. Panics
/// instead if `CI` is set.
pub(crate) fn find_program(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let found = env::split_paths(&path).map(|directory| directory.join(name)).find(|file| file.is_file());
    if found.is_none() {
        assert!(env::var_os("CI").is_none(), "{name} is not installed, and CI skips no test: install it");
        eprintln!("skipped: {name} is not installed");
    }
    found
}
