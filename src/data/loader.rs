//! Batches of the coming steps, made ready by threads of their own while the devices work.
//!
//! Step s is made by thread s mod n and handed over when its turn comes, so the order is that of the plan and the bits
//! are those of loading in line, whatever n is. Each thread keeps one ready batch at most, which bounds memory.

use std::ops::Range;
use std::sync::mpsc;
use std::thread::{Builder, Scope, available_parallelism};
use std::time::{Duration, Instant};

use super::batch::{Batch, BatchPlan, BatchSource, EpochDraws};
use super::sampling::repeats;
use crate::Error;

/// Threads, and so ready batches, at least and at most; between them one for each core.
const FEWEST_THREADS: usize = 2;
const MOST_THREADS: usize = 8;

/// What training batches are made of.
#[derive(Clone, Copy)]
pub struct Loading<'a> {
    /// Where they come from.
    pub source: &'a dyn BatchSource,
    /// Who is in which batch.
    pub plan: &'a BatchPlan,
}

impl Loading<'_> {
    /// The batch of a step; `orders` keeps the epoch's order from step to step.
    fn batch(&self, step: u64, orders: &mut EpochOrder) -> Result<Batch, Error> {
        let (epoch, place) = self.plan.place(step);
        if orders.epoch != Some(epoch) {
            *orders = EpochOrder::new(self.plan, epoch);
        }
        let start = place as usize * self.plan.batch_size;
        let range = start..orders.samples.len().min(start + self.plan.batch_size);
        let draws = EpochDraws {
            seed: self.plan.seed,
            epoch,
            repeats: &orders.repeats[range.clone()],
        };
        let members = &orders.samples[range];
        self.source.batch(members, Some(draws))
    }
}

/// The samples of an epoch, in order.
#[derive(Default)]
struct EpochOrder {
    epoch: Option<u64>,
    samples: Vec<usize>,
    repeats: Vec<u64>,
}

impl EpochOrder {
    fn new(plan: &BatchPlan, epoch: u64) -> Self {
        let samples = plan.order(epoch);
        Self {
            epoch: Some(epoch),
            repeats: repeats(&samples),
            samples,
        }
    }
}

/// Hands out the batches of successive steps. Its threads end with their steps, after an error, or when it is dropped.
pub struct Loader {
    /// One for each thread; the next batch comes from the first after `taken` turns.
    ready: Vec<mpsc::Receiver<Result<Batch, Error>>>,
    taken: usize,
    waited: Duration,
    since: Option<Instant>,
}

impl Loader {
    /// Starts the threads.
    ///
    /// # Errors
    /// [`Error::Io`] where the system gives no thread.
    pub fn start<'scope>(
        scope: &'scope Scope<'scope, '_>,
        loading: Loading<'scope>,
        steps: Range<u64>,
    ) -> Result<Self, Error> {
        let n_cores = available_parallelism().map_or(1, usize::from);
        Self::with_threads(
            scope,
            loading,
            steps,
            n_cores.clamp(FEWEST_THREADS, MOST_THREADS),
        )
    }

    fn with_threads<'scope>(
        scope: &'scope Scope<'scope, '_>,
        loading: Loading<'scope>,
        steps: Range<u64>,
        n_threads: usize,
    ) -> Result<Self, Error> {
        let mut ready = Vec::with_capacity(n_threads);
        for number in 0..n_threads {
            // Without a buffer: a thread goes on when its batch is taken.
            let (hand_over, receiver) = mpsc::sync_channel(0);
            let own_steps = steps.clone().skip(number).step_by(n_threads);
            Builder::new()
                .name(format!("loader {number}"))
                .spawn_scoped(scope, move || {
                    let mut orders = EpochOrder::default();
                    for step in own_steps {
                        let batch = loading.batch(step, &mut orders);
                        let failed = batch.is_err();
                        if hand_over.send(batch).is_err() || failed {
                            return;
                        }
                    }
                })?;
            ready.push(receiver);
        }
        Ok(Self {
            ready,
            taken: 0,
            waited: Duration::ZERO,
            since: None,
        })
    }

    /// The batch of the next step; waits until it is there.
    ///
    /// # Errors
    /// Where a volume cannot be read or has another size; [`Error::Data`] after the last step.
    pub fn next_batch(&mut self) -> Result<Batch, Error> {
        let asked = Instant::now();
        self.since.get_or_insert(asked);
        let turn = self.taken % self.ready.len();
        self.taken += 1;
        let batch = self.ready[turn].recv();
        self.waited += asked.elapsed();
        batch.unwrap_or_else(|_ended| Err(Error::Data("no batch is left".into())))
    }

    /// Share of the time, 0 to 1, that its user waited for batches, since the first batch after the last call.
    pub fn take_wait_share(&mut self) -> f64 {
        let waited = std::mem::take(&mut self.waited).as_secs_f64();
        let passed = self
            .since
            .take()
            .map_or(0.0, |since| since.elapsed().as_secs_f64());
        if passed > 0.0 {
            (waited / passed).min(1.0)
        } else {
            0.0
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::thread;

    use super::*;
    use crate::data::augment::AugmentationConfig;
    use crate::data::batch::{SampleSource, Volumes};
    use crate::data::sampling::{Balance, Draw};
    use crate::engine::seed::Seed;

    const AUGMENTATION: AugmentationConfig = AugmentationConfig {
        flip: 0.5,
        moved: 1.0,
        max_rotation_degrees: 10.0,
        max_scale: 0.05,
        max_shift_mm: 4.0,
        gain_sd: 0.05,
        gamma_sd: 0.1,
        noise_sd: 0.05,
        max_bias: 0.2,
    };

    /// Seven small volumes, of which one may be missing; counts what was read.
    #[derive(Default)]
    struct Small {
        missing: Option<usize>,
        n_read: AtomicUsize,
    }

    impl SampleSource for Small {
        fn len(&self) -> usize {
            7
        }
        fn id(&self, sample: usize) -> u64 {
            sample as u64 + 100
        }
        fn age_years(&self, sample: usize) -> f64 {
            30.0 + sample as f64
        }
        fn cohort(&self, sample: usize) -> &str {
            if sample == 0 { "small" } else { "large" }
        }
        fn sides(&self) -> [usize; 3] {
            [4, 5, 6]
        }
        fn voxel_size_mm(&self) -> [f64; 3] {
            [2.0; 3]
        }
        fn volume(&self, sample: usize) -> Result<Vec<f32>, Error> {
            self.n_read.fetch_add(1, Ordering::Relaxed);
            if self.missing == Some(sample) {
                return Err(Error::Data(format!("sample {sample} is missing")));
            }
            Ok((0..120)
                .map(|i| (i * 7 % 31 + sample) as f32 - 9.5)
                .collect())
        }
    }

    fn changed(source: &Small) -> Volumes<'_> {
        Volumes {
            source,
            augmentation: AUGMENTATION,
        }
    }

    fn plan(draw: Draw) -> BatchPlan {
        BatchPlan {
            n_samples: 7,
            batch_size: 3,
            seed: Seed(4),
            draw,
        }
    }

    fn bits(batch: &Batch) -> (Vec<u32>, Vec<u64>, Vec<f64>) {
        let voxels = batch.volumes.to_data().try_to_vec::<f32>().unwrap();
        (
            voxels.into_iter().map(f32::to_bits).collect(),
            batch.samples.to_vec(),
            batch.truths.iter().map(|truth| truth.value).collect(),
        )
    }

    /// Bits of the batches of steps 1 to 7 of three epochs, by so many threads.
    fn loaded(source: &Small, plan: &BatchPlan, n_threads: usize) -> Result<Vec<Vec<u32>>, Error> {
        let changed = changed(source);
        let loading = Loading {
            source: &changed,
            plan,
        };
        thread::scope(|scope| {
            let mut loader = Loader::with_threads(scope, loading, 1..8, n_threads)?;
            let mut batches = Vec::new();
            for _ in 1..8 {
                batches.push(bits(&loader.next_batch()?).0);
            }
            assert!(loader.next_batch().is_err());
            Ok(batches)
        })
    }

    #[test]
    fn any_number_of_threads_hands_out_the_bits_of_loading_in_line() {
        let source = Small::default();
        for draw in [Draw::Shuffled, Draw::new(Balance::Cohorts, &source)] {
            let plan = plan(draw);
            let changed = changed(&source);
            let loading = Loading {
                source: &changed,
                plan: &plan,
            };
            let in_line: Vec<Vec<u32>> = (1..8)
                .map(|step| bits(&loading.batch(step, &mut EpochOrder::default()).unwrap()).0)
                .collect();
            for n_threads in [1, 2, 3, 8] {
                let ahead = loaded(&source, &plan, n_threads).unwrap();
                assert!(ahead == in_line, "{n_threads} threads");
            }
        }
    }

    #[test]
    fn a_batch_is_that_of_the_plan() {
        let (source, plan) = (Small::default(), plan(Draw::Shuffled));
        let changed = changed(&source);
        let loading = Loading {
            source: &changed,
            plan: &plan,
        };
        let last = bits(&loading.batch(5, &mut EpochOrder::default()).unwrap());
        let member = plan.order(1)[6];
        assert_eq!(
            (last.1, last.2),
            (vec![member as u64 + 100], vec![30.0 + member as f64])
        );
    }

    #[test]
    fn a_sample_that_comes_again_in_an_epoch_is_changed_otherwise() {
        let (source, plan) = (Small::default(), plan(Draw::Shuffled));
        let orders = |repeats: [u64; 7]| EpochOrder {
            epoch: Some(0),
            samples: vec![2; 7],
            repeats: repeats.into(),
        };
        let changed = changed(&source);
        let loading = Loading {
            source: &changed,
            plan: &plan,
        };
        let voxels = bits(
            &loading
                .batch(0, &mut orders([0, 1, 0, 0, 0, 0, 0]))
                .unwrap(),
        )
        .0;
        assert_ne!(voxels[..120], voxels[120..240]);
        assert_eq!(voxels[..120], voxels[240..]);
    }

    #[test]
    fn a_read_error_comes_out_in_the_place_of_its_batch() {
        let source = Small {
            missing: Some(5),
            ..Small::default()
        };
        let error = loaded(&source, &plan(Draw::Shuffled), 3).unwrap_err();
        assert_eq!(error.to_string(), "sample 5 is missing");
    }

    #[test]
    fn a_dropped_loader_ends_its_threads_and_never_reads_far_ahead() {
        let (source, plan) = (Small::default(), plan(Draw::Shuffled));
        let changed = changed(&source);
        let loading = Loading {
            source: &changed,
            plan: &plan,
        };
        // The scope would not end if a thread went on for all these steps.
        thread::scope(|scope| {
            let mut loader = Loader::with_threads(scope, loading, 0..u64::MAX, 2).unwrap();
            loader.next_batch().unwrap();
        });
        // One batch was taken, one more a thread may be ready, and one was begun where the first was taken.
        assert!(source.n_read.load(Ordering::Relaxed) <= 3 * 3);
    }

    #[test]
    fn the_share_of_waiting_lies_between_0_and_1_and_begins_anew() {
        let (source, plan) = (Small::default(), plan(Draw::Shuffled));
        let changed = changed(&source);
        let loading = Loading {
            source: &changed,
            plan: &plan,
        };
        thread::scope(|scope| {
            let mut loader = Loader::with_threads(scope, loading, 0..6, 2).unwrap();
            assert_eq!(loader.take_wait_share(), 0.0);
            loader.next_batch().unwrap();
            let share = loader.take_wait_share();
            assert!(share > 0.0 && share <= 1.0, "{share}");
            assert_eq!(loader.take_wait_share(), 0.0);
        });
    }
}
