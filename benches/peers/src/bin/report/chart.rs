//! Bars and lines. Most are drawn on logarithmic axes: what is compared here spans powers of ten.

use svg::Document;
use svg::node::element::{self, Circle, Group, Polyline, Rectangle, Text, Title};

use crate::growth::Line;

const COLOURS: [&str; 6] = [
    "#2a6fdb", "#e08a1e", "#b03a48", "#5a5a5a", "#2f8f5b", "#7a4fb5",
];
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
    pub(crate) scale: Scale,
    /// What each bar of a row is.
    pub(crate) series: Vec<String>,
    /// A label, and a value for each of the series. One that is not a number is left out.
    pub(crate) rows: Vec<(String, Vec<f64>)>,
}

impl Chart<'_> {
    pub(crate) fn draw(&self) -> Document {
        let row = BAR * self.series.len() as f64 + GAP;
        let (width, body) = (LABELS + PLOT + VALUES, row * self.rows.len() as f64);
        let values = self.rows.iter().flat_map(|(_, values)| values).copied();
        let axis = Axis::over(self.scale, values).between(LABELS, LABELS + PLOT);

        let mut drawing = sheet(self.title, width, HEAD + body + FOOT).add(legend(&self.series));
        for mark in axis.marks() {
            let x = axis.at(mark);
            drawing = drawing
                .add(rule((x, HEAD - 6.0), (x, HEAD + body)))
                .add(text(&amount(mark), x, HEAD + body + 16.0).set("text-anchor", "middle"));
        }
        drawing = drawing.add(
            text(self.unit, LABELS + PLOT / 2.0, HEAD + body + 30.0).set("text-anchor", "middle"),
        );
        for (number, (label, values)) in self.rows.iter().enumerate() {
            drawing = drawing.add(bars(label, values, HEAD + row * number as f64, &axis));
        }
        drawing
    }
}

/// An empty sheet with a title.
fn sheet(title: &str, width: f64, height: f64) -> Document {
    Document::new()
        .set("viewBox", (0, 0, width, height))
        .set("font-family", "system-ui, sans-serif")
        .set("font-size", 12)
        .set("role", "img")
        .add(Title::new(title))
        .add(
            Rectangle::new()
                .set("width", "100%")
                .set("height", "100%")
                .set("fill", "#ffffff"),
        )
        .add(text(title, 12.0, 22.0).set("font-size", 15))
}

fn legend(series: &[impl AsRef<str>]) -> Group {
    let mut legend = Group::new();
    let mut x = 12.0;
    for (name, colour) in series.iter().map(AsRef::as_ref).zip(COLOURS) {
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

/// Points, and lines through them.
pub(crate) struct Lines<'a> {
    pub(crate) title: &'a str,
    pub(crate) x: &'a str,
    pub(crate) y: &'a str,
    pub(crate) curves: Vec<Curve>,
}

pub(crate) struct Curve {
    pub(crate) name: String,
    pub(crate) points: Vec<(f64, f64)>,
    /// Otherwise from point to point.
    pub(crate) line: Option<Line>,
}

const LEFT: f64 = 70.0;
const WIDE: f64 = 740.0;
const HIGH: f64 = 300.0;

impl Lines<'_> {
    pub(crate) fn draw(&self) -> Document {
        let points = || self.curves.iter().flat_map(|curve| &curve.points);
        let across =
            Axis::over(Scale::Logarithmic, points().map(|(x, _)| *x)).between(LEFT, LEFT + WIDE);
        let up =
            Axis::over(Scale::Logarithmic, points().map(|(_, y)| *y)).between(HEAD + HIGH, HEAD);
        let names: Vec<&str> = self.curves.iter().map(|curve| &*curve.name).collect();
        let mut drawing =
            sheet(self.title, LEFT + WIDE + 40.0, HEAD + HIGH + FOOT + 10.0).add(legend(&names));
        for mark in across.marks() {
            let x = across.at(mark);
            drawing = drawing
                .add(rule((x, HEAD), (x, HEAD + HIGH)))
                .add(text(&amount(mark), x, HEAD + HIGH + 16.0).set("text-anchor", "middle"));
        }
        for mark in up.marks() {
            let y = up.at(mark);
            drawing = drawing
                .add(rule((LEFT, y), (LEFT + WIDE, y)))
                .add(text(&amount(mark), LEFT - 6.0, y + 4.0).set("text-anchor", "end"));
        }
        drawing = drawing
            .add(text(self.x, LEFT + WIDE / 2.0, HEAD + HIGH + 34.0).set("text-anchor", "middle"))
            .add(text(self.y, LEFT + 8.0, HEAD + 16.0));
        for (curve, colour) in self.curves.iter().zip(COLOURS) {
            drawing = drawing.add(curve.draw(&across, &up, colour));
        }
        drawing
    }
}

impl Curve {
    fn draw(&self, across: &Axis, up: &Axis, colour: &str) -> Group {
        let shown =
            |(x, y): &(f64, f64)| (*x > 0.0 && *y > 0.0).then(|| (across.at(*x), up.at(*y)));
        let ends = self.points.iter().filter(|point| shown(point).is_some());
        let (first, last) = ends.fold((f64::MAX, 0.0_f64), |(first, last), (x, _)| {
            (first.min(*x), last.max(*x))
        });
        let on_line: Vec<_> = match &self.line {
            None => self.points.clone(),
            // A straight line is bent by the axes.
            Some(line) => {
                let first = first.max(line.from);
                (0..=60)
                    .map(|step| first * (last / first).powf(f64::from(step) / 60.0))
                    .map(|x| (x, line.at(x)))
                    .collect()
            }
        };
        let line: Vec<String> = on_line
            .iter()
            .filter_map(shown)
            .map(|(x, y)| format!("{x},{y}"))
            .collect();
        let mut drawn = Group::new().add(
            Polyline::new()
                .set("points", line.join(" "))
                .set("fill", "none")
                .set("stroke", colour)
                .set("stroke-opacity", 0.5),
        );
        for (x, y) in self.points.iter().filter_map(shown) {
            drawn = drawn.add(
                Circle::new()
                    .set("cx", x)
                    .set("cy", y)
                    .set("r", 3.5)
                    .set("fill", colour),
            );
        }
        drawn
    }
}

fn rule(from: (f64, f64), to: (f64, f64)) -> element::Line {
    element::Line::new()
        .set("x1", from.0)
        .set("y1", from.1)
        .set("x2", to.0)
        .set("y2", to.1)
        .set("stroke", FAINT)
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

#[derive(Clone, Copy)]
pub(crate) enum Scale {
    /// Between whole powers of ten around the values.
    Logarithmic,
    /// From naught.
    Linear,
}

struct Axis {
    scale: Scale,
    /// Of powers of ten, where it is logarithmic.
    from: f64,
    to: f64,
    step: f64,
    /// Where they are drawn.
    ends: (f64, f64),
}

impl Axis {
    fn over(scale: Scale, values: impl Iterator<Item = f64>) -> Self {
        let (least, most) = values
            .filter(|value| *value > 0.0 && value.is_finite())
            .fold((f64::MAX, f64::MIN_POSITIVE), |(least, most), value| {
                (least.min(value), most.max(value))
            });
        let ends = (0.0, 1.0);
        match scale {
            Scale::Logarithmic => {
                let (from, to) = (least.log10().floor(), most.log10().ceil());
                Self {
                    scale,
                    from,
                    to: to.max(from + 1.0),
                    step: 1.0,
                    ends,
                }
            }
            Scale::Linear => {
                let power = 10_f64.powf(most.log10().floor());
                let steps = [0.2, 0.5, 1.0, 2.0].map(|part| part * power);
                let step = steps.into_iter().find(|step| most <= 8.0 * step);
                let step = step.unwrap_or(2.0 * power);
                Self {
                    scale,
                    from: 0.0,
                    to: (most / step).ceil() * step,
                    step,
                    ends,
                }
            }
        }
    }

    fn between(self, one_end: f64, other_end: f64) -> Self {
        Self {
            ends: (one_end, other_end),
            ..self
        }
    }

    fn at(&self, value: f64) -> f64 {
        let value = match self.scale {
            Scale::Logarithmic => value.log10(),
            Scale::Linear => value,
        };
        let part = (value - self.from) / (self.to - self.from);
        let (one_end, other_end) = self.ends;
        ((one_end + (other_end - one_end) * part) * 10.0).round() / 10.0
    }

    fn marks(&self) -> impl Iterator<Item = f64> {
        (0..)
            .map(|step| self.from + f64::from(step) * self.step)
            .take_while(|mark| *mark <= self.to + self.step / 2.0)
            .map(|mark| match self.scale {
                Scale::Logarithmic => 10_f64.powf(mark),
                Scale::Linear => mark,
            })
    }
}

/// Three digits, which is more than is known.
pub(crate) fn amount(value: f64) -> String {
    if !value.is_finite() {
        return "–".to_owned();
    }
    // What rounds to naught has no sign.
    if value <= -0.005 {
        return format!("−{}", amount(-value));
    }
    let decimals = match value {
        value if value < 10.0 => 2,
        value if value < 100.0 => 1,
        _ => 0,
    };
    let plain = format!("{:.decimals$}", value.abs());
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
    use super::{Axis, Scale, amount};

    #[test]
    fn amounts_have_three_digits_and_thousands_apart() {
        let shown = [
            0.574,
            3.1,
            12.34,
            999.6,
            60_000.0,
            1_234_567.0,
            f64::NAN,
            -3.1,
            -1e-9,
        ]
        .map(amount);
        assert_eq!(
            shown,
            [
                "0.57",
                "3.1",
                "12.3",
                "1,000",
                "60,000",
                "1,234,567",
                "–",
                "−3.1",
                "0"
            ]
        );
    }

    #[test]
    fn a_logarithmic_axis_goes_from_one_power_of_ten_to_another() {
        let values = [0.5, f64::NAN, 70.0].into_iter();
        let axis = Axis::over(Scale::Logarithmic, values).between(10.0, 40.0);
        assert_eq!((axis.at(0.1), axis.at(100.0)), (10.0, 40.0));
        assert_eq!(axis.marks().count(), 4);
    }

    #[test]
    fn a_linear_axis_goes_from_naught() {
        let axis = Axis::over(Scale::Linear, [99.3, 7.0].into_iter()).between(0.0, 100.0);
        assert_eq!((axis.at(0.0), axis.at(100.0)), (0.0, 100.0));
        assert_eq!(
            axis.marks().collect::<Vec<_>>(),
            [0.0, 20.0, 40.0, 60.0, 80.0, 100.0]
        );
    }
}
