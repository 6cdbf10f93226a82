//! How scales and mins are stored, and read.

/// How a format stores the scale and the min of a group.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum ScaleForm {
    /// A float16, of which the min is a multiple.
    Scale {
        /// The multiple.
        min: f32,
    },
    /// Two float16.
    ScaleAndMin,
    /// 6-bit multiples of the two float16 of a block; the min is subtracted.
    Multiples,
    /// A signed multiple of the float16 of a block; no min.
    SignedMultiples,
}

impl ScaleForm {
    /// The scale and the min, given the two float16 of the block and the multiples of the group.
    #[inline(always)]
    pub(super) fn of(self, factors: u32, times: u32) -> (f32, f32) {
        let (scale, min) = (float16(factors & 0xFFFF), float16(factors >> 16));
        match self {
            // Not 0 · scale, which is −0 where the scale is negative.
            Self::Scale { min: 0.0 } => (scale, 0.0),
            Self::Scale { min } => (scale, min * scale),
            Self::ScaleAndMin => (scale, min),
            Self::Multiples => (scale * (times & 0xFF) as f32, -(min * (times >> 8) as f32)),
            Self::SignedMultiples => (scale * f32::from(times as u8 as i8), 0.0),
        }
    }
}

/// The float16 of these bits; where the exponent says infinity, 65536 or more. Neither the argument nor a step of it is a denormal f32, on which processors are slow: small
/// scales are denormal float16.
#[inline(always)]
pub(super) fn float16(bits: u32) -> f32 {
    let magnitude = (bits & 0x7FFF) << 13;
    let normal = f32::from_bits(magnitude + (112 << 23));
    // 2⁻¹⁴ plus the number, less 2⁻¹⁴.
    let denormal = f32::from_bits(magnitude + (113 << 23)) - f32::from_bits(113 << 23);
    let number = if magnitude < 1 << 23 { denormal } else { normal };
    f32::from_bits(number.to_bits() | (bits & 0x8000) << 16)
}

#[cfg(test)]
mod tests {
    use half::f16;

    use super::*;

    #[test]
    fn sixteen_bits_are_read_exactly() {
        for bits in 0..=0xFFFF_u16 {
            let wanted = f16::from_bits(bits).to_f32();
            if wanted.is_finite() {
                assert_eq!(float16(u32::from(bits)).to_bits(), wanted.to_bits(), "{bits:x}");
            }
        }
    }

    #[test]
    fn scales_and_mins_by_hand() {
        let bits = |x: f32| u32::from(f16::from_f32(x).to_bits());
        let both = bits(0.5) | bits(-2.0) << 16;
        assert_eq!(ScaleForm::ScaleAndMin.of(both, 0), (0.5, -2.0));
        assert_eq!(ScaleForm::Scale { min: -8.0 }.of(bits(0.5), 0), (0.5, -4.0));
        assert_eq!(ScaleForm::Multiples.of(both, 3 | 5 << 8), (1.5, 10.0));
        assert_eq!(ScaleForm::SignedMultiples.of(bits(0.5), 0xFF), (-0.5, 0.0));
        let (scale, min) = ScaleForm::Scale { min: 0.0 }.of(bits(-0.5), 0);
        assert_eq!((scale, min.to_bits()), (-0.5, 0));
    }
}
