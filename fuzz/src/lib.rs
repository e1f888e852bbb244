//! Shared by the targets: arbitrary times, and independent readers of the pages.

pub mod json;
pub mod moment;
pub mod text;
