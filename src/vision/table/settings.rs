//! Settings that tell rows of a table apart.

use std::collections::BTreeMap;

use super::super::config::VisionConfig;

/// Keys of a config with their values, both as TOML writes them.
pub(super) type Settings = BTreeMap<String, String>;

/// Keys that columns of their own show.
const SHOWN: [&str; 10] = [
    "data.dataset",
    "model.name",
    "model.width",
    "model.weights",
    "model.cuts",
    "model.head",
    "train.auxiliary",
    "train.epochs",
    "train.method",
    "train.regime",
];

/// Those of a row that no column of its own shows; `config` is without what differs within the row.
pub(super) fn settings(config: &VisionConfig) -> Settings {
    let mut settings = Settings::new();
    if let Ok(value) = toml::Value::try_from(config) {
        collect(String::new(), &value, &mut settings);
    }
    settings.retain(|key, _| !SHOWN.iter().any(|shown| key.starts_with(shown)));
    // A penalty has a key for its factor instead.
    settings.remove("train.penalty");
    settings
}

fn collect(key: String, value: &toml::Value, settings: &mut Settings) {
    match value {
        toml::Value::Table(table) => {
            for (name, value) in table {
                let key = if key.is_empty() {
                    name.clone()
                } else {
                    format!("{key}.{name}")
                };
                collect(key, value, settings);
            }
        }
        value => drop(settings.insert(key, value.to_string())),
    }
}

/// What of a row's settings not all rows have.
pub(super) fn different(own: &Settings, all: &[Settings]) -> String {
    let differs =
        |(key, value): &(&String, &String)| all.iter().any(|other| other.get(*key) != Some(*value));
    let parts = own.iter().filter(differs);
    let texts: Vec<String> = parts.map(|(key, value)| format!("{key}={value}")).collect();
    texts.join(", ")
}
