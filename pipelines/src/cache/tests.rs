use std::collections::BTreeMap;

use half::f16;

use super::*;
use crate::qc::{Qc, QcVerdict};
use crate::space::{Affine, VoxelShape};
use crate::template::template;
use crate::volume::{Mask, Volume};

const SHAPE: VoxelShape = VoxelShape([4, 3, 2]);

/// A small result with all kinds of values: outside, inside and 0, inside and tiny, negative.
pub(super) fn result(scale: f32) -> Preprocessed {
    let values = (0..24u8)
        .map(|i| {
            if i < 6 {
                0.0
            } else {
                (f32::from(i) - 8.0) * scale
            }
        })
        .collect();
    let world_from_voxel = Affine::grid([2.0, 2.0, 2.5], [-3.0, 0.1, 7.0]);
    let volume = Volume::new(values, SHAPE, world_from_voxel).unwrap();
    let inside = (0..24).map(|i| i >= 6).collect();
    let mni_from_scan = Affine::from_rows([
        [1.1, 0.012_345_678_901_234_5, 0.1, -4.0],
        [0.3 / 7.0, 0.9, 1.0 / 3.0, 2.0],
        [0.0, -0.1, 1.2, std::f64::consts::PI],
    ]);
    Preprocessed {
        volume,
        mask: Mask::new(inside, SHAPE, world_from_voxel).unwrap(),
        mni_from_scan,
        qc: Qc {
            verdict: QcVerdict::Warn,
            reasons: vec!["low overlap".to_owned()],
            metrics: BTreeMap::from([("overlap".to_owned(), 0.83)]),
        },
        file_hash: blake3::hash(b"the scan"),
        warnings: vec!["odd header".to_owned()],
        synthetic: true,
        brain: None,
    }
}

pub(super) struct Store {
    folder: tempfile::TempDir,
    pub(super) cache: Cache,
    pub(super) recipe: Recipe,
    key: CacheKey,
}

pub(super) fn store() -> Store {
    let folder = tempfile::tempdir().unwrap();
    let cache = Cache::open(&folder.path().join("deep/cache")).unwrap();
    let recipe = Recipe::named("coarse").unwrap();
    let key = CacheKey(blake3::hash(b"key"));
    Store {
        folder,
        cache,
        recipe,
        key,
    }
}

impl Store {
    fn put(&self, result: &Preprocessed) -> CacheEntry {
        self.cache
            .put(
                &self.key,
                result,
                &self.recipe,
                Path::new("a/sub-01_T1w.nii.gz"),
            )
            .unwrap()
    }
}

#[test]
fn an_entry_is_opened_by_its_file_wherever_that_lies() {
    let store = store();
    let entry = store.put(&result(1.0));
    let moved = store.folder.path().join("moved.vol");
    fs_err::copy(&entry.path, &moved).unwrap();
    let opened = CacheEntry::open(&moved).unwrap();
    assert_eq!(opened.header, entry.header);
    assert_eq!(opened.values_f32().unwrap(), entry.values_f32().unwrap());
    fs_err::write(&moved, b"BRAINVOL").unwrap();
    let refused = CacheEntry::open(&moved).unwrap_err().to_string();
    assert!(refused.contains("moved.vol"), "{refused}");
}

#[test]
fn an_entry_comes_back_as_it_was_put() {
    let store = store();
    let original = result(1.0);
    assert_eq!(store.cache.get(&store.key).unwrap(), None);
    let put = store.put(&original);
    let entry = store.cache.get(&store.key).unwrap().unwrap();
    assert_eq!(entry, put);
    assert_eq!(entry.header.recipe, store.recipe.to_toml());
    assert_eq!(entry.header.source, "a/sub-01_T1w.nii.gz");
    let back = entry.preprocessed().unwrap();
    // Whole numbers up to 15 are exact in f16; the 0 inside the mask is the smallest positive one.
    let expected: Vec<f32> = original
        .volume
        .values()
        .iter()
        .enumerate()
        .map(|(i, v)| {
            if i == 8 {
                f16::from_bits(1).to_f32()
            } else {
                *v
            }
        })
        .collect();
    assert_eq!(back.volume.values(), expected);
    assert_eq!(
        back.volume.world_from_voxel(),
        original.volume.world_from_voxel()
    );
    assert_eq!(back.mask, original.mask);
    assert_eq!((back.qc, back.warnings), (original.qc, original.warnings));
    assert_eq!(back.synthetic, original.synthetic);
    assert_eq!(back.file_hash, original.file_hash);
    for (found, row) in back
        .mni_from_scan
        .rows()
        .iter()
        .zip(original.mni_from_scan.rows())
    {
        assert!(
            found
                .iter()
                .zip(row)
                .all(|(a, b)| (a - b).abs() <= f64::EPSILON * b.abs())
        );
    }
}

#[test]
fn the_file_lies_under_its_key_and_its_voxels_are_aligned() {
    let store = store();
    let entry = store.put(&result(1.0));
    let hex = blake3::hash(b"key").to_hex();
    let expected = format!("deep/cache/{}/{hex}.vol", hex.get(..2).unwrap());
    assert_eq!(entry.path, store.folder.path().join(expected));
    let bytes = fs_err::read(&entry.path).unwrap();
    let json_bytes = u32::from_le_bytes(bytes[12..16].try_into().unwrap()) as usize;
    assert_eq!((16 + json_bytes) % 64, 0);
    assert_eq!(bytes.len(), 16 + json_bytes + 24 * 2 + 32);
    // Voxel 9 is 1.0: 0x3c00.
    assert_eq!(bytes[16 + json_bytes + 18..][..2], [0x00, 0x3c]);
}

#[test]
fn any_flipped_byte_is_noticed_and_the_entry_rebuilt() {
    let store = store();
    let entry = store.put(&result(1.0));
    let good = fs_err::read(&entry.path).unwrap();
    for at in (0..good.len())
        .step_by(7)
        .chain(good.len() - 32..good.len())
    {
        let mut bad = good.clone();
        bad[at] ^= 0x20;
        fs_err::write(&entry.path, &bad).unwrap();
        assert_eq!(store.cache.get(&store.key).unwrap(), None, "byte {at}");
        assert!(
            matches!(entry.values_f32(), Err(Error::CacheEntry { .. })),
            "byte {at}"
        );
    }
    store.put(&result(1.0));
    assert_eq!(store.cache.get(&store.key).unwrap(), Some(entry));
}

#[test]
fn a_truncated_entry_is_noticed_at_every_length() {
    let store = store();
    let entry = store.put(&result(1.0));
    let good = fs_err::read(&entry.path).unwrap();
    for length in (0..good.len()).step_by(5).chain([15, 16, good.len() - 1]) {
        fs_err::write(&entry.path, &good[..length]).unwrap();
        assert_eq!(store.cache.get(&store.key).unwrap(), None, "{length} bytes");
    }
    fs_err::write(&entry.path, [&good[..], b"x"].concat()).unwrap();
    assert_eq!(store.cache.get(&store.key).unwrap(), None);
}

#[test]
fn an_entry_of_another_version_counts_as_absent() {
    let store = store();
    let entry = store.put(&result(1.0));
    let mut bytes = fs_err::read(&entry.path).unwrap();
    bytes[8] = 3;
    // Whole otherwise: its checksum is right.
    let end = bytes.len() - 32;
    let checksum = blake3::hash(&bytes[..end]);
    bytes[end..].copy_from_slice(checksum.as_bytes());
    fs_err::write(&entry.path, &bytes).unwrap();
    assert_eq!(store.cache.get(&store.key).unwrap(), None);
    assert_eq!(take_apart(&bytes).unwrap_err(), "version is 3, expected 2");
}

#[test]
fn an_entry_under_a_foreign_name_counts_as_absent() {
    let store = store();
    let entry = store.put(&result(1.0));
    let other = CacheKey(blake3::hash(b"other"));
    let path = store.cache.path_of(&other);
    fs_err::create_dir_all(path.parent().unwrap()).unwrap();
    fs_err::copy(&entry.path, &path).unwrap();
    assert_eq!(store.cache.get(&other).unwrap(), None);
}

#[test]
fn two_writers_of_one_key_leave_one_whole_entry() {
    let store = store();
    let (one, two) = (result(1.0), result(0.5));
    std::thread::scope(|scope| {
        for result in [&one, &two] {
            scope.spawn(|| (0..40).for_each(|_| drop(store.put(result))));
        }
        // A reader beside them never sees half an entry.
        scope.spawn(|| {
            let mut found = 0;
            while found < 40 {
                if store.cache.len().unwrap() > 0 {
                    assert!(store.cache.get(&store.key).unwrap().is_some());
                    found += 1;
                }
            }
        });
    });
    let values = store
        .cache
        .get(&store.key)
        .unwrap()
        .unwrap()
        .values_f32()
        .unwrap();
    assert!(values[23] == 15.0 || values[23] == 7.5, "{}", values[23]);
    assert_eq!(store.cache.len().unwrap(), 1);
}

#[test]
fn count_and_size_ignore_what_is_no_entry() {
    let store = store();
    assert!(store.cache.is_empty().unwrap());
    let entry = store.put(&result(1.0));
    fs_err::write(store.cache.root().join("notes.txt"), "x").unwrap();
    fs_err::write(entry.path.with_file_name(".tmp-1"), "x").unwrap();
    assert_eq!(store.cache.len().unwrap(), 1);
    assert_eq!(
        store.cache.size_bytes().unwrap(),
        fs_err::metadata(&entry.path).unwrap().len()
    );
}

#[test]
fn what_f16_cannot_hold_is_refused_by_name() {
    let store = store();
    for bad in [f32::NAN, f32::INFINITY, 1e6] {
        let mut result = result(1.0);
        result.volume.values_mut()[9] = bad;
        let refused = store
            .cache
            .put(&store.key, &result, &store.recipe, Path::new("a.nii"));
        assert!(refused.unwrap_err().to_string().contains("voxel 9 is "));
    }
    assert!(store.cache.is_empty().unwrap());
}

#[test]
fn file_recipe_and_template_all_change_the_key() {
    let template = template().unwrap();
    let (coarse, fast) = (
        Recipe::named("coarse").unwrap(),
        Recipe::named("fast").unwrap(),
    );
    let (a, b) = (blake3::hash(b"a"), blake3::hash(b"b"));
    let key = Cache::key(a, &coarse, template);
    assert_eq!(key, Cache::key(a, &coarse, template));
    assert_ne!(key, Cache::key(b, &coarse, template));
    assert_ne!(key, Cache::key(a, &fast, template));
    assert_eq!(key.to_string().len(), 64);
    let mut learned = fast.clone();
    learned.mask.source = MaskSource::Learned;
    assert_ne!(
        Cache::key(a, &learned, template),
        Cache::key(a, &fast, template)
    );
}
