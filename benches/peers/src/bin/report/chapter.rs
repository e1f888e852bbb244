//! What a part of the report consists of.

use std::fmt::Write as _;

use svg::Document;

use crate::budgets::Budget;

#[derive(Default)]
pub(crate) struct Chapter {
    pub(crate) text: String,
    /// By their names under `plots/`.
    pub(crate) plots: Vec<(String, Document)>,
    pub(crate) budgets: Vec<Budget>,
}

impl Chapter {
    pub(crate) fn new(title: &str, note: &str) -> Self {
        Self {
            text: format!("## {title}\n\n{note}\n"),
            ..Self::default()
        }
    }

    pub(crate) fn section(&mut self, title: &str, note: &str) {
        let _ = writeln!(self.text, "\n### {title}\n\n{note}");
    }

    /// The plot, and where it is shown.
    pub(crate) fn plot(&mut self, title: &str, drawing: Document) {
        let words = title.to_lowercase().replace(' ', "-");
        let name = words.replace(
            |letter: char| letter != '-' && !letter.is_alphanumeric(),
            "",
        );
        let _ = writeln!(self.text, "\n![{title}](plots/{name}.svg)");
        self.plots.push((name, drawing));
    }

    pub(crate) fn table(&mut self, head: &[&str], rows: impl IntoIterator<Item = Vec<String>>) {
        let rule = " --- |".repeat(head.len());
        let _ = writeln!(
            self.text,
            "
| {} |
|{rule}",
            head.join(" | ")
        );
        for row in rows {
            let _ = writeln!(self.text, "| {} |", row.join(" | "));
        }
    }
}
