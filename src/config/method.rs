//! Methods by name: what each decides of a config, so that `--set train.method=dgl` is all that it takes.
//!
//! A method is no code of its own: it is a choice of regime, weights, heads, cuts and penalties, each of which is one file
//! behind its seam. The config keeps both, the name and the keys, and they may not contradict each other.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

mod cards;

use super::train::{refusal, with};
use crate::Error;
pub use cards::METHODS;

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

/// The key of the name.
pub(super) const KEY: &str = "train.method";
/// Keys whose numbers may be others than those that a method sets: factors, depths and shares. What is 0 stays 0: without it
/// the method is another.
const TUNED: [&str; 5] = [
    "train.auxiliary",
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

/// Whether two configs are alike but for numbers, none of which is 0 in one of them alone.
fn differ_in_numbers(one: &impl Serialize, other: &impl Serialize) -> Result<bool, Error> {
    let value = |error: toml::ser::Error| refusal("config", error.to_string());
    let one = toml::Value::try_from(one).map_err(value)?;
    let other = toml::Value::try_from(other).map_err(value)?;
    Ok(alike_but_for_numbers(&one, &other))
}

fn alike_but_for_numbers(one: &toml::Value, other: &toml::Value) -> bool {
    match (one, other) {
        (toml::Value::Float(one), toml::Value::Float(other)) => (*one == 0.0) == (*other == 0.0),
        (toml::Value::Integer(one), toml::Value::Integer(other)) => (*one == 0) == (*other == 0),
        (toml::Value::Array(one), toml::Value::Array(other)) => {
            let mut pairs = one.iter().zip(other);
            one.len() == other.len() && pairs.all(|(one, other)| alike_but_for_numbers(one, other))
        }
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
        let reconstructs = |factors| {
            let change = format!("train.auxiliary.reconstruction={factors}");
            images(RESNET, &["train.method=infopro", &change])
        };
        assert!(reconstructs("[2.0, 0.1]").is_ok());
        // Without its decoders it is a local method with another name.
        let said = reconstructs("[0.0, 0.0]").unwrap_err().to_string();
        assert!(said.contains("`infopro` has train.auxiliary"), "{said}");
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
