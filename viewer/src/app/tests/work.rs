//! What the panels show, and work that takes its time: predictions, judgments, pictures, folders.

use super::*;

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

struct AlwaysForty;

impl Predictor for AlwaysForty {
    fn name(&self) -> String {
        "forty".into()
    }

    fn predict(
        &self,
        _: &Path,
        age_years: Option<f64>,
        watch: Watch<'_>,
    ) -> Result<Prediction, String> {
        watch.tell("guessing", 0.5);
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

/// Thinks until it is called off.
struct Undecided;

impl Predictor for Undecided {
    fn name(&self) -> String {
        "undecided".into()
    }

    fn predict(&self, _: &Path, _: Option<f64>, watch: Watch<'_>) -> Result<Prediction, String> {
        while !watch.is_canceled() {
            std::thread::yield_now();
        }
        Err("never heard".into())
    }
}

#[test]
fn a_prediction_under_way_can_be_canceled_and_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let mut window = open_with(ViewerParams {
        predictor: Some(Arc::new(Undecided)),
        ..ViewerParams::new(good_and_bad(folder.path()))
    });
    window.get_by_label("Predict age").click();
    window.run_steps(2);
    window.get_by_label("Cancel prediction").click();
    window.run();
    assert!(viewer(&window).predicting.is_none());
    assert_eq!(viewer(&window).subjects[0].prediction, None);
    window.get_by_label("Prediction canceled.");
    window.get_by_label("Predict age");
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
    // As a window system has it: the key and its letter at once.
    let key = Event::Key {
        key: Key::K,
        physical_key: None,
        pressed: true,
        repeat: false,
        modifiers: Modifiers::NONE,
    };
    let letter = Event::Text("k".into());
    window.input_mut().events.extend([key, letter]);
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
