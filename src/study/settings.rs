//! Settings that tell rows of a table apart.

use std::collections::BTreeMap;

use serde::Serialize;

/// Keys of a config with their values, both as TOML writes them.
pub(crate) type Settings = BTreeMap<String, String>;

/// Keys that columns of their own show in every table.
const SHOWN: [&str; 7] = [
    "model.weights",
    "model.cuts",
    "model.head",
    "train.auxiliary",
    "train.epochs",
    "train.method",
    "train.regime",
];

/// Those of a row that no column of its own shows, `shown` in this table besides the ones of every table; `config` is without
/// what differs within the row.
pub(crate) fn settings(config: &impl Serialize, shown: &[&str]) -> Settings {
    let mut settings = Settings::new();
    if let Ok(value) = toml::Value::try_from(config) {
        collect(String::new(), &value, &mut settings);
    }
    let is_shown = |key: &str| {
        SHOWN
            .iter()
            .chain(shown)
            .any(|shown| key.starts_with(shown))
    };
    settings.retain(|key, _| !is_shown(key));
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
pub(crate) fn different(own: &Settings, all: &[Settings]) -> String {
    let differs =
        |(key, value): &(&String, &String)| all.iter().any(|other| other.get(*key) != Some(*value));
    let parts = own.iter().filter(differs);
    let texts: Vec<String> = parts.map(|(key, value)| format!("{key}={value}")).collect();
    texts.join(", ")
}
