//! exp, tanh and the logistic function in f32 as polynomials that a compiler can spread over vector registers, which it cannot do
//! with the C library's calls.
//!
//! The polynomials are those of Moshier's Cephes library (expf.c, tanhf.c). No multiply-add is asked for: where a processor lacks
//! it, it would be a call.

/// eˣ within 2 units in the last place; 0 below −87.3, where floats grow denser than normal ones, and infinite above 88.3.
#[inline(always)]
pub fn exp(x: f32) -> f32 {
    // Adding 1.5·2²³ leaves the nearest whole number in the low bits of the sum.
    const TO_WHOLE: f32 = 12_582_912.0;
    // ln 2 in two parts; the first has so few digits that its product with a whole number is exact.
    const LN_2: [f32; 2] = [0.693_359_4, -2.121_944_4e-4];
    let shifted = x * std::f32::consts::LOG2_E + TO_WHOLE;
    let whole = shifted - TO_WHOLE;
    let rest = (x - whole * LN_2[0]) - whole * LN_2[1];
    let mut series = 1.987_569_1e-4;
    for coefficient in [1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 0.166_666_66, 0.5] {
        series = series * rest + coefficient;
    }
    let power_of_2 = f32::from_bits((shifted.to_bits() << 23).wrapping_add(0x3f80_0000));
    let found = (series * (rest * rest) + rest + 1.0) * power_of_2;
    if x < -87.3 {
        0.0
    } else if x > 88.3 {
        f32::INFINITY
    } else {
        found
    }
}

/// tanh x within 3 units in the last place.
#[inline(always)]
pub fn tanh(x: f32) -> f32 {
    let size = x.abs();
    let square = x * x;
    let mut series = -5.704_988_7e-3;
    for coefficient in [2.063_909e-2, -5.373_971_6e-2, 0.133_314_42, -0.333_332_8] {
        series = series * square + coefficient;
    }
    let near = series * square * x + x;
    let far = (1.0 - 2.0 / (exp(2.0 * size) + 1.0)).copysign(x);
    if size < 0.625 { near } else { far }
}

/// 1/(1 + e⁻ˣ) within 4 units in the last place.
#[inline(always)]
pub fn sigmoid(x: f32) -> f32 {
    let small = exp(-x.abs());
    let high = 1.0 / (1.0 + small);
    if x < 0.0 { small * high } else { high }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The largest distance to `exact` in units of the last place, over every 997th float between `low` and `high` of both signs.
    fn worst(low: f32, high: f32, found: fn(f32) -> f32, exact: fn(f64) -> f64) -> f64 {
        let mut worst = 0.0_f64;
        for bits in (low.to_bits()..high.to_bits()).step_by(997) {
            for x in [f32::from_bits(bits), -f32::from_bits(bits)] {
                let wanted = exact(f64::from(x));
                let unit = f64::from((wanted as f32).abs().next_up() - (wanted as f32).abs());
                worst = worst.max((f64::from(found(x)) - wanted).abs() / unit);
            }
        }
        worst
    }

    #[test]
    fn errors_are_bounded_in_units_of_the_last_place() {
        let logistic = |x: f64| 1.0 / (1.0 + (-x).exp());
        let found = [
            worst(1e-30, 87.0, exp, f64::exp),
            worst(1e-30, 100.0, tanh, f64::tanh),
            worst(1e-30, 86.0, sigmoid, logistic),
        ];
        assert!(found[0] < 2.0 && found[1] < 3.0 && found[2] < 4.0, "{found:?}");
    }

    #[test]
    fn the_ends_are_what_they_should_be() {
        assert_eq!([-1e9, f32::NEG_INFINITY, -87.4, 0.0, -0.0].map(exp), [0.0, 0.0, 0.0, 1.0, 1.0]);
        assert_eq!([89.0, f32::INFINITY].map(exp), [f32::INFINITY; 2]);
        assert_eq!([-1e9, f32::NEG_INFINITY, 0.0, 1e9, f32::INFINITY].map(tanh), [-1.0, -1.0, 0.0, 1.0, 1.0]);
        assert_eq!([-1e9, f32::NEG_INFINITY, 0.0, 1e9, f32::INFINITY].map(sigmoid), [0.0, 0.0, 0.5, 1.0, 1.0]);
        assert!([exp, tanh, sigmoid].iter().all(|function| function(f32::NAN).is_nan()));
    }
}
