//! The atoms of categorical distributions.

use serde::{Deserialize, Serialize};

/// The atoms z_k: `atoms` returns from `low` to `high`, evenly spaced.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Support {
    /// z of the first.
    pub low: f64,
    /// z of the last, above `low`.
    pub high: f64,
    /// How many, at least 2.
    pub atoms: usize,
}

impl Support {
    /// Distance of two atoms, Δz.
    #[must_use]
    pub fn step(&self) -> f64 {
        (self.high - self.low) / (self.atoms - 1) as f64
    }

    /// z, in order.
    #[must_use]
    pub fn values(&self) -> Vec<f64> {
        (0..self.atoms).map(|k| self.low + self.step() * k as f64).collect()
    }

    /// Projection of R + γ·Z onto the atoms, `[N·K]`, from `returns [N]`, `discounts [N]` and `probs [N·K]` of Z: mass between two atoms
    /// is split linearly, and mass beyond the ends goes to the end atoms. Bellemare et al. 2017, eq. 7 and algorithm 1.
    #[must_use]
    pub fn project(&self, returns: &[f32], discounts: &[f32], probs: &[f32]) -> Vec<f32> {
        let mut mass = vec![0.0_f64; probs.len()];
        let values = self.values();
        let rows = probs.chunks_exact(self.atoms).zip(mass.chunks_exact_mut(self.atoms));
        for ((probs, mass), (&reward, &discount)) in rows.zip(returns.iter().zip(discounts)) {
            for (&prob, z) in probs.iter().zip(&values) {
                let moved = (f64::from(reward) + f64::from(discount) * z).clamp(self.low, self.high);
                let place = ((moved - self.low) / self.step()).clamp(0.0, (self.atoms - 1) as f64);
                let (below, share) = (place.floor(), place.fract());
                mass[below as usize] += f64::from(prob) * (1.0 - share);
                if share > 0.0 {
                    mass[below as usize + 1] += f64::from(prob) * share;
                }
            }
        }
        mass.into_iter().map(|m| m as f32).collect()
    }
}
