//! The viewer as its user meets it, without a display: clicks, keys and what is then on the screen.

use std::path::Path;
use std::time::{Duration, Instant};

use eframe::egui::{
    Event, Key, Modifiers, MouseWheelUnit, PointerButton, Pos2, Role, TouchPhase, Vec2,
};
use egui_kittest::Harness;
use egui_kittest::kittest::Queryable as _;

use super::*;
use crate::image::plane::{Convention, Plane};
use crate::predictor::Progress;
use crate::settings::Layout;

type Window = Harness<'static, Option<Viewer>>;

fn open(subjects: Vec<Subject>) -> Window {
    open_with(ViewerParams::new(subjects))
}

fn open_with(params: ViewerParams) -> Window {
    let mut params = Some(params);
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
    let ctx = window.ctx.clone();
    viewer_mut(window).finish_loading(&ctx);
    window.run();
    assert!(!viewer(window).is_loading());
}

/// Steps until something that a thread does is done.
fn wait_until(window: &mut Window, what: &str, is_done: impl Fn(&Viewer) -> bool) {
    let deadline = Instant::now() + Duration::from_mins(1);
    while !is_done(viewer(window)) {
        assert!(Instant::now() < deadline, "{what} did not end");
        std::thread::yield_now();
        window.step();
    }
    window.run();
}

fn viewer(window: &Window) -> &Viewer {
    window.state().as_ref().unwrap()
}

fn viewer_mut(window: &mut Window) -> &mut Viewer {
    window.state_mut().as_mut().unwrap()
}

fn crosshair(window: &Window) -> [usize; 3] {
    viewer(window).shown.as_ref().unwrap().view.crosshair
}

fn press(window: &mut Window, key: Key) {
    window.key_press(key);
    window.run();
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

fn wheel(window: &mut Window, lines: f32, modifiers: Modifiers) {
    window.event(Event::MouseWheel {
        unit: MouseWheelUnit::Line,
        delta: Vec2::new(0.0, lines),
        phase: TouchPhase::Move,
        source: egui::MouseWheelSource::Wheel,
        modifiers,
    });
    window.run_steps(30);
}

#[test]
fn opening_a_scan_shows_the_middle_slice_of_its_three_planes() {
    let folder = tempfile::tempdir().unwrap();
    let window = open(good_and_bad(folder.path()));
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
    window.get_by_label("Radiological");
    assert!(
        Plane::ALL
            .iter()
            .all(|plane| viewer(&window).n_uploads(*plane) == 1)
    );
}

#[test]
fn arrows_move_one_voxel_on_the_screen_and_only_planes_that_changed_are_uploaded() {
    let folder = tempfile::tempdir().unwrap();
    let mut window = open(good_and_bad(folder.path()));
    assert_eq!(crosshair(&window), [4, 4, 5]);
    // Radiological: to the right on the screen is to the patient's left.
    press(&mut window, Key::ArrowRight);
    press(&mut window, Key::ArrowUp);
    press(&mut window, Key::PageUp);
    assert_eq!(crosshair(&window), [3, 5, 6]);
    let uploads = Plane::ALL.map(|plane| viewer(&window).n_uploads(plane));
    assert_eq!(uploads, [2, 2, 2]);
    press(&mut window, Key::C);
    window.get_by_label("Neurological");
    press(&mut window, Key::ArrowRight);
    assert_eq!(crosshair(&window), [4, 5, 6]);
    window.get_by_label("Coronal slice").focus();
    window.run();
    press(&mut window, Key::PageDown);
    assert_eq!(crosshair(&window), [4, 4, 6]);
}

#[test]
fn numbers_choose_the_layout_and_changes_can_be_undone() {
    let folder = tempfile::tempdir().unwrap();
    let mut window = open(good_and_bad(folder.path()));
    press(&mut window, Key::Num2);
    assert!(window.query_by_label("Axial slice").is_none());
    window.get_by_label("Coronal slice");
    press(&mut window, Key::Num5);
    window.get_by_label("Axial mosaic");
    press(&mut window, Key::Num5);
    let mosaic = window.get_by_label("Coronal mosaic");
    assert_eq!(mosaic.value().unwrap(), "9 slices, crosshair in slice 5");
    window.key_press_modifiers(Modifiers::COMMAND, Key::Z);
    window.run();
    assert_ne!(
        viewer(&window).settings.now.layout,
        Layout::Mosaic(Plane::Coronal)
    );
    press(&mut window, Key::Num4);
    window.get_by_label("Sagittal slice");
}

#[test]
fn a_click_in_the_mosaic_goes_to_the_slice_of_its_tile() {
    let folder = tempfile::tempdir().unwrap();
    let mut window = open(good_and_bad(folder.path()));
    press(&mut window, Key::Num5);
    let rect = window.get_by_label("Axial mosaic").rect();
    // The first tile is the lowest slice, whichever way the tiles are laid out.
    let at = rect.min + Vec2::splat(30.0);
    window.hover_at(at);
    button(&window, at, PointerButton::Primary, true);
    button(&window, at, PointerButton::Primary, false);
    window.run();
    assert_eq!(crosshair(&window)[2], 0);
}

#[test]
fn an_unreadable_scan_shows_its_reason_and_the_viewer_lives_on() {
    let folder = tempfile::tempdir().unwrap();
    let mut window = open(good_and_bad(folder.path()));
    window.get_by_label_contains("sub-02,").click();
    window.step();
    window.step();
    settle(&mut window);
    window.get_by_label_contains("sub-02.nii`");
    window.get_by_label("Try again");
    assert!(window.query_by_label("Axial slice").is_none());
    window.key_press(Key::P);
    settle(&mut window);
    window.get_by_label("Axial slice");
}

#[test]
fn a_click_moves_the_crosshair_and_the_wheel_goes_through_slices_or_zooms() {
    let folder = tempfile::tempdir().unwrap();
    let mut window = open(good_and_bad(folder.path()));
    let center = window.get_by_label("Axial slice").rect().center();
    let at = center + Vec2::new(-60.0, -60.0);
    window.hover_at(at);
    button(&window, at, PointerButton::Primary, true);
    button(&window, at, PointerButton::Primary, false);
    window.run();
    let [x, y, z] = crosshair(&window);
    // Radiological: the left of the picture is the patient's right.
    assert!(x > 4 && y > 4 && z == 5, "{:?}", [x, y, z]);
    wheel(&mut window, -2.0, Modifiers::NONE);
    assert_eq!(crosshair(&window), [x, y, 3]);
    wheel(&mut window, 3.0, Modifiers::COMMAND);
    assert_eq!(crosshair(&window), [x, y, 3]);
    assert!(viewer(&window).shown.as_ref().unwrap().view.zoom > 1.2);
}

#[test]
fn a_double_click_shows_one_pane_alone_and_another_all_again() {
    let folder = tempfile::tempdir().unwrap();
    let mut window = open(good_and_bad(folder.path()));
    for expected in [Layout::One(Plane::Coronal), Layout::Three] {
        let at = window.get_by_label("Coronal slice").rect().center();
        window.hover_at(at);
        window.step();
        // All at once: the harness takes a quarter of a second a frame, and egui waits no longer than 0.3.
        for pressed in [true, false, true, false] {
            window.input_mut().events.push(Event::PointerButton {
                pos: at,
                button: PointerButton::Primary,
                pressed,
                modifiers: Modifiers::NONE,
            });
        }
        window.run();
        assert_eq!(viewer(&window).settings.now.layout, expected);
        window.run_steps(4);
    }
}

#[test]
fn a_right_drag_changes_window_and_level_but_not_the_crosshair() {
    let folder = tempfile::tempdir().unwrap();
    let mut window = open(good_and_bad(folder.path()));
    let center = window.get_by_label("Axial slice").rect().center();
    let view = |window: &Window| viewer(window).shown.as_ref().unwrap().view.clone();
    let before = view(&window);
    window.hover_at(center);
    button(&window, center, PointerButton::Secondary, true);
    for i in 1..=4u8 {
        window.hover_at(center + Vec2::new(20.0, 10.0) * f32::from(i));
    }
    let end = center + Vec2::new(80.0, 40.0);
    button(&window, end, PointerButton::Secondary, false);
    window.run();
    let after = view(&window);
    assert!(after.window_level.window > before.window_level.window);
    assert!(after.window_level.level < before.window_level.level);
    assert_eq!(after.crosshair, before.crosshair);
    press(&mut window, Key::A);
    assert_eq!(view(&window).window_level, before.window_level);
}

#[test]
fn the_panel_names_ages_interval_gap_blocks_and_the_reasons_of_quality_control() {
    let folder = tempfile::tempdir().unwrap();
    let mut subjects = good_and_bad(folder.path());
    subjects[0].prediction = Some(Prediction {
        predicted_age_years: Some(64.5),
        interval_years: Some([58.1, 70.9]),
        corrected_gap_years: Some(3.2),
        block_ages_years: vec![55.0, 61.0, 63.5, 64.5],
        qc: "warn".into(),
        qc_reasons: vec!["head is cut off at the top".into()],
        model: "demo".into(),
        error: None,
    });
    let window = open(subjects);
    for text in [
        "64.5 years",
        "between 58.1 and 70.9 years",
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
fn a_click_on_a_point_of_the_scatter_opens_its_subject() {
    let folder = tempfile::tempdir().unwrap();
    let mut subjects = good_and_bad(folder.path());
    for (subject, [age, predicted]) in subjects.iter_mut().zip([[20.0, 20.0], [80.0, 80.0]]) {
        subject.age_years = Some(age);
        subject.prediction = Some(Prediction {
            predicted_age_years: Some(predicted),
            ..Prediction::default()
        });
    }
    let mut window = open(subjects);
    window.get_by_label("Cohort").click();
    window.run();
    let plot = window
        .get_by_label("Predicted against chronological age")
        .rect();
    // Both points lie on the diagonal about the middle, since a year is as long in both directions.
    let found = (20..130u8).step_by(5).any(|i| {
        let at = plot.center() + Vec2::new(1.0, -1.0) * f32::from(i);
        window.hover_at(at);
        button(&window, at, PointerButton::Primary, true);
        button(&window, at, PointerButton::Primary, false);
        window.run_steps(4);
        viewer(&window).selected == 1
    });
    assert!(found, "no click near the corner opened the second subject");
    window.get_by_label("Histogram of gaps");
}

#[test]
fn every_screen_and_the_about_box_say_that_it_is_no_medical_device() {
    let mut window = open(Vec::new());
    window.get_by_label(DISCLAIMER);
    window.get_by_label("About").click();
    window.run();
    window.get_by_label_contains("Do not use it for diagnosis");
    window.get_by_label("Close").click();
    window.run();
    assert!(window.query_by_label("Close").is_none());
    press(&mut window, Key::Questionmark);
    window.get_by_label("Keys and mouse");
    window.get_by_label("next scan");
    press(&mut window, Key::Escape);
    assert!(window.query_by_label("Keys and mouse").is_none());
}

struct AlwaysForty;

impl Predictor for AlwaysForty {
    fn name(&self) -> String {
        "forty".into()
    }

    fn predict(
        &self,
        _: &Path,
        age_years: Option<f64>,
        progress: &dyn Fn(Progress),
    ) -> Result<Prediction, String> {
        progress(Progress::new("guessing", 0.5));
        Ok(Prediction {
            predicted_age_years: Some(40.0),
            corrected_gap_years: age_years.map(|age| 41.0 - age),
            model: self.name(),
            ..Prediction::default()
        })
    }
}

#[test]
fn the_button_asks_the_predictor_and_shows_its_answer() {
    let folder = tempfile::tempdir().unwrap();
    let mut window = open_with(ViewerParams {
        predictor: Some(Arc::new(AlwaysForty)),
        ..ViewerParams::new(good_and_bad(folder.path()))
    });
    window.get_by_label("Predict age").click();
    window.run_steps(2);
    wait_until(&mut window, "the prediction", |viewer| {
        viewer.predicting.is_none() && viewer.subjects[0].prediction.is_some()
    });
    window.get_by_label("40.0 years");
    window.get_by_label("-20.0 years");
    window.get_by_label("-19.0 years");
}

#[test]
fn judging_goes_from_scan_to_scan_and_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let table = folder.path().join("qc_review.csv");
    let mut window = open_with(ViewerParams {
        review: Some(table.clone()),
        ..ViewerParams::new(good_and_bad(folder.path()))
    });
    press(&mut window, Key::Y);
    assert!(!table.exists(), "without the walk the key does nothing");
    press(&mut window, Key::Q);
    window.get_by_label("0 of 2 judged");
    window.key_press(Key::K);
    window.run();
    window.get_by_label("Comment (K)").type_text("fine");
    window.run();
    window.get_by_label("Accept (Y)").click();
    window.step();
    window.step();
    settle(&mut window);
    assert_eq!(viewer(&window).selected, 1);
    window.get_by_label("1 of 2 judged");
    press(&mut window, Key::U);
    viewer_mut(&mut window).jobs.finish();
    let text = fs_err::read_to_string(table).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert!(
        lines[1].ends_with("sub-01.nii,sub-01,accept,fine"),
        "{text}"
    );
    assert!(lines[2].ends_with("sub-02.nii,sub-02,reject,"), "{text}");
}

#[test]
fn pictures_and_the_list_are_saved_where_one_says() {
    let folder = tempfile::tempdir().unwrap();
    let mut window = open(good_and_bad(folder.path()));
    for (kind, name) in [
        (crate::commands::SaveKind::Picture, "a.png"),
        (crate::commands::SaveKind::Montage, "b.png"),
        (crate::commands::SaveKind::List, "c.csv"),
    ] {
        let ctx = window.ctx.clone();
        let path = folder.path().join(name);
        viewer_mut(&mut window).apply(&ctx, Command::Save(kind, path.clone()));
        let outcomes = viewer_mut(&mut window).jobs.finish();
        assert_eq!(outcomes, [Ok(Some(format!("Saved: {}", path.display())))]);
        assert!(fs_err::metadata(path).unwrap().len() > 100);
    }
    window.key_press_modifiers(Modifiers::COMMAND, Key::S);
    window.run();
    window.get_by_label("Save the slices as a picture");
    window.get_by_label("Cancel").click();
    window.run();
    assert!(
        window
            .query_by_label("Save the slices as a picture")
            .is_none()
    );
}

#[test]
fn dropped_folders_are_searched_and_a_run_brings_its_curves() {
    let folder = tempfile::tempdir().unwrap();
    good_and_bad(folder.path());
    let run = tempfile::tempdir().unwrap();
    let epoch = "{\"event\":\"epoch\",\"epoch\":0,\"step\":9,\"mae_years\":[9.5,8.5]}\n";
    fs_err::write(run.path().join("metrics.jsonl"), epoch).unwrap();
    let mut window = open_with(ViewerParams {
        open: vec![folder.path().to_path_buf(), run.path().to_path_buf()],
        start: crate::Start {
            panel: Some(crate::StartPanel::Run),
            ..crate::Start::default()
        },
        ..ViewerParams::new(Vec::new())
    });
    window.get_by_label_contains("sub-01,");
    window.get_by_label("2 scans");
    wait_until(&mut window, "reading the log", |viewer| {
        let run = viewer.run.as_ref().unwrap();
        run.curves.as_ref().is_ok_and(|curves| curves.n_epochs == 1)
    });
    // What was read is on the screen with the next frame.
    window.run();
    window.get_by_label("9 steps, 1 epochs; last training MAE by block 9.5, 8.5 years");
}

#[test]
fn a_thousand_subjects_stay_fluid() {
    let subjects = (0..1000).map(|i| {
        let mut subject = Subject::from_path(format!("/nowhere/sub-{i:04}.nii").into());
        subject.age_years = Some(20.0 + f64::from(i % 60));
        subject.prediction = Some(Prediction {
            predicted_age_years: Some(25.0 + f64::from(i % 50)),
            ..Prediction::default()
        });
        subject
    });
    let mut window = open(subjects.collect());
    let begun = Instant::now();
    for _ in 0..20 {
        window.step();
    }
    let a_frame = begun.elapsed() / 20;
    // 2 ms when measured alone; a loaded machine may take its time, but not what a full layout of all rows takes.
    assert!(a_frame < Duration::from_millis(60), "{a_frame:?}");
    window.get_by_label("1000 scans");
}

#[test]
fn what_was_chosen_is_remembered_and_the_default_is_radiological() {
    let folder = tempfile::tempdir().unwrap();
    let settings = folder.path().join("viewer.toml");
    let open_again = || {
        open_with(ViewerParams {
            settings: Some(settings.clone()),
            ..ViewerParams::new(good_and_bad(folder.path()))
        })
    };
    let mut window = open_again();
    let convention = |window: &Window| viewer(window).settings.now.sides.convention;
    assert_eq!(convention(&window), Convention::Radiological);
    press(&mut window, Key::C);
    press(&mut window, Key::T);
    drop(window);
    let window = open_again();
    assert_eq!(convention(&window), Convention::Neurological);
    assert!(!window.ctx.global_style().visuals.dark_mode);
}
