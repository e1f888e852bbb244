//! The budgets, and what became of them.

use std::fmt::Write as _;

pub(crate) struct Budget {
    pub(crate) what: String,
    pub(crate) bound: Bound,
    /// Of the bound and of what was reached.
    pub(crate) unit: &'static str,
    pub(crate) reached: f64,
    pub(crate) beside: String,
    /// Shown where the bound is missed.
    pub(crate) in_the_way: &'static str,
}

pub(crate) enum Bound {
    AtMost(f64),
    AtLeast(f64),
}

pub(crate) fn section<'a>(budgets: impl Iterator<Item = &'a Budget>) -> String {
    let mut text = String::from(
        "## Budgets\n\n| what | budget | reached | | beside it | what stands in the way |\n\
         | --- | --- | --- | --- | --- | --- |\n",
    );
    for budget in budgets {
        let (sign, bound, met) = match budget.bound {
            Bound::AtMost(bound) => ("≤", bound, budget.reached <= bound),
            Bound::AtLeast(bound) => ("≥", bound, budget.reached >= bound),
        };
        let unit = budget.unit;
        let (verdict, in_the_way) = match (budget.reached.is_finite(), met) {
            (false, _) => ("not measured", ""),
            (true, true) => ("met", ""),
            (true, false) => ("**missed**", budget.in_the_way),
        };
        let reached = format!("{:.2} {unit}", budget.reached).replace("NaN", "–");
        let _ = writeln!(
            text,
            "| {} | {sign} {bound} {unit} | {reached} | {verdict} | {} | {in_the_way} |",
            budget.what, budget.beside,
        );
    }
    text
}
