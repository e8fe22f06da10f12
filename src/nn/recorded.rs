//! An operation of our own in the framework's graph, which finds its gradients by functions of the back end.

use std::fmt::{Debug, Formatter, Result};

use burn::backend::autodiff::{
    checkpoint::{base::Checkpointer, strategy::CheckpointStrategy},
    grads::Gradients,
    ops::{Backward, Ops, OpsKind},
};
use burn::backend::{Autodiff, AutodiffBackend, Backend, tensor::FloatTensor};

/// A tensor in the graph; the same type for all strategies of checkpointing.
type Recorded<B> = FloatTensor<Autodiff<B>>;

/// The gradients of N inputs, from that of the output, what was kept, and which of them are asked for: only those are looked
/// at. They are of the first order, and not differentiable themselves.
pub(super) type GradientsOf<B, S, const N: usize> =
    fn(FloatTensor<B>, S, [bool; N]) -> [Option<FloatTensor<B>>; N];

/// What `values` makes of the inputs, recorded where an input asks for a gradient; the second thing that it gives is kept
/// until then.
pub(super) fn recorded<B, C, S, const N: usize>(
    inputs: [Recorded<B>; N],
    values: impl FnOnce([FloatTensor<B>; N]) -> (FloatTensor<B>, S),
    gradients: GradientsOf<B, S, N>,
) -> Recorded<B>
where
    B: Backend,
    C: CheckpointStrategy,
    S: Clone + Send + Debug + 'static,
{
    let values = |inputs| {
        let (values, kept) = values(inputs);
        (values, kept, ())
    };
    recorded_with::<B, C, _, _, _>(inputs, values, gradients).0
}

/// The same, and the third thing that `values` gives.
pub(super) fn recorded_with<B, C, S, T, const N: usize>(
    inputs: [Recorded<B>; N],
    values: impl FnOnce([FloatTensor<B>; N]) -> (FloatTensor<B>, S, T),
    gradients: GradientsOf<B, S, N>,
) -> (Recorded<B>, T)
where
    B: Backend,
    C: CheckpointStrategy,
    S: Clone + Send + Debug + 'static,
{
    let nodes = inputs.each_ref().map(Recorded::<B>::node);
    let preparation = Operation { gradients }
        .prepare::<C>(nodes)
        .compute_bound()
        .stateful();
    let (values, kept, rest) = values(inputs.map(Recorded::<B>::into_primitive));
    let values = match preparation {
        OpsKind::Tracked(tracked) => tracked.finish(kept, values),
        OpsKind::UnTracked(untracked) => untracked.finish(values),
    };
    (values, rest)
}

/// The same, with mean and variance, through which nothing is derived.
pub(super) fn with_statistics<B, C, S, const N: usize>(
    inputs: [Recorded<B>; N],
    values: impl FnOnce([FloatTensor<B>; N]) -> (FloatTensor<B>, S, [FloatTensor<B>; 2]),
    gradients: GradientsOf<B, S, N>,
) -> (Recorded<B>, Recorded<B>, Recorded<B>)
where
    B: Backend,
    C: CheckpointStrategy,
    S: Clone + Send + Debug + 'static,
{
    let (values, statistics) = recorded_with::<B, C, _, _, _>(inputs, values, gradients);
    let [mean, variance] = statistics.map(<Autodiff<B, C> as AutodiffBackend>::from_inner);
    (values, mean, variance)
}

struct Operation<B: Backend, S, const N: usize> {
    gradients: GradientsOf<B, S, N>,
}

impl<B: Backend, S, const N: usize> Debug for Operation<B, S, N> {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        f.write_str("Operation")
    }
}

impl<B, S, const N: usize> Backward<B, N> for Operation<B, S, N>
where
    B: Backend,
    S: Clone + Send + Debug + 'static,
{
    type State = S;

    fn backward(self, ops: Ops<S, N>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let gradient = gradients.consume::<B>(&ops.node);
        let wanted = ops.parents.each_ref().map(Option::is_some);
        let found = (self.gradients)(gradient, ops.state, wanted);
        for (parent, found) in ops.parents.into_iter().zip(found) {
            if let (Some(parent), Some(found)) = (parent, found) {
                gradients.register::<B>(parent.id, found);
            }
        }
    }
}
