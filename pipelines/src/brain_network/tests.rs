//! The embedded weights, and what the networks see in made heads. Real scans: `preprocess/tests.rs`, and against the
//! original program `tools/compare_deepbet.py`.

use super::*;
use crate::pyramid::reduce;
use crate::qc::dice;
use crate::template::template;

#[test]
fn the_templates_brain_is_found_whatever_the_number_of_threads() {
    let template = template().unwrap();
    let network = brain_network().unwrap();
    let with_threads = |n_threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(n_threads)
            .build()
            .unwrap();
        pool.install(|| network.brain_mask(&template.t1).unwrap())
    };
    let one = with_threads(1);
    // The template's mask was made by another method.
    let overlap = dice(&one, &template.mask);
    assert!(overlap > 0.95, "{overlap}");
    assert_eq!(one, with_threads(3));
}

#[test]
fn a_scan_of_one_value_has_no_brain() {
    let network = brain_network().unwrap();
    let constant = reduce(&template().unwrap().t1, 4.0).map(|_| 7.0);
    assert_eq!(network.brain_mask(&constant), None);
}
