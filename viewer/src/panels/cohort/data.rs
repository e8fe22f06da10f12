//! The points and bars of the plots; made anew only when a subject has changed.

use crate::subject::Subject;
use crate::theme::MOST_MARKS;

/// All that the plots show.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct CohortData {
    /// Subject, age and predicted age, years; evenly chosen ones where there are very many.
    pub(crate) points: Vec<(usize, [f64; 2])>,
    /// How many have both.
    pub(crate) n_points: usize,
    /// Subject and gap, years, rising.
    pub(crate) gaps: Vec<(usize, f64)>,
    /// Width of a bar, years.
    pub(crate) bin_years: f64,
    /// Middle of each bar and how many lie in it.
    pub(crate) bars: Vec<(f64, usize)>,
    /// Mean absolute gap, years.
    pub(crate) mae_years: Option<f64>,
    /// Smallest and largest age of either kind.
    pub(crate) range_years: [f64; 2],
}

impl CohortData {
    /// Of all subjects that have an age and a prediction.
    pub(crate) fn of(subjects: &[Subject]) -> Self {
        let both = |(i, subject): (usize, &Subject)| {
            Some((i, [subject.age_years?, subject.predicted_age_years()?]))
        };
        let all: Vec<(usize, [f64; 2])> = subjects.iter().enumerate().filter_map(both).collect();
        if all.is_empty() {
            return Self::default();
        }
        let mut gaps: Vec<(usize, f64)> = all
            .iter()
            .map(|(i, [age, predicted])| (*i, predicted - age))
            .collect();
        gaps.sort_by(|a, b| a.1.total_cmp(&b.1));
        let (first, last) = (gaps[0].1, gaps[gaps.len() - 1].1);
        let bin_years = [1.0, 2.0, 5.0, 10.0]
            .into_iter()
            .find(|width| (last - first) / width <= 30.0)
            .unwrap_or(20.0);
        let mut bars: Vec<(f64, usize)> = Vec::new();
        for (_, gap) in &gaps {
            let middle = (gap / bin_years).floor() * bin_years + bin_years / 2.0;
            match bars.last_mut() {
                Some((at, n)) if *at == middle => *n += 1,
                _ => bars.push((middle, 1)),
            }
        }
        let ages = all.iter().flat_map(|(_, ages)| *ages);
        let range_years = ages.fold([f64::INFINITY, f64::NEG_INFINITY], |[low, high], age| {
            [low.min(age), high.max(age)]
        });
        let mae = gaps.iter().map(|(_, gap)| gap.abs()).sum::<f64>() / gaps.len() as f64;
        let stride = all.len().div_ceil(MOST_MARKS);
        Self {
            n_points: all.len(),
            points: all.into_iter().step_by(stride).collect(),
            gaps,
            bin_years,
            bars,
            mae_years: Some(mae),
            range_years,
        }
    }

    /// The subject whose gap is nearest to `gap_years`.
    pub(crate) fn nearest_gap(&self, gap_years: f64) -> Option<usize> {
        let distance = |gap: f64| (gap - gap_years).abs();
        let nearest = self
            .gaps
            .iter()
            .min_by(|a, b| distance(a.1).total_cmp(&distance(b.1)));
        nearest.map(|(subject, _)| *subject)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::subject::Prediction;

    fn subject(age: Option<f64>, predicted: f64) -> Subject {
        let mut subject = Subject::from_path("a.nii".into());
        subject.age_years = age;
        subject.prediction = Some(Prediction {
            predicted_age_years: Some(predicted),
            ..Prediction::default()
        });
        subject
    }

    #[test]
    fn gaps_are_counted_in_bars_and_the_nearest_is_found() {
        let subjects = [
            subject(Some(50.0), 51.5),
            subject(None, 99.0),
            subject(Some(50.0), 49.2),
            subject(Some(60.0), 61.2),
        ];
        let data = CohortData::of(&subjects);
        assert_eq!(data.bars, [(-0.5, 1), (1.5, 2)]);
        assert_eq!(data.n_points, 3);
        assert_eq!(data.nearest_gap(1.4), Some(0));
        assert_eq!(data.nearest_gap(-9.0), Some(2));
        assert!((data.mae_years.unwrap() - 3.5 / 3.0).abs() < 1e-9);
    }

    #[test]
    fn of_very_many_points_a_part_is_drawn_and_all_are_counted() {
        let subjects: Vec<Subject> = (0..10_000)
            .map(|i| subject(Some(50.0), 50.0 + f64::from(i % 40)))
            .collect();
        let data = CohortData::of(&subjects);
        assert!(data.points.len() <= MOST_MARKS && data.n_points == 10_000);
        assert_eq!(data.bars.iter().map(|(_, n)| n).sum::<usize>(), 10_000);
    }
}
