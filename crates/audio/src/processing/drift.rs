//! How much faster one clock runs than another: a straight line through what was observed.

use std::collections::VecDeque;

/// A line fitted to observations, oldest ones forgotten.
#[derive(Debug)]
pub struct Trend {
    observations: VecDeque<(f64, f64)>,
    capacity: usize,
}

/// A fitted line.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Slope {
    /// Change of the observed per unit of the other.
    pub value: f64,
    /// Standard error of `value`, for observations independent of each other.
    pub error: f64,
    /// From the first observation to the last one.
    pub span: f64,
}

impl Trend {
    /// A trend over so many observations at most.
    pub fn new(capacity: usize) -> Self {
        Self {
            observations: VecDeque::with_capacity(capacity + 1),
            capacity,
        }
    }

    /// Takes in an observation; `at` never falls.
    pub fn push(&mut self, at: f64, observed: f64) {
        self.observations.push_back((at, observed));
        if self.observations.len() > self.capacity {
            self.observations.pop_front();
        }
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.observations.clear();
    }

    /// Least squares; `None` below eight observations.
    pub fn slope(&self) -> Option<Slope> {
        let count = self.observations.len() as f64;
        if self.observations.len() < 8 {
            return None;
        }
        let (first, last) = (self.observations.front()?.0, self.observations.back()?.0);
        let mean_at = self.observations.iter().map(|it| it.0).sum::<f64>() / count;
        let mean = self.observations.iter().map(|it| it.1).sum::<f64>() / count;
        let (mut spread, mut product, mut power) = (0.0, 0.0, 0.0);
        for &(at, observed) in &self.observations {
            spread += (at - mean_at).powi(2);
            product += (at - mean_at) * (observed - mean);
            power += (observed - mean).powi(2);
        }
        if spread <= 0.0 {
            return None;
        }
        let value = product / spread;
        let rest = (power - value * product).max(0.0) / (count - 2.0);
        Some(Slope {
            value,
            error: (rest / spread).sqrt(),
            span: last - first,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_a_slope_under_jitter_and_says_how_sure_it_is() {
        let mut trend = Trend::new(100);
        for i in 0..250_i32 {
            let jitter = f64::from(i * 7_919 % 13 - 6) * 0.01;
            trend.push(f64::from(i), 0.02 * f64::from(i) + jitter);
        }
        let slope = trend.slope().expect("enough");
        assert!((slope.value - 0.02).abs() < 4.0 * slope.error);
        assert!(slope.error < 2e-4, "{slope:?}");
        assert_eq!(slope.span, 99.0);
    }

    #[test]
    fn no_line_without_observations_or_time() {
        let mut trend = Trend::new(20);
        assert_eq!(trend.slope(), None);
        for _ in 0..20 {
            trend.push(1.0, 2.0);
        }
        assert_eq!(trend.slope(), None);
    }
}
