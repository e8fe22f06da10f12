//! Draws the list.

use eframe::egui::{self, Align2, Color32, FontId, Rect, RichText, Sense, Ui, Vec2};

use super::data::{Column, Direction, ListView, QcFilter, cohorts, rows, spoken, text};
use crate::commands::Command;
use crate::subject::{QcLevel, Subject};
use crate::theme;

/// Distance of text from the border of its column, in points.
const CELL_INSET: f32 = 4.0;

/// The list's own state.
#[derive(Default)]
pub(crate) struct ScanList {
    /// What one wants to see.
    pub(crate) view: ListView,
    rows: Vec<usize>,
    columns: Vec<Column>,
    cohorts: Vec<String>,
    fresh: bool,
    /// Brings the selected row into sight.
    scroll_to: Option<usize>,
}

impl ScanList {
    /// To be called when subjects were added or have got a prediction.
    pub(crate) fn subjects_changed(&mut self) {
        self.fresh = false;
    }

    /// To be called when another subject was selected.
    pub(crate) fn show(&mut self, subject: usize) {
        self.scroll_to = Some(subject);
    }

    /// The shown subjects, in their order.
    pub(crate) fn rows(&mut self, subjects: &[Subject]) -> &[usize] {
        self.refresh(subjects);
        &self.rows
    }

    fn refresh(&mut self, subjects: &[Subject]) {
        if !self.fresh {
            self.rows = rows(subjects, &self.view);
            self.columns = Column::of(subjects);
            self.cohorts = cohorts(subjects);
            self.fresh = true;
        }
    }

    /// The subject `by` rows below `selected`; the nearest one at either end.
    pub(crate) fn neighbor(
        &mut self,
        subjects: &[Subject],
        selected: usize,
        by: isize,
    ) -> Option<usize> {
        self.refresh(subjects);
        let Some(row) = self.rows.iter().position(|i| *i == selected) else {
            return self.rows.first().copied();
        };
        let last = self.rows.len().saturating_sub(1);
        let row = row.saturating_add_signed(by).min(last);
        self.rows.get(row).copied()
    }

    /// Shows the list.
    pub(crate) fn ui(
        &mut self,
        ui: &mut Ui,
        subjects: &[Subject],
        selected: usize,
    ) -> Option<Command> {
        self.refresh(subjects);
        let before = self.view.clone();
        self.filter_ui(ui);
        self.header_ui(ui);
        if self.view != before {
            self.fresh = false;
            self.refresh(subjects);
        }
        let (shown, all) = (self.rows.len(), subjects.len());
        let count = if all == 1 {
            "1 scan".to_owned()
        } else if shown == all {
            format!("{all} scans")
        } else {
            format!("{shown} of {all} scans")
        };
        let mut command = None;
        let frame = theme::panel_frame(ui);
        let footer = egui::Panel::bottom("list footer").frame(frame);
        footer.show(ui, |ui| {
            ui.horizontal(|ui| {
                ui.label(RichText::new(count).color(theme::palette(ui).quiet));
                if ui
                    .button("Save CSV…")
                    .on_hover_text("The shown rows; key Ctrl+E")
                    .clicked()
                {
                    command = Some(Command::SaveList);
                }
            });
        });
        command.or(self.rows_ui(ui, subjects, selected))
    }

    fn filter_ui(&mut self, ui: &mut Ui) {
        ui.horizontal(|ui| {
            let label = ui.label("Search");
            let field = egui::TextEdit::singleline(&mut self.view.search)
                .hint_text("name, gap>5, age<60")
                .desired_width(f32::INFINITY);
            ui.add(field).labelled_by(label.id).on_hover_text(
                "Words of name, cohort or verdict; age, pred, gap or abs (the gap without sign) \
                 with < or > and a number",
            );
        });
        ui.horizontal(|ui| {
            let combo = egui::ComboBox::from_id_salt("qc filter")
                .selected_text(self.view.qc.name())
                .show_ui(ui, |ui| {
                    for choice in QcFilter::choices() {
                        ui.selectable_value(&mut self.view.qc, choice, choice.name());
                    }
                });
            combo.response.accessible_name("Filter by quality control");
            if self.cohorts.is_empty() {
                return;
            }
            let name = self.view.cohort.as_deref().unwrap_or("all cohorts");
            let combo = egui::ComboBox::from_id_salt("cohort filter")
                .selected_text(name.to_owned())
                .show_ui(ui, |ui| {
                    ui.selectable_value(&mut self.view.cohort, None, "all cohorts");
                    for cohort in &self.cohorts {
                        let choice = Some(cohort.clone());
                        ui.selectable_value(&mut self.view.cohort, choice, cohort.as_str());
                    }
                });
            combo.response.accessible_name("Filter by cohort");
        });
    }

    fn header_ui(&mut self, ui: &mut Ui) {
        let size = Vec2::new(ui.available_width(), theme::ROW_HEIGHT);
        let (rect, _) = ui.allocate_exact_size(size, Sense::hover());
        let palette = theme::palette(ui);
        for (column, cell) in self.columns.iter().zip(cells(rect, &self.columns)) {
            let (arrow, color) = match self.view.sort {
                Some((by, direction)) if by == *column => {
                    let sign = if direction == Direction::Rising {
                        " +"
                    } else {
                        " –"
                    };
                    (sign, palette.accent)
                }
                _ => ("", palette.quiet),
            };
            let title = RichText::new(format!("{}{arrow}", column.title()))
                .small()
                .color(color);
            // As the rows below: names from the left, numbers from the right.
            let cell = cell.shrink2(Vec2::new(CELL_INSET, 0.0));
            let button = egui::Button::new(()).frame(false).min_size(cell.size());
            let button = if *column == Column::Name {
                button.left_text(title)
            } else {
                button.right_text(title)
            };
            let button = ui
                .put(cell, button)
                .accessible_name(format!("Sort by {}", column.title()))
                .on_hover_text(
                    "Sort; once more for the other direction, a third time for the order given",
                );
            if button.clicked() {
                self.view.sort_by(*column);
            }
        }
    }

    fn rows_ui(&mut self, ui: &mut Ui, subjects: &[Subject], selected: usize) -> Option<Command> {
        let mut clicked = None;
        ui.spacing_mut().item_spacing.y = 0.0;
        let mut area = egui::ScrollArea::vertical().auto_shrink(false);
        let row = self
            .scroll_to
            .take()
            .and_then(|subject| self.rows.iter().position(|i| *i == subject));
        if let Some(row) = row {
            let middle = ui.available_height() / 2.0;
            area = area.vertical_scroll_offset((row as f32 * theme::ROW_HEIGHT - middle).max(0.0));
        }
        area.show_rows(ui, theme::ROW_HEIGHT, self.rows.len(), |ui, range| {
            for i in self.rows.get(range).unwrap_or_default() {
                if let Some(subject) = subjects.get(*i)
                    && row_ui(ui, subject, &self.columns, *i == selected)
                {
                    clicked = Some(Command::Select(*i));
                }
            }
        });
        clicked
    }
}

/// A row's cells: the name takes what the others leave.
fn cells(row: Rect, columns: &[Column]) -> Vec<Rect> {
    let n_others = columns.len().saturating_sub(1);
    let width = theme::NUMBER_COLUMN;
    let name_right = (row.right() - n_others as f32 * width).max(row.left() + 1.0);
    let mut cells = vec![Rect::from_x_y_ranges(
        row.left()..=name_right,
        row.y_range(),
    )];
    cells.extend((0..n_others).map(|i| {
        let right = row.right() - (n_others - 1 - i) as f32 * width;
        Rect::from_x_y_ranges(right - width..=right, row.y_range())
    }));
    cells
}

/// Shows one subject; whether it was clicked.
fn row_ui(ui: &mut Ui, subject: &Subject, columns: &[Column], selected: bool) -> bool {
    let size = Vec2::new(ui.available_width(), theme::ROW_HEIGHT);
    let (rect, response) = ui.allocate_exact_size(size, Sense::click());
    response.widget_info(|| {
        egui::WidgetInfo::selected(egui::Role::Button, true, selected, spoken(subject))
    });
    let palette = theme::palette(ui);
    let painter = ui.painter_at(rect);
    if selected {
        painter.rect_filled(rect, 2.0, palette.selected_row);
    } else if response.hovered() || response.has_focus() {
        painter.rect_filled(rect, 2.0, palette.hovered_row);
    }
    let font = FontId::proportional(theme::TEXT_SIZE);
    for (column, cell) in columns.iter().zip(cells(rect, columns)) {
        let text = text(subject, *column);
        let color = match column {
            Column::Name if selected => palette.accent,
            Column::Qc => qc_color(ui, subject.qc_level()),
            _ if text == "–" => palette.quiet,
            _ => palette.text,
        };
        let inset = Vec2::new(CELL_INSET, 0.0);
        let (at, align) = if *column == Column::Name {
            (cell.left_center() + inset, Align2::LEFT_CENTER)
        } else {
            (cell.right_center() - inset, Align2::RIGHT_CENTER)
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

/// The color of a verdict.
pub(crate) fn qc_color(ui: &Ui, level: QcLevel) -> Color32 {
    let palette = theme::palette(ui);
    match level {
        QcLevel::Refused | QcLevel::Fail => palette.fail,
        QcLevel::Warn => palette.warn,
        QcLevel::Pass => palette.pass,
        QcLevel::Unknown => palette.quiet,
    }
}
