//! Repeated measurements of one thing.

/// In the order in which they were taken, so that those of one round can be compared.
#[derive(Clone, Debug, Default)]
pub(crate) struct Samples(pub(crate) Vec<f64>);

impl Samples {
    pub(crate) fn median(&self) -> f64 {
        self.quantile(0.5)
    }

    /// The first and the third quartile.
    pub(crate) fn spread(&self) -> (f64, f64) {
        (self.quantile(0.25), self.quantile(0.75))
    }

    /// The median of each sample's ratio to the other one of the same round: what slows the machine for some seconds
    /// slows both.
    pub(crate) fn ratio_to(&self, other: &Self) -> f64 {
        let ratios = self.0.iter().zip(&other.0).map(|(mine, its)| mine / its);
        Self(ratios.collect()).median()
    }

    /// Interpolates between the two nearest samples. NaN without samples.
    fn quantile(&self, q: f64) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        let Some(last) = sorted.len().checked_sub(1) else {
            return f64::NAN;
        };
        let at = q * last as f64;
        let (below, above) = (at.floor(), at.ceil());
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an index")]
        let (low, high) = (sorted[below as usize], sorted[above as usize]);
        low + (high - low) * (at - below)
    }
}

#[cfg(test)]
mod tests {
    use super::Samples;

    #[test]
    fn median_of_unsorted_samples_is_the_middle_one() {
        assert!((Samples(vec![3.0, 1.0, 2.0]).median() - 2.0).abs() < f64::EPSILON);
        assert!((Samples(vec![4.0, 1.0, 2.0, 3.0]).median() - 2.5).abs() < f64::EPSILON);
        assert!(Samples::default().median().is_nan());
    }

    #[test]
    fn ratio_compares_samples_of_the_same_round() {
        let (twice, once) = (Samples(vec![2.0, 20.0, 4.0]), Samples(vec![1.0, 10.0, 2.0]));
        assert!((twice.ratio_to(&once) - 2.0).abs() < f64::EPSILON);
    }
}
