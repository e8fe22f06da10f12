//! Methods by name: what each decides of a config, so that `--set train.method=dgl` is all that it takes.
//!
//! A method is no code of its own: it is a choice of regime, weights, heads, cuts and penalties, each of which is one file
//! behind its seam. The config keeps both, the name and the keys, and they may not contradict each other.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::train::{refusal, with};
use crate::Error;

/// `train.method`: a name for what the other keys say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Method {
    /// Whatever the keys say.
    #[default]
    Custom,
    /// Backpropagation through dense weights.
    Backprop,
    /// Backpropagation through factors.
    Enn,
    /// Block-local training of factors.
    EnnLocal,
    /// All heads, one loss.
    DeepSupervision,
    /// Block-local training with linear heads.
    Bwbpf,
    /// The same with a head after each unit.
    MonoForward,
    /// Block-local training with pooled MLP heads.
    Dgl,
    /// Block-local training with a similarity loss.
    Predsim,
    /// Block-local training with heads made like the rest of the trunk.
    Auglocal,
    /// Errors go straight to each unit.
    Dfa,
    /// Orthogonal convolutions.
    Ocnn,
    /// Spectral restricted isometry.
    Srip,
    /// Kernels as few filters.
    Decef,
    /// Covariance pooling.
    Dropcov,
    /// Block-local training that reconstructs the input.
    Infopro,
    /// The same with a contrastive loss in place of the task.
    InfoproContrast,
    /// Block-local training with heads that follow the next block.
    Man,
    /// Block-local training with latent states and feedback.
    Bll,
    /// The Forward-Forward rule.
    ForwardForward,
    /// Blocks that take noise from a code of the label.
    NoProp,
}

/// What is known of a method.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct MethodCard {
    /// The method.
    pub method: Method,
    /// One line.
    pub line: &'static str,
    /// Where it is published.
    pub paper: &'static str,
    /// What it applies to.
    pub applies_to: &'static str,
    /// What it costs beside backpropagation.
    pub costs: &'static str,
    /// Keys that it decides.
    pub settings: &'static [&'static str],
    /// What is not as published.
    pub differs: &'static str,
}

const IMAGES_AND_AGES: &str = "images, ages";
const CONVOLUTIONS: &str = "images, ages; residual networks and the brain CNN";

/// All methods but [`Method::Custom`].
pub const METHODS: [MethodCard; 20] = [
    MethodCard {
        method: Method::Backprop,
        line: "one loss at the end, dense weights",
        paper: "Rumelhart, Hinton & Williams 1986, Nature 323:533",
        applies_to: IMAGES_AND_AGES,
        costs: "what all others are compared with",
        settings: &[
            "train.regime=backprop",
            "model.weights=dense",
            "train.penalty=none",
        ],
        differs: "",
    },
    MethodCard {
        method: Method::Enn,
        line: "one loss at the end, weights W = QΛPᵀ",
        paper: "Cheng et al., arXiv 2508.01219, algorithm 2",
        applies_to: IMAGES_AND_AGES,
        costs: "composing W at each step; 1.0 to 1.5 times the stored parameters",
        settings: &[
            "train.regime=backprop",
            "model.weights=eigen",
            "train.penalty=none",
        ],
        differs: "",
    },
    MethodCard {
        method: Method::EnnLocal,
        line: "each block learns from its own head, weights W = QΛPᵀ",
        paper: "Cheng et al., arXiv 2508.01219, algorithm 1",
        applies_to: IMAGES_AND_AGES,
        costs: "heads; no gradient between blocks, which can run on devices of their own",
        settings: &[
            "train.regime=local",
            "model.weights=eigen",
            "train.penalty=none",
        ],
        differs: "heads are trained; the released code fixes random ones",
    },
    MethodCard {
        method: Method::DeepSupervision,
        line: "linear heads after each block, losses summed, gradients cross all cuts",
        paper: "Lee et al., AISTATS 2015, arXiv 1409.5185; BWBPF as released (Cheng et al. 2024)",
        applies_to: IMAGES_AND_AGES,
        costs: "heads",
        settings: &[
            "train.regime=deep-supervision",
            "model.weights=dense",
            "model.head=gap-linear",
            "train.auxiliary={ similarity = 0.0, weight = 1.0 }",
            "train.penalty=none",
        ],
        differs: "one optimizer for all; the released BWBPF has one for each block",
    },
    MethodCard {
        method: Method::Bwbpf,
        line: "each block learns from its own linear head",
        paper: "BWBPF as described (Cheng et al. 2024); greedy supervised learning of Wang et al., ICLR 2021",
        applies_to: IMAGES_AND_AGES,
        costs: "heads; no gradient between blocks",
        settings: &[
            "train.regime=local",
            "model.weights=dense",
            "model.head=gap-linear",
            "train.auxiliary={ similarity = 0.0, weight = 1.0 }",
            "train.penalty=none",
        ],
        differs: "",
    },
    MethodCard {
        method: Method::MonoForward,
        line: "each unit learns from a linear head of its own",
        paper: "Gong et al. 2025, Mono-Forward",
        applies_to: IMAGES_AND_AGES,
        costs: "a head for each unit; no gradient between units",
        settings: &[
            "train.regime=local",
            "model.weights=dense",
            "model.head=gap-linear",
            "model.cuts=units",
            "train.auxiliary={ similarity = 0.0, weight = 1.0 }",
            "train.penalty=none",
        ],
        differs: "heads have a bias and read pooled features; grains are residual units, not layers",
    },
    MethodCard {
        method: Method::Dgl,
        line: "each block learns from a small network of 1×1 convolutions and dense layers",
        paper: "Belilovsky, Eickenberg & Oyallon, ICML 2020, arXiv 1901.08164",
        applies_to: CONVOLUTIONS,
        costs: "heads, 5 % of the operations or less; no gradient between blocks",
        settings: &[
            "train.regime=local",
            "model.weights=dense",
            "model.head=mlp-sr",
            "train.auxiliary={ similarity = 0.0, weight = 1.0 }",
            "train.penalty=none",
        ],
        differs: "all blocks take as many steps; train.replay=50 gives them the buffer of the asynchronous form",
    },
    MethodCard {
        method: Method::Predsim,
        line: "each block learns from a linear head and from how alike the labels in a batch are",
        paper: "Nøkland & Eidnes, ICML 2019, arXiv 1901.06656",
        applies_to: "images, ages; batches of many",
        costs: "heads and a convolution a block; no gradient between blocks",
        settings: &[
            "train.regime=local",
            "model.weights=dense",
            "model.head=gap-linear",
            "train.auxiliary={ similarity = 0.99, weight = 1.0 }",
            "train.penalty=none",
        ],
        differs: "heads read globally pooled features; blocks are those of the cuts, not single layers",
    },
    MethodCard {
        method: Method::Auglocal,
        line: "each block learns from a head in the shapes of later units",
        paper: "Ma et al., ICLR 2024, arXiv 2402.17318",
        applies_to: IMAGES_AND_AGES,
        costs: "heads of up to two units; no gradient between blocks",
        settings: &[
            "train.regime=local",
            "model.weights=dense",
            "model.head={ augmented = { depth = 2 } }",
            "train.auxiliary={ similarity = 0.0, weight = 1.0 }",
            "train.penalty=none",
        ],
        differs: "blocks are those of the cuts; the paper's are single units with deeper heads",
    },
    MethodCard {
        method: Method::Dfa,
        line: "the error at the output goes to each unit through a fixed random matrix",
        paper: "Nøkland, NIPS 2016, arXiv 1609.01596",
        applies_to: IMAGES_AND_AGES,
        costs: "a matrix of outputs × features for each unit; no gradient between units",
        settings: &[
            "train.regime=direct-feedback",
            "model.weights=dense",
            "train.penalty=none",
        ],
        differs: "within a residual unit gradients are exact; ReLU and batch normalization, not tanh",
    },
    MethodCard {
        method: Method::Ocnn,
        line: "backpropagation with convolutions drawn towards orthogonal ones",
        paper: "Wang et al., CVPR 2020, arXiv 1911.12207",
        applies_to: CONVOLUTIONS,
        costs: "each kernel convolved with itself at each step: little for 3×3, much for the 6³ of the published brain CNN",
        settings: &[
            "train.regime=backprop",
            "model.weights=dense",
            "train.penalty={ ocnn = { weight = 0.5 } }",
        ],
        differs: "",
    },
    MethodCard {
        method: Method::Srip,
        line: "backpropagation with the spectral norm of WᵀW − I penalized",
        paper: "Bansal, Chen & Wang, NeurIPS 2018, arXiv 1810.09102",
        applies_to: IMAGES_AND_AGES,
        costs: "a Gram matrix and two products for each layer at each step",
        settings: &[
            "train.regime=backprop",
            "model.weights=dense",
            "train.penalty={ srip = { weight = 0.01, falls = true } }",
        ],
        differs: "",
    },
    MethodCard {
        method: Method::Decef,
        line: "backpropagation through kernels made of few filters for each input channel",
        paper: "Yu et al. 2024, DeCEF",
        applies_to: CONVOLUTIONS,
        costs: "fewer stored parameters; kernels are composed at each step",
        settings: &[
            "train.regime=backprop",
            "model.weights={ eigen-filters = { percent = 90 } }",
            "train.penalty=none",
        ],
        differs: "no official code: the rank rule looks at the first draw, and kernels are composed, which saves no operations",
    },
    MethodCard {
        method: Method::Dropcov,
        line: "backpropagation with covariance pooling and channel dropout before the last layer",
        paper: "Wang, Li, Zhang & Gao, NeurIPS 2022",
        applies_to: CONVOLUTIONS,
        costs: "a last stage of stride 1, a covariance, a last layer of d(d + 1)/2 inputs",
        settings: &[
            "train.regime=backprop",
            "model.weights=dense",
            "model.last_head=drop-cov",
            "train.penalty=none",
        ],
        differs: "d is half the channels (an eighth for volumes), 256 at most; no more than 90 % of the channels are dropped",
    },
    MethodCard {
        method: Method::Infopro,
        line: "each block learns from a convolutional head and from reconstructing the input",
        paper: "Wang et al., ICLR 2021, arXiv 2101.10832, softmax form",
        applies_to: CONVOLUTIONS,
        costs: "heads and decoders; the input goes to all blocks; no gradient between blocks",
        settings: &[
            "train.regime=local",
            "model.weights=dense",
            "model.head=conv-gap-mlp",
            "train.auxiliary={ similarity = 0.0, weight = 1.0, reconstruction = [5.0, 0.5], contrast = 0.0 }",
            "train.penalty=none",
        ],
        differs: "decoders convolve before they enlarge, and are judged by squared errors of the normalized input, of 32 voxels a side at most",
    },
    MethodCard {
        method: Method::InfoproContrast,
        line: "the same with a contrastive loss; heads of blocks only watch",
        paper: "Wang et al., ICLR 2021, arXiv 2101.10832, contrast form; ages: Dufumier et al., MICCAI 2021",
        applies_to: "images, ages; residual networks and the brain CNN; batches of many",
        costs: "as infopro, and a projection a block",
        settings: &[
            "train.regime=local",
            "model.weights=dense",
            "model.head=conv-gap-mlp",
            "train.auxiliary={ similarity = 0.0, weight = 1.0, reconstruction = [5.0, 0.5], contrast = 1.0 }",
            "train.penalty=none",
        ],
        differs: "as infopro; projections read globally pooled features",
    },
    MethodCard {
        method: Method::Man,
        line: "each block learns from a head with a trained copy of the next unit and a slow one that follows it",
        paper: "Su et al., ECCV 2024, arXiv 2407.05623",
        applies_to: CONVOLUTIONS,
        costs: "heads of two units each; all blocks on one device; weights, but no gradients, go back",
        settings: &[
            "train.regime=local-together",
            "model.weights=dense",
            "model.head={ momentum = { decay = 0.995 } }",
            "train.auxiliary={ similarity = 0.0, weight = 1.0, reconstruction = [5.0, 5.0], contrast = 0.0 }",
            "train.penalty=none",
        ],
        differs: "the task has a factor of 1, published 0.75; one optimizer clips the gradient of all blocks",
    },
    MethodCard {
        method: Method::Bll,
        line: "each block learns to agree with a feedback of the label over latent states",
        paper: "Kappel et al. 2023, arXiv 2305.14974, from its abstract and outline",
        applies_to: IMAGES_AND_AGES,
        costs: "a linear layer and a table a block; no gradient between blocks",
        settings: &[
            "train.regime=local",
            "model.weights=dense",
            "model.head={ latent = { states = 64 } }",
            "train.auxiliary={ similarity = 0.0, weight = 1.0 }",
            "train.penalty=none",
        ],
        differs: "the formula is our reading: one categorical code a block, feedback of one layer, exact posterior; the paper's feedback is a chain",
    },
    MethodCard {
        method: Method::ForwardForward,
        line: "each unit learns to be large for right labels and small for wrong ones",
        paper: "Hinton 2022, arXiv 2212.13345; labels as waves: Scodellaro et al. 2023, arXiv 2312.14924",
        applies_to: "images; ages with train.loss soft-labels",
        costs: "two passes a step, a pass for each class or bin of age an answer; no gradient between units",
        settings: &[
            "train.regime=forward-forward",
            "model.weights=dense",
            "train.penalty=none",
        ],
        differs: "units are residual, with batch normalization; wrong labels are drawn evenly, not by what the network takes for right",
    },
    MethodCard {
        method: Method::NoProp,
        line: "blocks of a whole network each learn to say the label from the image and a noisy code of it",
        paper: "Li, Teh & Pascanu 2025, arXiv 2503.24322, in discrete time",
        applies_to: IMAGES_AND_AGES,
        costs: "as many networks as steps, in training and for an answer; nothing goes from block to block in training",
        settings: &[
            "train.regime={ no-prop = { blocks = 10 } }",
            "model.weights=dense",
            "train.penalty=none",
        ],
        differs: "each block has the whole trunk of the config; codes are fixed; answers take the mean of the noise in place of draws; the last block's own answer counts",
    },
];

/// The key of the name.
pub(super) const KEY: &str = "train.method";
/// Keys whose numbers may be others than those that a method sets: factors, depths and shares.
const TUNED: [&str; 4] = [
    "train.penalty",
    "train.regime",
    "model.head",
    "model.weights",
];

/// The method that a config names.
pub(super) fn named_in(config: &impl Serialize) -> Method {
    let root = toml::Value::try_from(config).ok();
    let value = root
        .as_ref()
        .and_then(|root| root.get("train")?.get("method"));
    let method = value.and_then(|value| value.clone().try_into().ok());
    method.unwrap_or_default()
}

impl Method {
    /// What is known of it; `None` for [`Self::Custom`].
    pub fn card(self) -> Option<&'static MethodCard> {
        METHODS.iter().find(|card| card.method == self)
    }

    /// Keys that it decides, as changes of a config.
    pub fn settings(self) -> &'static [&'static str] {
        self.card().map_or(&[], |card| card.settings)
    }

    /// As configs write it.
    pub fn name(self) -> String {
        let value = toml::Value::try_from(self);
        let name = value
            .ok()
            .and_then(|value| Some(value.as_str()?.to_owned()));
        name.unwrap_or_default()
    }

    /// Refuses a config that says something else than its method, but for numbers of [`TUNED`] keys.
    ///
    /// # Errors
    /// [`Error::Config`] with the keys.
    pub(crate) fn check<C>(self, config: &C) -> Result<(), Error>
    where
        C: Serialize + DeserializeOwned + PartialEq,
    {
        for setting in self.settings() {
            let as_wanted = with(config, setting)?;
            let may_be_tuned = TUNED.iter().any(|key| setting.starts_with(key));
            if as_wanted != *config && !(may_be_tuned && differ_in_numbers(config, &as_wanted)?) {
                return Err(refusal(
                    KEY,
                    format!(
                        "`{}` has {setting}, and the config says something else; change that key, or set {KEY}=custom",
                        self.name()
                    ),
                ));
            }
        }
        Ok(())
    }
}

/// Whether two configs are alike but for numbers.
fn differ_in_numbers(one: &impl Serialize, other: &impl Serialize) -> Result<bool, Error> {
    let value = |error: toml::ser::Error| refusal("config", error.to_string());
    let one = toml::Value::try_from(one).map_err(value)?;
    let other = toml::Value::try_from(other).map_err(value)?;
    Ok(alike_but_for_numbers(&one, &other))
}

fn alike_but_for_numbers(one: &toml::Value, other: &toml::Value) -> bool {
    match (one, other) {
        (toml::Value::Float(_), toml::Value::Float(_))
        | (toml::Value::Integer(_), toml::Value::Integer(_)) => true,
        (toml::Value::Table(one), toml::Value::Table(other)) => {
            one.len() == other.len()
                && one.iter().all(|(key, value)| {
                    other
                        .get(key)
                        .is_some_and(|other| alike_but_for_numbers(value, other))
                })
        }
        _ => one == other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::train::{BRAIN_CNN_SMALL, TrainConfig};
    use crate::vision::config::VisionConfig;
    use std::path::Path;

    const RESNET: &str = include_str!("../../configs/vision/cifar10-resnet18-small.toml");
    const VIT: &str = include_str!("../../configs/vision/cifar10-vit-ti-small.toml");

    fn brain(changes: &[&str]) -> Result<TrainConfig, Error> {
        let changes: Vec<String> = changes.iter().map(|change| (*change).to_owned()).collect();
        TrainConfig::parse(BRAIN_CNN_SMALL, Path::new("small.toml"), &changes)
    }

    fn images(text: &str, changes: &[&str]) -> Result<VisionConfig, Error> {
        let changes: Vec<String> = changes.iter().map(|change| (*change).to_owned()).collect();
        VisionConfig::parse(text, Path::new("small.toml"), &changes)
    }

    #[test]
    fn each_method_is_one_change_of_a_config_for_images_and_of_one_for_ages() {
        for card in &METHODS {
            let change = format!("{KEY}={}", card.method.name());
            let soft = "train.loss={ soft-labels = { bin_years = 2.0, sd_years = 2.0 } }";
            let loss = match card.method {
                Method::ForwardForward => soft,
                _ => "train.loss=mae",
            };
            let brain = brain(&[&change, loss]).unwrap_or_else(|e| panic!("{change}: {e}"));
            let images = images(RESNET, &[&change]).unwrap_or_else(|e| panic!("{change}: {e}"));
            assert_eq!(brain.train.method, card.method);
            // All that it decides is written down: set by hand, the config is the same but for the name.
            let by_hand: Vec<&str> = card.settings.to_vec();
            let mut expected = self::images(RESNET, &by_hand).unwrap();
            expected.train.method = card.method;
            assert_eq!(images, expected);
        }
    }

    #[test]
    fn what_contradicts_a_method_is_refused_and_a_factor_may_be_tuned() {
        let refused = |changes: &[&str]| images(RESNET, changes).unwrap_err().to_string();
        let said = refused(&["train.method=ocnn", "model.weights=eigen"]);
        assert!(said.contains("`ocnn` has model.weights=dense"), "{said}");
        let said = refused(&["train.method=dgl", "train.regime=backprop"]);
        assert!(said.contains("train.regime=local"), "{said}");
        let said = refused(&["train.method=srip", "train.penalty=none"]);
        assert!(said.contains("srip"), "{said}");
        let tuned = [
            "train.method=ocnn",
            "train.penalty={ ocnn = { weight = 0.1 } }",
        ];
        assert!(images(RESNET, &tuned).is_ok());
        assert!(images(RESNET, &["train.method=wings"]).is_err());
        assert!(images(RESNET, &["train.method=ocnn", "train.method=custom"]).is_ok());
    }

    #[test]
    fn methods_for_convolutions_are_refused_for_transformers() {
        for (method, why) in [
            ("dgl", "tokens"),
            ("dropcov", "tokens"),
            ("ocnn", "no convolution"),
            ("infopro", "tokens"),
            ("man", "tokens"),
        ] {
            let change = format!("train.method={method}");
            let said = images(VIT, &[&change]).unwrap_err().to_string();
            assert!(said.contains(why), "{said}");
        }
        assert!(images(VIT, &["train.method=dfa"]).is_ok());
    }

    #[test]
    fn the_rule_that_asks_for_each_answer_is_refused_where_they_have_no_end() {
        let said = brain(&["train.method=forward-forward", "train.loss=mae"]).unwrap_err();
        assert!(said.to_string().contains("soft-labels"), "{said}");
    }

    #[test]
    fn steps_from_noise_to_the_label_may_be_as_many_as_you_like_but_two_at_least() {
        let of = |blocks| format!("train.regime={{ no-prop = {{ blocks = {blocks} }} }}");
        assert!(images(RESNET, &["train.method=no-prop", &of(4)]).is_ok());
        let said = images(RESNET, &["train.method=no-prop", &of(1)]).unwrap_err();
        assert!(said.to_string().contains("fewer than 2"), "{said}");
    }

    #[test]
    fn heads_that_follow_the_next_unit_need_it_beside_them() {
        let alone = [
            "train.regime=local",
            "model.head={ momentum = { decay = 0.9 } }",
        ];
        let said = images(RESNET, &alone).unwrap_err().to_string();
        assert!(said.contains("local-together"), "{said}");
    }

    #[test]
    fn alike_members_need_more_than_one_in_a_batch() {
        let alone = [
            "train.method=predsim",
            "train.batch_size=4",
            "train.accumulate=4",
        ];
        let said = brain(&alone).unwrap_err().to_string();
        assert!(said.contains("train.auxiliary.similarity"), "{said}");
    }
}
