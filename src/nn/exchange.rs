//! Sums over the replicas of a block, in the middle of its forward and backward pass.
//!
//! Replicas split a batch, and batch normalization needs the statistics of the whole of it: each replica brings its
//! share of a sum and waits for those of the others. Sums are taken in the order of the replicas, so all of them go on
//! with the same bits, whoever came last. If one of them fails, the others do not wait for it.

use std::collections::HashMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use burn::backend::autodiff::{
    NodeId,
    checkpoint::{base::Checkpointer, strategy::CheckpointStrategy},
    grads::Gradients,
    ops::{Backward, Ops, OpsKind},
};
use burn::backend::{
    Autodiff, Backend, Dispatch, Flex, TensorMetadata as _, backend_extension, tensor::FloatTensor,
};
use burn::tensor::{Tensor, TensorData};

/// Which of the sums of a pass: they are numbered in the order of the forward pass, and each has a sum of gradients.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Sum {
    Values(usize),
    Gradients(usize),
}

#[derive(Debug, Default)]
struct State {
    /// What came so far, by replica.
    parts: HashMap<Sum, Vec<Option<Vec<f32>>>>,
    /// A replica left before its pass was done.
    broken: bool,
}

/// Where the replicas of one block meet in one step.
#[derive(Debug)]
struct Exchange {
    n_replicas: usize,
    state: Mutex<State>,
    changed: Condvar,
}

impl Exchange {
    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic of another replica is told by `broken`; what is in here stays whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Brings a part and waits for the sum; the part alone where another replica is gone, and with it the step.
    fn sum(&self, which: Sum, replica: usize, part: Vec<f32>) -> Vec<f32> {
        let mut state = self.lock();
        let parts = state
            .parts
            .entry(which)
            .or_insert_with(|| vec![None; self.n_replicas]);
        parts[replica] = Some(part.clone());
        self.changed.notify_all();
        loop {
            if let Some(sum) = state.parts.get(&which).and_then(|parts| in_order(parts)) {
                return sum;
            }
            if state.broken {
                return part;
            }
            state = self
                .changed
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// The sum of all parts, the first replica's first; `None` while one is missing.
fn in_order(parts: &[Option<Vec<f32>>]) -> Option<Vec<f32>> {
    let mut parts = parts.iter().map(Option::as_ref);
    let mut sum = parts.next()??.clone();
    for part in parts {
        for (sum, value) in sum.iter_mut().zip(part?) {
            *sum += value;
        }
    }
    Some(sum)
}

/// One replica's place in the exchange of a step. Dropping it before [`Self::done`] tells the others not to wait.
#[derive(Debug)]
pub struct Participant {
    seat: Seat,
    share: f64,
    n_sums: usize,
    done: bool,
}

/// What an operation in a graph keeps of a participant.
#[derive(Clone, Debug)]
struct Seat {
    exchange: Arc<Exchange>,
    replica: usize,
}

impl Participant {
    /// Places for replicas whose shares of the batch are given; they add up to 1.
    pub fn of_shares(shares: &[f64]) -> Vec<Self> {
        let exchange = Arc::new(Exchange {
            n_replicas: shares.len(),
            state: Mutex::default(),
            changed: Condvar::new(),
        });
        let places = shares.iter().enumerate();
        let place = |(replica, share): (usize, &f64)| Self {
            seat: Seat {
                exchange: Arc::clone(&exchange),
                replica,
            },
            share: *share,
            n_sums: 0,
            done: false,
        };
        places.map(place).collect()
    }

    /// The replica's part of the batch, 0 to 1.
    pub fn share(&self) -> f64 {
        self.share
    }

    /// The mean over the whole batch of what is here the mean over a replica's members; gradients flow back into all
    /// replicas. All of them must call it as often and in the same order.
    ///
    /// # Shapes
    /// `[n]`, unchanged.
    pub fn mean(&mut self, of_members: Tensor<1>) -> Tensor<1> {
        let number = self.n_sums;
        self.n_sums += 1;
        let part = (of_members * self.share).into_dispatch();
        Tensor::from_dispatch(Dispatch::sum_over_replicas(part, self.seat.clone(), number))
    }

    /// The pass is over, backward too.
    pub fn done(mut self) {
        self.done = true;
    }
}

impl Drop for Participant {
    fn drop(&mut self) {
        if !self.done {
            let exchange = &self.seat.exchange;
            exchange.lock().broken = true;
            exchange.changed.notify_all();
        }
    }
}

fn exchanged<B: Backend>(part: FloatTensor<B>, seat: &Seat, which: Sum) -> FloatTensor<B> {
    let device = part.device();
    let data = burn::tensor::try_read_sync(B::float_into_data(part));
    let (values, shape) = match data {
        Some(Ok(data)) => (
            data.as_slice::<f32>().unwrap_or_default().to_vec(),
            data.shape().clone(),
        ),
        // Without the values the step is lost: what is not a number ends it with its own error.
        _ => (vec![f32::NAN], [1].into()),
    };
    let sum = seat.exchange.sum(which, seat.replica, values);
    B::float_from_data(TensorData::new(sum, shape), &device)
}

/// Back ends whose replicas can meet.
#[backend_extension(Flex, Cube: cfg(feature = "cuda"), Autodiff)]
trait ExchangeBackend: Backend {
    /// Σ over replicas of `part`.
    fn sum_over_replicas(part: FloatTensor<Self>, seat: Seat, number: usize) -> FloatTensor<Self>;
}

#[cfg(feature = "cuda")]
impl ExchangeBackend for burn::backend::Cube {
    fn sum_over_replicas(part: FloatTensor<Self>, seat: Seat, number: usize) -> FloatTensor<Self> {
        exchanged::<Self>(part, &seat, Sum::Values(number))
    }
}

impl ExchangeBackend for Flex {
    fn sum_over_replicas(part: FloatTensor<Self>, seat: Seat, number: usize) -> FloatTensor<Self> {
        exchanged::<Self>(part, &seat, Sum::Values(number))
    }
}

impl<B: ExchangeBackend, C: CheckpointStrategy> ExchangeBackend for Autodiff<B, C> {
    fn sum_over_replicas(part: FloatTensor<Self>, seat: Seat, number: usize) -> FloatTensor<Self> {
        #[derive(Debug)]
        struct Gradient;
        impl<B: Backend> Backward<B, 1> for Gradient {
            type State = (Seat, usize);

            fn backward(
                self,
                ops: Ops<Self::State, 1>,
                gradients: &mut Gradients,
                _: &mut Checkpointer,
            ) {
                let [parent] = ops.parents;
                let gradient = gradients.consume::<B>(&ops.node);
                let (seat, number) = ops.state;
                if let Some(node) = parent {
                    let id: NodeId = node.id;
                    // Every replica's output has every replica's part in it once.
                    let of_all = exchanged::<B>(gradient, &seat, Sum::Gradients(number));
                    gradients.register::<B>(id, of_all);
                }
            }
        }
        let preparation = Gradient
            .prepare::<C>([part.node()])
            .compute_bound()
            .stateful();
        let sum = B::sum_over_replicas(part.into_primitive(), seat.clone(), number);
        match preparation {
            OpsKind::Tracked(tracked) => tracked.finish((seat, number), sum),
            OpsKind::UnTracked(untracked) => untracked.finish(sum),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;

    #[test]
    fn all_replicas_get_the_mean_and_its_gradient_from_all_of_them() {
        let device = Device::flex().autodiff();
        // f(a) = w · mean², w = 1 on the first replica and 3 on the second; mean = ¼·a₀ + ¾·a₁.
        let run = |mut participant: Participant, a: f32, w: f32| {
            let a = Tensor::<1>::from_floats([a], &device).require_grad();
            let mean = participant.mean(a.clone());
            let gradients = (mean.clone().square() * w).sum().backward();
            participant.done();
            let gradient = a.grad(&gradients).expect("tracked");
            (mean.into_scalar::<f32>(), gradient.into_scalar::<f32>())
        };
        let mut places = Participant::of_shares(&[0.25, 0.75]).into_iter();
        let (first, second) = (places.next().unwrap(), places.next().unwrap());
        let (a, b) = std::thread::scope(|scope| {
            let other = scope.spawn(|| run(second, 4.0, 3.0));
            (run(first, 8.0, 1.0), other.join().unwrap())
        });
        // mean = 5; d/da₀ = ¼ · (1 + 3) · 2 · 5 = 10; d/da₁ = ¾ · 4 · 10 = 30.
        assert_eq!((a, b), ((5.0, 10.0), (5.0, 30.0)));
    }

    #[test]
    fn nobody_waits_for_a_replica_that_failed() {
        let mut places = Participant::of_shares(&[0.5, 0.5]).into_iter();
        let (mut first, second) = (places.next().unwrap(), places.next().unwrap());
        std::thread::scope(|scope| {
            let waiting = scope.spawn(move || {
                first
                    .mean(Tensor::from_floats([1.0], &Device::flex()))
                    .into_scalar::<f32>()
            });
            drop(second);
            assert_eq!(waiting.join().unwrap(), 0.5);
        });
    }
}
