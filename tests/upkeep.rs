//! Looking after the cache, as the program's user does.

#![expect(clippy::expect_used, reason = "what fails in a helper fails its test")]

mod program;

use std::path::Path;

use program::{Answer, brainage, check_refusal};
use serde_json::Value;

fn at(folder: &Path, words: &str) -> Answer {
    let words: Vec<&str> = words.split(' ').collect();
    let answer = brainage(folder, &words).expect("the program runs");
    assert_eq!(answer.code, Some(0), "{words:?}: {}", answer.stderr);
    answer
}

fn json(answer: &Answer) -> Value {
    serde_json::from_str(&answer.stdout).expect("JSON")
}

/// A project with one cohort of three synthetic heads, all of them in the cache.
fn study() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let project =
        "[cohorts.study]\nlayout = \"bids\"\nroot = \"study\"\n\n[cache]\ndir = \"cache\"\n";
    fs_err::write(folder.path().join("brainage.toml"), project).expect("written");
    at(
        folder.path(),
        "synth --layout bids --subjects 3 --voxel-size 4 --out study",
    );
    at(
        folder.path(),
        "preprocess --cohorts study --recipe coarse --out files",
    );
    folder
}

fn n_entries(folder: &Path) -> u64 {
    let verified = json(&at(folder, "preprocess --verify --json"));
    assert_eq!(verified["damaged"], Value::Array(Vec::new()));
    verified["whole"]["n"].as_u64().expect("a number")
}

#[test]
fn what_the_cache_holds_of_a_withdrawn_participant_goes_with_the_next_command() {
    let study = study();
    assert_eq!(n_entries(study.path()), 3);
    at(study.path(), "index");
    let index = fs_err::read_to_string(study.path().join("index.csv")).unwrap();
    let row = index.lines().nth(1).unwrap();
    let participant = row.split(',').nth(1).unwrap().to_owned();
    let list = format!("participant_id\n{participant}\n");
    fs_err::write(study.path().join("study/withdrawn.csv"), list).unwrap();
    let answer = at(study.path(), "index");
    let said = "1 volumes of withdrawn participants removed from the cache";
    assert!(answer.stderr.contains(said), "{}", answer.stderr);
    assert!(!answer.stderr.contains(&participant), "{}", answer.stderr);
    assert_eq!(n_entries(study.path()), 2);
    let index = fs_err::read_to_string(study.path().join("index.csv")).unwrap();
    assert!(!index.contains(&participant), "{index}");
}

/// The first participant of the index, and the path of the scan.
fn first_participant(folder: &Path) -> (String, String) {
    at(folder, "index");
    let index = fs_err::read_to_string(folder.join("index.csv")).expect("an index");
    let row: Vec<&str> = index.lines().nth(1).expect("a row").split(',').collect();
    (row[1].to_owned(), row[10].to_owned())
}

#[test]
fn a_withdrawn_participant_whose_scan_is_gone_leaves_the_cache_too() {
    let study = study();
    let (participant, scan) = first_participant(study.path());
    fs_err::remove_file(scan).unwrap();
    // The former index is gone too: the path that the entry was made from still names the participant.
    fs_err::remove_file(study.path().join("index.csv")).unwrap();
    fs_err::write(study.path().join("study/withdrawn.csv"), &participant).unwrap();
    let answer = at(study.path(), "index");
    let said = "1 volumes of withdrawn participants removed from the cache";
    assert!(answer.stderr.contains(said), "{}", answer.stderr);
    assert_eq!(n_entries(study.path()), 2);
}

#[test]
fn a_purge_takes_withdrawn_participants_out_of_old_runs_and_never_names_them() {
    let study = study();
    let (participant, scan) = first_participant(study.path());
    let run = study.path().join("runs/old");
    fs_err::create_dir_all(run.join("saliency")).unwrap();
    let write = |name: &str, text: &str| fs_err::write(run.join(name), text).unwrap();
    write("config.toml", "");
    fs_err::copy(study.path().join("index.csv"), run.join("index.csv")).unwrap();
    let columns = "scan,participant_id,session_id,age_years,predicted_age";
    write(
        "predictions.csv",
        &format!("{columns}\n{scan},{participant},,60,61\nother.nii,o,,50,51\n"),
    );
    write("log.txt", &format!("refused: {scan}\nepoch 1\n"));
    let judgments =
        format!("scan,name,verdict,comment\n{scan},{participant},accept,\n/o.nii,o,reject,\n");
    write("qc_review.csv", &judgments);
    fs_err::write(study.path().join("qc_review.csv"), &judgments).unwrap();
    write("report.html", &format!("<td>{participant}</td>"));
    write(&format!("saliency/sub-{participant}_saliency.nii.gz"), "x");
    write("evaluation.json", "{\"mae\": 4.5}");
    let list = study.path().join("study/withdrawn.csv");
    fs_err::write(list, format!("{participant}\n")).unwrap();

    let answer = at(study.path(), "index --purge");
    assert!(!answer.stdout.contains(&participant), "{}", answer.stdout);
    assert!(!answer.stderr.contains(&participant), "{}", answer.stderr);
    let said = "1 runs purged of withdrawn participants: 1 rows of indices, 1 predictions, 1 judgments, 1 other lines and 2 files \
                removed, 0 reports written anew";
    assert!(answer.stdout.contains(said), "{}", answer.stdout);
    let read = |name: &str| fs_err::read_to_string(run.join(name)).unwrap();
    assert_eq!(read("index.csv").lines().count(), 3);
    assert_eq!(
        read("predictions.csv"),
        format!("{columns}\nother.nii,o,,50,51\n")
    );
    assert_eq!(read("log.txt"), "epoch 1\n");
    let judged = "scan,name,verdict,comment\n/o.nii,o,reject,\n";
    assert_eq!(read("qc_review.csv"), judged);
    let of_project = fs_err::read_to_string(study.path().join("qc_review.csv")).unwrap();
    assert_eq!(of_project, judged);
    assert_eq!(read("evaluation.json"), "{\"mae\": 4.5}");
    for name in ["index.csv", "predictions.csv", "log.txt"] {
        assert!(!read(name).contains(&participant), "{name}");
    }
    // Nothing is left to remove.
    let purged = &json(&at(study.path(), "index --purge --json"))["purged"];
    assert_eq!(
        (&purged["index_rows"], &purged["files"]),
        (&0.into(), &0.into())
    );
}

#[test]
fn a_purge_keeps_what_the_cohorts_need_and_spares_what_is_young() {
    let study = study();
    let answer = json(&at(study.path(), "preprocess --gc --dry-run --json"));
    assert_eq!(
        (&answer["kept"]["n"], &answer["spared"]["n"]),
        (&3.into(), &0.into())
    );
    let project = study.path().join("brainage.toml");
    let text = fs_err::read_to_string(&project).unwrap();
    let fewer = text.replace(
        "[cache]",
        "[cohorts.study.include]\nage = [0, 1]\n\n[cache]",
    );
    fs_err::write(&project, fewer).unwrap();
    let refused = brainage(study.path(), &["preprocess", "--gc"]).unwrap();
    check_refusal(&refused, 1, &["nothing would stay", "delete its folder"]);
    assert_eq!(n_entries(study.path()), 3);
}

#[test]
fn a_damaged_entry_is_named() {
    let study = study();
    let mut entries = Vec::new();
    for folder in fs_err::read_dir(study.path().join("cache")).unwrap() {
        let files = fs_err::read_dir(folder.unwrap().path()).unwrap();
        entries.extend(files.map(|file| file.unwrap().path()));
    }
    let mut bytes = fs_err::read(&entries[0]).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs_err::write(&entries[0], bytes).unwrap();
    let answer = brainage(study.path(), &["preprocess", "--verify"]).unwrap();
    assert_eq!(answer.code, Some(3), "{}", answer.stderr);
    assert!(answer.stderr.contains("damaged: "), "{}", answer.stderr);
    assert!(
        answer.stdout.contains("2 entries are whole"),
        "{}",
        answer.stdout
    );
}

#[test]
fn files_for_other_programs_come_with_a_page_that_shows_all_scans() {
    let study = study();
    let page = fs_err::read_to_string(study.path().join("files/index.html")).unwrap();
    let files = fs_err::read_dir(study.path().join("files")).unwrap();
    let names = files.map(|file| file.unwrap().file_name().to_string_lossy().into_owned());
    let pictures: Vec<String> = names.filter(|name| name.ends_with("_qc.png")).collect();
    assert_eq!(pictures.len(), 3);
    for picture in pictures {
        assert!(page.contains(&picture), "no {picture}");
    }
}
