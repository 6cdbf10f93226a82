//! The scales and mins of groups of weights in the layout of [`packed`](super::packed), as small as in the file: a float of each
//! is made when its group is dequantised.
//!
//! In a panel the numbers of one group, or of one block of groups, are contiguous: one for each of its 32 rows.

use super::packed::PANEL;
use super::quant_formats::{QuantFormat, Row};

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

/// The scales of all groups.
pub(super) struct Scales {
    form: ScaleForm,
    /// Groups of a block.
    per_block: usize,
    /// `[panels, blocks, 32]`; the lower halves alone where the upper ones are zeros.
    factors: Numbers,
    /// `[panels, groups, 32]`; nothing where a block is one group.
    times: Numbers,
}

/// Numbers of at most 32 bits in as few bytes as their form needs.
enum Numbers {
    Nothing,
    Bytes(Vec<u8>),
    Halves(Vec<u16>),
    Words(Vec<u32>),
}

impl Numbers {
    fn set(&mut self, at: usize, number: u32) {
        match self {
            Self::Nothing => {}
            Self::Bytes(all) => all[at] = number as u8,
            Self::Halves(all) => all[at] = number as u16,
            Self::Words(all) => all[at] = number,
        }
    }

    /// The 32 numbers from `at` on.
    #[inline(always)]
    fn panel(&self, at: usize) -> [u32; PANEL] {
        let mut out = [0; PANEL];
        match self {
            Self::Nothing => {}
            Self::Bytes(all) => out.iter_mut().zip(&all[at..at + PANEL]).for_each(|(out, x)| *out = u32::from(*x)),
            Self::Halves(all) => out.iter_mut().zip(&all[at..at + PANEL]).for_each(|(out, x)| *out = u32::from(*x)),
            Self::Words(all) => out.copy_from_slice(&all[at..at + PANEL]),
        }
        out
    }
}

impl Scales {
    /// Of `panels` panels with `groups` groups a row.
    pub(super) fn new(format: QuantFormat, panels: usize, groups: usize) -> Self {
        let (form, per_block) = (format.scales, format.groups_per_block());
        let (all, blocks) = (panels * groups * PANEL, panels * groups / per_block * PANEL);
        let (factors, times) = match form {
            ScaleForm::Scale { .. } => (Numbers::Halves(vec![0; blocks]), Numbers::Nothing),
            ScaleForm::ScaleAndMin => (Numbers::Words(vec![0; blocks]), Numbers::Nothing),
            ScaleForm::Multiples => (Numbers::Words(vec![0; blocks]), Numbers::Halves(vec![0; all])),
            ScaleForm::SignedMultiples => (Numbers::Halves(vec![0; blocks]), Numbers::Bytes(vec![0; all])),
        };
        Self { form, per_block, factors, times }
    }

    /// Stores those of a row, the `lane`th of its panel; `false` where one is no finite number.
    pub(super) fn set(&mut self, panel: usize, lane: usize, row: &Row) -> bool {
        let blocks = row.factors.len();
        for (block, factors) in row.factors.iter().enumerate() {
            self.factors.set((panel * blocks + block) * PANEL + lane, *factors);
        }
        let groups = blocks * self.per_block;
        for (group, times) in row.times.iter().enumerate() {
            self.times.set((panel * groups + group) * PANEL + lane, u32::from(*times));
        }
        // The exponent of all ones is that of infinities and of what is no number.
        row.factors.iter().all(|factors| [factors & 0x7C00, factors >> 16 & 0x7C00].iter().all(|bits| *bits != 0x7C00))
    }

    /// Scales and mins of the 32 rows of a panel. `group` counts through all panels.
    #[inline(always)]
    pub(super) fn panel(&self, group: usize) -> ([f32; PANEL], [f32; PANEL]) {
        let factors = self.factors.panel(group / self.per_block * PANEL);
        let times = self.times.panel(group * PANEL);
        // The form is known to each loop, which then goes through all rows at once.
        match self.form {
            ScaleForm::Scale { min: 0.0 } => each(ScaleForm::Scale { min: 0.0 }, factors, times),
            ScaleForm::Scale { min } => each(ScaleForm::Scale { min }, factors, times),
            ScaleForm::ScaleAndMin => each(ScaleForm::ScaleAndMin, factors, times),
            ScaleForm::Multiples => each(ScaleForm::Multiples, factors, times),
            ScaleForm::SignedMultiples => each(ScaleForm::SignedMultiples, factors, times),
        }
    }

    /// Scale and min of one row.
    pub(super) fn one(&self, group: usize, lane: usize) -> (f32, f32) {
        let (scales, mins) = self.panel(group);
        (scales[lane], mins[lane])
    }
}

#[inline(always)]
fn each(form: ScaleForm, factors: [u32; PANEL], times: [u32; PANEL]) -> ([f32; PANEL], [f32; PANEL]) {
    let (mut scales, mut mins) = ([0.0; PANEL], [0.0; PANEL]);
    for lane in 0..PANEL {
        (scales[lane], mins[lane]) = form.of(factors[lane], times[lane]);
    }
    (scales, mins)
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
