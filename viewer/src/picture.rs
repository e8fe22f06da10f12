//! Pictures of the slices alone: as they are shown, or a montage of all three planes.

use eframe::egui::{self, Align2, Color32, ColorImage, FontId, Frame, Rect, Ui, Vec2};

use crate::image::plane::Plane;
use crate::image::scene::Scene;
use crate::offscreen::draw;
use crate::panels::slices::ui::{Info, SlicesPanel, slices_ui};
use crate::panels::slices::{Budget, Textures};
use crate::settings::{Layout, Settings};
use crate::state::ViewState;
use crate::theme;

/// Height of the line of text above a montage, in points.
const HEADING: f32 = 24.0;

/// What a picture is made from.
#[derive(Clone, Debug)]
pub(crate) struct PictureParams {
    /// What is shown.
    pub(crate) scene: Scene,
    /// Where.
    pub(crate) view: ViewState,
    /// How.
    pub(crate) settings: Settings,
    /// Words beside it.
    pub(crate) info: Info,
    /// Width and height in points.
    pub(crate) size_points: Vec2,
    /// Pixels a point.
    pub(crate) scale: f32,
}

impl PictureParams {
    fn pixels(&self) -> [usize; 2] {
        let side = |points: f32| (points * self.scale).round().clamp(16.0, 8192.0) as usize;
        [side(self.size_points.x), side(self.size_points.y)]
    }

    fn slices_ui(&self, ui: &mut Ui, textures: &mut Textures, settings: &Settings) {
        let mut view = self.view.clone();
        let mut panel = SlicesPanel {
            scene: &self.scene,
            settings,
            textures,
            budget: Budget::Unlimited,
            info: &self.info,
            focused: false,
        };
        slices_ui(ui, &mut panel, &mut view);
    }
}

/// The slices as they are shown.
pub(crate) fn picture(params: &PictureParams) -> ColorImage {
    let ctx = egui::Context::default();
    theme::apply(&ctx, params.settings.theme);
    let mut textures = Textures::default();
    draw(&ctx, params.pixels(), params.scale, |ui| {
        egui::CentralPanel::default()
            .frame(Frame::new())
            .show(ui, |ui| {
                params.slices_ui(ui, &mut textures, &params.settings);
            });
    })
}

/// A mosaic of each plane, one below the other.
pub(crate) fn montage(params: &PictureParams) -> ColorImage {
    let ctx = egui::Context::default();
    theme::apply(&ctx, params.settings.theme);
    let mut textures: [Textures; 3] = Default::default();
    draw(&ctx, params.pixels(), params.scale, |ui| {
        egui::CentralPanel::default()
            .frame(Frame::new())
            .show(ui, |ui| {
                let whole = ui.max_rect();
                ui.painter().rect_filled(whole, 0.0, theme::PANE);
                let heading = format!(
                    "{} · research software, not a medical device",
                    params.info.title
                );
                let at = whole.left_top() + Vec2::new(8.0, 5.0);
                let font = FontId::proportional(theme::TEXT_SIZE);
                ui.painter()
                    .text(at, Align2::LEFT_TOP, heading, font, Color32::WHITE);
                let height = (whole.height() - HEADING) / 3.0;
                for (i, (plane, textures)) in Plane::ALL.into_iter().zip(&mut textures).enumerate()
                {
                    let top = whole.top() + HEADING + i as f32 * height;
                    let rect = Rect::from_min_size(
                        egui::pos2(whole.left(), top),
                        Vec2::new(whole.width(), height - 2.0),
                    );
                    let settings = Settings {
                        layout: Layout::Mosaic(plane),
                        ..params.settings.clone()
                    };
                    let builder = egui::UiBuilder::new().max_rect(rect).id_salt(i);
                    ui.scope_builder(builder, |ui| params.slices_ui(ui, textures, &settings));
                }
            });
    })
}
