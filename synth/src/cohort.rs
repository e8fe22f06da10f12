//! A whole cohort on disk: heads made in parallel, then the tables that describe them.
//!
//! ```text
//! SYNTHETIC.txt          says what this is and with which parameters it was made
//! synthetic_truth.csv    what each head was made from; for checks, never for a model
//! …                      scans and tables of the layout
//! ```

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use brainage_pipelines::atomic::TEMPORARY_PREFIX;
use brainage_pipelines::format::{SYNTHETIC_MARK, write_nifti_i16};
use rayon::prelude::*;

use crate::error::Error;
use crate::layouts::{Plan, Visit, Written, scan_folder};
use crate::layouts::{table, write_bytes, write_text};
use crate::params::{SynthParams, ages_of, check};
use crate::participant::{SynthParticipant, Truth, volume_names};
use crate::population::Sex;
use crate::zip_archive::zip;

/// The file that marks a folder.
pub(crate) const MARKER: &str = "SYNTHETIC.txt";
/// What the heads were made from.
pub(crate) const TRUTH: &str = "synthetic_truth.csv";
/// In the header of every scan, after [`SYNTHETIC_MARK`].
const MADE_FROM: &str = "made from the ICBM 152 template";
/// In every folder.
pub(crate) const NOTICE: &str = "\
These scans are synthetic. Nobody was scanned: every head is the ICBM 152 template (copyright McConnell Brain Imaging
Centre), deformed and given the contrast and noise of a scanner. Names, dates and ages are made up.

They show that a program runs, and test it against a known truth. Nothing about people can be learned from them: what
a model reaches on these heads says nothing about its years on real scans.
";

/// What was written.
#[derive(Clone, Debug, PartialEq)]
pub struct SynthReport {
    /// Participants in the tables.
    pub n_subjects: usize,
    /// Scans written.
    pub n_scans: usize,
    /// Whom each scan shows, at the age of that scan: in order of their numbers, then of the visits.
    pub participants: Vec<SynthParticipant>,
    /// The scans, in the same order. One in an archive has the path of the archive, followed by its own.
    pub scans: Vec<PathBuf>,
    /// All other files.
    pub tables: Vec<PathBuf>,
    /// Whether the stop flag ended it early; the tables then hold those that were finished.
    pub stopped: bool,
}

/// Writes a cohort as its study ships it. `on_head` hears the number of each participant whose scan is written.
///
/// # Errors
/// [`Error::Parameter`] for numbers no head can be made with, [`Error::NotEmpty`] if the folder holds something else,
/// and whatever the file system refuses.
pub fn write_cohort(
    out: &Path,
    params: &SynthParams,
    stop: &AtomicBool,
    on_head: &(dyn Fn(usize) + Sync),
) -> Result<SynthReport, Error> {
    write(out, params, params.layout.plan(), (stop, on_head))
}

/// Writes a flat folder of scans with `ages.csv` (`scan,participant_id,age_years,sex`).
///
/// # Errors
/// As [`write_cohort`].
pub fn write_scan_folder(
    out: &Path,
    params: &SynthParams,
    stop: &AtomicBool,
    on_head: &(dyn Fn(usize) + Sync),
) -> Result<SynthReport, Error> {
    write(out, params, &scan_folder::PLAN, (stop, on_head))
}

/// A head that is on disk.
struct Finished {
    participant: SynthParticipant,
    visit: usize,
    days: i64,
    truth: Truth,
    scan: PathBuf,
}

impl Finished {
    fn visit(&self) -> Visit<'_> {
        Visit {
            participant: &self.participant,
            number: self.visit,
            days: self.days,
        }
    }
}

fn write(
    out: &Path,
    params: &SynthParams,
    plan: &Plan,
    (stop, on_head): (&AtomicBool, &(dyn Fn(usize) + Sync)),
) -> Result<SynthReport, Error> {
    check(params)?;
    let age_years = ages_of(params, plan)?;
    let marker = take_folder(out, params, plan)?;
    let visits: Vec<(usize, usize, i64)> = (0..params.n_subjects)
        .flat_map(|subject| {
            let days = (plan.visit_days)(subject).into_iter().enumerate();
            days.map(move |(visit, days)| (subject, visit, days))
        })
        .collect();
    let n_visits = visits.len();
    let heads: Result<Vec<Option<Finished>>, Error> = visits
        .into_par_iter()
        .map(|(subject, visit, days)| {
            if stop.load(Ordering::Relaxed) {
                return Ok(None);
            }
            let params = SynthParams {
                age_years,
                ..*params
            };
            let head = write_head(out, &params, plan, (subject, visit, days))?;
            if visit == 0 {
                on_head(subject);
            }
            Ok(Some(head))
        })
        .collect();
    let finished: Vec<Finished> = heads?.into_iter().flatten().collect();
    let written: Vec<Written<'_>> = finished
        .iter()
        .map(|head| Written {
            visit: head.visit(),
            icv_ml: head.truth.icv_ml,
            scan: &head.scan,
        })
        .collect();
    let mut tables = vec![
        marker,
        write_text(out.join(TRUTH), &truth_table(out, &finished))?,
    ];
    tables.extend((plan.write_tables)(out, &written)?);
    Ok(SynthReport {
        n_subjects: finished.iter().filter(|head| head.visit == 0).count(),
        n_scans: finished.len(),
        stopped: finished.len() < n_visits,
        tables,
        scans: finished.iter().map(|head| head.scan.clone()).collect(),
        participants: finished.into_iter().map(|head| head.participant).collect(),
    })
}

/// Makes and marks the folder; one that holds anything but this very cohort is refused.
fn take_folder(out: &Path, params: &SynthParams, plan: &Plan) -> Result<PathBuf, Error> {
    let [low, high] = params.age_years;
    let text = format!(
        "{NOTICE}\nLayout {}, {} participants of {low} to {high} years, voxels of {} mm, spread {}, seed {}, brainage-synth {}.\n",
        plan.name,
        params.n_subjects,
        params.voxel_size_mm,
        params.spread,
        params.seed,
        env!("CARGO_PKG_VERSION"),
    );
    fs_err::create_dir_all(out).map_err(Error::io(out))?;
    let marker = out.join(MARKER);
    let is_ours = fs_err::read_to_string(&marker).is_ok_and(|found| found == text);
    let mut entries = fs_err::read_dir(out).map_err(Error::io(out))?;
    if !is_ours && entries.next().is_some() {
        return Err(Error::NotEmpty {
            path: out.to_path_buf(),
        });
    }
    write_text(marker, &text)
}

fn write_head(
    out: &Path,
    params: &SynthParams,
    plan: &Plan,
    (subject, visit, days): (usize, usize, i64),
) -> Result<Finished, Error> {
    let key = plan.key(params.seed, subject);
    let mut first = SynthParticipant::draw(key, params.age_years);
    first.id = (plan.id)(subject);
    let participant = first.after_days(days);
    let key = key.at_visit(visit as u8);
    let (volume, truth) =
        participant.head((key, params.spread), &plan.scanner, params.voxel_size_mm)?;
    let place = Visit {
        participant: &participant,
        number: visit,
        days,
    };
    let scan = (plan.scan)(out, &place);
    let description = format!("{SYNTHETIC_MARK} {MADE_FROM}");
    if let Some(archive) = scan.ancestors().find(|above| is_archive(above)) {
        write_packed(archive, &scan, |path| {
            Ok(write_nifti_i16(path, &volume, &description)?)
        })?;
    } else {
        if let Some(folder) = scan.parent() {
            fs_err::create_dir_all(folder).map_err(Error::io(folder))?;
        }
        write_nifti_i16(&scan, &volume, &description)?;
    }
    Ok(Finished {
        participant,
        visit,
        days,
        truth,
        scan,
    })
}

fn is_archive(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "zip")
}

/// Writes a scan and packs it, under the rest of its path, into an archive of its own.
fn write_packed(
    archive: &Path,
    scan: &Path,
    write: impl FnOnce(&Path) -> Result<(), Error>,
) -> Result<(), Error> {
    let name = archive.file_stem().unwrap_or_default().to_string_lossy();
    let unpacked = archive.with_file_name(format!("{TEMPORARY_PREFIX}{name}.nii.gz"));
    write(&unpacked)?;
    let content = fs_err::read(&unpacked).map_err(Error::io(&unpacked))?;
    fs_err::remove_file(&unpacked).map_err(Error::io(&unpacked))?;
    let inner = scan.strip_prefix(archive).unwrap_or(scan).to_string_lossy();
    let packed = zip(&[(&inner, &content)]).map_err(Error::io(archive))?;
    write_bytes(archive.to_path_buf(), &packed)?;
    Ok(())
}

/// Named by file, so that nobody takes it for demographics.
fn truth_table(out: &Path, finished: &[Finished]) -> String {
    let columns = ["file", "years", "brain_years", "drawn_sex", "icv_ml"].map(str::to_owned);
    let asked = volume_names().map(|name| format!("{name}_asked_percent"));
    let reached = volume_names().map(|name| format!("{name}_percent"));
    let header: Vec<String> = columns.into_iter().chain(asked).chain(reached).collect();
    let rows = finished.iter().map(
        |Finished {
             participant,
             truth,
             scan,
             ..
         }| {
            let sex = match participant.sex {
                Sex::Female => "female",
                Sex::Male => "male",
            };
            let mut cells = vec![
                scan.strip_prefix(out).unwrap_or(scan).display().to_string(),
                format!("{:.4}", participant.age_years),
                format!("{:.4}", truth.brain_age_years),
                sex.to_owned(),
                format!("{:.1}", truth.icv_ml),
            ];
            let volumes = truth.asked_percent.iter().chain(&truth.volumes_percent);
            cells.extend(volumes.map(|volume| format!("{volume:.4}")));
            cells.join(",")
        },
    );
    table(&header.join(","), rows)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use brainage_pipelines::format::read_scan;

    use super::*;
    use crate::layouts::SynthLayout;

    fn params(layout: SynthLayout, n_subjects: usize, seed: u64) -> SynthParams {
        SynthParams {
            layout,
            n_subjects,
            seed,
            age_years: [20.0, 80.0],
            spread: 1.0,
            voxel_size_mm: 4.0,
        }
    }

    fn write(out: &Path, params: &SynthParams) -> Result<SynthReport, Error> {
        write_cohort(out, params, &AtomicBool::new(false), &|_| ())
    }

    #[test]
    fn the_same_seed_writes_the_same_bits_and_another_seed_another_head() {
        let folder = tempfile::tempdir().unwrap();
        let bits = |name: &str, seed| {
            let report = write(
                &folder.path().join(name),
                &params(SynthLayout::Bids, 1, seed),
            )
            .unwrap();
            let files = report.scans.iter().chain(&report.tables);
            files
                .map(|file| blake3::hash(&fs_err::read(file).unwrap()))
                .collect::<Vec<_>>()
        };
        let first = bits("a", 5);
        assert_eq!(first, bits("b", 5));
        assert_eq!(first, bits("a", 5), "written again over itself");
        assert_ne!(first[0], bits("c", 6)[0]);
    }

    #[test]
    fn every_layout_lists_exactly_what_lies_in_its_folder() {
        for layout in SynthLayout::ALL {
            let n_scans = (layout.plan().visit_days)(0).len() + 1;
            let folder = tempfile::tempdir().unwrap();
            let out = folder.path().join("cohort");
            let heard = AtomicUsize::new(0);
            let on_head = |_: usize| {
                heard.fetch_add(1, Ordering::Relaxed);
            };
            let stop = AtomicBool::new(false);
            let report = write_cohort(&out, &params(layout, 2, 1), &stop, &on_head).unwrap();
            let counts = (report.n_scans, report.n_subjects, report.stopped);
            assert_eq!(counts, (n_scans, 2, false), "{}", layout.name());
            assert_eq!(heard.load(Ordering::Relaxed), 2);
            let on_disk = |scan: &PathBuf| {
                let archive = scan.ancestors().find(|above| is_archive(above));
                archive.unwrap_or(scan).to_path_buf()
            };
            let scans: Vec<_> = report.scans.iter().map(on_disk).collect();
            let mut listed = [scans.as_slice(), &report.tables].concat();
            listed.sort();
            assert_eq!(listed, files_below(&out));
            let mut bits: Vec<_> = scans.iter().map(|s| fs_err::read(s).unwrap()).collect();
            bits.sort();
            bits.dedup();
            assert_eq!(bits.len(), n_scans, "two scans are the same");
            let tables = report.tables[2..].iter();
            let tables: String = tables
                .filter_map(|t| fs_err::read_to_string(t).ok())
                .collect();
            for (scan, participant) in report.scans.iter().zip(&report.participants) {
                let number = participant.id.trim_start_matches("IXI");
                assert!(tables.contains(number), "{number}");
                assert!((20.0..=83.0).contains(&participant.age_years));
                if scan.is_file() {
                    let header = read_scan(scan).unwrap().header;
                    assert!(
                        header.description.starts_with("synthetic"),
                        "{}",
                        header.description
                    );
                }
            }
        }
    }

    #[test]
    fn ages_that_a_study_does_not_have_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let mut params = params(SynthLayout::HcpDevelopment, 1, 1);
        params.age_years = [40.0, 60.0];
        let message = write(folder.path(), &params).unwrap_err().to_string();
        assert!(
            message.ends_with("expected some of 18 to 21.9 years for the layout hcp-development"),
            "{message}"
        );
        assert!(!folder.path().join(MARKER).exists());
    }

    #[test]
    fn a_scan_folder_is_flat_and_names_its_scans() {
        let folder = tempfile::tempdir().unwrap();
        let stop = AtomicBool::new(false);
        let report = write_scan_folder(
            folder.path(),
            &params(SynthLayout::Bids, 1, 1),
            &stop,
            &|_| (),
        )
        .unwrap();
        let ages = fs_err::read_to_string(folder.path().join("ages.csv")).unwrap();
        let row = ages.lines().nth(1).unwrap();
        assert!(
            row.starts_with("synthetic_00001.nii.gz,synthetic_00001,"),
            "{row}"
        );
        assert_eq!(report.scans[0].parent(), Some(folder.path()));
    }

    #[test]
    fn no_two_layouts_of_a_seed_share_a_person() {
        let mut people: Vec<_> = SynthLayout::ALL
            .iter()
            .map(|layout| layout.plan().people)
            .collect();
        people.push(scan_folder::PLAN.people);
        people.sort_unstable();
        people.dedup();
        assert_eq!(people.len(), SynthLayout::ALL.len() + 1);
    }

    #[test]
    fn a_set_stop_flag_leaves_tables_without_rows() {
        let folder = tempfile::tempdir().unwrap();
        let stop = AtomicBool::new(true);
        let report = write_cohort(
            folder.path(),
            &params(SynthLayout::Ukbb, 3, 1),
            &stop,
            &|_| (),
        )
        .unwrap();
        assert!(report.stopped && report.scans.is_empty());
    }

    #[test]
    fn what_cannot_be_made_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let good = params(SynthLayout::Bids, 1, 1);
        for bad in [
            SynthParams {
                age_years: [10.0, 20.0],
                ..good
            },
            SynthParams {
                age_years: [60.0, 50.0],
                ..good
            },
            SynthParams {
                age_years: [20.0, f64::NAN],
                ..good
            },
            SynthParams {
                spread: -0.1,
                ..good
            },
            SynthParams {
                spread: f64::NAN,
                ..good
            },
            SynthParams {
                voxel_size_mm: 0.0,
                ..good
            },
            SynthParams {
                n_subjects: 0,
                ..good
            },
        ] {
            assert!(matches!(
                write(folder.path(), &bad),
                Err(Error::Parameter { .. })
            ));
        }
        fs_err::write(folder.path().join("thesis.txt"), "mine").unwrap();
        assert!(matches!(
            write(folder.path(), &good),
            Err(Error::NotEmpty { .. })
        ));
        assert!("dicom".parse::<SynthLayout>().is_err());
        for layout in SynthLayout::ALL {
            assert_eq!(layout.name().parse::<SynthLayout>().unwrap(), layout);
        }
    }

    fn files_below(folder: &Path) -> Vec<PathBuf> {
        let mut files = Vec::new();
        for entry in fs_err::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                files.extend(files_below(&path));
            } else {
                files.push(path);
            }
        }
        files.sort();
        files
    }
}
