//! What preprocessing leaves behind for other programs and for eyes: NIfTI files, the affine, the quality, a picture.
//!
//! For a scan `STEM.nii.gz`:
//!
//! | file | content |
//! |---|---|
//! | `STEM_space-MNI.nii.gz` | the result on the recipe's grid |
//! | `STEM_brainmask.nii.gz` | the brain mask on the scan's own voxels, as they are stored |
//! | `STEM_space-MNI_brainmask.nii.gz` | the brain mask on the recipe's grid |
//! | `STEM_biasfield.nii.gz` | by what the scan was divided, on its own voxels; where the recipe corrects it |
//! | `STEM_affine.txt` | 4×4: RAS+ mm of the scan → MNI mm |
//! | `STEM_qc.json` | verdict, reasons and measures, with recipe and hashes; written last |
//! | `STEM_qc.png` | slices of the scan in MNI space with the outline of the mask (the template's where the recipe takes it) |
//!
//! With a recipe whose grid lies in the space of the scan, `space-MNI` becomes `space-T1w`.

use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};

mod record;

use crate::atomic::write_atomically;
use crate::bias_field::BiasField;
use crate::cache::CacheKey;
use crate::contact_sheet::contact_sheet;
use crate::error::Error;
use crate::format::{ReadOptions, read_scan_with, write_nifti, write_nifti_mask};
use crate::orient::Reorientation;
use crate::prepared::prepare;
use crate::preprocess::{Preprocessed, learned_mask};
use crate::recipe::{GridSpace, MaskSource, Recipe};
use crate::space::Affine;
use crate::template::Template;

/// How the name of the quality file ends, after the scan's and an underscore.
pub(crate) const QC_ENDING: &str = "qc.json";
/// The same for the picture.
pub(crate) const PICTURE_ENDING: &str = "qc.png";

/// Whether `folder` holds all files of this scan already, as they were made under this key of the cache.
pub(crate) fn are_there(folder: &Path, scan: &Path, key: &CacheKey) -> bool {
    let qc_path = folder.join(format!("{}_{QC_ENDING}", stem_of(scan)));
    record::is_of(&qc_path, scan, key)
}

/// Writes all files of one scan to `folder` and returns their paths, in the order of the table above.
///
/// The folder is made where there is none. Files of an earlier run are replaced; those of another scan of the same
/// name are not.
///
/// # Errors
/// [`Error::Read`] if the scan cannot be read any more; [`Error::Write`] and [`Error::Io`] for what cannot be written.
pub fn write_outputs(
    folder: &Path,
    scan: &Path,
    options: ReadOptions,
    result: &Preprocessed,
    recipe: &Recipe,
    template: &Template,
) -> Result<Vec<PathBuf>, Error> {
    let stem = stem_of(scan);
    let file = |ending: &str| folder.join(format!("{stem}_{ending}"));
    fs_err::create_dir_all(folder).map_err(Error::io("making the output folder", folder))?;
    let qc_path = file(QC_ENDING);
    record::check_owner(&qc_path, scan, result)?;

    let mut read = read_scan_with(scan, options)?;
    // A result from the cache comes without it; the same scan has the same mask again.
    let again = match (recipe.mask.source, &result.brain) {
        (MaskSource::Template | MaskSource::Refined, _) | (_, Some(_)) => None,
        (MaskSource::Learned, None) => {
            let source = read.header.affine_source;
            let mask = learned_mask(&read.volume, source, template)?;
            Some(mask.ok_or_else(|| Error::NoBrainSeen {
                path: scan.to_path_buf(),
            })?)
        }
    };
    let brain = again.as_ref().or(result.brain.as_ref());
    let place = &result.mni_from_scan;
    let prepared = prepare(&mut read.volume, place, recipe, template, brain);
    let mask_on_scan = prepared.mask.on_grid_of(&read.volume);
    let outline = match (recipe.mask.source, recipe.grid.space) {
        (MaskSource::Refined | MaskSource::Learned, GridSpace::Mni) => &result.mask,
        (MaskSource::Template, _) | (_, GridSpace::Scan) => &template.mask,
    };
    let sheet = contact_sheet(&read.volume, place, outline);
    let text = |path: &Path, content: &str| {
        write_atomically(path, |file| file.write_all(content.as_bytes()))
            .map_err(Error::io("writing the file", path))
    };

    let space = match recipe.grid.space {
        GridSpace::Mni => "space-MNI",
        GridSpace::Scan => "space-T1w",
    };
    let volume_path = file(&format!("{space}.nii.gz"));
    write_nifti(
        &volume_path,
        &result.volume,
        &format!("brainage {}", recipe.name),
    )?;
    let mask_path = file("brainmask.nii.gz");
    write_nifti_mask(
        &mask_path,
        &read.reorientation.undo(&mask_on_scan),
        "brain mask",
    )?;
    let grid_mask_path = file(&format!("{space}_brainmask.nii.gz"));
    write_nifti_mask(&grid_mask_path, &result.mask, "brain mask")?;
    let field_path = write_bias_field(
        file("biasfield.nii.gz"),
        prepared.bias_field.as_ref(),
        &read.reorientation,
    )?;
    let affine_path = file("affine.txt");
    text(&affine_path, &affine_text(&result.mni_from_scan))?;
    let sheet_path = file(PICTURE_ENDING);
    write_atomically(&sheet_path, |out| sheet.write_png(out))
        .map_err(Error::io("writing the picture", &sheet_path))?;
    let mut paths = vec![volume_path, mask_path, grid_mask_path];
    paths.extend(field_path);
    paths.extend([affine_path, qc_path.clone(), sheet_path]);
    // Last, because it says that all the others are there.
    let record = record::text(scan, result, &paths, recipe, template);
    text(
        &qc_path,
        &record.map_err(Error::io("writing the file", &qc_path))?,
    )?;
    Ok(paths)
}

/// Writes the field on the scan's voxels as they are stored; without one, none of an earlier run may stay.
fn write_bias_field(
    path: PathBuf,
    field: Option<&BiasField>,
    reorientation: &Reorientation,
) -> Result<Option<PathBuf>, Error> {
    let Some(field) = field else {
        return match fs_err::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Error::io(
                "removing the file of an earlier run",
                &path,
            )(error)),
            _ => Ok(None),
        };
    };
    let stored = reorientation.undo(&field.to_volume());
    write_nifti(&path, &stored, "bias field")?;
    Ok(Some(path))
}

/// The scan's file name without the endings of scan files.
pub fn stem_of(scan: &Path) -> String {
    let name = scan
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    let without = |name: &str, endings: &[&str]| {
        let bare = Path::new(name).extension().filter(|found| {
            endings
                .iter()
                .any(|ending| found.eq_ignore_ascii_case(ending))
        });
        bare.and_then(|_| Path::new(name).file_stem())
            .map(|stem| stem.to_string_lossy().into_owned())
    };
    let unpacked = without(&name, &["gz"]).unwrap_or(name);
    without(&unpacked, &["nii", "hdr", "img", "mgh", "mgz"]).unwrap_or(unpacked)
}

fn affine_text(affine: &Affine) -> String {
    let mut text = String::new();
    for row in affine.rows() {
        let row = row.map(|value| format!("{value:>22.15}"));
        let _infallible = writeln!(text, "{}", row.join(" "));
    }
    text
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::cache::Cache;
    use crate::format::read_scan;
    use crate::qc::{Qc, QcVerdict};
    use crate::space::VoxelShape;
    use crate::template::template;
    use crate::volume::{Mask, Volume};

    /// A scan file stored left-to-right flipped, and a result that goes with it.
    fn scan_and_result(path: &Path, gain: f32) -> Preprocessed {
        let shape = VoxelShape([12, 14, 10]);
        let place = Affine::from_rows([
            [-8.0, 0.0, 0.0, 40.0],
            [0.0, 8.0, 0.0, -60.0],
            [0.0, 0.0, 8.0, -30.0],
        ]);
        let values = (0..shape.n_voxels())
            .map(|i| (i % 97) as f32 * gain)
            .collect();
        write_nifti(path, &Volume::new(values, shape, place).unwrap(), "phantom").unwrap();
        let grid = Recipe::named("coarse").unwrap().grid;
        let mut values = vec![0.0; grid.shape.n_voxels()];
        values[70_000] = 1.5;
        let volume = Volume::new(values, grid.shape, grid.world_from_voxel()).unwrap();
        let mask: Mask = volume.map(|value| *value > 0.0);
        Preprocessed {
            volume,
            mask,
            mni_from_scan: Affine::grid([1.0, 1.0, 1.1], [0.5, 0.0, -2.0]),
            qc: Qc {
                verdict: QcVerdict::Pass,
                reasons: Vec::new(),
                metrics: BTreeMap::new(),
            },
            file_hash: read_scan(path).unwrap().file_hash,
            warnings: Vec::new(),
            synthetic: false,
            brain: None,
        }
    }

    #[test]
    fn the_six_files_hold_what_their_names_say() {
        let folder = tempfile::tempdir().unwrap();
        let scan = folder.path().join("sub-01_T1w.nii.gz");
        let result = scan_and_result(&scan, 1.0);
        let (out, recipe) = (folder.path().join("out"), Recipe::named("coarse").unwrap());
        let files = write_outputs(
            &out,
            &scan,
            ReadOptions::default(),
            &result,
            &recipe,
            template().unwrap(),
        )
        .unwrap();
        let names: Vec<_> = files
            .iter()
            .map(|file| file.file_name().unwrap().to_str().unwrap())
            .collect();
        let endings = [
            "space-MNI.nii.gz",
            "brainmask.nii.gz",
            "space-MNI_brainmask.nii.gz",
            "affine.txt",
            "qc.json",
            "qc.png",
        ];
        assert_eq!(names, endings.map(|ending| format!("sub-01_T1w_{ending}")));
        assert_eq!(
            read_scan(&files[0]).unwrap().volume.get([46, 2, 26]),
            result.volume.get([46, 2, 26])
        );
        let mask = read_scan(&files[1]).unwrap().header;
        let stored = read_scan(&scan).unwrap().header;
        assert_eq!(mask.stored_shape, stored.stored_shape);
        assert_eq!(mask.world_from_stored, stored.world_from_stored);
        assert_eq!(
            read_scan(&files[2])
                .unwrap()
                .volume
                .map(|value| *value > 0.5),
            result.mask
        );
        let numbers: Vec<f64> = fs_err::read_to_string(&files[3])
            .unwrap()
            .split_whitespace()
            .map(|number| number.parse().unwrap())
            .collect();
        assert_eq!(numbers, result.mni_from_scan.rows().concat());
        let qc: serde_json::Value =
            serde_json::from_slice(&fs_err::read(&files[4]).unwrap()).unwrap();
        assert_eq!(
            (&qc["verdict"], &qc["recipe"]),
            (&"pass".into(), &"coarse".into())
        );
        assert!(fs_err::read(&files[5]).unwrap().starts_with(b"\x89PNG"));
    }

    #[test]
    fn the_bias_field_lies_on_the_stored_voxels_and_goes_when_the_recipe_has_none() {
        let folder = tempfile::tempdir().unwrap();
        let scan = folder.path().join("sub-01_T1w.nii.gz");
        // The template's head with a slope over it, stored from right to left.
        let t1 = crate::pyramid::reduce(&template().unwrap().t1, 4.0);
        let [nx, ny, _] = t1.shape().0;
        let mirrored: Vec<f32> = (0..t1.values().len())
            .map(|i| {
                let x = nx - 1 - i % nx;
                let value = t1.get([x, i / nx % ny, i / (nx * ny)]).unwrap();
                value * (0.01 * x as f32).exp()
            })
            .collect();
        let flip = Affine::from_rows([
            [-1.0, 0.0, 0.0, nx as f64 - 1.0],
            [0.0, 1.0, 0.0, 0.0],
            [0.0, 0.0, 1.0, 0.0],
        ]);
        let stored = Volume::new(mirrored, t1.shape(), t1.world_from_voxel() * flip).unwrap();
        write_nifti(&scan, &stored, "phantom").unwrap();
        let mut result = scan_and_result(&folder.path().join("other.nii.gz"), 1.0);
        result.mni_from_scan = Affine::identity();
        let out = folder.path().join("out");
        let write = |recipe: &str| {
            let recipe = Recipe::named(recipe).unwrap();
            write_outputs(
                &out,
                &scan,
                ReadOptions::default(),
                &result,
                &recipe,
                template().unwrap(),
            )
            .unwrap()
        };
        let path = out.join("sub-01_T1w_biasfield.nii.gz");
        assert!(write("standard").contains(&path));
        let field = read_scan(&path).unwrap();
        assert_eq!(field.header.stored_shape, stored.shape());
        assert_eq!(field.header.world_from_stored, stored.world_from_voxel());
        // The field rises to the right as the slope does, from voxel 12 to 36 of 49.
        let middle = [ny / 2, t1.shape().0[2] / 2];
        let at = |x: usize| f64::from(field.volume.get([x, middle[0], middle[1]]).unwrap().ln());
        let rise = (at(36) - at(12)) / (0.01 * 24.0);
        assert!((rise - 1.0).abs() < 0.25, "{rise}");
        assert!(!write("fast").contains(&path) && !path.exists());
    }

    /// The network sees no brain in this phantom: had it been asked, there would be no files.
    #[test]
    fn a_brain_that_was_found_before_is_written_and_not_looked_for_again() {
        let folder = tempfile::tempdir().unwrap();
        let scan = folder.path().join("sub-01_T1w.nii.gz");
        let mut result = scan_and_result(&scan, 1.0);
        let mut recipe = Recipe::named("coarse").unwrap();
        recipe.mask.source = MaskSource::Learned;
        let ras = read_scan(&scan).unwrap().volume;
        let brain = ras.map(|value| *value > 90.0);
        result.brain = Some(brain.clone());
        let out = folder.path().join("out");
        let (read, template) = (ReadOptions::default(), template().unwrap());
        let files = write_outputs(&out, &scan, read, &result, &recipe, template).unwrap();
        let written = read_scan(&files[1]).unwrap().volume;
        assert_eq!(written.map(|value| *value > 0.5), brain);
    }

    #[test]
    fn outputs_of_another_scan_of_the_same_name_are_not_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let (out, recipe) = (folder.path().join("out"), Recipe::named("coarse").unwrap());
        let write = |of: &str, gain: f32| {
            fs_err::create_dir_all(folder.path().join(of)).unwrap();
            let scan = folder.path().join(of).join("T1.nii.gz");
            let result = scan_and_result(&scan, gain);
            write_outputs(
                &out,
                &scan,
                ReadOptions::default(),
                &result,
                &recipe,
                template().unwrap(),
            )
        };
        write("a", 1.0).unwrap();
        write("a", 2.0).unwrap();
        let refused = write("b", 3.0).unwrap_err().to_string();
        assert!(refused.contains("belongs to another scan"), "{refused}");
    }

    #[test]
    fn the_stem_is_the_name_without_the_endings_of_scans() {
        for (name, stem) in [
            ("a/sub-01_T1w.nii.gz", "sub-01_T1w"),
            ("x.y.NII", "x.y"),
            ("b.hdr", "b"),
            ("b.img.gz", "b"),
            ("T1.mgz", "T1"),
            ("no-ending", "no-ending"),
        ] {
            assert_eq!(stem_of(Path::new(name)), stem);
        }
    }

    #[test]
    fn files_are_there_once_all_of_this_scan_recipe_and_version_are() {
        let folder = tempfile::tempdir().unwrap();
        let scan = folder.path().join("sub-01_T1w.nii.gz");
        let result = scan_and_result(&scan, 1.0);
        let (out, recipe) = (folder.path().join("out"), Recipe::named("coarse").unwrap());
        let template = template().unwrap();
        let key = |recipe| Cache::key(result.file_hash, recipe, template);
        assert!(!are_there(&out, &scan, &key(&recipe)));
        let options = ReadOptions::default();
        let files = write_outputs(&out, &scan, options, &result, &recipe, template).unwrap();
        assert!(are_there(&out, &scan, &key(&recipe)));
        let other = Recipe::named("fast").unwrap();
        assert!(!are_there(&out, &scan, &key(&other)));
        let elsewhere = folder.path().join("session-2/sub-01_T1w.nii.gz");
        assert!(!are_there(&out, &elsewhere, &key(&recipe)));
        fs_err::remove_file(&files[1]).unwrap();
        assert!(!are_there(&out, &scan, &key(&recipe)));
    }
}
