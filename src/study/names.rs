//! How rows of a table are named: method, blocks and heads.

use crate::config::method::Method;
use crate::config::train::TrainSection;
use crate::models::head::HeadKind;
use crate::models::{Cuts, NamedCuts, Regime};
use crate::nn::weight::WeightForm;
use crate::nn::weight_penalty::WeightPenalty;

/// A method whose name says more than form, regime and penalty do, as its paper calls it.
pub(crate) fn of_method(method: Method) -> Option<&'static str> {
    match method {
        Method::Bwbpf => Some("BWBPF"),
        Method::MonoForward => Some("Mono-Forward"),
        Method::Dgl => Some("DGL"),
        Method::Predsim => Some("predsim"),
        Method::Auglocal => Some("AugLocal"),
        Method::Infopro => Some("InfoPro"),
        Method::InfoproContrast => Some("InfoPro, contrast"),
        Method::Man => Some("MAN"),
        Method::Bll => Some("BLL"),
        Method::ForwardForward => Some("Forward-Forward"),
        Method::NoProp => Some("NoProp-DT"),
        Method::Dfa => Some("DFA"),
        Method::Dropcov => Some("DropCov"),
        Method::Custom
        | Method::Backprop
        | Method::Enn
        | Method::EnnLocal
        | Method::DeepSupervision
        | Method::Ocnn
        | Method::Srip
        | Method::Decef => None,
    }
}

/// Its own name, or form of the weights and regime as the paper calls them.
pub(crate) fn method<L>(train: &TrainSection<L>, weights: WeightForm) -> &'static str {
    if let Some(name) = of_method(train.method) {
        return name;
    }
    match (weights, train.regime) {
        (WeightForm::Dense, Regime::Backprop) => match train.penalty {
            WeightPenalty::None => "BP",
            WeightPenalty::Ocnn { .. } => "OCNN",
            WeightPenalty::Srip { .. } => "SRIP",
        },
        (WeightForm::Eigen, Regime::Backprop) => "ENN",
        (WeightForm::EigenFilters { .. }, Regime::Backprop) => "DeCEF",
        (WeightForm::EigenFilters { .. }, Regime::Local | Regime::LocalTogether) => {
            "local, eigen filters"
        }
        (WeightForm::EigenFilters { .. }, Regime::DeepSupervision) => {
            "deep supervision, eigen filters"
        }
        (WeightForm::EigenFilters { .. }, Regime::DirectFeedback) => {
            "direct feedback, eigen filters"
        }
        (WeightForm::Dense, Regime::Local | Regime::LocalTogether) => "local, dense",
        (WeightForm::Eigen, Regime::Local | Regime::LocalTogether) => "ENN-ℓ",
        (_, Regime::ForwardForward) => "Forward-Forward",
        (_, Regime::NoProp { .. }) => "NoProp",
        (WeightForm::Dense, Regime::DeepSupervision) => "deep supervision, dense",
        (WeightForm::Eigen, Regime::DeepSupervision) => "deep supervision, eigen",
        (WeightForm::Dense, Regime::DirectFeedback) => "direct feedback, dense",
        (WeightForm::Eigen, Regime::DirectFeedback) => "direct feedback, eigen",
    }
}

/// Backprop first, then what gives it up.
pub(crate) fn order_of(method: &str) -> usize {
    let known = [
        "BP",
        "OCNN",
        "SRIP",
        "DeCEF",
        "DropCov",
        "ENN",
        "deep supervision, dense",
        "deep supervision, eigen",
        "BWBPF",
        "Mono-Forward",
        "DGL",
        "predsim",
        "AugLocal",
        "InfoPro",
        "InfoPro, contrast",
        "MAN",
        "BLL",
        "DFA",
        "Forward-Forward",
        "NoProp-DT",
        "local, dense",
        "ENN-ℓ",
    ];
    known
        .iter()
        .position(|name| *name == method)
        .unwrap_or(known.len())
}

/// Where the network is cut, and the heads of its blocks; nothing where it has one head.
pub(crate) fn blocks_of<L>(train: &TrainSection<L>, cuts: &Cuts, head: HeadKind) -> String {
    let heads = heads_of(train, head);
    match (train.regime, cuts) {
        (Regime::NoProp { blocks }, _) => format!("{blocks} steps"),
        (regime, _) if !regime.is_cut() => String::new(),
        (_, Cuts::Named(name)) => format!("{} ({heads})", name_of(*name)),
        (_, Cuts::Before(cuts)) => format!("{cuts:?} ({heads})"),
    }
}

fn name_of(cuts: NamedCuts) -> &'static str {
    match cuts {
        NamedCuts::Published => "stages",
        NamedCuts::Units => "units",
        NamedCuts::Balanced => "balanced",
    }
}

/// The heads that only train, and what they learn besides the classes.
fn heads_of<L>(train: &TrainSection<L>, head: HeadKind) -> String {
    let auxiliary = train.auxiliary;
    let mut parts = vec![head.title()];
    if auxiliary.similarity > 0.0 {
        parts.push(format!("similarity {}", auxiliary.similarity));
    }
    if auxiliary.reconstruction != [0.0; 2] {
        let [first, last] = auxiliary.reconstruction;
        parts.push(format!("reconstruction {first} to {last}"));
    }
    if auxiliary.contrast > 0.0 {
        parts.push(format!("contrast {}", auxiliary.contrast));
    }
    if train.replay > 0 {
        parts.push(format!("replay {}", train.replay));
    }
    if train.regime == Regime::DeepSupervision && auxiliary.weight != 1.0 {
        parts.push(format!("weight {}", auxiliary.weight));
    }
    parts.join(", ")
}
