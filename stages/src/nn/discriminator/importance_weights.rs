//! Importance weights of demonstrated steps, from logarithms.

/// e^exponent of each, scaled to mean 1 over the whole set: another mean m would add log m to every step's reward and change
/// the incentive to prolong episodes. No factor overflows.
#[must_use]
pub fn normalised(exponents: &[f64]) -> Vec<f32> {
    let high = exponents.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let raw: Vec<f64> = exponents.iter().map(|e| (e - high).exp()).collect();
    let mean = raw.iter().sum::<f64>() / raw.len().max(1) as f64;
    raw.iter().map(|w| (w / mean) as f32).collect()
}

/// w_env^α · w_irl^(1−α), normalised: `w_env = exp(A/β)` (AWR, arXiv 1910.00177, eq. 8), `w_irl = exp(κ·logit)`, as 1/D − 1 =
/// D_E/(1 − D_E) = e^logit. The mix is IL-Rec's (arXiv 2510.13229). `advantages` and `logits [N]` → `[N]`.
#[must_use]
pub fn mixed_weights(
    advantages: &[f32],
    logits: &[f32],
    advantage_temperature: f64,
    kappa: f64,
    alpha: f64,
) -> Vec<f32> {
    let exponent =
        |(a, z): (&f32, &f32)| alpha * f64::from(*a) / advantage_temperature + (1.0 - alpha) * kappa * f64::from(*z);
    normalised(&advantages.iter().zip(logits).map(exponent).collect::<Vec<f64>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(found: &[f32], wanted: &[f32]) {
        assert!(found.iter().zip(wanted).all(|(a, b)| (a - b).abs() < 1e-5), "{found:?} {wanted:?}");
    }

    #[test]
    fn weights_keep_their_limits() {
        let (a, z) = ([0.5, -1.0, 2.0], [1.0, 0.0, -1.0]);
        let normal = |w: [f32; 3]| w.map(|x| x * 3.0 / w.iter().sum::<f32>());
        let shifted: Vec<f32> = a.iter().map(|x| x + 7.0).collect();
        close(&mixed_weights(&a, &z, 2.0, 1.0, 0.5), &mixed_weights(&shifted, &z, 2.0, 1.0, 0.5));
        close(&mixed_weights(&a, &z, 1e9, 1.0, 1.0), &[1.0; 3]);
        close(&mixed_weights(&a, &z, 2.0, 1.0, 1.0), &normal(a.map(|x| (x / 2.0_f32).exp())));
        close(&mixed_weights(&a, &z, 2.0, 1.5, 0.0), &normal(z.map(|x| (1.5 * x).exp())));
    }

    #[test]
    fn exponents_beyond_any_float_have_finite_weights() {
        close(&normalised(&[5000.0, 5000.0, -5000.0]), &[1.5, 1.5, 0.0]);
    }
}
