//! Bars, drawn on a logarithmic axis: what is compared here spans four powers of ten.

use svg::Document;
use svg::node::element::{Group, Line, Rectangle, Text, Title};

const COLOURS: [&str; 4] = ["#2a6fdb", "#e08a1e", "#b03a48", "#5a5a5a"];
const INK: &str = "#222222";
const FAINT: &str = "#d5d5d5";

const LABELS: f64 = 230.0;
const PLOT: f64 = 560.0;
const VALUES: f64 = 70.0;
const BAR: f64 = 13.0;
const GAP: f64 = 10.0;
const HEAD: f64 = 64.0;
const FOOT: f64 = 34.0;

pub(crate) struct Chart<'a> {
    pub(crate) title: &'a str,
    pub(crate) unit: &'a str,
    /// What each bar of a row is.
    pub(crate) series: Vec<String>,
    /// A label, and a value for each of the series. One that is not a number is left out.
    pub(crate) rows: Vec<(String, Vec<f64>)>,
}

impl Chart<'_> {
    pub(crate) fn draw(&self) -> Document {
        let row = BAR * self.series.len() as f64 + GAP;
        let (width, body) = (LABELS + PLOT + VALUES, row * self.rows.len() as f64);
        let axis = Axis::over(self.rows.iter().flat_map(|(_, values)| values).copied());

        let mut drawing = Document::new()
            .set("viewBox", (0, 0, width, HEAD + body + FOOT))
            .set("font-family", "system-ui, sans-serif")
            .set("font-size", 12)
            .set("role", "img")
            .add(Title::new(self.title))
            .add(
                Rectangle::new()
                    .set("width", "100%")
                    .set("height", "100%")
                    .set("fill", "#ffffff"),
            )
            .add(text(self.title, 12.0, 22.0).set("font-size", 15))
            .add(self.legend());
        for decade in axis.decades() {
            let x = axis.at(decade);
            drawing = drawing
                .add(
                    Line::new()
                        .set("x1", x)
                        .set("x2", x)
                        .set("y1", HEAD - 6.0)
                        .set("y2", HEAD + body)
                        .set("stroke", FAINT),
                )
                .add(text(&amount(decade), x, HEAD + body + 16.0).set("text-anchor", "middle"));
        }
        drawing = drawing.add(
            text(self.unit, LABELS + PLOT / 2.0, HEAD + body + 30.0).set("text-anchor", "middle"),
        );
        for (number, (label, values)) in self.rows.iter().enumerate() {
            drawing = drawing.add(bars(label, values, HEAD + row * number as f64, &axis));
        }
        drawing
    }

    fn legend(&self) -> Group {
        let mut legend = Group::new();
        let mut x = 12.0;
        for (name, colour) in self.series.iter().zip(COLOURS) {
            legend = legend
                .add(
                    Rectangle::new()
                        .set("x", x)
                        .set("y", 34)
                        .set("width", 11)
                        .set("height", 11)
                        .set("fill", colour),
                )
                .add(text(name, x + 16.0, 44.0));
            x += 36.0 + 6.6 * name.len() as f64;
        }
        legend
    }
}

fn bars(label: &str, values: &[f64], top: f64, axis: &Axis) -> Group {
    let middle = top + BAR * values.len() as f64 / 2.0 + 4.0;
    let mut bars = Group::new().add(text(label, LABELS - 8.0, middle).set("text-anchor", "end"));
    for (number, (value, colour)) in values.iter().zip(COLOURS).enumerate() {
        if !value.is_finite() {
            continue;
        }
        let (y, end) = (top + BAR * number as f64, axis.at(*value));
        bars = bars
            .add(
                Rectangle::new()
                    .set("x", LABELS)
                    .set("y", y)
                    .set("width", (end - LABELS).max(1.0))
                    .set("height", BAR - 2.0)
                    .set("fill", colour),
            )
            .add(text(&amount(*value), end + 5.0, y + BAR - 3.5).set("font-size", 10.5));
    }
    bars
}

fn text(text: &str, x: f64, y: f64) -> Text {
    Text::new(text).set("x", x).set("y", y).set("fill", INK)
}

/// Whole powers of ten around the values.
struct Axis {
    from: f64,
    to: f64,
}

impl Axis {
    fn over(values: impl Iterator<Item = f64>) -> Self {
        let (least, most) = values
            .filter(|value| *value > 0.0 && value.is_finite())
            .fold((f64::MAX, f64::MIN_POSITIVE), |(least, most), value| {
                (least.min(value), most.max(value))
            });
        let (from, to) = (least.log10().floor(), most.log10().ceil());
        Self {
            from,
            to: to.max(from + 1.0),
        }
    }

    fn at(&self, value: f64) -> f64 {
        let part = (value.log10() - self.from) / (self.to - self.from);
        ((LABELS + PLOT * part) * 10.0).round() / 10.0
    }

    fn decades(&self) -> impl Iterator<Item = f64> {
        let (from, to) = (self.from, self.to);
        (0..)
            .map(move |step| from + f64::from(step))
            .take_while(move |power| *power <= to)
            .map(|power| 10_f64.powf(power))
    }
}

/// Three digits, which is more than is known.
pub(crate) fn amount(value: f64) -> String {
    if !value.is_finite() {
        return "–".to_owned();
    }
    let decimals = match value {
        value if value < 10.0 => 2,
        value if value < 100.0 => 1,
        _ => 0,
    };
    let plain = format!("{value:.decimals$}");
    let (whole, part) = plain.split_once('.').unwrap_or((&plain, ""));
    let mut grouped = String::new();
    for (place, digit) in whole.char_indices() {
        if place > 0 && (whole.len() - place) % 3 == 0 {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    match part.trim_end_matches('0') {
        "" => grouped,
        part => format!("{grouped}.{part}"),
    }
}

#[cfg(test)]
mod tests {
    use super::{Axis, LABELS, PLOT, amount};

    #[test]
    fn amounts_have_three_digits_and_thousands_apart() {
        let shown = [0.574, 3.1, 12.34, 999.6, 60_000.0, 1_234_567.0, f64::NAN].map(amount);
        assert_eq!(
            shown,
            ["0.57", "3.1", "12.3", "1,000", "60,000", "1,234,567", "–"]
        );
    }

    #[test]
    fn an_axis_goes_from_one_power_of_ten_to_another() {
        let axis = Axis::over([0.5, f64::NAN, 70.0].into_iter());
        assert_eq!((axis.at(0.1), axis.at(100.0)), (LABELS, LABELS + PLOT));
        assert_eq!(axis.decades().count(), 4);
    }
}
