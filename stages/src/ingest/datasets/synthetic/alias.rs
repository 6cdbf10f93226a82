//! Draws from a fixed distribution in constant time (Walker 1977; Vose 1991).

use rand::{Rng, RngExt};

/// A table of n columns of equal probability. A column gives its own number, or else another.
pub(super) struct Alias {
    /// Of each column, how often it gives its own number.
    own: Vec<f32>,
    other: Vec<u32>,
}

impl Alias {
    /// The distribution in proportion to these weights, one or more, above 0.
    pub fn new(weights: &[f64]) -> Self {
        let total: f64 = weights.iter().sum();
        // Of the mean weight, how much each number has left to give.
        let mut left: Vec<f64> = weights.iter().map(|weight| weight / total * weights.len() as f64).collect();
        let (mut small, mut large): (Vec<u32>, Vec<u32>) =
            (0..weights.len() as u32).partition(|&number| left[number as usize] < 1.0);
        let mut table = Self { own: vec![1.0; weights.len()], other: (0..weights.len() as u32).collect() };
        while let (Some(poor), Some(&rich)) = (small.pop(), large.last()) {
            table.own[poor as usize] = left[poor as usize] as f32;
            table.other[poor as usize] = rich;
            left[rich as usize] -= 1.0 - left[poor as usize];
            if left[rich as usize] < 1.0 {
                small.extend(large.pop());
            }
        }
        table
    }

    /// A number.
    pub fn draw(&self, draw: &mut impl Rng) -> usize {
        let column = draw.random_range(0..self.own.len());
        if draw.random::<f32>() < self.own[column] { column } else { self.other[column] as usize }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::rng;

    #[test]
    fn columns_hold_the_weights() {
        for weights in [&[1.0][..], &[3.0, 1.0], &[0.1, 8.0, 0.4, 1.5, 2.0, 2.0, 0.01]] {
            let table = Alias::new(weights);
            let mut found = vec![0.0; weights.len()];
            for (column, (&own, &other)) in table.own.iter().zip(&table.other).enumerate() {
                found[column] += f64::from(own);
                found[other as usize] += 1.0 - f64::from(own);
            }
            let total: f64 = weights.iter().sum();
            for (found, weight) in found.iter().zip(weights) {
                assert!((found / weights.len() as f64 - weight / total).abs() < 1e-6, "{found} for {weight}");
            }
        }
        let (table, mut draw) = (Alias::new(&[1.0, 3.0]), rng(&[1]));
        let ones = (0..4000).filter(|_| table.draw(&mut draw) == 1).count();
        assert!((2850..3150).contains(&ones), "{ones}");
    }
}
