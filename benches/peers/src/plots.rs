//! Dot plots on a logarithmic scale: a row for each subject, a colour for each series.

use std::ops::Range;
use std::path::Path;

use plotters::prelude::*;

use crate::Result;

/// A median, and the two quartiles that the line through it joins.
pub(crate) type Dot = (f64, (f64, f64));

/// Draws `rows` from top to bottom, each with one dot for each of `series`.
pub(crate) fn dots(path: &Path, title: &str, unit: &str, series: &[String], rows: &[(String, Vec<Dot>)]) -> Result<()> {
    const COLORS: [RGBColor; 3] = [RGBColor(0, 114, 178), RGBColor(213, 94, 0), RGBColor(0, 158, 115)];
    let height = 110 + 26 * u32::try_from(rows.len())?;
    let root = SVGBackend::new(path, (820, height)).into_drawing_area();
    root.fill(&WHITE)?;
    let label = |row: &SegmentValue<usize>| match row {
        SegmentValue::CenterOf(row) if *row < rows.len() => rows[rows.len() - 1 - row].0.clone(),
        _ => String::new(),
    };
    let mut chart = ChartBuilder::on(&root)
        .caption(title, ("sans-serif", 17))
        .margin(12)
        .x_label_area_size(42)
        .y_label_area_size(270)
        .build_cartesian_2d(range(rows).log_scale(), (0..rows.len()).into_segmented())?;
    chart
        .configure_mesh()
        .x_desc(unit)
        .y_labels(rows.len() + 1)
        .y_label_formatter(&label)
        .x_label_formatter(&|value| crate::report::figure(*value))
        .light_line_style(RGBColor(235, 235, 235))
        .label_style(("sans-serif", 13))
        .draw()?;
    for (index, name) in series.iter().enumerate() {
        let color = COLORS[index % COLORS.len()];
        let row = |at: usize| SegmentValue::CenterOf(rows.len() - 1 - at);
        chart.draw_series(rows.iter().enumerate().map(|(at, (_, dots))| {
            let (_, (from, to)) = dots[index];
            PathElement::new(vec![(from, row(at)), (to, row(at))], color.stroke_width(2))
        }))?;
        chart
            .draw_series(
                rows.iter().enumerate().map(|(at, (_, dots))| Circle::new((dots[index].0, row(at)), 5, color.filled())),
            )?
            .label(name)
            .legend(move |(x, y)| Circle::new((x + 8, y), 5, color.filled()));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperRight)
        .background_style(WHITE.mix(0.8))
        .border_style(RGBColor(200, 200, 200))
        .label_font(("sans-serif", 13))
        .draw()?;
    root.present()?;
    Ok(())
}

/// The range of all medians, with room on both sides.
fn range(rows: &[(String, Vec<Dot>)]) -> Range<f64> {
    let all = || rows.iter().flat_map(|(_, dots)| dots.iter().map(|dot| dot.0));
    all().fold(f64::INFINITY, f64::min) / 1.5..all().fold(0.0, f64::max) * 2.0
}
