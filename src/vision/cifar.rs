//! CIFAR-10 and CIFAR-100 in their binary layouts (Krizhevsky 2009, "Learning multiple layers of features from tiny
//! images"): records of one label byte (CIFAR-100: coarse and fine) and 32×32 red, green and blue values.
//!
//! Files may be compressed (`.gz`). A CIFAR-100 file with fine labels alone is read too.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use flate2::read::GzDecoder;

use super::dataset::{ImageData, LabeledImage, Opened};
use super::pixels::Pixels;
use crate::Error;

/// Side of an image, pixels.
pub const SIDE: usize = 32;
/// Values of an image.
const IMAGE_BYTES: usize = 3 * SIDE * SIDE;

/// A file of records in memory.
#[derive(Debug)]
pub struct Records {
    bytes: Vec<u8>,
    label_bytes: usize,
}

impl Records {
    fn len(&self) -> usize {
        self.bytes.len() / (self.label_bytes + IMAGE_BYTES)
    }

    fn record(&self, number: usize) -> &[u8] {
        let size = self.label_bytes + IMAGE_BYTES;
        self.bytes
            .get(number * size..(number + 1) * size)
            .unwrap_or_default()
    }

    /// The image of a record.
    pub fn pixels(&self, number: usize) -> Pixels {
        let planes = self
            .record(number)
            .get(self.label_bytes..)
            .unwrap_or_default();
        Pixels::from_planes(SIDE, SIDE, planes)
    }
}

/// CIFAR-10: `data_batch_1.bin` to `data_batch_5.bin`, `test_batch.bin`, `batches.meta.txt`.
///
/// # Errors
/// [`Error::Image`] where a file is damaged, [`Error::Data`] where there is no training file.
pub fn open_cifar10(root: &Path) -> Result<Opened, Error> {
    let names = read_names(&root.join("batches.meta.txt"), 10)?;
    let mut opened = Opened::of(names);
    for number in 1..=5 {
        let name = format!("data_batch_{number}.bin");
        match find(root, &name) {
            Some(path) => opened.training.extend(read(&path, 10, &[1])?),
            None => opened
                .notes
                .push(format!("no `{name}` in `{}`", root.display())),
        }
    }
    if let Some(path) = find(root, "test_batch.bin") {
        opened.test = read(&path, 10, &[1])?;
    }
    opened.check(root, "data_batch_1.bin to data_batch_5.bin")
}

/// CIFAR-100: `train.bin`, `test.bin`, `fine_label_names.txt`; classes are the fine ones.
///
/// # Errors
/// As [`open_cifar10`].
pub fn open_cifar100(root: &Path) -> Result<Opened, Error> {
    let names = read_names(&root.join("fine_label_names.txt"), 100)?;
    let mut opened = Opened::of(names);
    let of = |name: &str, prefix: &str| find(root, name).or_else(|| find_by_prefix(root, prefix));
    if let Some(path) = of("train.bin", "cifar100_train") {
        opened.training = read(&path, 100, &[2, 1])?;
    }
    if let Some(path) = of("test.bin", "cifar100_test") {
        opened.test = read(&path, 100, &[2, 1])?;
    }
    opened.check(root, "train.bin")
}

/// A file, compressed or not.
fn find(root: &Path, name: &str) -> Option<PathBuf> {
    [name.to_owned(), format!("{name}.gz")]
        .into_iter()
        .map(|name| root.join(name))
        .find(|path| path.is_file())
}

fn find_by_prefix(root: &Path, prefix: &str) -> Option<PathBuf> {
    let entries = fs_err::read_dir(root).ok()?;
    let mut paths: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .collect();
    paths.sort();
    paths.into_iter().find(|path| {
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or_default();
        let extension = path.extension().and_then(|extension| extension.to_str());
        name.starts_with(prefix) && matches!(extension, Some("bin" | "gz"))
    })
}

/// The names of the classes, one a line; numbers where there is no such file.
fn read_names(path: &Path, n_classes: usize) -> Result<Vec<String>, Error> {
    if !path.is_file() {
        return Ok((0..n_classes).map(|class| class.to_string()).collect());
    }
    let text = fs_err::read_to_string(path)?;
    let names: Vec<String> = text
        .lines()
        .map(str::trim)
        .filter(|l| !l.is_empty())
        .map(str::to_owned)
        .collect();
    if names.len() == n_classes {
        Ok(names)
    } else {
        Err(Error::Image {
            path: path.to_path_buf(),
            message: format!("{} names of classes, expected {n_classes}", names.len()),
        })
    }
}

/// All records of a file; `layouts` are the numbers of label bytes that it may have, the last label counts.
fn read(path: &Path, n_classes: usize, layouts: &[usize]) -> Result<Vec<LabeledImage>, Error> {
    let refuse = |message: String| Error::Image {
        path: path.to_path_buf(),
        message,
    };
    let mut bytes = fs_err::read(path)?;
    if path.extension().is_some_and(|extension| extension == "gz") {
        let mut plain = Vec::new();
        let unpacked = GzDecoder::new(bytes.as_slice()).read_to_end(&mut plain);
        unpacked.map_err(|error| refuse(format!("damaged gzip data ({error})")))?;
        bytes = plain;
    }
    let fits = |label_bytes: &&usize| bytes.len().is_multiple_of(**label_bytes + IMAGE_BYTES);
    let Some(label_bytes) = layouts
        .iter()
        .find(fits)
        .copied()
        .filter(|_| !bytes.is_empty())
    else {
        let sizes: Vec<String> = layouts
            .iter()
            .map(|n| (n + IMAGE_BYTES).to_string())
            .collect();
        let (n, sizes) = (bytes.len(), sizes.join(" or "));
        return Err(refuse(format!("{n} bytes, expected a multiple of {sizes}")));
    };
    let records = Arc::new(Records { bytes, label_bytes });
    let file = path.file_name().unwrap_or_default().to_string_lossy();
    let of_record = |number: usize| {
        let label = records
            .record(number)
            .get(label_bytes - 1)
            .copied()
            .unwrap_or(u8::MAX);
        let class = usize::from(label);
        if class >= n_classes {
            return Err(refuse(format!(
                "record {number} has label {class}, expected one below {n_classes}"
            )));
        }
        Ok(LabeledImage {
            class,
            name: format!("{file}:{number}"),
            data: ImageData::Record(Arc::clone(&records), number),
        })
    };
    (0..records.len()).map(of_record).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(labels: &[u8], value: u8) -> Vec<u8> {
        let mut bytes = labels.to_vec();
        bytes.extend(std::iter::repeat_n(value, IMAGE_BYTES));
        bytes
    }

    #[test]
    fn cifar10_files_give_images_and_labels_and_say_which_are_missing() {
        let folder = tempfile::tempdir().unwrap();
        let train = [record(&[3], 30), record(&[9], 90)].concat();
        fs_err::write(folder.path().join("data_batch_1.bin"), &train).unwrap();
        fs_err::write(folder.path().join("test_batch.bin"), record(&[1], 10)).unwrap();
        let opened = open_cifar10(folder.path()).unwrap();
        assert_eq!((opened.training.len(), opened.test.len()), (2, 1));
        assert_eq!(opened.training[1].class, 9);
        assert_eq!(
            opened.training[1].pixels().unwrap().rgb,
            vec![90; IMAGE_BYTES]
        );
        assert_eq!(opened.notes.len(), 4);
        assert_eq!(opened.classes.len(), 10);
    }

    #[test]
    fn cifar100_has_two_labels_of_which_the_fine_one_counts_or_that_alone() {
        let folder = tempfile::tempdir().unwrap();
        fs_err::write(folder.path().join("train.bin"), record(&[4, 77], 5)).unwrap();
        fs_err::write(folder.path().join("test.bin"), record(&[66], 6)).unwrap();
        let opened = open_cifar100(folder.path()).unwrap();
        assert_eq!(opened.training[0].class, 77);
        assert_eq!(opened.test[0].class, 66);
        assert_eq!(opened.test[0].pixels().unwrap().rgb[0], 6);
    }

    #[test]
    fn files_of_another_size_or_with_unknown_labels_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data_batch_1.bin");
        let refused = || open_cifar10(folder.path()).unwrap_err().to_string();
        assert!(refused().contains("data_batch_1.bin"), "{}", refused());
        fs_err::write(&path, &record(&[3], 0)[..3000]).unwrap();
        assert!(
            refused().contains("3000 bytes, expected a multiple of 3073"),
            "{}",
            refused()
        );
        fs_err::write(&path, record(&[10], 0)).unwrap();
        assert!(refused().contains("record 0 has label 10"), "{}", refused());
    }
}
