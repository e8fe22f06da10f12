//! `brainage predict` as its user runs it, with scans and models that are not as they should be.
//!
//! The model is the one of the self-test; what a test needs of it that it is not, it changes and saves under another name.

#![expect(clippy::expect_used, reason = "what fails in a helper fails its test")]

mod program;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use brainage::eval::conformal::{ConformalInterval, HalfWidth, Scale};
use brainage::model_file::{Model, ModelFacts, TrainingImages};
use brainage::predict::row::PredictionRow;
use brainage::predict::table::{partial_path, read_predictions};
use brainage_pipelines::format::{read_scan, write_nifti};
use burn::tensor::Device;
use program::{Answer, brainage, check_refusal};

const MODEL: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/assets/selftest/model.safetensors"
);

fn at(folder: &Path, words: &str) -> Answer {
    let words: Vec<&str> = words.split(' ').collect();
    brainage(folder, &words).expect("the program runs")
}

/// Synthetic heads that all tests copy from; made once.
static ALL_HEADS: LazyLock<tempfile::TempDir> = LazyLock::new(|| {
    let folder = tempfile::tempdir().expect("a folder");
    let synth = "synth --layout folder --subjects 12 --voxel-size 4 --out heads";
    let answer = at(folder.path(), synth);
    assert_eq!(answer.code, Some(0), "{}", answer.stderr);
    folder
});

/// A folder with the model and the first heads as `heads/*.nii.gz`, with their `heads/ages.csv`.
fn with_heads(n: usize) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let own = folder.path().join("heads");
    fs_err::create_dir(&own).expect("made");
    for scan in &heads(ALL_HEADS.path())[..n] {
        fs_err::copy(scan, own.join(scan.file_name().expect("a name"))).expect("copied");
    }
    let ages = ALL_HEADS.path().join("heads/ages.csv");
    let ages = fs_err::read_to_string(ages).expect("ages");
    let first: Vec<&str> = ages.lines().take(n + 1).collect();
    fs_err::write(own.join("ages.csv"), first.join("\n")).expect("written");
    fs_err::copy(MODEL, folder.path().join("m.safetensors")).expect("copied");
    folder
}

fn heads(folder: &Path) -> Vec<PathBuf> {
    let entries = fs_err::read_dir(folder.join("heads")).expect("a folder");
    let mut scans: Vec<PathBuf> = entries
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.to_string_lossy().ends_with(".nii.gz"))
        .collect();
    scans.sort();
    scans
}

fn rows(folder: &Path) -> Vec<PredictionRow> {
    read_predictions(&folder.join("p.csv")).expect("a table")
}

/// Saves the model with other facts as `changed.safetensors`.
fn change_model(folder: &Path, change: impl FnOnce(&mut ModelFacts)) {
    let mut model = Model::load(Path::new(MODEL), &Device::flex()).expect("the model");
    change(&mut model.description.facts);
    let path = folder.join("changed.safetensors");
    model.save(&path).expect("saved");
}

#[test]
fn every_scan_gets_its_row_in_order_with_its_age_and_what_to_beware_of() {
    let folder = with_heads(5);
    let first = heads(folder.path())[0].clone();
    // One of the scans trained the model, and the model has an interval of ±10 years and knows ages 40 to 50 only.
    let bytes = fs_err::read(&first).expect("the scan");
    let hash = blake3::hash(&bytes).to_hex().to_string();
    change_model(folder.path(), |facts| {
        facts.training_images = TrainingImages::of(std::iter::once(hash.as_str()));
        facts.training.age_range_years = [40.0, 50.0];
        facts.interval = Some(ConformalInterval {
            scale: Scale::Years,
            n: 19,
            half_widths: vec![HalfWidth {
                coverage: 0.9,
                width: 10.0,
            }],
        });
    });
    let words = "predict heads --model changed.safetensors --ages heads/ages.csv --out p.csv";
    let answer = at(folder.path(), words);
    assert_eq!(answer.code, Some(0), "{}", answer.stderr);
    for said in ["of memory", "in_training", "outside the training ages"] {
        assert!(
            answer.stderr.contains(said),
            "no `{said}`: {}",
            answer.stderr
        );
    }
    let rows = rows(folder.path());
    let named: Vec<PathBuf> = rows
        .iter()
        .map(|row| folder.path().join(&row.scan))
        .collect();
    assert_eq!(named, heads(folder.path()));
    for row in &rows {
        let (predicted, age) = (row.predicted_age_years.unwrap(), row.age_years.unwrap());
        assert_eq!(row.gap_years, Some(predicted - age));
        let [low, high] = row.interval_years().unwrap();
        assert!((predicted - low - 10.0).abs() < 1e-9 && (high - predicted - 10.0).abs() < 1e-9);
        assert_eq!(row.coverage, Some(0.9));
        let outside = !(40.0..=50.0).contains(&age);
        let warned = row
            .warnings
            .iter()
            .any(|warning| warning.starts_with("age "));
        assert_eq!(warned, outside, "{row:?}");
    }
    let learned: Vec<bool> = rows.iter().map(|row| row.in_training.is_some()).collect();
    assert_eq!(learned, [true, false, false, false, false]);
    let again = at(folder.path(), &format!("{words} --coverage 0.8"));
    check_refusal(&again, 2, &["no interval for a share of 0.8", "hint: "]);
}

#[test]
fn broken_files_keep_their_reason_and_the_rest_goes_on() {
    let folder = with_heads(10);
    let broken = heads(folder.path())[4].clone();
    let bytes = fs_err::read(&broken).expect("the scan");
    fs_err::write(&broken, &bytes[..bytes.len() / 2]).expect("cut");
    let answer = at(
        folder.path(),
        "predict heads --model m.safetensors --out p.csv",
    );
    assert_eq!(answer.code, Some(3), "{}", answer.stderr);
    let rows = rows(folder.path());
    assert_eq!(rows.len(), 10);
    for (number, row) in rows.iter().enumerate() {
        assert_eq!(row.error.is_some(), number == 4, "{row:?}");
        assert_eq!(row.predicted_age_years.is_none(), number == 4);
    }
}

#[test]
fn a_scan_that_fails_quality_control_is_predicted_and_told() {
    let folder = with_heads(1);
    let scan = heads(folder.path())[0].clone();
    let whole = read_scan(&scan).expect("a scan").volume;
    let shape = whole.shape();
    // Bright where it was dark: no T1 contrast.
    let most = whole.values().iter().copied().fold(0.0_f32, f32::max);
    let negative = whole.map(|value| {
        if *value > 0.1 * most {
            most - value
        } else {
            *value
        }
    });
    assert_eq!(negative.shape(), shape);
    write_nifti(&scan, &negative, "synthetic, negative").expect("written");
    let answer = at(
        folder.path(),
        "predict heads --model m.safetensors --out p.csv",
    );
    let rows = rows(folder.path());
    let row = &rows[0];
    assert_eq!(answer.code, Some(0), "{}", answer.stderr);
    assert_eq!(row.qc.map(|qc| qc.to_string()).as_deref(), Some("fail"));
    assert!(!row.qc_reasons.is_empty());
    assert!(
        answer.stderr.contains("failed quality control"),
        "{}",
        answer.stderr
    );
}

#[test]
fn a_folder_without_scans_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    fs_err::create_dir(folder.path().join("empty")).expect("made");
    let answer = at(folder.path(), &format!("predict empty --model {MODEL}"));
    check_refusal(&answer, 2, &["no scans found", "empty"]);
}

#[test]
fn models_that_are_no_ground_for_a_number_are_refused_by_name() {
    let folder = with_heads(1);
    let predict = |model: &str| at(folder.path(), &format!("predict heads --model {model}"));
    let bytes = fs_err::read(MODEL).expect("the model");
    fs_err::write(
        folder.path().join("cut.safetensors"),
        &bytes[..bytes.len() / 2],
    )
    .expect("cut");
    check_refusal(&predict("cut.safetensors"), 1, &["cut.safetensors"]);
    change_model(folder.path(), |facts| facts.grid = [96, 112, 96]);
    check_refusal(
        &predict("changed.safetensors"),
        1,
        &["grid of the recipe", "changed.safetensors"],
    );
    change_model(folder.path(), |facts| facts.training.epochs = 0);
    check_refusal(&predict("changed.safetensors"), 1, &["never trained"]);
    change_model(folder.path(), |facts| facts.recipe_hash = "0".repeat(64));
    check_refusal(&predict("changed.safetensors"), 1, &["recipe and its hash"]);
    let twice = predict("m.safetensors --model m.safetensors");
    check_refusal(&twice, 1, &["the first model once more"]);
    assert!(!folder.path().join("predictions.csv").exists());
}

#[test]
fn scans_without_an_age_are_predicted_without_a_gap() {
    let folder = with_heads(3);
    let ages = fs_err::read_to_string(folder.path().join("heads/ages.csv")).expect("ages");
    let some: Vec<&str> = ages.lines().take(3).collect();
    fs_err::write(folder.path().join("some.csv"), some.join("\n")).expect("written");
    let words = "predict heads --model m.safetensors --ages some.csv --out p.csv";
    assert_eq!(at(folder.path(), words).code, Some(0));
    let gaps: Vec<bool> = rows(folder.path())
        .iter()
        .map(|row| row.gap_years.is_some())
        .collect();
    assert_eq!(gaps.iter().filter(|known| **known).count(), 2);
    assert!(rows(folder.path()).iter().all(|row| row.error.is_none()));
}

#[test]
fn copies_and_an_ensemble_say_how_far_they_lie_apart() {
    let folder = with_heads(1);
    // The same network under another scaling of its target: two different models of one recipe.
    let mut model = Model::load(Path::new(MODEL), &Device::flex()).expect("the model");
    model.description.facts.target.scaling.mean_years += 4.0;
    model.description.weights_hash = "f".repeat(64);
    let shifted = folder.path().join("shifted.safetensors");
    Model::new(model.description.facts.clone(), &model.network.blocks)
        .save(&shifted)
        .expect("saved");
    let predict = |rest: &str| {
        let answer = at(folder.path(), &format!("predict heads --out p.csv {rest}"));
        assert_eq!(answer.code, Some(0), "{}", answer.stderr);
        rows(folder.path()).remove(0)
    };
    let plain = predict("--model m.safetensors");
    assert_eq!((plain.tta_sd_years, plain.models_sd_years), (None, None));
    let copies = predict("--model m.safetensors --tta");
    assert!(copies.tta_sd_years.unwrap() > 0.0);
    assert_ne!(copies.predicted_age_years, plain.predicted_age_years);
}

#[test]
fn a_table_is_taken_up_where_it_was_left_also_as_json_lines() {
    let folder = with_heads(4);
    for (out, format) in [("p.csv", "csv"), ("p.jsonl", "jsonl")] {
        let words = format!(
            "predict heads --model m.safetensors --ages heads/ages.csv --out {out} --format {format}"
        );
        assert_eq!(at(folder.path(), &words).code, Some(0));
        let path = folder.path().join(out);
        let whole = read_predictions(&path).expect("a table");
        let text = fs_err::read(&path).expect("bytes");
        fs_err::write(partial_path(&path), &text[..text.len() * 2 / 3]).expect("cut");
        fs_err::remove_file(&path).expect("removed");
        let answer = at(folder.path(), &format!("{words} --resume"));
        assert_eq!(answer.code, Some(0), "{}", answer.stderr);
        let resumed = read_predictions(&path).expect("a table");
        let ages = |rows: &[PredictionRow]| -> Vec<(String, Option<f64>)> {
            rows.iter()
                .map(|row| (row.scan.clone(), row.predicted_age_years))
                .collect()
        };
        assert_eq!(ages(&resumed), ages(&whole));
        assert!(!partial_path(&path).exists());
    }
    // With other scans than it was begun with it is not.
    let list = heads(folder.path())[2].clone();
    let other = format!(
        "predict {} --model m.safetensors --out p.csv --resume",
        list.display()
    );
    check_refusal(
        &at(folder.path(), &other),
        1,
        &["unfinished table has", "hint: "],
    );
}

#[test]
fn a_list_with_remarks_is_a_batch() {
    let folder = with_heads(2);
    let names: Vec<String> = heads(folder.path())
        .iter()
        .rev()
        .map(|path| {
            path.strip_prefix(folder.path())
                .expect("below")
                .display()
                .to_string()
        })
        .collect();
    fs_err::write(
        folder.path().join("list.txt"),
        format!("# two\n{}\n", names.join("\n")),
    )
    .expect("written");
    let answer = at(
        folder.path(),
        "predict --list list.txt --model m.safetensors --out p.csv",
    );
    assert_eq!(answer.code, Some(0), "{}", answer.stderr);
    let found: Vec<String> = rows(folder.path())
        .into_iter()
        .map(|row| row.scan)
        .collect();
    assert_eq!(found, names);
}

#[test]
fn saliency_maps_lie_in_both_spaces_and_are_summed_by_region() {
    let folder = with_heads(2);
    // An atlas of two halves of the head.
    let scan = read_scan(&heads(folder.path())[0]).expect("a scan").volume;
    let world = scan.world_from_voxel();
    let mut atlas = scan.map(|_| 0.0_f32);
    let sides = scan.shape().0;
    for (at, label) in atlas.values_mut().iter_mut().enumerate() {
        let x = world.apply([(at % sides[0]) as f64, 0.0, 0.0])[0];
        *label = if x < 0.0 { 1.0 } else { 2.0 };
    }
    write_nifti(&folder.path().join("atlas.nii"), &atlas, "halves").expect("written");
    fs_err::write(
        folder.path().join("names.tsv"),
        "index\tname\n1\tleft\n2\tright\n",
    )
    .expect("written");
    let words = "predict heads --model m.safetensors --out p.csv --saliency maps \
                 --saliency-method gradient,occlusion --atlas atlas.nii --atlas-labels names.tsv";
    let words = words.split_whitespace().collect::<Vec<_>>().join(" ");
    let answer = at(folder.path(), &words);
    assert_eq!(answer.code, Some(0), "{}", answer.stderr);
    assert!(
        rows(folder.path())
            .iter()
            .all(|row| row.warnings.iter().all(|w| !w.contains("saliency")))
    );
    let maps = folder.path().join("maps");
    let name = heads(folder.path())[0]
        .file_name()
        .unwrap()
        .to_string_lossy()
        .into_owned();
    let stem = name.trim_end_matches(".nii.gz");
    for method in ["gradient", "occlusion"] {
        let native = read_scan(&maps.join(format!("{stem}_saliency-{method}.nii.gz"))).unwrap();
        assert_eq!(native.volume.shape(), scan.shape());
        let mni = maps.join(format!("{stem}_space-MNI_saliency-{method}.nii.gz"));
        let mni = read_scan(&mni).unwrap().volume;
        assert!(mni.values().iter().any(|value| *value != 0.0));
        let mean = maps.join(format!("mean_space-MNI_saliency-{method}.nii.gz"));
        assert_eq!(read_scan(&mean).unwrap().volume.shape(), mni.shape());
    }
    let regions = fs_err::read_to_string(maps.join("regions.csv")).unwrap();
    // Header; two scans and their mean, two methods, two regions.
    assert_eq!(regions.lines().count(), 1 + 3 * 2 * 2, "{regions}");
    assert!(regions.contains(",gradient,1,left,"), "{regions}");
    assert_eq!(
        fs_err::read_to_string(maps.join("maps.csv"))
            .unwrap()
            .lines()
            .count(),
        1 + 2 * 2 * 2 + 2
    );
}

#[cfg(unix)]
mod on_unix {
    use super::*;

    fn begin(folder: &Path, words: &str) -> Child {
        Command::new(env!("CARGO_BIN_EXE_brainage"))
            .args(words.split(' '))
            .current_dir(folder)
            .env_remove("BRAINAGE_LOG")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("started")
    }

    /// Until the unfinished table has some rows; answers whether it came to that before the end.
    fn wait_for_rows(folder: &Path, n: usize) -> bool {
        let begun = Instant::now();
        let table = partial_path(&folder.join("p.csv"));
        while begun.elapsed() < Duration::from_mins(2) {
            let text = fs_err::read_to_string(&table).unwrap_or_default();
            if text.lines().count() > n {
                return true;
            }
            if folder.join("p.csv").exists() {
                return false;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        false
    }

    fn signal(name: &str, child: &Child) {
        let sent = Command::new("kill")
            .args([name, &child.id().to_string()])
            .status();
        assert!(sent.expect("kill is there").success());
    }

    const WORDS: &str = "predict heads --model m.safetensors --out p.csv --cache c --jobs 1";

    #[test]
    fn what_was_predicted_before_a_kill_is_kept_and_not_done_again() {
        let folder = with_heads(12);
        let mut child = begin(folder.path(), WORDS);
        assert!(wait_for_rows(folder.path(), 3), "killed too late");
        signal("-KILL", &child);
        child.wait().expect("ended");
        assert!(!folder.path().join("p.csv").exists());
        let kept = read_predictions(&partial_path(&folder.path().join("p.csv")));
        assert!(kept.is_ok_and(|rows| rows.len() >= 3));
        let answer = at(folder.path(), &format!("{WORDS} --resume"));
        assert_eq!(answer.code, Some(0), "{}", answer.stderr);
        assert_eq!(rows(folder.path()).len(), 12);
    }

    #[test]
    fn ctrl_c_ends_after_the_scan_in_hand_and_says_how_to_go_on() {
        let folder = with_heads(12);
        let mut child = begin(folder.path(), WORDS);
        assert!(wait_for_rows(folder.path(), 2), "stopped too late");
        signal("-INT", &child);
        assert_eq!(child.wait().expect("ended").code(), Some(1));
        assert!(!folder.path().join("p.csv").exists());
        assert_eq!(
            at(folder.path(), &format!("{WORDS} --resume")).code,
            Some(0)
        );
        assert_eq!(rows(folder.path()).len(), 12);
    }

    #[test]
    fn a_folder_that_cannot_be_written_is_named_before_any_work() {
        let folder = with_heads(1);
        // A file where the folder should be stops even root.
        fs_err::write(folder.path().join("out"), "").expect("written");
        let answer = at(
            folder.path(),
            "predict heads --model m.safetensors --out out/p.csv",
        );
        check_refusal(&answer, 1, &["out"]);
    }

    #[test]
    fn a_full_disk_is_told_and_the_rows_before_it_are_kept() {
        let folder = with_heads(4);
        // Long names make long rows: four of them are more than a page.
        let long = "h".repeat(250);
        let deep = folder.path().join(&long).join(&long).join(&long);
        fs_err::create_dir_all(&deep).expect("made");
        fs_err::rename(folder.path().join("heads"), deep.join(&long)).expect("moved");
        let disk = folder.path().join("disk");
        fs_err::create_dir(&disk).expect("made");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=4k", "tmpfs"])
            .arg(&disk)
            .output();
        if !mounted.is_ok_and(|output| output.status.success()) {
            eprintln!("skipped: a small file system can be mounted by the administrator only");
            return;
        }
        let words = format!("predict {long} --model m.safetensors --cache c --out");
        let answer = at(folder.path(), &format!("{words} disk/p.csv"));
        let kept = fs_err::read(partial_path(&disk.join("p.csv"))).unwrap_or_default();
        let unmounted = Command::new("umount").arg(&disk).status();
        assert!(unmounted.is_ok_and(|status| status.success()));
        assert_eq!(answer.code, Some(1), "{}", answer.stderr);
        assert!(answer.stderr.contains("No space left"), "{}", answer.stderr);
        fs_err::write(partial_path(&folder.path().join("p.csv")), kept).expect("written");
        let resumed = at(folder.path(), &format!("{words} p.csv --resume"));
        assert_eq!(resumed.code, Some(0), "{}", resumed.stderr);
        assert_eq!(rows(folder.path()).len(), 4);
    }
}
