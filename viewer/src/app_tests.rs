//! The viewer as its user meets it, without a display: clicks, keys and what is then on the screen.

use std::path::Path;

use eframe::egui::{Event, MouseWheelUnit, PointerButton, Pos2, Role, TouchPhase};
use egui_kittest::Harness;
use egui_kittest::kittest::Queryable as _;

use super::*;

type Window = Harness<'static, Option<Viewer>>;

fn open(subjects: Vec<Subject>, predictor: Option<Arc<dyn Predictor>>) -> Window {
    let mut params = Some(ViewerParams {
        subjects,
        predictor,
        title: "test".into(),
    });
    let mut window = Harness::builder()
        .with_size(Vec2::new(1400.0, 900.0))
        .build_ui_state(
            move |ui, state: &mut Option<Viewer>| {
                let viewer = state
                    .get_or_insert_with(|| Viewer::new(ui.ctx(), params.take().unwrap()).unwrap());
                viewer.ui(ui);
            },
            None,
        );
    settle(&mut window);
    window
}

fn settle(window: &mut Window) {
    window.step();
    viewer_mut(window).finish_loading();
    window.run();
    assert!(!viewer(window).is_loading());
}

fn viewer(window: &Window) -> &Viewer {
    window.state().as_ref().unwrap()
}

fn viewer_mut(window: &mut Window) -> &mut Viewer {
    window.state_mut().as_mut().unwrap()
}

fn crosshair(window: &Window) -> [usize; 3] {
    viewer(window).view.as_ref().unwrap().1.crosshair
}

/// A scan of 8 × 9 × 10 voxels named `sub-01`, and a text file named `sub-02`.
fn good_and_bad(folder: &Path) -> Vec<Subject> {
    let (good, bad) = (folder.join("sub-01.nii"), folder.join("sub-02.nii"));
    crate::phantom::write(&good, [8, 9, 10]);
    fs_err::write(&bad, "no scan at all").unwrap();
    let mut subjects = vec![Subject::from_path(good), Subject::from_path(bad)];
    subjects[0].age_years = Some(60.0);
    subjects
}

fn button(window: &Window, pos: Pos2, button: PointerButton, pressed: bool) {
    window.event(Event::PointerButton {
        pos,
        button,
        pressed,
        modifiers: Modifiers::NONE,
    });
}

#[test]
fn opening_a_scan_shows_the_middle_slice_of_its_three_planes() {
    let folder = tempfile::tempdir().unwrap();
    let window = open(good_and_bad(folder.path()), None);
    let values = [
        ("Axial", "6 of 10"),
        ("Sagittal", "5 of 8"),
        ("Coronal", "5 of 9"),
    ];
    for (plane, expected) in values {
        let name = format!("{plane} slice");
        let pane = window.get_by_role_and_label(Role::Slider, &name);
        // 1 + 4 + 10·4 + 100·5
        assert_eq!(pane.value(), Some(format!("{expected}, intensity 545")));
    }
    window.get_by_label("8×9×10");
    assert!(
        viewer(&window)
            .textures
            .iter()
            .all(|texture| texture.n_uploads == 1)
    );
}

#[test]
fn keys_move_the_slices_at_once_and_only_the_plane_that_changed_is_uploaded() {
    let folder = tempfile::tempdir().unwrap();
    let mut window = open(good_and_bad(folder.path()), None);
    window.key_press(Key::ArrowUp);
    window.key_press(Key::ArrowUp);
    window.key_press(Key::ArrowDown);
    window.run();
    assert_eq!(crosshair(&window), [4, 4, 6]);
    window.get_by_label("Coronal slice").focus();
    window.run();
    window.key_press(Key::PageDown);
    window.run();
    assert_eq!(crosshair(&window), [4, 0, 6]);
    let uploads = Plane::ALL.map(|plane| {
        let position = Plane::ALL.iter().position(|p| *p == plane).unwrap();
        viewer(&window).textures[position].n_uploads
    });
    // The first frame after each key changes one plane: three keys for axial, one for coronal.
    assert_eq!(uploads, [4, 1, 2]);
}

#[test]
fn an_unreadable_scan_shows_its_reason_and_the_viewer_lives_on() {
    let folder = tempfile::tempdir().unwrap();
    let mut window = open(good_and_bad(folder.path()), None);
    window.get_by_label_contains("sub-02,").click();
    window.step();
    window.step();
    settle(&mut window);
    window.get_by_label_contains("sub-02.nii`");
    assert!(window.query_by_label("Axial slice").is_none());
    window.key_press(Key::P);
    settle(&mut window);
    window.get_by_label("Axial slice");
}

#[test]
fn a_click_moves_the_crosshair_and_the_wheel_goes_through_slices() {
    let folder = tempfile::tempdir().unwrap();
    let mut window = open(good_and_bad(folder.path()), None);
    let center = window.get_by_label("Axial slice").rect().center();
    let at = center + Vec2::new(-60.0, -60.0);
    window.hover_at(at);
    button(&window, at, PointerButton::Primary, true);
    button(&window, at, PointerButton::Primary, false);
    window.run();
    let [x, y, z] = crosshair(&window);
    // Radiological: the left of the picture is the patient's right.
    assert!(x > 4 && y > 4 && z == 5, "{:?}", [x, y, z]);
    window.event(Event::MouseWheel {
        unit: MouseWheelUnit::Line,
        delta: Vec2::new(0.0, -2.0),
        phase: TouchPhase::Move,
        source: egui::MouseWheelSource::Wheel,
        modifiers: Modifiers::NONE,
    });
    window.run_steps(10);
    assert_eq!(crosshair(&window), [x, y, 3]);
}

#[test]
fn a_right_drag_changes_window_and_level_but_not_the_crosshair() {
    let folder = tempfile::tempdir().unwrap();
    let mut window = open(good_and_bad(folder.path()), None);
    let center = window.get_by_label("Axial slice").rect().center();
    let before = viewer(&window).view.clone().unwrap().1;
    window.hover_at(center);
    button(&window, center, PointerButton::Secondary, true);
    for i in 1..=4u8 {
        window.hover_at(center + Vec2::new(20.0, 10.0) * f32::from(i));
    }
    button(
        &window,
        center + Vec2::new(80.0, 40.0),
        PointerButton::Secondary,
        false,
    );
    window.run();
    let after = viewer(&window).view.clone().unwrap().1;
    assert!(after.window_level.window > before.window_level.window);
    assert!(after.window_level.level < before.window_level.level);
    assert_eq!(after.crosshair, before.crosshair);
}

#[test]
fn the_panel_names_ages_gap_blocks_and_the_reasons_of_quality_control() {
    let folder = tempfile::tempdir().unwrap();
    let mut subjects = good_and_bad(folder.path());
    subjects[0].prediction = Some(Prediction {
        predicted_age_years: Some(64.5),
        corrected_gap_years: Some(3.2),
        block_ages_years: vec![55.0, 61.0, 63.5, 64.5],
        qc: "warn".into(),
        qc_reasons: vec!["head is cut off at the top".into()],
        model: "demo".into(),
        error: None,
    });
    let window = open(subjects, None);
    for text in [
        "64.5 years",
        "60.0 years",
        "+4.5 years",
        "+3.2 years",
        "warn",
        "demo",
    ] {
        window.get_by_label(text);
    }
    window.get_by_label("1: 55.0   2: 61.0   3: 63.5   4: 64.5");
    window.get_by_label("• head is cut off at the top");
    window.get_by_label("sub-01, age 60.0, predicted 64.5, gap +4.5, QC warn");
    assert!(window.query_by_label("Predict age").is_none());
}

#[test]
fn every_screen_and_the_about_box_say_that_it_is_no_medical_device() {
    let mut window = open(Vec::new(), None);
    window.get_by_label(DISCLAIMER);
    window.get_by_label("About").click();
    window.run();
    window.get_by_label_contains("Do not use it for diagnosis");
    window.get_by_label("Close").click();
    window.run();
    assert!(window.query_by_label("Close").is_none());
}

struct AlwaysForty;

impl Predictor for AlwaysForty {
    fn name(&self) -> String {
        "forty".into()
    }

    fn predict(&self, _: &Path, _: &dyn Fn(&str)) -> Result<Prediction, String> {
        let predicted_age_years = Some(40.0);
        Ok(Prediction {
            predicted_age_years,
            model: self.name(),
            ..Prediction::default()
        })
    }
}

#[test]
fn the_button_asks_the_predictor_and_shows_its_answer() {
    let folder = tempfile::tempdir().unwrap();
    let mut window = open(good_and_bad(folder.path()), Some(Arc::new(AlwaysForty)));
    window.get_by_label("Predict age").click();
    window.run_steps(3);
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while viewer(&window).pending.is_some() {
        assert!(std::time::Instant::now() < deadline, "no answer came");
        std::thread::yield_now();
        window.step();
    }
    window.run();
    window.get_by_label("40.0 years");
    window.get_by_label("-20.0 years");
}
