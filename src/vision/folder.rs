//! Images in folders, one a class, as ImageNet (ILSVRC 2012) and Tiny ImageNet ship:
//!
//! ```text
//! train/n01440764/*.JPEG            or train/n01440764/images/*.JPEG
//! val/n01440764/*.JPEG              or val/*.JPEG, or val/images/*.JPEG, with a table that says the class of each:
//!   val/val_annotations.txt         (also val_annotations.txt, val.txt, LOC_val_solution.csv beside val/)
//! ```
//!
//! A line of such a table begins with the name of an image and its class, between blanks or commas; what follows does not
//! matter. `test/` serves where there is no `val/`. The pictures of `val` or `test` are what a training never sees.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::dataset::{ImageData, LabeledImage, Opened};
use crate::Error;

/// Where tables of the classes of validation images may be, from the root.
const TABLES: [&str; 5] = [
    "val/val_annotations.txt",
    "val_annotations.txt",
    "val.txt",
    "LOC_val_solution.csv",
    "val/val.txt",
];

/// Lists the images below a root.
///
/// # Errors
/// [`Error::Io`] where a folder cannot be read, [`Error::Data`] where there is nothing to train on, [`Error::Image`] where
/// a table does not fit.
pub fn open(root: &Path) -> Result<Opened, Error> {
    let train = root.join("train");
    if !train.is_dir() {
        return Err(Error::Data(format!(
            "no folder `train` with one folder a class in `{}`",
            root.display()
        )));
    }
    let classes = folders(&train)?;
    let names: Vec<String> = classes.iter().map(|path| name_of(path)).collect();
    let mut opened = Opened::of(names.clone());
    for (class, folder) in classes.iter().enumerate() {
        opened.training.extend(images_in(root, folder, class)?);
    }
    let numbers: BTreeMap<&str, usize> = names
        .iter()
        .enumerate()
        .map(|(i, n)| (n.as_str(), i))
        .collect();
    let held_out = ["val", "test"].map(|name| root.join(name));
    if let Some(folder) = held_out.iter().find(|folder| folder.is_dir()) {
        opened.test = by_folder(root, folder, &numbers)?;
        if opened.test.is_empty() {
            opened.test = by_table(root, folder, &numbers)?;
        }
    }
    opened.check(root, "train")
}

/// Images in folders that are named like the classes.
fn by_folder(
    root: &Path,
    folder: &Path,
    numbers: &BTreeMap<&str, usize>,
) -> Result<Vec<LabeledImage>, Error> {
    let mut images = Vec::new();
    for path in folders(folder)? {
        if let Some(class) = numbers.get(name_of(&path).as_str()) {
            images.extend(images_in(root, &path, *class)?);
        }
    }
    Ok(images)
}

/// Images of one folder, whose classes a table says.
fn by_table(
    root: &Path,
    folder: &Path,
    numbers: &BTreeMap<&str, usize>,
) -> Result<Vec<LabeledImage>, Error> {
    let mut tables = TABLES.iter().map(|name| root.join(name));
    let Some(table) = tables.find(|path| path.is_file()) else {
        return Ok(Vec::new());
    };
    let within = folder.join("images");
    let files = image_files(if within.is_dir() { &within } else { folder })?;
    let by_stem: BTreeMap<String, PathBuf> = files
        .into_iter()
        .map(|path| (stem_of(&path), path))
        .collect();
    let mut images = Vec::new();
    for (number, line) in fs_err::read_to_string(&table)?.lines().enumerate() {
        let refuse = |message: String| Error::Image {
            path: table.clone(),
            message: format!("line {}: {message}", number + 1),
        };
        let mut words = line.split([' ', '\t', ',']).filter(|word| !word.is_empty());
        let Some((image, class)) = words.next().zip(words.next()) else {
            continue;
        };
        if image == "ImageId" {
            continue;
        }
        let Some(class) = numbers.get(class) else {
            return Err(refuse(format!("class {class} has no folder in `train`")));
        };
        let Some(path) = by_stem.get(&stem_of(Path::new(image))) else {
            return Err(refuse(format!(
                "image {image} is not in `{}`",
                folder.display()
            )));
        };
        images.push(labeled(root, path.clone(), *class));
    }
    Ok(images)
}

fn images_in(root: &Path, folder: &Path, class: usize) -> Result<Vec<LabeledImage>, Error> {
    let within = folder.join("images");
    let files = image_files(if within.is_dir() { &within } else { folder })?;
    Ok(files
        .into_iter()
        .map(|path| labeled(root, path, class))
        .collect())
}

fn labeled(root: &Path, path: PathBuf, class: usize) -> LabeledImage {
    LabeledImage {
        class,
        name: path
            .strip_prefix(root)
            .unwrap_or(&path)
            .to_string_lossy()
            .replace('\\', "/"),
        data: ImageData::File(path),
    }
}

/// Folders within a folder, by name.
fn folders(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    entries(folder, Path::is_dir)
}

/// Image files within a folder, by name in natural order.
fn image_files(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    let is_image = |path: &Path| {
        let extension = path
            .extension()
            .and_then(|e| e.to_str())
            .unwrap_or_default();
        ["jpeg", "jpg", "png"].contains(&extension.to_ascii_lowercase().as_str())
    };
    entries(folder, is_image)
}

fn entries(folder: &Path, wanted: impl Fn(&Path) -> bool) -> Result<Vec<PathBuf>, Error> {
    let mut paths = Vec::new();
    for entry in fs_err::read_dir(folder)? {
        let path = entry?.path();
        if wanted(&path) {
            paths.push(path);
        }
    }
    paths.sort_by(|a, b| natord::compare(&name_of(a), &name_of(b)));
    Ok(paths)
}

fn name_of(path: &Path) -> String {
    path.file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}

fn stem_of(path: &Path) -> String {
    path.file_stem()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(root: &Path, names: &[&str]) {
        for name in names {
            let path = root.join(name);
            fs_err::create_dir_all(path.parent().unwrap()).unwrap();
            fs_err::write(path, b"x").unwrap();
        }
    }

    fn listed(images: &[LabeledImage]) -> Vec<(usize, &str)> {
        images
            .iter()
            .map(|image| (image.class, image.name.as_str()))
            .collect()
    }

    #[test]
    fn tiny_imagenet_is_read_with_its_annotations() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        write(
            root,
            &[
                "train/n02/images/n02_10.JPEG",
                "train/n02/images/n02_2.JPEG",
                "train/n02/n02_boxes.txt",
                "train/n01/images/n01_0.JPEG",
                "val/images/val_0.JPEG",
                "val/images/val_1.JPEG",
            ],
        );
        let table = "val_0.JPEG\tn02\t0\t32\t44\t62\nval_1.JPEG\tn01\t52\t55\t57\t59\n";
        fs_err::write(root.join("val/val_annotations.txt"), table).unwrap();
        let opened = open(root).unwrap();
        assert_eq!(opened.classes, ["n01", "n02"]);
        assert_eq!(
            listed(&opened.training),
            [
                (0, "train/n01/images/n01_0.JPEG"),
                (1, "train/n02/images/n02_2.JPEG"),
                (1, "train/n02/images/n02_10.JPEG")
            ]
        );
        assert_eq!(
            listed(&opened.test),
            [(1, "val/images/val_0.JPEG"), (0, "val/images/val_1.JPEG")]
        );
        fs_err::write(root.join("val/val_annotations.txt"), "val_0.JPEG\tn09\n").unwrap();
        let said = open(root).unwrap_err().to_string();
        assert!(said.contains("line 1") && said.contains("n09"), "{said}");
        fs_err::write(root.join("val/val_annotations.txt"), "val_7.JPEG\tn01\n").unwrap();
        assert!(open(root).unwrap_err().to_string().contains("val_7.JPEG"));
    }

    #[test]
    fn imagenet_is_read_with_its_table_or_with_folders() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        let val = "val/ILSVRC2012_val_00000001.JPEG";
        write(root, &["train/n01/n01_1.JPEG", "train/n02/n02_1.JPEG", val]);
        let table = "ImageId,PredictionString\nILSVRC2012_val_00000001,n02 85 1 499 272\n";
        fs_err::write(root.join("LOC_val_solution.csv"), table).unwrap();
        assert_eq!(listed(&open(root).unwrap().test), [(1, val)]);
        write(root, &["val/n01/a.JPEG"]);
        assert_eq!(listed(&open(root).unwrap().test), [(0, "val/n01/a.JPEG")]);
    }

    #[test]
    fn a_root_without_classes_says_what_it_should_look_like() {
        let folder = tempfile::tempdir().unwrap();
        assert!(
            open(folder.path())
                .unwrap_err()
                .to_string()
                .contains("`train`")
        );
        fs_err::create_dir_all(folder.path().join("train/a")).unwrap();
        assert!(open(folder.path()).is_err());
    }
}
