//! Activations times packed weights: the decoder spends most of its time here.
//!
//! Each number of the result is one chain of fused multiply-adds over the inputs in their order. It does not depend on the number
//! of tokens in the batch, nor on the width of the CPU's vectors.
//!
//! A stretch of a panel is dequantised to floats that stay in the L1 cache, and all tokens are multiplied with it before the next
//! stretch (after Goto & van de Geijn 2008, *Anatomy of high-performance matrix multiplication*).

use std::ops::Range;
use std::sync::Arc;

use pulp::{Arch, Simd, WithSimd};

use super::crew::ForwardPass;
use super::few_tokens::FewTokens;
use super::packed::Packed;
use super::scales::PANEL;

/// Columns of a stretch: 24 kB of dequantised weights.
const STRETCH: usize = 192;
/// Weights times tokens that are worth a piece of work for another thread: it takes 20 microseconds to wake.
const WORTH_SHARING: usize = 1 << 18;
/// The most pieces a thread.
const PIECES: usize = 4;

/// The inputs `[tokens, width]` of a product in its layout: blocks of tokens, with the numbers of a block's tokens interleaved.
pub(in crate::llm) struct Inputs {
    pub(super) tokens: usize,
    width: usize,
    /// Each block's first token and its number of tokens.
    pub(super) blocks: Vec<(usize, usize)>,
    pub(super) values: Vec<f32>,
}

impl Inputs {
    /// From one token after the other.
    pub(in crate::llm) fn new(values: &[f32], width: usize) -> Self {
        let tokens = values.len() / width;
        let blocks: Vec<_> = token_blocks(tokens, Arch::new().dispatch(Widest)).collect();
        let mut laid = vec![0.0; values.len()];
        for &(first, size) in &blocks {
            let block = &mut laid[first * width..][..size * width];
            for (token, row) in values[first * width..][..size * width].chunks_exact(width).enumerate() {
                for (out, value) in block[token..].iter_mut().step_by(size).zip(row) {
                    *out = *value;
                }
            }
        }
        Self { tokens, width, blocks, values: laid }
    }
}

/// Most tokens whose sums fit the CPU's registers beside 32 rows.
#[inline(always)]
pub(super) fn widest<S: Simd>() -> usize {
    if S::F32_LANES >= 16 { 8 } else { 2 }
}

struct Widest;

impl WithSimd for Widest {
    type Output = usize;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> usize {
        widest::<S>()
    }
}

/// Blocks of `widest` tokens, then of half as many and so on: the first token of each and how many it has.
pub(super) fn token_blocks(tokens: usize, widest: usize) -> impl Iterator<Item = (usize, usize)> {
    let mut first = 0;
    std::iter::from_fn(move || {
        let size = widest.min(1 << (tokens - first).checked_ilog2()?);
        first += size;
        Some((first - size, size))
    })
}

/// [`matmul`] with several maps of the same inputs, whose panels the threads of the pass share.
pub(super) fn shared_matmuls<const MAPS: usize>(
    pass: &ForwardPass,
    maps: [&Arc<Packed>; MAPS],
    inputs: &Arc<Inputs>,
) -> [Vec<f32>; MAPS] {
    let panels = maps.map(|weights| weights.rows.div_ceil(PANEL));
    let (all, columns) = (panels.iter().sum::<usize>(), inputs.width);
    let worth = (all * PANEL * columns * inputs.tokens / WORTH_SHARING).min(all);
    let threads = pass.threads();
    if threads == 1 || worth < 2 {
        return maps.map(|weights| matmul(weights, inputs));
    }
    // Several pieces a thread: one that begins late or is slow leaves the others more of them.
    let size = all.div_ceil((PIECES * threads).min(worth));
    let mut pieces: Vec<(usize, Range<usize>)> = Vec::new();
    for (map, &panels) in panels.iter().enumerate() {
        pieces.extend((0..panels).step_by(size).map(|from| (map, from..panels.min(from + size))));
    }
    let owned = (maps.map(Arc::clone), Arc::clone(inputs), pieces.clone());
    let made = pass.share(pieces.len(), move |index| {
        let (maps, inputs, pieces) = &owned;
        let (map, panels) = pieces[index].clone();
        product(&maps[map], inputs, panels)
    });
    let mut out = maps.map(|weights| vec![0.0; inputs.tokens * weights.rows]);
    for ((map, panels), made) in pieces.into_iter().zip(made) {
        let rows = maps[map].rows;
        let (from, width) = (panels.start * PANEL, panels.len() * PANEL);
        for (out, made) in out[map].chunks_exact_mut(rows).zip(made.chunks_exact(width)) {
            let out = &mut out[from..rows.min(from + width)];
            out.copy_from_slice(&made[..out.len()]);
        }
    }
    out
}

/// `[tokens, rows]`, by this thread alone.
pub(in crate::llm) fn matmul(weights: &Packed, inputs: &Inputs) -> Vec<f32> {
    let padded = weights.rows.next_multiple_of(PANEL);
    let mut out = product(weights, inputs, 0..padded / PANEL);
    if padded > weights.rows {
        for token in 1..inputs.tokens {
            out.copy_within(token * padded..token * padded + weights.rows, token * weights.rows);
        }
        out.truncate(inputs.tokens * weights.rows);
    }
    out
}

/// `[tokens, 32 rows of each panel]`.
fn product(weights: &Packed, inputs: &Inputs, panels: Range<usize>) -> Vec<f32> {
    debug_assert_eq!(weights.columns, inputs.width);
    let mut out = vec![0.0; inputs.tokens * panels.len() * PANEL];
    Arch::new().dispatch(Matmul { weights, inputs, panels, out: &mut out });
    out
}

struct Matmul<'a> {
    weights: &'a Packed,
    inputs: &'a Inputs,
    panels: Range<usize>,
    /// `[tokens, 32 rows of each panel]`, 0 at first.
    out: &'a mut [f32],
}

impl WithSimd for Matmul<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { weights, inputs, panels, out } = self;
        let (columns, stride) = (weights.columns, panels.len() * PANEL);
        if let (Some(weights), &[(_, size)]) = (weights.as_grouped(), &inputs.blocks[..]) {
            FewTokens { weights, columns, size, x: &inputs.values }.multiply(simd, panels, out, stride);
            return;
        }
        let stretch = (STRETCH / weights.stride() * weights.stride()).min(columns);
        let mut expanded = vec![0.0; stretch * PANEL];
        for (at, panel) in panels.enumerate() {
            for from in (0..columns).step_by(stretch) {
                let expanded = &mut expanded[..stretch.min(columns - from) * PANEL];
                let length = expanded.len() / PANEL;
                weights.expand(panel, from, expanded);
                for &(first, size) in &inputs.blocks {
                    let x = &inputs.values[first * columns + from * size..][..length * size];
                    let out = &mut out[first * stride + at * PANEL..];
                    add_block(simd, size, expanded, x, out, stride);
                }
            }
        }
    }
}

/// `out [size, 32] += x [size, columns] · panel [columns, 32]`, in which a row of `out` begins every `stride` numbers, and `x`
/// has the tokens of one input side by side. `size` is 1, 2, 4 or 8.
#[inline(always)]
pub(super) fn add_block<S: Simd>(simd: S, size: usize, panel: &[f32], x: &[f32], out: &mut [f32], stride: usize) {
    match S::F32_LANES {
        16 => add_sized::<S, 2>(simd, size, panel, x, out, stride),
        8 => add_sized::<S, 4>(simd, size, panel, x, out, stride),
        4 => add_sized::<S, 8>(simd, size, panel, x, out, stride),
        2 => add_sized::<S, 16>(simd, size, panel, x, out, stride),
        _ => add_sized::<S, 32>(simd, size, panel, x, out, stride),
    }
}

#[inline(always)]
fn add_sized<S: Simd, const VECTORS: usize>(
    simd: S,
    size: usize,
    panel: &[f32],
    x: &[f32],
    out: &mut [f32],
    stride: usize,
) {
    match size {
        8 => add::<S, 8, VECTORS>(simd, panel, x, out, stride),
        4 => add::<S, 4, VECTORS>(simd, panel, x, out, stride),
        2 => add::<S, 2, VECTORS>(simd, panel, x, out, stride),
        _ => add::<S, 1, VECTORS>(simd, panel, x, out, stride),
    }
}

/// [`add_block`] with `SIZE` tokens and 32 rows in `VECTORS` vectors; the sums stay in registers.
#[inline(always)]
fn add<S: Simd, const SIZE: usize, const VECTORS: usize>(
    simd: S,
    panel: &[f32],
    x: &[f32],
    out: &mut [f32],
    stride: usize,
) {
    let mut sums = [[simd.splat_f32s(0.0); VECTORS]; SIZE];
    for (token, sums) in sums.iter_mut().enumerate() {
        sums.copy_from_slice(S::as_simd_f32s(&out[token * stride..][..PANEL]).0);
    }
    let weights = S::as_simd_f32s(panel).0.as_chunks::<VECTORS>().0;
    for (weights, x) in weights.iter().zip(x.as_chunks::<SIZE>().0) {
        for (sums, x) in sums.iter_mut().zip(x) {
            let x = simd.splat_f32s(*x);
            for (sum, weight) in sums.iter_mut().zip(weights) {
                *sum = simd.mul_add_e_f32s(*weight, x, *sum);
            }
        }
    }
    for (token, sums) in sums.iter().enumerate() {
        S::as_mut_simd_f32s(&mut out[token * stride..][..PANEL]).0.copy_from_slice(sums);
    }
}

#[cfg(test)]
mod tests {
    use candle_core::quantized::{GgmlDType, QTensor};

    use super::super::crew::Crew;
    use super::super::quant_formats::QuantFormat;
    use super::*;
    use crate::nn::Init;

    fn numbers(seed: u64, shape: &[usize]) -> Vec<f32> {
        Init::new(seed).normal(shape, 1.0).unwrap().flatten_all().unwrap().to_vec1().unwrap()
    }

    #[test]
    fn a_product_by_hand() {
        let weights = Packed::full(2, 3, &[1.0, 2.0, 3.0, 0.0, -1.0, 0.5]);
        let x = Inputs::new(&[1.0, 1.0, 1.0, 2.0, 0.0, -2.0], 3);
        assert_eq!(matmul(&weights, &x), [6.0, -0.5, -4.0, -1.0]);
    }

    #[test]
    fn tokens_are_cut_into_blocks() {
        assert_eq!(token_blocks(15, 8).collect::<Vec<_>>(), [(0, 8), (8, 4), (12, 2), (14, 1)]);
        assert_eq!(token_blocks(5, 2).collect::<Vec<_>>(), [(0, 2), (2, 2), (4, 1)]);
        assert_eq!(token_blocks(0, 8).count(), 0);
    }

    #[test]
    fn a_result_is_one_chain_of_fused_sums_whatever_stands_beside_it() {
        // 70 rows and 400 columns: panels and stretches that are not full.
        let (rows, columns, tokens) = (70, 400, 15);
        let (weights, x) = (numbers(1, &[rows, columns]), numbers(2, &[tokens, columns]));
        let packed = Packed::full(rows, columns, &weights);
        let together = matmul(&packed, &Inputs::new(&x, columns));
        for (token, x) in x.chunks_exact(columns).enumerate() {
            let alone = matmul(&packed, &Inputs::new(x, columns));
            assert_eq!(alone, together[token * rows..][..rows], "token {token}");
            for (row, weights) in weights.chunks_exact(columns).enumerate() {
                let chain = weights.iter().zip(x).fold(0.0_f32, |sum, (w, x)| w.mul_add(*x, sum));
                assert_eq!(chain.to_bits(), alone[row].to_bits(), "token {token}, row {row}");
            }
        }
    }

    #[test]
    fn threads_do_not_change_a_bit() {
        // Work for many pieces, with panels that are not full.
        let (rows, columns) = ([1000, 40, 2030], 400);
        let maps = rows.map(|rows| Arc::new(Packed::full(rows, columns, &numbers(rows as u64, &[rows, columns]))));
        for tokens in [1, 3] {
            let inputs = Arc::new(Inputs::new(&numbers(2, &[tokens, columns]), columns));
            let wanted = [0, 1, 2].map(|map: usize| matmul(&maps[map], &inputs));
            for threads in [1, 2, 3, 8] {
                let crew = Crew::new(threads);
                let found = shared_matmuls(&crew.begin_pass(), [&maps[0], &maps[1], &maps[2]], &inputs);
                assert!(found == wanted, "{threads} threads, {tokens} tokens");
            }
        }
    }

    #[test]
    fn one_block_of_tokens_gives_the_bits_of_many() {
        // 70 rows: panels go in twos, and the last is not full.
        let (rows, columns, tokens) = (70, 512, 15);
        let x = numbers(2, &[tokens, columns]);
        let weights = Init::new(1).normal(&[rows, columns], 0.1).unwrap();
        for kind in [GgmlDType::Q4_0, GgmlDType::Q4_1, GgmlDType::Q8_0, GgmlDType::Q4K, GgmlDType::Q5K, GgmlDType::Q6K]
        {
            let stored = QTensor::quantize(&weights, kind).unwrap();
            let bytes = stored.data().unwrap();
            let mut rest = &bytes[..];
            let packed = Packed::grouped(rows, columns, QuantFormat::of(kind).unwrap(), |row| {
                row.copy_from_slice(&rest[..row.len()]);
                rest = &rest[row.len()..];
                Ok(())
            });
            let packed = packed.unwrap();
            let together = matmul(&packed, &Inputs::new(&x, columns));
            for size in [1, 2, 4, 8] {
                let few = matmul(&packed, &Inputs::new(&x[..size * columns], columns));
                assert!(few == together[..size * rows], "{kind:?}, {size} tokens");
            }
            let chain = packed.row(69).iter().zip(&x).fold(0.0_f32, |sum, (w, x)| w.mul_add(*x, sum));
            assert_eq!(chain.to_bits(), together[69].to_bits(), "{kind:?}");
        }
    }
}
