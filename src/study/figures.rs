//! Figures of rows: over runs, and as tables write them.

use crate::Error;

/// None of nothing.
pub(crate) fn mean_of(values: impl Iterator<Item = f64>) -> Option<f64> {
    let values: Vec<f64> = values.collect();
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

/// The mean, and the standard deviation of more than one value.
pub(crate) fn mean_and_sd(values: &[f64]) -> (f64, Option<f64>) {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let sum_of_squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    let sd = (values.len() > 1).then(|| (sum_of_squares / (n - 1.0)).sqrt());
    (mean, sd)
}

/// None of nothing.
pub(crate) fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    let upper = *values.get(middle)?;
    Some(if values.len().is_multiple_of(2) {
        f64::midpoint(values[middle - 1], upper)
    } else {
        upper
    })
}

/// `31.00 ± 1.41 (2)`: mean, standard deviation, number of runs.
pub(crate) fn spread(mean: f64, sd: Option<f64>, n: usize) -> String {
    match sd {
        Some(sd) => format!("{mean:.2} ± {sd:.2} ({n})"),
        None => format!("{mean:.2} ({n})"),
    }
}

/// A dash where there is none.
pub(crate) fn decimals(value: Option<f64>, digits: usize) -> String {
    value.map_or("–".into(), |value| format!("{value:.digits$}"))
}

/// Bytes in 10^6 bytes; a dash where there are none.
pub(crate) fn megabytes(bytes: Option<u64>) -> String {
    decimals(bytes.map(|bytes| bytes as f64 / 1e6), 0)
}

/// `1,234,567`.
pub(crate) fn thousands(n: usize) -> String {
    let digits = n.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Some numbers to hundredths, with spaces between.
pub(crate) fn rounded(values: &[f64]) -> String {
    let texts: Vec<String> = values.iter().map(|value| format!("{value:.2}")).collect();
    texts.join(" ")
}

/// All digits of a number, nothing where there is none.
pub(crate) fn if_any(value: Option<impl ToString>) -> String {
    value.map(|value| value.to_string()).unwrap_or_default()
}

/// All digits of some numbers, with spaces between.
pub(crate) fn in_full(values: &[f64]) -> String {
    let texts: Vec<String> = values.iter().map(ToString::to_string).collect();
    texts.join(" ")
}

/// Comma-separated values: a heading and lines of as many fields.
///
/// # Errors
/// [`Error::Data`] where a line cannot be made.
pub(crate) fn comma_separated(
    heading: &[&str],
    lines: impl IntoIterator<Item = Vec<String>>,
) -> Result<String, Error> {
    let failed = |error: csv::Error| Error::Data(error.to_string());
    let mut out = csv::Writer::from_writer(Vec::new());
    out.write_record(heading).map_err(failed)?;
    for mut line in lines {
        line.resize(heading.len(), String::new());
        out.write_record(line).map_err(failed)?;
    }
    let bytes = out
        .into_inner()
        .map_err(|error| Error::Data(error.to_string()))?;
    String::from_utf8(bytes).map_err(|error| Error::Data(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn means_medians_and_spreads_are_those_worked_out_by_hand() {
        let (mean, sd) = mean_and_sd(&[30.0, 32.0]);
        // √((1 + 1) / (2 − 1)).
        assert_eq!((mean, sd), (31.0, Some(2.0_f64.sqrt())));
        assert_eq!(mean_and_sd(&[5.0]), (5.0, None));
        assert_eq!(median(vec![9.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(Vec::new()), None);
        assert_eq!(mean_of([1.0, 2.0].into_iter()), Some(1.5));
        assert_eq!(spread(31.0, sd, 2), "31.00 ± 1.41 (2)");
    }

    #[test]
    fn short_lines_are_filled_and_commas_are_kept_apart() {
        let text = comma_separated(&["a", "b"], [vec!["1,5".to_owned()]]).unwrap();
        assert_eq!(text, "a,b\n\"1,5\",\n");
        let heading = ["0", "999", "1,000", "1,234,567"];
        assert_eq!([0, 999, 1000, 1_234_567].map(thousands), heading);
        assert_eq!(
            (megabytes(Some(1_500_000)), megabytes(None)),
            ("2".into(), "–".into())
        );
    }
}
