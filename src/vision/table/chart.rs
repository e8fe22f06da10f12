//! The table as a figure: a bar for each row with its spread over seeds, and a mark at the published error where there is one.

use std::io;

use plotters::prelude::*;

use super::{Row, Table};
use crate::Error;

const BARS_WIDTH: u32 = 560;
const ROW_HEIGHT: u32 = 30;
const MARGIN: u32 = 10;
const TITLE_HEIGHT: u32 = 30;
const AXIS_HEIGHT: u32 = 46;
const FONT: (&str, i32) = ("sans-serif", 15);
/// About the width of a letter of [`FONT`].
const LETTER_WIDTH: u32 = 8;
const GRAY: RGBColor = RGBColor(130, 130, 130);
/// Of bars and of published marks; the color-blind tell them apart (Okabe & Ito 2008, Color Universal Design).
const BAR: RGBColor = RGBColor(86, 180, 233);
const PUBLISHED: RGBColor = RGBColor(213, 94, 0);

impl Table {
    /// As an SVG document; published errors are marked as such.
    ///
    /// # Errors
    /// [`Error::Data`] where it cannot be drawn.
    pub fn to_svg(&self) -> Result<String, Error> {
        let mut svg = String::new();
        draw(&mut svg, &self.rows).map_err(|error| Error::Data(error.to_string()))?;
        Ok(svg)
    }
}

fn draw(svg: &mut String, rows: &[Row]) -> Result<(), DrawingAreaErrorKind<io::Error>> {
    let (title, row_names) = names_of(rows);
    let n_letters = row_names.iter().map(|name| name.chars().count());
    let names_width = 2 * MARGIN + LETTER_WIDTH * n_letters.max().unwrap_or(0) as u32;
    let n = rows.len();
    let height = TITLE_HEIGHT + 2 * MARGIN + ROW_HEIGHT * n as u32 + AXIS_HEIGHT;
    let size = (names_width + BARS_WIDTH, height);
    let area = SVGBackend::with_string(svg, size).into_drawing_area();
    area.fill(&WHITE)?;
    let at = (MARGIN as i32, MARGIN as i32);
    area.draw(&Text::new(title, at, FONT.into_font()))?;
    let (_, below) = area.split_vertically(TITLE_HEIGHT);
    let (names, bars) = below.split_horizontally(names_width);
    let ends = rows.iter().flat_map(|row| {
        let spread = row.mean + row.sd.unwrap_or(0.0);
        [spread, row.published_percent.unwrap_or(0.0)]
    });
    // Room for the number beside the longest bar.
    let longest = ends.fold(1.0, f64::max) * 1.15;
    let mut chart = ChartBuilder::on(&bars)
        .margin(MARGIN)
        .x_label_area_size(AXIS_HEIGHT)
        .build_cartesian_2d(0.0..longest, 0.0..n as f64)?;
    chart
        .configure_mesh()
        .disable_y_mesh()
        .disable_y_axis()
        .x_desc("test error, % (mean ± sd over seeds; orange: published, quoted)")
        .label_style(FONT)
        .axis_desc_style(FONT)
        .light_line_style(TRANSPARENT)
        .bold_line_style(RGBColor(228, 228, 228))
        .axis_style(GRAY)
        .draw()?;
    for (number, (row, name)) in rows.iter().zip(row_names).enumerate() {
        let middle = (n - number) as f64 - 0.5;
        let corners = [(0.0, middle - 0.3), (row.mean, middle + 0.3)];
        chart.draw_series([Rectangle::new(corners, BAR.filled())])?;
        let line =
            |ends: [(f64, f64); 2], color: RGBColor| PathElement::new(ends, color.stroke_width(2));
        if let Some(sd) = row.sd {
            let ends = [(row.mean - sd, middle), (row.mean + sd, middle)];
            chart.draw_series([line(ends, BLACK)])?;
        }
        if let Some(error) = row.published_percent {
            let ends = [(error, middle - 0.4), (error, middle + 0.4)];
            chart.draw_series([line(ends, PUBLISHED)])?;
        }
        let end = row.mean + row.sd.unwrap_or(0.0);
        let value = format!(" {:.2}", row.mean);
        let value = Text::new(value, (end, middle + 0.25), FONT.into_font());
        chart.draw_series([value])?;
        let top = MARGIN + ROW_HEIGHT * number as u32 + ROW_HEIGHT / 2 - 8;
        names.draw(&Text::new(
            name,
            (MARGIN as i32, top as i32),
            FONT.into_font(),
        ))?;
    }
    area.present()
}

/// What all rows have alike of data set and network, and each row in one line without it.
fn names_of(rows: &[Row]) -> (String, Vec<String>) {
    let first = rows.first();
    let same_data = rows
        .iter()
        .all(|row| Some(row.dataset) == first.map(|first| first.dataset));
    let same_network = rows
        .iter()
        .all(|row| Some(&row.network) == first.map(|first| &first.network));
    let in_line = |parts: &[(&str, bool)]| {
        let shown = parts
            .iter()
            .filter(|(part, shows)| *shows && !part.is_empty());
        shown.map(|(part, _)| *part).collect::<Vec<_>>().join(" · ")
    };
    let title = first.map_or(String::new(), |row| {
        in_line(&[
            (row.dataset.title(), same_data),
            (row.network.as_str(), same_network),
        ])
    });
    let name = |row: &Row| {
        in_line(&[
            (row.dataset.title(), !same_data),
            (row.network.as_str(), !same_network),
            (row.method, true),
            (row.blocks.as_str(), true),
            (row.settings.as_str(), true),
        ])
    };
    (title, rows.iter().map(name).collect())
}
