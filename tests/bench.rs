//! `bench` as its user runs it: measured numbers are positive and told from computed ones.

mod program;

use serde_json::Value;

use program::{brainage, check_refusal};

#[test]
fn bench_pipeline_tells_measured_from_computed_numbers() {
    let folder = tempfile::tempdir().unwrap();
    let arguments = [
        "bench",
        "pipeline",
        "--json",
        "--batches=1",
        "--repeats=2",
        "--set=train.batch_size=1",
        "--set=model.width=0.25",
        "--set=model.head=gap-linear",
    ];
    let answer = brainage(folder.path(), &arguments).unwrap();
    assert_eq!(answer.code, Some(0), "{}", answer.stderr);
    let json: Value = serde_json::from_str(&answer.stdout).unwrap();
    assert!(json["machine"]["threads"].as_u64().unwrap() > 0);
    let rows = json["rows"].as_array().unwrap();
    let row = |name: &str| rows.iter().find(|row| row["name"] == name).unwrap();
    for name in [
        "block-1/local-step",
        "block-4/forward",
        "local/1",
        "run-even/2",
    ] {
        let row = row(name);
        assert_eq!(
            (&row["measured"], &row["repeats"]),
            (&true.into(), &2.into()),
            "{name}"
        );
        let [min, median, max] = ["min", "seconds", "max"].map(|key| row[key].as_f64().unwrap());
        assert!(0.0 < min && min <= median && median <= max, "{name}");
    }
    assert_eq!(row("backprop/1")["speedup"], 1.0);
    for name in [
        "data-parallel/4",
        "gpipe-m4/2",
        "1f1b-m16/4",
        "block-local-replicas/4",
    ] {
        assert_eq!(row(name)["measured"], false, "{name}");
        assert_eq!(row(name)["min"], Value::Null, "{name}");
    }
    // On one device the computed pipeline is the sum of the measured blocks.
    let blocks = (1..=4).map(|n| {
        row(&format!("block-{n}/local-step"))["seconds"]
            .as_f64()
            .unwrap()
    });
    let computed = row("block-local/1")["seconds"].as_f64().unwrap();
    assert!((computed - blocks.sum::<f64>()).abs() < 1e-9);
}

#[test]
fn bench_pipeline_refuses_devices_of_several_kinds() {
    let folder = tempfile::tempdir().unwrap();
    let answer = brainage(
        folder.path(),
        &["bench", "pipeline", "--devices", "cpu:0,cpu"],
    )
    .unwrap();
    check_refusal(&answer, 2, &["several kinds", "hint: "]);
}

/// Every number of `keys` in `row` is above 0, and the shortest time is no longer than the longest.
fn check_measured(row: &Value, keys: &[&str]) {
    for key in keys {
        let number = row[key].as_f64().unwrap_or(f64::NAN);
        assert!(number > 0.0, "{key} in {row}");
    }
    let [min, median, max] =
        ["min", "seconds", "max"].map(|key| row[key].as_f64().unwrap_or(f64::NAN));
    assert!(min <= median && median <= max, "{row}");
}

#[test]
fn bench_preprocess_measures_every_stage_and_their_sum() {
    let folder = tempfile::tempdir().unwrap();
    let synth = "synth --layout folder --subjects 1 --voxel-size 3 --out heads";
    let words: Vec<&str> = synth.split(' ').collect();
    assert_eq!(brainage(folder.path(), &words).unwrap().code, Some(0));
    let heads = fs_err::read_dir(folder.path().join("heads")).unwrap();
    let mut names = heads.map(|entry| entry.unwrap().path().to_string_lossy().into_owned());
    let scan = names.find(|name| name.ends_with(".nii.gz")).unwrap();
    let arguments = ["bench", "preprocess", &scan, "--json", "--repeats=2"];
    let answer = brainage(folder.path(), &arguments).unwrap();
    assert_eq!(answer.code, Some(0), "{}", answer.stderr);
    let json: Value = serde_json::from_str(&answer.stdout).unwrap();
    assert_eq!(json["recipe"], "standard");
    let rows = json["rows"].as_array().unwrap();
    let what: Vec<_> = rows.iter().map(|row| row["what"].as_str()).collect();
    let expected = [
        "read",
        "register",
        "judge",
        "prepare",
        "resample",
        "normalize",
        "all",
    ];
    assert_eq!(what, expected.map(Some));
    for row in rows {
        assert_eq!(row["repeats"], 2);
        check_measured(row, &["seconds", "min", "max"]);
    }
    let seconds = |row: &Value| row["max"].as_f64().unwrap();
    let (all, stages) = rows.split_last().unwrap();
    assert!(stages.iter().all(|stage| seconds(stage) <= seconds(all)));
}

#[test]
fn bench_conv_measures_every_algorithm_and_whole_networks() {
    let folder = tempfile::tempdir().unwrap();
    let arguments = [
        "bench",
        "conv",
        "--json",
        "--shapes=small",
        "--threads=1",
        "--repeats=1",
    ];
    let answer = brainage(folder.path(), &arguments).unwrap();
    assert_eq!(answer.code, Some(0), "{}", answer.stderr);
    let json: Value = serde_json::from_str(&answer.stdout).unwrap();
    assert_eq!(json["threads"], 1);
    assert!(json["peak_gflops"].as_f64().unwrap() > 0.0);

    let rows = json["convolutions"].as_array().unwrap();
    // Four stages, three passes.
    assert_eq!(rows.len(), 12);
    assert_eq!(rows[0]["shape"], "1→8 48×56×48 k3");
    for (row, pass) in rows.iter().zip(
        ["forward", "input-gradient", "weight-gradient"]
            .iter()
            .cycle(),
    ) {
        assert_eq!(
            (&row["network"], &row["pass"]),
            (&"brain-cnn-small".into(), &(*pass).into())
        );
        assert!(row["gflop"].as_f64().unwrap() > 0.0);
        let speeds = row["speeds"].as_array().unwrap();
        let by: Vec<_> = speeds.iter().map(|speed| speed["by"].as_str()).collect();
        assert_eq!(by, ["direct", "gemm", "fft", "burn"].map(Some));
        assert!(by.contains(&row["chosen"].as_str()));
        for speed in speeds {
            check_measured(
                speed,
                &["seconds", "min", "max", "repeats", "gflops", "peak_share"],
            );
        }
    }

    let networks = json["rows"].as_array().unwrap();
    let what: Vec<_> = networks.iter().map(|row| row["what"].as_str()).collect();
    let expected = [
        "forward",
        "backprop, dense",
        "local, dense",
        "backprop, eigen",
        "local, eigen",
    ];
    assert_eq!(what, expected.map(Some));
    assert_eq!(networks[0]["name"], "brain-cnn-small/forward");
    for row in networks {
        assert_eq!((&row["batch"], &row["repeats"]), (&4.into(), &1.into()));
        check_measured(row, &["seconds", "min", "max", "gflop", "gflops"]);
    }
}

#[test]
fn bench_conv_prints_a_table_with_a_mark_at_what_the_program_uses() {
    let folder = tempfile::tempdir().unwrap();
    let arguments = ["bench", "conv", "--shapes=small", "--repeats=1"];
    let answer = brainage(folder.path(), &arguments).unwrap();
    assert_eq!(answer.code, Some(0), "{}", answer.stderr);
    let rows = answer
        .stdout
        .lines()
        .filter(|line| line.contains("gradient") || line.contains("forward "));
    assert_eq!(
        rows.filter(|line| line.contains('*')).count(),
        12,
        "{}",
        answer.stdout
    );
    assert!(answer.stdout.contains("48×56×48, batch 4: local, eigen"));
}

#[test]
fn bench_conv_refuses_shapes_that_it_does_not_know() {
    let folder = tempfile::tempdir().unwrap();
    let answer = brainage(folder.path(), &["bench", "conv", "--shapes", "vgg"]).unwrap();
    check_refusal(&answer, 2, &["vgg", "resnet50-imagenet"]);
}

#[test]
fn bench_vision_measures_steps_answers_and_loading() {
    let folder = tempfile::tempdir().unwrap();
    // Records of CIFAR-10: a class, then three planes of 32×32 pixels.
    let records: Vec<u8> = (0..20_u8)
        .flat_map(|number| std::iter::once(number % 10).chain([number * 9; 3 * 32 * 32]))
        .collect();
    for name in ["data_batch_1.bin", "test_batch.bin"] {
        fs_err::write(folder.path().join(name), &records).unwrap();
    }
    let arguments = [
        "bench",
        "vision",
        "--json",
        "--threads=1",
        "--repeats=1",
        "--batch=3",
        "--eval-batch=2",
        "--set=model.width=0.0625",
        "--cifar10=.",
        "--images=40",
    ];
    let answer = brainage(folder.path(), &arguments).unwrap();
    assert_eq!(answer.code, Some(0), "{}", answer.stderr);
    let json: Value = serde_json::from_str(&answer.stdout).unwrap();
    let rows = json["rows"].as_array().unwrap();
    let found: Vec<_> = rows.iter().map(|row| row["name"].as_str()).collect();
    let expected = [
        "resnet50/step",
        "resnet50/inference",
        "vit-ti/step",
        "vit-ti/inference",
    ];
    assert_eq!(found, expected.map(Some));
    for (row, batch) in rows.iter().zip([3.0, 2.0].into_iter().cycle()) {
        assert_eq!(row["batch"].as_f64(), Some(batch));
        check_measured(row, &["seconds", "min", "max", "images_per_second"]);
        let [seconds, speed] =
            ["seconds", "images_per_second"].map(|key| row[key].as_f64().unwrap());
        assert!((speed * seconds - batch).abs() < 1e-9, "{row}");
    }
    let loading = &json["loading"][0];
    assert_eq!(loading["name"], "cifar10/loading");
    // A tenth of the twenty training images is held out; steps go on until forty were loaded.
    assert!(loading["images_there"].as_u64().unwrap() <= 20);
    assert!(
        (40..43).contains(&loading["images"].as_u64().unwrap()),
        "{loading}"
    );
    check_measured(loading, &["seconds", "min", "max", "images_per_second"]);
}

#[test]
fn bench_vision_refuses_what_it_does_not_know() {
    let folder = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str]| {
        let all: Vec<&str> = ["bench", "vision"]
            .iter()
            .chain(arguments)
            .copied()
            .collect();
        brainage(folder.path(), &all).unwrap()
    };
    check_refusal(&run(&["--networks", "vgg"]), 2, &["vgg", "vit-ti"]);
    check_refusal(&run(&["--set", "model.depth=3"]), 2, &["model.depth"]);
    let missing = run(&["--no-networks", "--data", "nowhere"]);
    assert_ne!(missing.code, Some(0));
    assert!(missing.stderr.contains("nowhere"), "{}", missing.stderr);
}

#[cfg(target_os = "linux")]
#[test]
fn bench_memory_measures_each_regime() {
    let folder = tempfile::tempdir().unwrap();
    let arguments = ["bench", "memory", "--json", "--set=train.batch_size=1"];
    let answer = brainage(folder.path(), &arguments).unwrap();
    assert_eq!(answer.code, Some(0), "{}", answer.stderr);
    let json: Value = serde_json::from_str(&answer.stdout).unwrap();
    let rows = json["rows"].as_array().unwrap();
    let names: Vec<_> = rows.iter().map(|row| row["name"].as_str()).collect();
    assert_eq!(names, [Some("backprop/step"), Some("local/step")]);
    // One volume of 48×56×48 voxels in f32 alone is 0.5 MB, its features after the first stage as much again.
    for row in rows {
        assert!(row["peak_mb"].as_f64().unwrap() > 1.0, "{row}");
    }
}
