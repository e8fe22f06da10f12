//! `predict --saliency DIR`: maps of where the models looked, as NIfTI files and by region.
//!
//! ```text
//! STEM_space-MNI_saliency-METHOD.nii.gz    on the recipe's grid; years a voxel of it
//! STEM_saliency-METHOD.nii.gz              the same on the scan's own voxels
//! mean_space-MNI_saliency-METHOD.nii.gz    mean over the scans of the command
//! maps.csv                                 scan,method,space,file
//! regions.csv                              scan,method,label,name,n_voxels,sum_years,sum_absolute_years (with an atlas)
//! ```

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use brainage_pipelines::atomic::write_atomically;
use brainage_pipelines::batch::ScanReport;
use brainage_pipelines::cache::CacheEntry;
use brainage_pipelines::format::{ReadOptions, read_scan, read_scan_with, write_nifti};
use brainage_pipelines::map_back::{labels_on_grid, on_scan};
use brainage_pipelines::outputs::stem_of;
use brainage_pipelines::recipe::GridSpace;
use brainage_pipelines::{Affine, Grid, Volume};

use crate::predict::predictor::AgePredictor;
use crate::predict::saliency::SaliencyMethod;
use crate::predict::saliency::regions::by_region;

use super::{CliError, Context};

/// What `predict` can be asked for about saliency.
#[derive(Debug, clap::Args)]
pub struct SaliencyArgs {
    /// Folder for maps of where the models looked, as NIfTI
    #[arg(long, value_name = "DIR")]
    saliency: Option<PathBuf>,
    /// How maps are made; several with commas
    #[arg(
        long,
        value_enum,
        value_delimiter = ',',
        default_value = "gradient",
        requires = "saliency"
    )]
    saliency_method: Vec<SaliencyMethod>,
    /// Atlas in MNI space (NIfTI with whole numbers): saliency is also summed by its regions
    #[arg(long, value_name = "FILE", requires = "saliency")]
    atlas: Option<PathBuf>,
    /// Names of the atlas' labels: a table with `index` and `name`
    #[arg(long, value_name = "FILE", requires = "atlas")]
    atlas_labels: Option<PathBuf>,
}

/// Makes and writes the maps of a batch.
pub struct SaliencyMaps {
    folder: PathBuf,
    methods: Vec<SaliencyMethod>,
    atlas: Option<Atlas>,
    /// How many scans have had a stem.
    stems: HashMap<String, usize>,
    sums: BTreeMap<SaliencyMethod, MapSum>,
    maps: Vec<[String; 4]>,
    regions: Vec<[String; 7]>,
}

struct Atlas {
    volume: Volume,
    names: BTreeMap<u32, String>,
    /// On the recipe's grid; found with the first scan.
    labels: Option<Vec<u32>>,
}

struct MapSum {
    sum: Grid<f64>,
    n: usize,
}

impl SaliencyArgs {
    /// What is to be made, if anything; the folder is made.
    ///
    /// # Errors
    /// Where the atlas cannot be read, does not fit the recipe's space, or the folder cannot be made.
    pub fn open(&self, predictor: &AgePredictor) -> anyhow::Result<Option<SaliencyMaps>> {
        let Some(folder) = &self.saliency else {
            return Ok(None);
        };
        fs_err::create_dir_all(folder)?;
        let mut methods = self.saliency_method.clone();
        methods.sort_unstable();
        methods.dedup();
        let atlas = self.atlas.as_deref().map(|path| {
            if predictor.recipe.grid.space == GridSpace::Scan {
                let message = "volumes of this model's recipe lie in the space of the scan, and an atlas in MNI space";
                return Err(CliError::usage(message, "leave --atlas out").into());
            }
            Atlas::read(path, self.atlas_labels.as_deref())
        });
        Ok(Some(SaliencyMaps {
            folder: folder.clone(),
            methods,
            atlas: atlas.transpose()?,
            stems: HashMap::new(),
            sums: BTreeMap::new(),
            maps: Vec::new(),
            regions: Vec::new(),
        }))
    }
}

impl Atlas {
    fn read(path: &Path, names: Option<&Path>) -> anyhow::Result<Self> {
        Ok(Self {
            volume: read_scan(path)?.volume,
            names: names.map(label_names).transpose()?.unwrap_or_default(),
            labels: None,
        })
    }
}

/// A table with the columns `index` (or `label`) and `name`, parted by tabs or commas.
fn label_names(path: &Path) -> anyhow::Result<BTreeMap<u32, String>> {
    let text = fs_err::read_to_string(path)?;
    let tabs = text
        .lines()
        .next()
        .is_some_and(|header| header.contains('\t'));
    let mut reader = csv::ReaderBuilder::new()
        .delimiter(if tabs { b'\t' } else { b',' })
        .trim(csv::Trim::All)
        .from_reader(text.as_bytes());
    let headers = reader.headers()?.clone();
    let column = |names: [&str; 2]| {
        let mut headers = headers.iter();
        headers.position(|header| names.contains(&header.to_lowercase().as_str()))
    };
    let (Some(index), Some(name)) = (column(["index", "label"]), column(["name", "region"])) else {
        let message = format!("no columns `index` and `name`: `{}`", path.display());
        return Err(CliError::usage(message, "name the columns so").into());
    };
    let mut names = BTreeMap::new();
    for record in reader.records() {
        let record = record?;
        let label = record.get(index).and_then(|text| text.parse().ok());
        if let (Some(label), Some(name)) = (label, record.get(name)) {
            names.insert(label, name.to_owned());
        }
    }
    Ok(names)
}

impl SaliencyMaps {
    /// Makes the maps of one scan; none of one that was refused.
    ///
    /// # Errors
    /// Where a map cannot be made or written, or the scan cannot be read again.
    pub fn add(
        &mut self,
        report: &ScanReport,
        predictor: &AgePredictor,
        context: &Context,
    ) -> anyhow::Result<()> {
        let Some(entry) = report.outcome.entry() else {
            return Ok(());
        };
        let stem = self.own_stem_of(&report.scan);
        let scan = read_scan_with(&report.scan, ReadOptions::default())?;
        let shown = report.scan.display().to_string();
        for method in self.methods.clone() {
            let values = predictor.saliency(entry, method, context.stop.flag())?;
            let Some(values) = values else {
                return Ok(());
            };
            let map = Grid::new(values, entry.header.shape, entry.header.world_from_voxel)?;
            let (space, map_from_scan) = space_of(predictor, entry);
            let description = format!("brainage saliency, {}", method.name());
            let file = format!("{stem}_space-{space}_saliency-{}.nii.gz", method.name());
            write_nifti(&self.folder.join(&file), &map, &description)?;
            self.note_map(&shown, method, space, file);

            let native = on_scan(&map, &map_from_scan, &scan.volume);
            let file = format!("{stem}_saliency-{}.nii.gz", method.name());
            let native = scan.reorientation.undo(&native);
            write_nifti(&self.folder.join(&file), &native, &description)?;
            self.note_map(&shown, method, "scan", file);

            self.add_regions(&shown, method, &map);
            self.add_to_mean(method, &map);
        }
        Ok(())
    }

    /// Writes the means and the tables.
    ///
    /// # Errors
    /// What the file system answered.
    pub fn finish(mut self, predictor: &AgePredictor) -> anyhow::Result<()> {
        let sums = std::mem::take(&mut self.sums);
        // In the space of each scan there is no mean.
        if predictor.recipe.grid.space == GridSpace::Mni {
            for (method, MapSum { sum, n }) in sums {
                let mean = sum.map(|value| (value / n as f64) as f32);
                let file = format!("mean_space-MNI_saliency-{}.nii.gz", method.name());
                let description = format!("brainage saliency, {}, mean of {n}", method.name());
                write_nifti(&self.folder.join(&file), &mean, &description)?;
                self.note_map("mean", method, "MNI", file);
                self.add_regions("mean", method, &mean);
            }
        }
        let header = ["scan", "method", "space", "file"];
        write_table(&self.folder.join("maps.csv"), &header, &self.maps)?;
        if self.atlas.is_some() {
            let header = [
                "scan",
                "method",
                "label",
                "name",
                "n_voxels",
                "sum_years",
                "sum_absolute_years",
            ];
            write_table(&self.folder.join("regions.csv"), &header, &self.regions)?;
        }
        Ok(())
    }

    /// The scan's name without its ending; with a number where an earlier scan had the same.
    fn own_stem_of(&mut self, scan: &Path) -> String {
        let stem = stem_of(scan);
        let n = self.stems.entry(stem.clone()).or_insert(0);
        *n += 1;
        if *n == 1 { stem } else { format!("{stem}_{n}") }
    }

    fn note_map(&mut self, scan: &str, method: SaliencyMethod, space: &str, file: String) {
        let row = [scan.into(), method.name().into(), space.into(), file];
        self.maps.push(row);
    }

    fn add_regions(&mut self, scan: &str, method: SaliencyMethod, map: &Volume) {
        let Some(atlas) = &mut self.atlas else {
            return;
        };
        let labels = atlas
            .labels
            .get_or_insert_with(|| labels_on_grid(&atlas.volume, map));
        for (label, region) in by_region(map.values(), labels) {
            self.regions.push([
                scan.to_owned(),
                method.name().to_owned(),
                label.to_string(),
                atlas.names.get(&label).cloned().unwrap_or_default(),
                region.n_voxels.to_string(),
                region.sum_years.to_string(),
                region.sum_absolute_years.to_string(),
            ]);
        }
    }

    fn add_to_mean(&mut self, method: SaliencyMethod, map: &Volume) {
        let sum = self.sums.entry(method).or_insert_with(|| MapSum {
            sum: map.map(|_| 0.0),
            n: 0,
        });
        sum.n += 1;
        for (sum, value) in sum.sum.values_mut().iter_mut().zip(map.values()) {
            *sum += f64::from(*value);
        }
    }
}

/// The space that maps are in, and the way there from the scan.
fn space_of(predictor: &AgePredictor, entry: &CacheEntry) -> (&'static str, Affine) {
    match predictor.recipe.grid.space {
        GridSpace::Mni => ("MNI", entry.header.mni_from_scan),
        GridSpace::Scan => ("T1w", Affine::identity()),
    }
}

fn write_table<const N: usize>(
    path: &Path,
    header: &[&str; N],
    rows: &[[String; N]],
) -> std::io::Result<()> {
    write_atomically(path, |out| {
        let mut table = csv::Writer::from_writer(out);
        table.write_record(header)?;
        for row in rows {
            table.write_record(row)?;
        }
        table.flush()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_labels_are_read_from_tabs_or_commas() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("labels");
        for text in [
            "index\tname\n1\tLeft Hippocampus\n2\tright\n",
            "Name,Label\nLeft Hippocampus,1\nright,2\n",
        ] {
            fs_err::write(&path, text).unwrap();
            let names = label_names(&path).unwrap();
            assert_eq!(names[&1], "Left Hippocampus");
            assert_eq!(names.len(), 2);
        }
        fs_err::write(&path, "a,b\n").unwrap();
        assert!(label_names(&path).is_err());
    }
}
