//! Products of quantised weights with one block of tokens: each weight is dequantised in a register and multiplied there, because
//! a store and a load for so few products would take longer than they.
//!
//! A number of the result is the same chain of fused sums as in [`matmul`](super::matmul), so its bits are the same.

use std::ops::Range;

use pulp::Simd;

use super::packed::Grouped;
use super::scales::PANEL;

/// 2²³ as a float: a whole number below it, put into its lowest bits, makes their sum.
const TOWARDS: u32 = 0x4B00_0000;

/// A product whose inputs are one block of tokens.
pub(super) struct FewTokens<'a> {
    pub weights: &'a Grouped,
    pub columns: usize,
    /// Tokens of the block: 1, 2, 4 or 8.
    pub size: usize,
    /// `[columns, size]`.
    pub x: &'a [f32],
}

impl FewTokens<'_> {
    /// `out [size, 32 rows of each panel] += x · panels`; a row of `out` begins every `stride` numbers.
    #[inline(always)]
    pub(super) fn multiply<S: Simd>(&self, simd: S, panels: Range<usize>, out: &mut [f32], stride: usize) {
        if self.weights.bits == 4 {
            self.sized::<S, 8>(simd, panels, out, stride);
        } else {
            self.sized::<S, 4>(simd, panels, out, stride);
        }
    }

    #[inline(always)]
    fn sized<S: Simd, const PER_WORD: usize>(&self, simd: S, panels: Range<usize>, out: &mut [f32], stride: usize) {
        match self.size {
            8 => self.laned::<S, PER_WORD, 8>(simd, panels, out, stride),
            4 => self.laned::<S, PER_WORD, 4>(simd, panels, out, stride),
            2 => self.laned::<S, PER_WORD, 2>(simd, panels, out, stride),
            _ => self.laned::<S, PER_WORD, 1>(simd, panels, out, stride),
        }
    }

    #[inline(always)]
    fn laned<S: Simd, const PER_WORD: usize, const SIZE: usize>(
        &self,
        simd: S,
        panels: Range<usize>,
        out: &mut [f32],
        stride: usize,
    ) {
        let (first, end) = (panels.start, panels.end);
        let mut panel = first;
        while panel < end {
            let out = &mut out[(panel - first) * PANEL..];
            // Few sums wait for each other: with few tokens two panels go together.
            if S::F32_LANES == 16 && SIZE <= 2 && panel + 2 <= end {
                self.add::<S, PER_WORD, SIZE, 2, 2>(simd, panel, out, stride);
                panel += 2;
                continue;
            }
            match S::F32_LANES {
                16 => self.add::<S, PER_WORD, SIZE, 2, 1>(simd, panel, out, stride),
                8 => self.add::<S, PER_WORD, SIZE, 4, 1>(simd, panel, out, stride),
                4 => self.add::<S, PER_WORD, SIZE, 8, 1>(simd, panel, out, stride),
                2 => self.add::<S, PER_WORD, SIZE, 16, 1>(simd, panel, out, stride),
                _ => self.add::<S, PER_WORD, SIZE, 32, 1>(simd, panel, out, stride),
            }
            panel += 1;
        }
    }

    /// `PANELS` panels from `panel` on, whose 32 rows are `VECTORS` vectors.
    #[inline(always)]
    fn add<S: Simd, const PER_WORD: usize, const SIZE: usize, const VECTORS: usize, const PANELS: usize>(
        &self,
        simd: S,
        panel: usize,
        out: &mut [f32],
        stride: usize,
    ) {
        let Grouped { group, words, scales, .. } = self.weights;
        let (groups, per_group) = (self.columns / group, group / PER_WORD * PANEL);
        let bits = 32 / PER_WORD as u32;
        let (mask, towards) = (simd.splat_u32s((1 << bits) - 1), simd.splat_u32s(TOWARDS));
        // A signed byte plus 128 is the byte with its highest bit turned.
        let (turned, less) = if PER_WORD == 4 { (0x8080_8080, 128.0) } else { (0, 0.0) };
        let (turned, less) = (simd.splat_u32s(turned), simd.splat_f32s(f32::from_bits(TOWARDS) + less));
        let mut sums = [[[simd.splat_f32s(0.0); VECTORS]; SIZE]; PANELS];
        for (at, sums) in sums.iter_mut().enumerate() {
            for (token, sums) in sums.iter_mut().enumerate() {
                sums.copy_from_slice(S::as_simd_f32s(&out[token * stride + at * PANEL..][..PANEL]).0);
            }
        }
        for (index, x) in self.x.chunks_exact(group * SIZE).enumerate() {
            let mut scale = [[simd.splat_f32s(0.0); VECTORS]; PANELS];
            let mut min = scale;
            let mut group_words: [&[u32]; PANELS] = [&[]; PANELS];
            for at in 0..PANELS {
                let place = (panel + at) * groups + index;
                let (scales, mins) = scales.panel(place);
                scale[at].copy_from_slice(S::as_simd_f32s(&scales).0);
                min[at].copy_from_slice(S::as_simd_f32s(&mins).0);
                group_words[at] = &words[place * per_group..][..per_group];
            }
            for (row, x) in x.as_chunks::<SIZE>().0.as_chunks::<PER_WORD>().0.iter().enumerate() {
                let mut word = [[mask; VECTORS]; PANELS];
                for at in 0..PANELS {
                    let words = S::as_simd_u32s(&group_words[at][row * PANEL..][..PANEL]).0;
                    for (word, words) in word[at].iter_mut().zip(words) {
                        *word = simd.xor_u32s(*words, turned);
                    }
                }
                for (column, x) in x.iter().enumerate() {
                    let shift = simd.splat_u32s(bits * column as u32);
                    for at in 0..PANELS {
                        for v in 0..VECTORS {
                            let number = simd.and_u32s(simd.wrapping_dyn_shr_u32s(word[at][v], shift), mask);
                            let number = simd.transmute_f32s_u32s(simd.or_u32s(number, towards));
                            let number = simd.sub_f32s(number, less);
                            let weight = simd.mul_add_f32s(number, scale[at][v], min[at][v]);
                            for (sums, x) in sums[at].iter_mut().zip(x) {
                                sums[v] = simd.mul_add_e_f32s(weight, simd.splat_f32s(*x), sums[v]);
                            }
                        }
                    }
                }
            }
        }
        for (at, sums) in sums.iter().enumerate() {
            for (token, sums) in sums.iter().enumerate() {
                S::as_mut_simd_f32s(&mut out[token * stride + at * PANEL..][..PANEL]).0.copy_from_slice(sums);
            }
        }
    }
}
