//! The scales and mins of groups of weights in the layout of [`packed`](super::packed), as small as in the file: a float of each
//! is made when its group is dequantised.
//!
//! In a panel the numbers of one group, or of one block of groups, are contiguous: one for each of its 32 rows.

use super::quant_formats::{QuantFormat, Row};
use super::scale_form::ScaleForm;

/// Rows of a panel.
pub(super) const PANEL: usize = 32;

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
