//! Grouped-query attention (Ainslie et al. 2023, arXiv 2305.13245): softmax(q·k/√head)·v (Vaswani et al. 2017, eq. 1), in
//! which a group of query heads shares a head of keys and values.
//!
//! As in [`matmul`](super::matmul) each number is one chain of sums in the order of the tokens, so it does not depend on the
//! batch, nor on how the tokens before were cut into passes.

use pulp::{Arch, Simd, WithSimd};

use super::matmul::{add_block, token_blocks, widest};
use super::model_config::ModelConfig;
use super::scales::PANEL;
use crate::nn::exp;

/// Keys and values of some consecutive tokens in one layer.
pub(super) struct KeyValues {
    tokens: usize,
    /// `[kv_heads, tokens, head]`.
    keys: Vec<f32>,
    /// `[kv_heads, panels, tokens, 32]`, in which a head's numbers fill its panels and zeros what is left.
    values: Vec<f32>,
}

impl KeyValues {
    /// From `keys, values [tokens, kv_heads · head]`; the keys are rotated by their positions.
    pub(super) fn new(config: &ModelConfig, keys: &[f32], values: &[f32]) -> Self {
        let ModelConfig { kv_heads, head, .. } = *config;
        let (tokens, panels) = (keys.len() / (kv_heads * head), head.div_ceil(PANEL));
        let mut ours =
            Self { tokens, keys: vec![0.0; keys.len()], values: vec![0.0; kv_heads * panels * tokens * PANEL] };
        for (token, (keys, values)) in
            keys.chunks_exact(kv_heads * head).zip(values.chunks_exact(kv_heads * head)).enumerate()
        {
            for (kv, (key, value)) in keys.chunks_exact(head).zip(values.chunks_exact(head)).enumerate() {
                ours.keys[(kv * tokens + token) * head..][..head].copy_from_slice(key);
                for (panel, part) in value.chunks(PANEL).enumerate() {
                    let place = ((kv * panels + panel) * tokens + token) * PANEL;
                    ours.values[place..][..part.len()].copy_from_slice(part);
                }
            }
        }
        ours
    }

    fn keys(&self, kv: usize, head: usize) -> &[f32] {
        &self.keys[kv * self.tokens * head..][..self.tokens * head]
    }

    fn values(&self, kv: usize, panels: usize, panel: usize) -> &[f32] {
        &self.values[(kv * panels + panel) * self.tokens * PANEL..][..self.tokens * PANEL]
    }
}

/// `queries [tokens, heads · head]`, rotated by their positions → attention over `blocks`, of the same shape.
///
/// The last of `blocks` holds the tokens themselves; token i attends to token j of them where `mask[i · tokens + j]`, and to all
/// tokens of the other blocks.
pub(super) fn attention(config: &ModelConfig, queries: &[f32], blocks: &[&KeyValues], mask: &[bool]) -> Vec<f32> {
    let mut out = vec![0.0; queries.len()];
    Arch::new().dispatch(Attention { config, queries, blocks, mask, out: &mut out });
    out
}

struct Attention<'a> {
    config: &'a ModelConfig,
    queries: &'a [f32],
    blocks: &'a [&'a KeyValues],
    mask: &'a [bool],
    out: &'a mut [f32],
}

impl WithSimd for Attention<'_> {
    type Output = ();

    /// A panel holds 32 queries of one head of keys: of several tokens, each with its group of heads.
    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { config, queries, blocks, mask, out } = self;
        let ModelConfig { heads, kv_heads, head, .. } = *config;
        let (tokens, group, panels) = (queries.len() / (heads * head), heads / kv_heads, head.div_ceil(PANEL));
        let length: usize = blocks.iter().map(|block| block.tokens).sum();
        let (scale, widest) = ((head as f32).powf(-0.5), widest::<S>());
        let mut panel = vec![0.0; head * PANEL];
        let mut scores = vec![0.0; length * PANEL];
        let mut packed = vec![0.0; widest * head.max(length)];
        let mut attended = vec![0.0; PANEL * panels * PANEL];
        for kv in 0..kv_heads {
            for first in (0..tokens * group).step_by(PANEL) {
                let lanes = PANEL.min(tokens * group - first);
                let place = |lane: usize| {
                    let (token, member) = ((first + lane) / group, (first + lane) % group);
                    (token * heads + kv * group + member) * head
                };
                panel.fill(0.0);
                for lane in 0..lanes {
                    let query = &queries[place(lane)..][..head];
                    panel.iter_mut().skip(lane).step_by(PANEL).zip(query).for_each(|(out, q)| *out = q * scale);
                }
                scores.fill(0.0);
                let mut at = 0;
                for block in blocks {
                    let keys = block.keys(kv, head);
                    score_keys(simd, &panel, keys, &mut packed, &mut scores[at * PANEL..][..block.tokens * PANEL]);
                    at += block.tokens;
                }
                let own = &mut scores[(length - tokens) * PANEL..];
                for (j, own) in own.chunks_exact_mut(PANEL).enumerate() {
                    for (lane, score) in own.iter_mut().take(lanes).enumerate() {
                        if !mask[(first + lane) / group * tokens + j] {
                            *score = f32::NEG_INFINITY;
                        }
                    }
                }
                let sums = exponentials(&mut scores);
                attended.fill(0.0);
                let mut at = 0;
                for block in blocks {
                    let scores = &scores[at * PANEL..][..block.tokens * PANEL];
                    for queries in (0..lanes).step_by(widest) {
                        let x = &mut packed[..block.tokens * widest];
                        for (x, scores) in x.chunks_exact_mut(widest).zip(scores.chunks_exact(PANEL)) {
                            x.copy_from_slice(&scores[queries..][..widest]);
                        }
                        for panel in 0..panels {
                            let out = &mut attended[(queries * panels + panel) * PANEL..];
                            add_block(simd, widest, block.values(kv, panels, panel), x, out, panels * PANEL);
                        }
                    }
                    at += block.tokens;
                }
                for lane in 0..lanes {
                    let (share, attended) = (1.0 / sums[lane], &attended[lane * panels * PANEL..]);
                    let out = &mut out[place(lane)..][..head];
                    out.iter_mut().zip(attended).for_each(|(out, attended)| *out = attended * share);
                }
            }
        }
    }
}

/// `scores [tokens, 32] += keys [tokens, head] · panel [head, 32]`.
#[inline(always)]
fn score_keys<S: Simd>(simd: S, panel: &[f32], keys: &[f32], packed: &mut [f32], scores: &mut [f32]) {
    let head = panel.len() / PANEL;
    for (first, size) in token_blocks(keys.len() / head, widest::<S>()) {
        let x = &mut packed[..size * head];
        for (token, key) in keys[first * head..][..size * head].chunks_exact(head).enumerate() {
            x[token..].iter_mut().step_by(size).zip(key).for_each(|(x, key)| *x = *key);
        }
        add_block(simd, size, panel, x, &mut scores[first * PANEL..], PANEL);
    }
}

/// Each of 32 columns of `scores [length, 32]` less its highest becomes its exponential; returns the sums.
#[inline(always)]
fn exponentials(scores: &mut [f32]) -> [f32; PANEL] {
    let mut tops = [f32::NEG_INFINITY; PANEL];
    let mut sums = [0.0; PANEL];
    let rows = scores.as_chunks_mut::<PANEL>().0;
    for row in rows.iter() {
        tops.iter_mut().zip(row).for_each(|(top, score)| *top = if *score > *top { *score } else { *top });
    }
    for row in rows {
        for lane in 0..PANEL {
            row[lane] = exp(row[lane] - tops[lane]);
            sums[lane] += row[lane];
        }
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::Init;

    fn numbers(seed: u64, count: usize) -> Vec<f32> {
        Init::new(seed).normal(&[count], 1.0).unwrap().to_vec1().unwrap()
    }

    /// Two heads of 40 numbers over each of three heads of keys.
    fn config() -> ModelConfig {
        ModelConfig { heads: 6, kv_heads: 3, head: 40, ..ModelConfig::of_nothing() }
    }

    /// The formula, number by number, for one query head of one token.
    fn by_formula(
        config: &ModelConfig,
        query: &[f32],
        keys: &[f32],
        values: &[f32],
        kv: usize,
        seen: &[usize],
    ) -> Vec<f64> {
        let (head, width) = (config.head, config.kv_heads * config.head);
        let part = |all: &[f32], token: usize| all[token * width + kv * head..][..head].to_vec();
        let score = |token: &usize| {
            let dot: f64 = query.iter().zip(part(keys, *token)).map(|(q, k)| f64::from(*q) * f64::from(k)).sum();
            (dot / (head as f64).sqrt()).exp()
        };
        let shares: Vec<f64> = seen.iter().map(score).collect();
        let total: f64 = shares.iter().sum();
        let attended = |d: usize| {
            let terms =
                seen.iter().zip(&shares).map(|(token, share)| share / total * f64::from(part(values, *token)[d]));
            terms.sum()
        };
        (0..head).map(attended).collect()
    }

    #[test]
    fn attention_by_its_formula() {
        let config = config();
        let (kv_width, width) = (config.kv_heads * config.head, config.heads * config.head);
        let (before, tokens) = (21, 13);
        let (keys, values) = (numbers(1, (before + tokens) * kv_width), numbers(2, (before + tokens) * kv_width));
        let queries = numbers(3, tokens * width);
        // Tokens 5 and later do not see 2 and 3.
        let visible = |i: usize, j: usize| j <= i && !(i >= 5 && (j == 2 || j == 3));
        let mask: Vec<bool> = (0..tokens * tokens).map(|pair| visible(pair / tokens, pair % tokens)).collect();
        let block = |from: usize, to: usize| {
            let range = from * kv_width..to * kv_width;
            KeyValues::new(&config, &keys[range.clone()], &values[range])
        };
        let (first, second, own) = (block(0, 9), block(9, before), block(before, before + tokens));
        let found = attention(&config, &queries, &[&first, &second, &own], &mask);
        for (token, (query, found)) in queries.chunks_exact(width).zip(found.chunks_exact(width)).enumerate() {
            let own = (0..tokens).filter(|j| visible(token, *j)).map(|j| before + j);
            let seen: Vec<usize> = (0..before).chain(own).collect();
            for (h, (query, found)) in query.chunks_exact(40).zip(found.chunks_exact(40)).enumerate() {
                let wanted = by_formula(&config, query, &keys, &values, h / 2, &seen);
                let worst = found.iter().zip(wanted).map(|(a, b)| (f64::from(*a) - b).abs()).fold(0.0, f64::max);
                assert!(worst < 1e-5, "token {token}, head {h}: {worst}");
            }
        }
        // Cut elsewhere, and one token by itself.
        let whole = block(0, before);
        let own = block(before, before + tokens);
        assert_eq!(attention(&config, &queries, &[&whole, &own], &mask), found);
        let one = block(before, before + 1);
        assert_eq!(attention(&config, &queries[..width], &[&first, &second, &one], &[true]), found[..width]);
    }
}
