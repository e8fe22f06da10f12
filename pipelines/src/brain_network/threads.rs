//! Threads of the networks' own.

use std::collections::BTreeMap;
use std::panic::resume_unwind;
use std::sync::{Arc, Mutex, PoisonError};

use rayon::{ThreadPool, ThreadPoolBuilder};

/// The pools there are, by their number of threads.
static POOLS: Mutex<BTreeMap<usize, Arc<ThreadPool>>> = Mutex::new(BTreeMap::new());

/// Does `work` in a pool of as many threads as the caller's, while the calling thread waits and does nothing else.
///
/// A thread of a rayon pool that waits for work in any pool takes up what else its own pool has to do; only a thread that
/// waits for a thread does not. Scans at work at the same time share the pool, so threads don't multiply. Where the
/// system has no thread to give, `work` is done in the caller's pool.
pub(super) fn apart<R: Send>(work: impl Fn() -> R + Sync) -> R {
    let Some(pool) = pool(rayon::current_num_threads()) else {
        return work();
    };
    std::thread::scope(|scope| {
        let waiting = std::thread::Builder::new().name("brain mask".into());
        match waiting.spawn_scoped(scope, || pool.install(&work)) {
            Ok(thread) => thread.join().unwrap_or_else(|panic| resume_unwind(panic)),
            Err(_) => work(),
        }
    })
}

fn pool(n_threads: usize) -> Option<Arc<ThreadPool>> {
    let mut pools = POOLS.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(pool) = pools.get(&n_threads) {
        return Some(Arc::clone(pool));
    }
    let pool = ThreadPoolBuilder::new()
        .num_threads(n_threads)
        .thread_name(|thread| format!("brain network {thread}"))
        .build()
        .ok()?;
    let pool = Arc::new(pool);
    pools.insert(n_threads, Arc::clone(&pool));
    Some(pool)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use rayon::prelude::*;

    use super::*;

    #[test]
    fn a_waiting_thread_begins_nothing_else_of_its_pool() {
        let (at_work, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let callers = ThreadPoolBuilder::new().num_threads(2).build().unwrap();
        callers.install(|| {
            (0..40).into_par_iter().with_max_len(1).for_each(|_| {
                most.fetch_max(at_work.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                let threads = apart(|| {
                    let sum: usize = (0..10_000_usize).into_par_iter().sum();
                    assert_eq!(sum, 49_995_000);
                    rayon::current_num_threads()
                });
                assert_eq!(threads, 2);
                at_work.fetch_sub(1, Ordering::SeqCst);
            });
        });
        assert!(most.into_inner() <= 2);
    }

    #[test]
    fn a_panic_reaches_the_caller() {
        let caught = std::panic::catch_unwind(|| apart(|| -> usize { panic!("broken") }));
        assert!(caught.is_err());
    }
}
