//! The list of scans: names, ages, gaps and quality, filtered and sorted.

use std::cmp::Ordering;

use eframe::egui::{self, Align2, FontId, Rect, Sense, Ui, Vec2};

use crate::subject::{QcLevel, Subject};
use crate::theme;

/// What the list is sorted by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum SortBy {
    /// As given.
    #[default]
    Input,
    Name,
    Age,
    Predicted,
    Gap,
    Qc,
}

/// The list's own state: which subjects it shows, in which order.
#[derive(Default)]
pub(crate) struct ScanList {
    filter: String,
    sort_by: SortBy,
    descending: bool,
    rows: Vec<usize>,
    fresh: bool,
}

impl ScanList {
    /// To be called when subjects were added or have got a prediction.
    pub(crate) fn subjects_changed(&mut self) {
        self.fresh = false;
    }

    /// The subject `by` rows below `selected`; the nearest one at either end.
    pub(crate) fn neighbor(&self, selected: usize, by: isize) -> Option<usize> {
        let Some(row) = self.rows.iter().position(|i| *i == selected) else {
            return self.rows.first().copied();
        };
        let last = self.rows.len().saturating_sub(1);
        self.rows
            .get(row.saturating_add_signed(by).min(last))
            .copied()
    }

    /// Shows the list; the subject that was clicked.
    pub(crate) fn ui(
        &mut self,
        ui: &mut Ui,
        subjects: &[Subject],
        selected: usize,
    ) -> Option<usize> {
        ui.horizontal(|ui| {
            let label = ui.label("Filter");
            let field = egui::TextEdit::singleline(&mut self.filter).desired_width(f32::INFINITY);
            self.fresh &= !ui.add(field).labelled_by(label.id).changed();
        });
        self.header_ui(ui);
        if !self.fresh {
            self.rows = rows(subjects, &self.filter, self.sort_by, self.descending);
            self.fresh = true;
        }
        let mut clicked = None;
        let count = self.rows.len();
        ui.spacing_mut().item_spacing.y = 0.0;
        egui::ScrollArea::vertical().auto_shrink(false).show_rows(
            ui,
            theme::ROW_HEIGHT,
            count,
            |ui, range| {
                for i in self.rows.get(range).unwrap_or_default() {
                    if let Some(subject) = subjects.get(*i)
                        && row_ui(ui, subject, *i == selected)
                    {
                        clicked = Some(*i);
                    }
                }
            },
        );
        clicked
    }

    fn header_ui(&mut self, ui: &mut Ui) {
        let (rect, _) = ui.allocate_exact_size(
            Vec2::new(ui.available_width(), theme::ROW_HEIGHT),
            Sense::hover(),
        );
        let titles = [
            (SortBy::Name, "Scan"),
            (SortBy::Age, "Age"),
            (SortBy::Predicted, "Pred."),
            (SortBy::Gap, "Gap"),
            (SortBy::Qc, "QC"),
        ];
        for ((sort_by, title), cell) in titles.into_iter().zip(cells(rect)) {
            let text = egui::RichText::new(title)
                .small()
                .color(if self.sort_by == sort_by {
                    theme::ACCENT
                } else {
                    theme::QUIET
                });
            let button = ui
                .put(cell, egui::Button::new(text).frame(false))
                .on_hover_text(
                    "Sort; once more for the other direction, a third time for the order given",
                );
            if button.clicked() {
                self.sort(sort_by);
            }
        }
    }

    /// Up, then down, then as given.
    fn sort(&mut self, by: SortBy) {
        (self.sort_by, self.descending) = match (self.sort_by == by, self.descending) {
            (false, _) => (by, false),
            (true, false) => (by, true),
            (true, true) => (SortBy::Input, false),
        };
        self.fresh = false;
    }
}

/// Indices of the subjects whose name contains `filter`, sorted; unknown numbers come last.
fn rows(subjects: &[Subject], filter: &str, sort_by: SortBy, descending: bool) -> Vec<usize> {
    let filter = filter.trim().to_lowercase();
    let mut rows: Vec<usize> = (0..subjects.len())
        .filter(|i| subjects[*i].name.to_lowercase().contains(&filter))
        .collect();
    let turned = |order: Ordering| if descending { order.reverse() } else { order };
    let numbers = |a: Option<f64>, b: Option<f64>| match (a, b) {
        (Some(a), Some(b)) => turned(a.total_cmp(&b)),
        (a, b) => b.is_some().cmp(&a.is_some()),
    };
    rows.sort_by(|a, b| {
        let (a, b) = (&subjects[*a], &subjects[*b]);
        match sort_by {
            SortBy::Input => Ordering::Equal,
            SortBy::Name => turned(a.name.cmp(&b.name)),
            SortBy::Age => numbers(a.age_years, b.age_years),
            SortBy::Predicted => numbers(a.predicted_age_years(), b.predicted_age_years()),
            SortBy::Gap => numbers(a.gap_years(), b.gap_years()),
            SortBy::Qc => turned(a.qc_level().cmp(&b.qc_level())),
        }
    });
    rows
}

/// A row's cells: the name takes what the numbers leave.
fn cells(row: Rect) -> [Rect; 5] {
    let column = |from_right: f32| {
        let right = row.right() - from_right * theme::NUMBER_COLUMN;
        Rect::from_x_y_ranges(right - theme::NUMBER_COLUMN..=right, row.y_range())
    };
    let name_right = (row.right() - 4.0 * theme::NUMBER_COLUMN).max(row.left() + 1.0);
    let name = Rect::from_x_y_ranges(row.left()..=name_right, row.y_range());
    [name, column(3.0), column(2.0), column(1.0), column(0.0)]
}

/// Shows one subject; whether it was clicked.
fn row_ui(ui: &mut Ui, subject: &Subject, selected: bool) -> bool {
    let size = Vec2::new(ui.available_width(), theme::ROW_HEIGHT);
    let (rect, response) = ui.allocate_exact_size(size, Sense::click());
    let number = |value: Option<f64>| value.map_or("–".to_owned(), |v| format!("{v:.1}"));
    let gap = subject
        .gap_years()
        .map_or("–".to_owned(), |gap| format!("{gap:+.1}"));
    let texts = [
        subject.name.clone(),
        number(subject.age_years),
        number(subject.predicted_age_years()),
        gap,
        subject.qc_level().name().to_owned(),
    ];
    response.widget_info(|| {
        let [name, age, predicted, gap, qc] = &texts;
        let label = format!("{name}, age {age}, predicted {predicted}, gap {gap}, QC {qc}");
        egui::WidgetInfo::selected(egui::Role::Button, true, selected, label)
    });
    let painter = ui.painter_at(rect);
    if selected {
        painter.rect_filled(rect, 2.0, theme::SELECTED_ROW);
    } else if response.hovered() || response.has_focus() {
        painter.rect_filled(rect, 2.0, theme::HOVERED_ROW);
    }
    let font = FontId::proportional(theme::TEXT_SIZE);
    for (i, (text, cell)) in texts.iter().zip(cells(rect)).enumerate() {
        let color = match i {
            0 if selected => theme::ACCENT,
            4 => subject.qc_level().color(),
            _ if text == "–" => theme::QUIET,
            _ => theme::TEXT,
        };
        let (at, align) = if i == 0 {
            (
                cell.left_center() + Vec2::new(4.0, 0.0),
                Align2::LEFT_CENTER,
            )
        } else {
            (
                cell.right_center() - Vec2::new(4.0, 0.0),
                Align2::RIGHT_CENTER,
            )
        };
        painter.with_clip_rect(cell.intersect(ui.clip_rect())).text(
            at,
            align,
            text,
            font.clone(),
            color,
        );
    }
    response
        .on_hover_text(subject.path.display().to_string())
        .clicked()
}

impl QcLevel {
    /// One word.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::Fail => "fail",
            Self::Warn => "warn",
            Self::Pass => "pass",
            Self::Unknown => "–",
        }
    }

    /// The color of the word.
    pub(crate) fn color(self) -> egui::Color32 {
        match self {
            Self::Refused | Self::Fail => theme::FAIL,
            Self::Warn => theme::WARN,
            Self::Pass => theme::PASS,
            Self::Unknown => theme::QUIET,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subjects() -> Vec<Subject> {
        [
            ("sub-b", Some(50.0)),
            ("sub-a", None),
            ("Sub-C", Some(30.0)),
        ]
        .map(|(name, age_years)| Subject {
            name: name.into(),
            age_years,
            ..Subject::from_path("a.nii".into())
        })
        .to_vec()
    }

    #[test]
    fn unknown_ages_come_last_in_both_directions() {
        assert_eq!(rows(&subjects(), "", SortBy::Age, false), [2, 0, 1]);
        assert_eq!(rows(&subjects(), "", SortBy::Age, true), [0, 2, 1]);
    }

    #[test]
    fn the_filter_knows_no_capitals_and_the_order_given_is_kept() {
        assert_eq!(rows(&subjects(), " SUB ", SortBy::Input, false), [0, 1, 2]);
        assert_eq!(rows(&subjects(), "sub-c", SortBy::Input, false), [2]);
    }
}
