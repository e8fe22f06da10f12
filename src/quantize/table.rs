//! How a network does with fewer bits a weight, by rounding and by COMQ: a line for each number of bits.

use serde::Serialize;

use super::comq::ComqParams;
use super::{Quantized, SWEEPS, quantized};
use crate::Error;
use crate::engine::device::Lane;
use crate::models::Network;
use crate::nn::observer::Observer;

/// One line of the table.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct ByBits {
    /// Bits of a quantized weight.
    pub bits: u32,
    /// Error where each weight goes to its nearest place.
    pub rounded: f64,
    /// Error by coordinate descent.
    pub comq: f64,
    /// What rounding leaves of what layers give, by squares.
    pub rounding_residual: f64,
    /// The same by coordinate descent.
    pub comq_residual: f64,
}

/// The whole table.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct QuantizationTable {
    /// What errors are in: `%` or `years`.
    pub unit: &'static str,
    /// What was judged on: `test images` or `test scans`.
    pub judged_on: &'static str,
    /// How many of them.
    pub n_test: usize,
    /// Layers that were quantized.
    pub n_matrices: usize,
    /// Their weights.
    pub n_weights: usize,
    /// Error with full weights.
    pub full_error: f64,
    /// In the order in which bits were asked for.
    pub by_bits: Vec<ByBits>,
}

/// What is quantized.
pub struct Quantizing<'a> {
    /// Folded.
    pub network: &'a Network,
    /// What its layers were given.
    pub observer: &'a Observer,
    /// Whose threads work.
    pub lane: &'a Lane,
    /// Bits of a weight, 2 to 8 each.
    pub bits: &'a [u32],
}

impl Quantizing<'_> {
    /// Lines by bits, and the numbers of layers and weights that were quantized. `error_of` judges a network; `done` is called after
    /// each line.
    ///
    /// # Errors
    /// What `error_of` answers.
    pub fn lines(
        &self,
        mut error_of: impl FnMut(Network) -> Result<f64, Error>,
        done: impl Fn(),
    ) -> Result<(Vec<ByBits>, [usize; 2]), Error> {
        let mut counts = [0; 2];
        let mut lines = Vec::with_capacity(self.bits.len());
        for bits in self.bits {
            let mut with = |sweeps| -> Result<(f64, Quantized), Error> {
                let params = ComqParams {
                    bits: *bits,
                    sweeps,
                };
                let pool = &self.lane.pool;
                let result = pool.install(|| quantized(self.network, self.observer, params));
                Ok((error_of(result.network.clone())?, result))
            };
            let ((rounded, by_rounding), (comq, by_comq)) = (with(0)?, with(SWEEPS)?);
            counts = [by_comq.n_matrices, by_comq.n_weights];
            lines.push(ByBits {
                bits: *bits,
                rounded,
                comq,
                rounding_residual: by_rounding.relative_error,
                comq_residual: by_comq.relative_error,
            });
            done();
        }
        Ok((lines, counts))
    }
}

impl QuantizationTable {
    /// As Markdown, under a sentence.
    pub fn to_markdown(&self) -> String {
        let unit = self.unit;
        let mut lines = vec![
            format!(
                "{} weights of {} layers quantized, the heads left as they are; {} {}",
                self.n_weights, self.n_matrices, self.n_test, self.judged_on
            ),
            String::new(),
            "| bits | error, rounded | error, COMQ | left of the layers' outputs, rounded | COMQ |"
                .into(),
            "|--:|--:|--:|--:|--:|".into(),
            format!("| 32 | {:.2} {unit} | | | |", self.full_error),
        ];
        lines.extend(self.by_bits.iter().map(|row| {
            let [rounding, comq] =
                [row.rounding_residual, row.comq_residual].map(|share| 100.0 * share);
            format!(
                "| {} | {:.2} {unit} | {:.2} {unit} | {rounding:.3} % | {comq:.3} % |",
                row.bits, row.rounded, row.comq
            )
        }));
        lines.join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::device::{DeviceName, open_one};
    use crate::engine::seed::Seed;
    use crate::quantize::observe;
    use crate::quantize::tests::network;

    #[test]
    fn the_table_has_a_line_for_full_weights_and_one_for_each_width() {
        let table = QuantizationTable {
            unit: "years",
            judged_on: "test scans",
            n_test: 200,
            n_matrices: 20,
            n_weights: 1234,
            full_error: 5.0,
            by_bits: vec![ByBits {
                bits: 4,
                rounded: 6.5,
                comq: 5.25,
                rounding_residual: 0.02,
                comq_residual: 0.005,
            }],
        };
        let text = table.to_markdown();
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[0].ends_with("; 200 test scans"), "{text}");
        assert_eq!(lines[4], "| 32 | 5.00 years | | | |");
        assert_eq!(
            lines[5],
            "| 4 | 6.50 years | 5.25 years | 2.000 % | 0.500 % |"
        );
    }

    #[test]
    fn each_number_of_bits_is_judged_rounded_and_by_coordinate_descent() {
        let (network, inputs) = network();
        let observer = observe(&network, [inputs], Seed(1));
        let lane = open_one(DeviceName::Cpu).unwrap();
        let quantizing = Quantizing {
            network: &network,
            observer: &observer,
            lane: &lane,
            bits: &[8, 2],
        };
        let mut n_judged = 0;
        let judge = |_: Network| {
            n_judged += 1;
            Ok(f64::from(n_judged))
        };
        let (lines, [n_matrices, n_weights]) = quantizing.lines(judge, || {}).unwrap();
        let found: Vec<(u32, f64, f64)> = lines
            .iter()
            .map(|line| (line.bits, line.rounded, line.comq))
            .collect();
        assert_eq!(found, [(8, 1.0, 2.0), (2, 3.0, 4.0)]);
        assert!(
            lines
                .iter()
                .all(|line| line.comq_residual <= line.rounding_residual)
        );
        // Four stages of half as many channels: 4, 8, 16 and 32 of 3×3×3.
        assert_eq!(n_matrices, 4);
        assert_eq!(n_weights, 27 * (4 + 4 * 8 + 8 * 16 + 16 * 32));
    }
}
