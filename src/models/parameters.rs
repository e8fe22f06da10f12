//! The numbers of a module by name: counted, taken out, put back.
//!
//! Names are the paths of the fields, such as `units.0.convolution.weight.q`. Checkpoints and model files are made of
//! these; whatever is put back is checked for its name and shape.

use std::collections::BTreeMap;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{Tensor, TensorData};

/// Tensors by name, in the order of their names.
pub type NamedTensors = BTreeMap<String, TensorData>;

/// What does not fit when tensors are put into a module.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Misfit {
    /// A tensor that the module needs is not there.
    #[error("tensor `{name}` is missing")]
    Missing {
        /// Its name.
        name: String,
    },
    /// A tensor that the module does not have.
    #[error("tensor `{name}` is not part of this network")]
    Unknown {
        /// Its name.
        name: String,
    },
    /// A tensor of another shape or type.
    #[error("tensor `{name}` has shape {found:?}, expected {expected:?} of f32")]
    Shape {
        /// Its name.
        name: String,
        /// Shape that is there.
        found: Vec<usize>,
        /// Shape that the module has.
        expected: Vec<usize>,
    },
}

/// How many numbers a module has, running statistics included.
pub fn count<M: Module>(module: &M) -> usize {
    take(module).values().map(TensorData::num_elements).sum()
}

/// How many of the numbers of a module are trained: running statistics are not.
pub fn count_trained<M: Module>(module: &M) -> usize {
    let is_trained =
        |name: &str| !name.ends_with("running_mean") && !name.ends_with("running_variance");
    let tensors = take(module);
    let trained = tensors.iter().filter(|(name, _)| is_trained(name));
    trained.map(|(_, data)| data.num_elements()).sum()
}

/// How many trained tensors of a module have a gradient, and how many there are.
#[cfg(test)]
pub(crate) fn reached<M: Module>(
    module: &M,
    gradients: &burn::tensor::Gradients,
) -> (usize, usize) {
    struct Counter<'a>(&'a burn::tensor::Gradients, usize, usize);
    impl ModuleVisitor for Counter<'_> {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            let tensor = param.val();
            if tensor.is_require_grad() {
                self.2 += 1;
                self.1 += usize::from(tensor.grad(self.0).is_some());
            }
        }
    }
    let mut counter = Counter(gradients, 0, 0);
    module.visit(&mut counter);
    (counter.1, counter.2)
}

/// A copy of all tensors of a module.
pub fn take<M: Module>(module: &M) -> NamedTensors {
    let mut taker = Taker {
        path: Vec::new(),
        tensors: BTreeMap::new(),
    };
    module.visit(&mut taker);
    taker.tensors
}

/// A module with the given tensors in place of its own; it stays on its device.
///
/// # Errors
/// The first [`Misfit`].
pub fn put<M: Module>(module: M, tensors: NamedTensors) -> Result<M, Misfit> {
    let mut putter = Putter {
        path: Vec::new(),
        tensors,
        misfit: None,
    };
    let module = module.map(&mut putter);
    match (putter.misfit, putter.tensors.into_keys().next()) {
        (Some(misfit), _) => Err(misfit),
        (None, Some(name)) => Err(Misfit::Unknown { name }),
        (None, None) => Ok(module),
    }
}

/// What becomes of the graph of numbers that are mixed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Graph {
    /// There is none: modules for inference.
    None,
    /// It is left behind: what comes out is not trained.
    Cut,
}

/// A module that takes a share, 0 to 1, of each number from another one of the same shape. Running statistics, and what the
/// other has not, stay as they are.
pub fn mixed<M: Module>(module: M, other: &M, share: f64, graph: Graph) -> M {
    let mut flat = Flat {
        path: Vec::new(),
        tensors: BTreeMap::new(),
    };
    other.visit(&mut flat);
    module.map(&mut Mixture {
        other: flat.tensors,
        share,
        graph,
        path: Vec::new(),
    })
}

/// Numbers by name, flattened, on their device.
struct Flat {
    path: Vec<String>,
    tensors: BTreeMap<String, Tensor<1>>,
}

impl ModuleVisitor for Flat {
    fn enter_module(&mut self, name: &str, _: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let value = param.val();
        let n = value.dims().iter().product::<usize>();
        self.tensors.insert(self.path.join("."), value.reshape([n]));
    }
}

struct Mixture {
    other: BTreeMap<String, Tensor<1>>,
    share: f64,
    graph: Graph,
    path: Vec<String>,
}

impl ModuleMapper for Mixture {
    fn enter_module(&mut self, name: &str, _: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.pop();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let name = self.path.join(".");
        let last = self.path.last();
        let is_running = last.is_some_and(|last| last.starts_with("running_"));
        let Some(other) = self.other.remove(&name).filter(|_| !is_running) else {
            return param;
        };
        let (share, graph) = (self.share, self.graph);
        param.map(|value| {
            let other = other.reshape(value.dims());
            let mix = |a: Tensor<D>, b: Tensor<D>| a * (1.0 - share) + b * share;
            match graph {
                Graph::None => mix(value, other),
                Graph::Cut => Tensor::from_inner(mix(value.inner(), other.inner())),
            }
        })
    }
}

struct Taker {
    path: Vec<String>,
    tensors: NamedTensors,
}

impl ModuleVisitor for Taker {
    fn enter_module(&mut self, name: &str, _: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.tensors
            .insert(self.path.join("."), param.val().into_data());
    }
}

struct Putter {
    path: Vec<String>,
    tensors: NamedTensors,
    misfit: Option<Misfit>,
}

impl ModuleMapper for Putter {
    fn enter_module(&mut self, name: &str, _: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.pop();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let name = self.path.join(".");
        let Some(data) = self.tensors.remove(&name) else {
            self.misfit.get_or_insert(Misfit::Missing { name });
            return param;
        };
        let expected = param.val().dims();
        if data.shape().as_slice() != expected.as_slice() || data.as_slice::<f32>().is_err() {
            let found = data.shape().to_vec();
            self.misfit.get_or_insert(Misfit::Shape {
                name,
                found,
                expected: expected.to_vec(),
            });
            return param;
        }
        param.map(|old| {
            let new = Tensor::from_data(data, &old.device());
            if old.is_require_grad() {
                new.require_grad()
            } else {
                new
            }
        })
    }
}
