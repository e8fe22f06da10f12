//! Draws the switches.

use std::time::Duration;

use eframe::egui::{self, Color32, RichText, Sense, Ui, Vec2};

use super::data::why_missing;
use crate::commands::Command;
use crate::image::color_map::ColorMap;
use crate::image::compose::bias_ends;
use crate::image::plane::Nose;
use crate::image::sample::Interpolation;
use crate::image::scene::{LayerView, Scene, Space};
use crate::image::window_level::Preset;
use crate::panels::prediction::data::progress_words;
use crate::panels::slices::data::number;
use crate::predictor::Progress;
use crate::settings::{LevelDrag, MosaicSize, Settings, Theme, WheelAction};
use crate::state::ViewState;
use crate::theme;

/// What the panel is about.
pub(crate) struct LayersPanel<'a> {
    /// What is shown.
    pub(crate) scene: Option<&'a Scene>,
    /// Whether scans can be preprocessed here.
    pub(crate) can_prepare: bool,
    /// Whether this scan was preprocessed here.
    pub(crate) is_prepared: bool,
    /// Preprocessing under way.
    pub(crate) under_way: Option<(&'a Progress, Option<Duration>)>,
}

/// Shows the panel and lets it change how things are shown.
pub(crate) fn layers_ui(
    ui: &mut Ui,
    panel: &LayersPanel<'_>,
    settings: &mut Settings,
    view: Option<&mut ViewState>,
) -> Option<Command> {
    let mut command = None;
    if let (Some(scene), Some(view)) = (panel.scene, view) {
        ui.heading("Layers");
        command = command.or(scene_layers_ui(ui, scene, settings, view));
        command = command.or(prepare_ui(ui, panel));
        ui.separator();
        ui.heading("Contrast");
        command = command.or(contrast_ui(ui, view));
        ui.separator();
    }
    ui.heading("Display");
    display_ui(ui, settings);
    command
}

fn scene_layers_ui(
    ui: &mut Ui,
    scene: &Scene,
    settings: &mut Settings,
    view: &mut ViewState,
) -> Option<Command> {
    let layers = &mut settings.layers;
    layer_ui(ui, "Brain mask (M)", scene.mask.is_some(), &mut layers.mask);
    layer_ui(
        ui,
        "Template (O)",
        scene.template.is_some(),
        &mut layers.template,
    );
    layer_ui(
        ui,
        "Bias field",
        scene.bias_field.is_some(),
        &mut layers.bias_field,
    );
    if scene.bias_field.is_some() && layers.bias_field.shown {
        color_bar_ui(ui, ColorMap::CoolWarm, bias_ends());
    }
    layer_ui(ui, "Saliency map", scene.map.is_some(), &mut layers.map);
    if let (Some((_, range)), true) = (&scene.map, layers.map.shown) {
        egui::ComboBox::from_label("Colors")
            .selected_text(layers.map_colors.name())
            .show_ui(ui, |ui| {
                for map in ColorMap::SEQUENTIAL.into_iter().chain([ColorMap::CoolWarm]) {
                    ui.selectable_value(&mut layers.map_colors, map, map.name());
                }
            });
        let (low, high) = (
            range.level - range.window / 2.0,
            range.level + range.window / 2.0,
        );
        color_bar_ui(ui, layers.map_colors, [low, high]);
    }
    let mut command = None;
    if scene.template.is_some() {
        let mut space = scene.space;
        ui.horizontal(|ui| {
            ui.label("Space (V)");
            ui.selectable_value(&mut space, Space::Scan, "Scan");
            ui.selectable_value(&mut space, Space::Template, "Template (MNI)");
        });
        if space != scene.space {
            command = Some(Command::SwitchSpace);
        }
    }
    if scene.after.is_some() {
        let mut swipes = view.swipe.is_some();
        if ui
            .checkbox(&mut swipes, "Before | after preprocessing (B)")
            .changed()
        {
            command = Some(Command::SwitchSwipe);
        }
    }
    command
}

fn layer_ui(ui: &mut Ui, name: &str, available: bool, layer: &mut LayerView) {
    ui.add_enabled_ui(available, |ui| {
        ui.horizontal(|ui| {
            ui.checkbox(&mut layer.shown, name);
            ui.spacing_mut().slider_width = 90.0;
            let slider = egui::Slider::new(&mut layer.opacity, 0.0..=1.0)
                .fixed_decimals(2)
                .trailing_fill(true);
            ui.add(slider).accessible_name(format!("Opacity of {name}"));
        });
    });
}

/// A color map with the values at its ends.
fn color_bar_ui(ui: &mut Ui, map: ColorMap, [low, high]: [f32; 2]) {
    ui.horizontal(|ui| {
        ui.label(number(low));
        let (rect, response) = ui.allocate_exact_size(Vec2::new(140.0, 12.0), Sense::hover());
        let mut mesh = egui::Mesh::default();
        let steps = 32;
        for i in 0..=steps {
            let share = i as f32 / steps as f32;
            let x = rect.left() + share * rect.width();
            for y in [rect.top(), rect.bottom()] {
                mesh.colored_vertex(egui::pos2(x, y), map.color32(share));
            }
            if i > 0 {
                let first = 2 * (i - 1) as u32;
                mesh.add_triangle(first, first + 1, first + 2);
                mesh.add_triangle(first + 1, first + 2, first + 3);
            }
        }
        ui.painter().add(egui::Shape::mesh(mesh));
        let outline = egui::Stroke::new(1.0, Color32::GRAY);
        ui.painter()
            .rect_stroke(rect, 0.0, outline, egui::StrokeKind::Inside);
        response.widget_info(|| {
            let text = format!("{} from {} to {}", map.name(), number(low), number(high));
            egui::WidgetInfo::labeled(egui::Role::Image, true, text)
        });
        ui.label(number(high));
    });
}

fn prepare_ui(ui: &mut Ui, panel: &LayersPanel<'_>) -> Option<Command> {
    if let Some((progress, left)) = panel.under_way {
        ui.label(format!("Preprocessing: {}", progress_words(progress, left)));
        ui.add(egui::ProgressBar::new(progress.share).show_percentage());
        let canceled = ui.button("Cancel preprocessing").clicked();
        return canceled.then_some(Command::CancelPreparation);
    }
    if !panel.can_prepare || panel.is_prepared {
        return None;
    }
    let why = why_missing(panel.scene)?;
    ui.label(RichText::new(why).color(theme::palette(ui).quiet));
    let button = ui.button("Preprocess this scan");
    button.clicked().then_some(Command::Prepare)
}

fn contrast_ui(ui: &mut Ui, view: &mut ViewState) -> Option<Command> {
    let mut command = None;
    egui::ComboBox::from_id_salt("preset")
        .selected_text("Preset…")
        .width(200.0)
        .show_ui(ui, |ui| {
            for preset in Preset::ALL {
                if ui.selectable_label(false, preset.name()).clicked() {
                    command = Some(Command::Window(preset));
                }
            }
        })
        .response
        .accessible_name("Contrast preset");
    let speed = view.window_level.window / 200.0;
    ui.horizontal(|ui| {
        ui.label("Window");
        let drag = egui::DragValue::new(&mut view.window_level.window).speed(speed);
        ui.add(drag.range(f32::MIN_POSITIVE..=f32::MAX))
            .accessible_name("Window");
        ui.label("Level");
        let drag = egui::DragValue::new(&mut view.window_level.level).speed(speed);
        ui.add(drag).accessible_name("Level");
    });
    command
}

fn display_ui(ui: &mut Ui, settings: &mut Settings) {
    let choice = |ui: &mut Ui, label: &str, content: &mut dyn FnMut(&mut Ui)| {
        ui.horizontal_wrapped(|ui| {
            ui.label(label);
            content(ui);
        });
    };
    choice(ui, "Between voxels (I)", &mut |ui| {
        let value = &mut settings.interpolation;
        ui.selectable_value(value, Interpolation::Nearest, "Nearest");
        ui.selectable_value(value, Interpolation::Linear, "Linear");
    });
    choice(ui, "Nose, sagittal (S)", &mut |ui| {
        let value = &mut settings.sides.nose;
        ui.selectable_value(value, Nose::Left, "Left");
        ui.selectable_value(value, Nose::Right, "Right");
    });
    choice(ui, "Wheel", &mut |ui| {
        let value = &mut settings.wheel;
        ui.selectable_value(value, WheelAction::Slices, "Slices");
        ui.selectable_value(value, WheelAction::Zoom, "Zoom");
    });
    choice(ui, "Right drag up", &mut |ui| {
        let value = &mut settings.level_drag;
        ui.selectable_value(value, LevelDrag::UpIsDarker, "Darker");
        ui.selectable_value(value, LevelDrag::UpIsBrighter, "Brighter");
    });
    choice(ui, "Slices in the mosaic", &mut |ui| {
        for n in MosaicSize::CHOICES {
            ui.selectable_value(&mut settings.mosaic, MosaicSize(n), n.to_string());
        }
    });
    choice(ui, "Panels (T)", &mut |ui| {
        ui.selectable_value(&mut settings.theme, Theme::Dark, "Dark");
        ui.selectable_value(&mut settings.theme, Theme::Light, "Light");
    });
    ui.checkbox(&mut settings.marks.crosshair, "Crosshair (X)");
    ui.checkbox(&mut settings.marks.letters, "Letters (L)");
    ui.checkbox(&mut settings.marks.scale_bar, "Scale bar");
}
