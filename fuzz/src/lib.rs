//! What the targets share: times of any kind, and readers of both pages.

pub mod json;
pub mod moment;
pub mod text;
