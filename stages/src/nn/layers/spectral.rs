//! Spectral normalisation of a linear layer (Miyato et al. 2018, arXiv 1802.05957, algorithm 1).
//!
//! The paper keeps the singular vectors from step to step. Here each forward pass computes them from a fixed start, so that there is no
//! state to save, and an exported network equals the trained one.

use candle_core::{Result, Tensor};

const ITERATIONS: usize = 20;

/// W/σ(W), σ the largest singular value by power iteration. `weight [O, I]` → `[O, I]`. The gradient of σ = uᵀ·W·v takes u and v
/// as constants.
pub fn normalised(weight: &Tensor) -> Result<Tensor> {
    let w = weight.detach();
    let (rows, _) = w.dims2()?;
    // Uneven, so that no symmetry of the weights is orthogonal to it.
    let start: Vec<f64> = (0..rows).map(|k| 1.0 + 0.1 * (k as f64).sin()).collect();
    let mut u = Tensor::from_vec(start, (rows, 1), w.device())?.to_dtype(w.dtype())?;
    let mut v = unit(&w.t()?.matmul(&u)?)?;
    for _ in 0..ITERATIONS {
        u = unit(&w.matmul(&v)?)?;
        v = unit(&w.t()?.matmul(&u)?)?;
    }
    let sigma = u.t()?.matmul(weight)?.matmul(&v)?;
    weight.broadcast_div(&(sigma + 1e-12)?)
}

fn unit(x: &Tensor) -> Result<Tensor> {
    x.broadcast_div(&(x.sqr()?.sum_all()?.sqrt()? + 1e-12)?)
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;
    use crate::nn::optim::gradient_check::assert_finite_differences;

    #[test]
    fn the_largest_singular_value_becomes_one() {
        // diag(3, 1) turned: singular values 3 and 1.
        let (c, s) = (0.6, 0.8);
        let weight = Tensor::new(&[[3.0 * c, -s], [3.0 * s, c]], &Device::Cpu).unwrap();
        let found = normalised(&weight).unwrap().to_vec2::<f64>().unwrap();
        for (found, wanted) in found.iter().flatten().zip([c, -s / 3.0, s, c / 3.0]) {
            assert!((found - wanted).abs() < 1e-9, "{found} {wanted}");
        }
    }

    #[test]
    fn its_gradient_agrees_with_finite_differences() {
        let weight = Tensor::new(&[[3.0, 0.2, -0.1], [0.1, 0.5, 0.3]], &Device::Cpu).unwrap();
        let mask = Tensor::new(&[[1.0, -2.0, 0.5], [0.7, 1.0, 3.0]], &Device::Cpu).unwrap();
        assert_finite_differences(&weight, |w| (normalised(w)? * &mask)?.sum_all());
    }
}
