//! What the tests of the pages share.

use std::env;
use std::path::PathBuf;

/// A program that a test hands the pages to, or nothing where it is not installed: then the test
/// says so and ends. In CI nothing is skipped.
pub(crate) fn program(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let found = env::split_paths(&path)
        .map(|folder| folder.join(name))
        .find(|file| file.is_file());
    if found.is_none() {
        assert!(
            env::var_os("CI").is_none(),
            "{name} is not installed, and CI skips nothing: install it"
        );
        eprintln!("skipped: {name} is not installed");
    }
    found
}
