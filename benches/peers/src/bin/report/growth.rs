//! How something grows with a number: measured points, and a line through them.

use crate::chapter::Chapter;
use crate::chart::{Curve, Lines, amount};
use crate::samples::Samples;

/// What is asked, and how it is shown.
pub(crate) struct Growth {
    pub(crate) question: &'static str,
    pub(crate) title: &'static str,
    pub(crate) note: &'static str,
    /// What the number is of, in the plural.
    pub(crate) by: &'static str,
    pub(crate) subjects: &'static [&'static str],
    /// Where the line begins.
    pub(crate) from: usize,
    /// Of a point.
    pub(crate) unit: Unit,
    /// Of what one more costs.
    pub(crate) each: Unit,
}

pub(crate) struct Unit {
    pub(crate) name: &'static str,
    /// How much of what was measured makes one of it.
    pub(crate) holds: f64,
}

pub(crate) const NANOS: Unit = unit("ns", 1.0);
pub(crate) const MICROS: Unit = unit("µs", 1e3);
pub(crate) const BYTES: Unit = unit("bytes", 1.0);
pub(crate) const KIB: Unit = unit("KiB", 1_024.0);

pub(crate) const fn unit(name: &'static str, holds: f64) -> Unit {
    Unit { name, holds }
}

impl Unit {
    pub(crate) fn show(&self, value: f64) -> String {
        format!("{} {}", amount(value / self.holds), self.name)
    }
}

impl Growth {
    pub(crate) fn add_to(&self, chapter: &mut Chapter, samples: &Samples) {
        chapter.section(self.title, self.note);
        let mut ats: Vec<usize> = self
            .subjects
            .iter()
            .flat_map(|subject| samples.ats(self.question, subject))
            .collect();
        ats.sort_unstable();
        ats.dedup();

        let curve = |subject: &str| {
            let points = ats.iter().map(|at| {
                (
                    *at as f64,
                    samples.median(self.question, subject, *at) / self.unit.holds,
                )
            });
            let line = self.line(samples, subject);
            Curve {
                name: subject.to_owned(),
                points: points.collect(),
                line: Some(line.in_units(self.unit.holds)),
            }
        };
        let drawing = Lines {
            title: self.title,
            x: self.by,
            y: self.unit.name,
            curves: self.subjects.iter().map(|subject| curve(subject)).collect(),
        };
        chapter.plot(self.title, drawing.draw());

        let heads: Vec<String> = ats.iter().map(|at| amount(*at as f64)).collect();
        let mut head = vec![self.by];
        head.extend(heads.iter().map(String::as_str));
        head.push("line");
        let rows = self.subjects.iter().map(|subject| {
            let points = ats
                .iter()
                .map(|at| self.unit.show(samples.median(self.question, subject, *at)));
            let line = self.line(samples, subject);
            let from = match self.from {
                0 => String::new(),
                from => format!(" from {} on", amount(from as f64)),
            };
            let line = format!(
                "{} + {} each{from}, points within {:.0} %",
                self.unit.show(line.fixed),
                self.each.show(line.each),
                line.off * 100.0
            );
            [(*subject).to_owned()]
                .into_iter()
                .chain(points)
                .chain([line])
                .collect()
        });
        chapter.table(&head, rows);
    }

    pub(crate) fn line(&self, samples: &Samples, subject: &str) -> Line {
        let ats = samples.ats(self.question, subject);
        let ats = ats.iter().filter(|at| **at >= self.from);
        let points = ats.map(|at| (*at as f64, samples.median(self.question, subject, *at)));
        Line::through(&points.collect::<Vec<_>>())
    }
}

/// A line through points.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Line {
    pub(crate) fixed: f64,
    pub(crate) each: f64,
    /// Where the first point is.
    pub(crate) from: f64,
    /// How far from it the farthest point is, as a share of the point.
    pub(crate) off: f64,
}

impl Line {
    /// The least squares of the deviations as shares of the points: so small ones count as much as
    /// large ones.
    pub(crate) fn through(points: &[(f64, f64)]) -> Self {
        let [mut w, mut wx, mut wxx, mut wy, mut wxy] = [0.0; 5];
        for (x, y) in points.iter().filter(|(_, y)| *y > 0.0) {
            let weight = 1.0 / (y * y);
            w += weight;
            wx += weight * x;
            wxx += weight * x * x;
            wy += weight * y;
            wxy += weight * x * y;
        }
        let each = (w * wxy - wx * wy) / (w * wxx - wx * wx);
        let fixed = (wy - each * wx) / w;
        let offs = points
            .iter()
            .map(|(x, y)| ((fixed + each * x) / y - 1.0).abs());
        Self {
            fixed,
            each,
            from: points.first().map_or(f64::NAN, |(x, _)| *x),
            off: offs.fold(0.0, f64::max),
        }
    }

    fn in_units(self, holds: f64) -> Self {
        Self {
            fixed: self.fixed / holds,
            each: self.each / holds,
            ..self
        }
    }

    pub(crate) fn at(&self, x: f64) -> f64 {
        self.fixed + self.each * x
    }
}

#[cfg(test)]
mod tests {
    use super::Line;

    #[test]
    fn a_line_goes_through_points_on_a_line() {
        let line = Line::through(&[(1.0, 5.0), (10.0, 23.0), (1_000.0, 2_003.0)]);
        assert!((line.fixed - 3.0).abs() < 1e-6 && (line.each - 2.0).abs() < 1e-9);
        assert!(line.off < 1e-6 && (line.at(4.0) - 11.0).abs() < 1e-6);
    }

    #[test]
    fn a_point_off_the_line_counts_by_its_share() {
        let line = Line::through(&[(1.0, 1.0), (2.0, 2.2), (3.0, 3.0)]);
        assert!(line.off > 0.01 && line.off < 0.1);
    }
}
