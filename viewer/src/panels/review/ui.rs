//! The bar that judges the scan.

use std::path::Path;

use eframe::egui::{self, RichText, Ui};

use crate::commands::Command;
use crate::review::{Judgment, Verdict};
use crate::theme;

/// Name of the comment's field, by which a key finds it.
pub(crate) fn comment_id() -> egui::Id {
    egui::Id::unique("review comment")
}

/// What the bar says.
pub(crate) struct ReviewBar<'a> {
    /// What was said of this scan.
    pub(crate) judgment: &'a Judgment,
    /// How many of the shown scans are judged.
    pub(crate) n_judged: usize,
    /// How many are shown.
    pub(crate) n_shown: usize,
    /// The comment while it is being written.
    pub(crate) comment: &'a mut String,
    /// The table that keeps the judgments; `None` where nothing is kept.
    pub(crate) table: Option<&'a Path>,
}

/// Shows the bar.
pub(crate) fn review_ui(ui: &mut Ui, bar: &mut ReviewBar<'_>) -> Option<Command> {
    let palette = theme::palette(ui);
    let mut command = None;
    ui.horizontal_wrapped(|ui| {
        let (text, color) = match bar.judgment.verdict {
            Some(Verdict::Accept) => ("accepted", palette.pass),
            Some(Verdict::Reject) => ("rejected", palette.fail),
            None => ("not judged yet", palette.quiet),
        };
        ui.label(RichText::new(format!(
            "{} of {} judged",
            bar.n_judged, bar.n_shown
        )));
        ui.label(RichText::new(text).color(color));
        for (verdict, name) in [
            (Verdict::Accept, "Accept (Y)"),
            (Verdict::Reject, "Reject (U)"),
        ] {
            if ui.button(name).clicked() {
                command = Some(Command::Judge(verdict));
            }
        }
        let label = ui.label("Comment (K)");
        let field = egui::TextEdit::singleline(bar.comment)
            .id(comment_id())
            .desired_width(220.0);
        ui.add(field).labelled_by(label.id);
        if ui.button("End").on_hover_text("Key Q").clicked() {
            command = Some(Command::SwitchReview);
        }
        let kept = match bar.table {
            Some(table) => format!("kept in {}", table.display()),
            None => "kept nowhere: start with --review FILE".to_owned(),
        };
        ui.label(RichText::new(kept).small().color(palette.quiet));
    });
    command
}
