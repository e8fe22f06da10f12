use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use super::super::tests::{Store, result, store};
use super::*;

fn key(n: u32) -> CacheKey {
    CacheKey(blake3::hash(&n.to_le_bytes()))
}

/// Stores a small result under key `n`.
fn put(store: &Store, cache: &Cache, n: u32) -> Result<PathBuf, Error> {
    let entry = cache.put(&key(n), &result(1.0), &store.recipe, Path::new("a.nii"));
    entry.map(|entry| entry.path)
}

/// Dates a file back by more than an hour.
fn age(path: &Path) {
    let file = fs_err::File::options().write(true).open(path).unwrap();
    let time = SystemTime::now() - Duration::from_secs(3700);
    file.file().set_modified(time).unwrap();
}

fn keys(of: impl IntoIterator<Item = u32>) -> HashSet<CacheKey> {
    of.into_iter().map(key).collect()
}

#[test]
fn entries_are_listed_with_key_and_size_and_foreign_files_passed_over() {
    let store = store();
    let paths: Vec<_> = (0..5)
        .map(|n| put(&store, &store.cache, n).unwrap())
        .collect();
    fs_err::write(paths[0].with_file_name("notes.txt"), "x").unwrap();
    fs_err::write(paths[0].with_file_name("abc.vol"), "x").unwrap();
    // An entry in the folder of others, where nobody looks for it.
    fs_err::create_dir_all(store.cache.root().join("00")).unwrap();
    let name = paths[0].file_name().unwrap();
    fs_err::copy(&paths[0], store.cache.root().join("00").join(name)).unwrap();
    let entries = store.cache.entries().unwrap();
    let found: HashSet<_> = entries.iter().map(|entry| entry.key).collect();
    assert_eq!((entries.len(), found), (5, keys(0..5)));
    assert!(entries.is_sorted_by_key(|entry| entry.key.to_string()));
    for entry in entries {
        assert_eq!(entry.bytes, fs_err::metadata(&entry.path).unwrap().len());
    }
}

#[test]
fn verifying_names_every_damaged_entry_and_its_problem() {
    let store = store();
    let paths: Vec<_> = (0..6)
        .map(|n| put(&store, &store.cache, n).unwrap())
        .collect();
    let good = fs_err::read(&paths[0]).unwrap();
    let mut flipped = good.clone();
    flipped[good.len() / 2] ^= 1;
    fs_err::write(&paths[1], flipped).unwrap();
    fs_err::write(&paths[2], &good[..good.len() - 1]).unwrap();
    fs_err::write(&paths[3], b"").unwrap();
    fs_err::copy(&paths[0], &paths[4]).unwrap();
    let checked = AtomicUsize::new(0);
    let count = || {
        checked.fetch_add(1, Ordering::Relaxed);
    };
    let found = store.cache.verify(&count).unwrap();
    assert_eq!(checked.into_inner(), 6);
    assert_eq!(
        (found.n_whole, found.whole_bytes),
        (2, 2 * good.len() as u64)
    );
    for (n, words) in [
        (1, "checksum"),
        (2, "checksum"),
        (3, "does not begin"),
        (4, "of another key"),
    ] {
        let damaged = found.damaged.iter().find(|entry| entry.path == paths[n]);
        let problem = &damaged.unwrap().problem;
        assert!(problem.contains(words), "{problem}");
    }
    assert_eq!(found.damaged.len(), 4);
}

#[test]
fn a_purge_removes_what_nobody_keeps_and_says_how_much_that_was() {
    let store = store();
    let paths: Vec<_> = (0..6)
        .map(|n| put(&store, &store.cache, n).unwrap())
        .collect();
    let size = fs_err::metadata(&paths[0]).unwrap().len();
    let unfinished = paths[0].with_file_name(".tmp-abc");
    fs_err::write(&unfinished, b"half").unwrap();
    let foreign = paths[0].with_file_name("notes.txt");
    fs_err::write(&foreign, b"mine").unwrap();
    for path in paths[..4].iter().chain([&unfinished, &foreign]) {
        age(path);
    }
    let expected = Purged {
        entries: FileCount {
            n: 2,
            bytes: 2 * size,
        },
        temporaries: FileCount { n: 1, bytes: 4 },
        kept: FileCount {
            n: 3,
            bytes: 3 * size,
        },
        // Number 4 is young.
        spared: FileCount { n: 1, bytes: size },
        failed: Vec::new(),
    };
    let keep = keys([1, 3, 5]);
    assert_eq!(
        store.cache.purge(&keep, PurgeMode::Count).unwrap(),
        expected
    );
    assert_eq!(store.cache.len().unwrap(), 6);
    assert_eq!(
        store.cache.purge(&keep, PurgeMode::Remove).unwrap(),
        expected
    );
    for (path, stays) in paths.iter().zip([false, true, false, true, true, true]) {
        assert_eq!(path.exists(), stays);
    }
    assert!(foreign.exists() && !unfinished.exists());
    let again = store.cache.purge(&keep, PurgeMode::Remove).unwrap();
    assert_eq!((again.entries.n, again.temporaries.n), (0, 0));
}

#[test]
fn what_is_dated_into_the_future_is_young() {
    let now = SystemTime::now();
    assert!(is_young(now + Duration::from_hours(25), now));
    assert!(is_young(now - Duration::from_secs(3_599), now));
    assert!(!is_young(now - Duration::from_secs(3_601), now));
}

#[test]
fn processes_that_write_verify_and_purge_at_once_lose_nothing() {
    const N: u32 = 30;
    let store = store();
    let root = store.cache.root();
    std::thread::scope(|scope| {
        for backward in [false, true] {
            let store = &store;
            scope.spawn(move || {
                let cache = Cache::open(root).unwrap();
                for n in 0..N {
                    put(store, &cache, if backward { N - 1 - n } else { n }).unwrap();
                }
            });
        }
        scope.spawn(|| {
            let cache = Cache::open(root).unwrap();
            for _ in 0..20 {
                let purged = cache.purge(&HashSet::new(), PurgeMode::Remove).unwrap();
                assert_eq!((purged.entries.n, purged.temporaries.n), (0, 0));
                assert_eq!(purged.failed, []);
            }
        });
        scope.spawn(|| {
            let cache = Cache::open(root).unwrap();
            for _ in 0..20 {
                assert_eq!(cache.verify(&|| {}).unwrap().damaged, []);
            }
        });
    });
    let found = store.cache.verify(&|| {}).unwrap();
    assert_eq!((found.n_whole, found.damaged.len()), (N as usize, 0));
    assert_eq!(store.cache.contents().unwrap().temporaries, []);
}

#[test]
fn two_purges_at_once_remove_each_entry_once() {
    let store = store();
    for n in 0..200 {
        age(&put(&store, &store.cache, n).unwrap());
    }
    let removed = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let cache = Cache::open(store.cache.root()).unwrap();
                let purged = cache.purge(&keys([7]), PurgeMode::Remove).unwrap();
                assert_eq!(purged.failed, []);
                removed.fetch_add(purged.entries.n, Ordering::Relaxed);
            });
        }
    });
    assert_eq!(removed.into_inner(), 199);
    assert_eq!(store.cache.entries().unwrap().len(), 1);
}

#[test]
fn fifty_thousand_entries_are_listed_in_five_seconds() {
    // Where files are not made in memory, making so many takes longer than all other tests.
    let (folder, n) = match tempfile::tempdir_in("/dev/shm") {
        Ok(folder) => (folder, 50_000),
        Err(_) => (tempfile::tempdir().unwrap(), 2_000),
    };
    let cache = Cache::open(folder.path()).unwrap();
    for first in 0..=255_u8 {
        fs_err::create_dir_all(cache.root().join(format!("{first:02x}"))).unwrap();
    }
    for key in (0..n).map(key) {
        drop(fs_err::File::create(cache.path_of(&key)).unwrap());
    }
    let begun = Instant::now();
    assert_eq!(cache.entries().unwrap().len(), n as usize);
    assert!(
        begun.elapsed() < Duration::from_secs(5),
        "{:?}",
        begun.elapsed()
    );
    eprintln!("{n} entries were listed in {:?}", begun.elapsed());
}

/// A file system of 256 kB, unmounted at the end.
#[cfg(target_os = "linux")]
struct Tiny(tempfile::TempDir);

#[cfg(target_os = "linux")]
impl Tiny {
    fn mount() -> Option<Self> {
        let folder = tempfile::tempdir().ok()?;
        let mounted = std::process::Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=256k", "tmpfs"])
            .arg(folder.path())
            .output();
        mounted
            .is_ok_and(|output| output.status.success())
            .then(|| Self(folder))
    }
}

#[cfg(target_os = "linux")]
impl Drop for Tiny {
    fn drop(&mut self) {
        let unmounted = std::process::Command::new("umount")
            .arg(self.0.path())
            .status();
        if !unmounted.is_ok_and(|status| status.success()) {
            eprintln!("not unmounted: `{}`", self.0.path().display());
        }
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_an_error_that_says_so_and_damages_nothing() {
    let Some(tiny) = Tiny::mount() else {
        eprintln!("skipped: a small file system can be mounted by the administrator only");
        return;
    };
    let store = store();
    let cache = Cache::open(&tiny.0.path().join("cache")).unwrap();
    let mut stored = 0;
    let error = loop {
        match put(&store, &cache, stored) {
            Ok(_) => stored += 1,
            Err(error) => break error,
        }
        assert!(stored < 1000, "the disk is never full");
    };
    assert!(stored > 10, "{stored}");
    let message = error.to_string();
    assert!(message.contains("No space left on device"), "{message}");
    assert!(error.hint().unwrap().contains("free some space"));
    let found = cache.verify(&|| {}).unwrap();
    assert_eq!((found.n_whole, found.damaged.len()), (stored as usize, 0));
    assert_eq!(cache.contents().unwrap().temporaries, []);
    // An entry that should be replaced stays as it was.
    if put(&store, &cache, 0).is_err() {
        assert!(cache.get(&key(0)).unwrap().is_some());
    }
    fs_err::remove_file(cache.path_of(&key(1))).unwrap();
    put(&store, &cache, 1).unwrap();
}
