//! Who takes which scan next.

use std::cell::Cell;
use std::path::PathBuf;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

thread_local! {
    /// Whether this thread is taking scans.
    static IN_WORK: Cell<bool> = const { Cell::new(false) };
}

/// Ends when it is dropped, by a panic too.
struct InWork;

impl InWork {
    /// `None` if this thread is in work already.
    fn begin() -> Option<Self> {
        // Not made before it is known: dropping it would end the work of the other one.
        if IN_WORK.replace(true) {
            None
        } else {
            Some(Self)
        }
    }
}

impl Drop for InWork {
    fn drop(&mut self) {
        IN_WORK.set(false);
    }
}

/// Places in `scans`, those of the largest files first: a large scan that comes last would keep one thread busy while
/// all others have nothing left. Scans in archives have no size of their own and come last, in their order.
pub(super) fn largest_first(scans: &[PathBuf]) -> Vec<usize> {
    let size = |scan: &PathBuf| std::fs::metadata(scan).map_or(0, |metadata| metadata.len());
    let sizes: Vec<u64> = scans.iter().map(size).collect();
    let mut order: Vec<usize> = (0..scans.len()).collect();
    order.sort_by_key(|idx| std::cmp::Reverse(sizes[*idx]));
    order
}

/// Does `work` once for each of `order`, which holds every number below its length once, begun in that order, on at
/// most `n_workers` threads of the caller's rayon pool; results by number. `None` is left only for what a thread that was in work already could
/// not take on and nobody else was there to do.
pub(super) fn in_order<R: Send + Sync>(
    order: &[usize],
    n_workers: usize,
    work: impl Fn(usize) -> R + Sync,
) -> Vec<Option<R>> {
    let done: Vec<OnceLock<R>> = order.iter().map(|_| OnceLock::new()).collect();
    let next = AtomicUsize::new(0);
    let take_all = || {
        // A thread that waits for something inside its scan may be given this as well: it must not begin another scan,
        // which would wait for memory that the first one holds.
        let Some(_in_work) = InWork::begin() else {
            return;
        };
        while let Some(idx) = order.get(next.fetch_add(1, Ordering::Relaxed)) {
            let first = done[*idx].set(work(*idx)).is_ok();
            debug_assert!(first, "{idx} twice");
        }
    };
    rayon::scope(|scope| {
        for _ in 0..n_workers.min(order.len()) {
            scope.spawn(|_| take_all());
        }
    });
    done.into_iter().map(OnceLock::into_inner).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[test]
    fn the_largest_files_come_first_and_others_in_their_order() {
        let folder = tempfile::tempdir().unwrap();
        let write = |(i, size): (usize, usize)| {
            let path = folder.path().join(i.to_string());
            fs_err::write(&path, vec![0; size]).unwrap();
            path
        };
        let mut scans: Vec<PathBuf> = [5, 70, 5, 600].into_iter().enumerate().map(write).collect();
        scans.push("a.zip/T1.nii.gz".into());
        assert_eq!(largest_first(&scans), [3, 1, 0, 2, 4]);
    }

    #[test]
    fn all_is_done_once_in_order_and_results_are_by_number() {
        let order = [3, 1, 0, 2];
        let begun = Mutex::new(Vec::new());
        let one_thread = rayon::ThreadPoolBuilder::new().num_threads(1).build();
        let done = one_thread.unwrap().install(|| {
            in_order(&order, 1, |idx| {
                begun.lock().unwrap().push(idx);
                10 * idx
            })
        });
        assert_eq!(done, [0, 10, 20, 30].map(Some));
        assert_eq!(begun.into_inner().unwrap(), order);
        assert!(in_order(&[], 4, |idx| idx).is_empty());
    }

    #[test]
    fn a_thread_in_work_that_waits_takes_on_nothing_else() {
        let order: Vec<usize> = (0..20).collect();
        let two = rayon::ThreadPoolBuilder::new().num_threads(2).build();
        let nested = |_: usize| {
            // Waiting for these, a thread looks for other work in its pool.
            rayon::join(std::thread::yield_now, std::thread::yield_now);
            assert!(InWork::begin().is_none());
        };
        let done = two.unwrap().install(|| in_order(&order, 2, nested));
        assert!(done.iter().all(Option::is_some));
        assert!(InWork::begin().is_some());
    }
}
