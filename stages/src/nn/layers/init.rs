//! Seeded random numbers and initial weights: candle's CPU backend cannot be seeded.

use candle_core::{Device, Result, Tensor};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

/// A generator that depends on the numbers in `path` alone: (seed, purpose, iteration, …).
///
/// Counter-based on purpose: work that is resumed or spread over threads draws the same numbers without saving a state.
#[must_use]
pub fn rng(path: &[u64]) -> ChaCha8Rng {
    let mut hasher = blake3::Hasher::new();
    for number in path {
        hasher.update(&number.to_le_bytes());
    }
    ChaCha8Rng::from_seed(*hasher.finalize().as_bytes())
}

/// Draws initial weights.
pub struct Init {
    rng: ChaCha8Rng,
}

impl Init {
    /// An initialiser of that seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { rng: rng(&[seed, 0x1417]) }
    }

    /// Values from N(0, `deviation`²), in f32.
    pub fn normal(&mut self, shape: &[usize], deviation: f64) -> Result<Tensor> {
        let count: usize = shape.iter().product();
        let values: Vec<f32> = (0..count).map(|_| (self.standard_normal() * deviation) as f32).collect();
        Tensor::from_vec(values, shape, &Device::Cpu)
    }

    /// Glorot's uniform for a weight `[fan_out, fan_in]`, scaled by `gain` (Glorot and Bengio 2010, eq. 16).
    pub fn glorot(&mut self, fan_out: usize, fan_in: usize, gain: f64) -> Result<Tensor> {
        let limit = gain * (6.0 / (fan_in + fan_out) as f64).sqrt();
        let values: Vec<f32> =
            (0..fan_out * fan_in).map(|_| ((self.rng.random::<f64>() * 2.0 - 1.0) * limit) as f32).collect();
        Tensor::from_vec(values, (fan_out, fan_in), &Device::Cpu)
    }

    /// Box and Muller's transform; the second value of the pair is dropped to keep one draw per value.
    fn standard_normal(&mut self) -> f64 {
        let u: f64 = 1.0 - self.rng.random::<f64>();
        let v: f64 = self.rng.random();
        (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_seeds_give_equal_bytes_and_normal_moments() {
        let draw = |seed| Init::new(seed).normal(&[20_000], 2.0).unwrap().to_vec1::<f32>().unwrap();
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
        let values = draw(3);
        let mean = values.iter().map(|&x| f64::from(x)).sum::<f64>() / 20_000.0;
        let variance = values.iter().map(|&x| (f64::from(x) - mean).powi(2)).sum::<f64>() / 20_000.0;
        assert!(mean.abs() < 0.05 && (variance - 4.0).abs() < 0.15, "{mean} {variance}");
    }
}
