//! The gradient of causal grouped-query attention, row by row: with p = softmax(s·q·k), dp_j = d·v_j and ds = p∘(dp − Σ p·dp),
//! dq = s·Σ ds_j·k_j, dk_j += s·ds_j·q, dv_j += p_j·d.

use super::super::low_rank::add_scaled;
use super::super::model_config::ModelConfig;
use crate::nn::{exp, with_simd};

/// Gradients of queries, keys and values, in their shapes.
pub(super) struct AttentionGradient {
    pub(super) queries: Vec<f32>,
    pub(super) keys: Vec<f32>,
    pub(super) values: Vec<f32>,
}

/// From `queries [tokens, heads · head]`, `keys, values [tokens, kv_heads · head]` and the gradient `d_out` of what they attend to.
pub(super) fn attention_gradient(
    config: &ModelConfig,
    queries: &[f32],
    keys: &[f32],
    values: &[f32],
    d_out: &[f32],
) -> AttentionGradient {
    let ModelConfig { heads, kv_heads, head, .. } = *config;
    let (width, kv_width) = (heads * head, kv_heads * head);
    let tokens = queries.len() / width;
    let scale = (head as f32).powf(-0.5);
    let mut out = AttentionGradient {
        queries: vec![0.0; queries.len()],
        keys: vec![0.0; keys.len()],
        values: vec![0.0; values.len()],
    };
    let (mut shares, mut slopes) = (vec![0.0_f32; tokens], vec![0.0_f32; tokens]);
    for kv in 0..kv_heads {
        // [head, tokens], so that the scores of a query run along the tokens.
        let turned = |all: &[f32]| -> Vec<f32> {
            (0..head)
                .flat_map(|d| (0..tokens).map(move |token| (token, d)))
                .map(|(token, d)| all[token * kv_width + kv * head + d])
                .collect()
        };
        let (turned_keys, turned_values) = (turned(keys), turned(values));
        with_simd(
            #[inline(always)]
            || {
                for h in kv * (heads / kv_heads)..(kv + 1) * (heads / kv_heads) {
                    for i in 0..tokens {
                        let place = i * width + h * head;
                        let (query, d_out) = (&queries[place..][..head], &d_out[place..][..head]);
                        let (shares, slopes) = (&mut shares[..=i], &mut slopes[..=i]);
                        shares.fill(0.0);
                        slopes.fill(0.0);
                        for d in 0..head {
                            add_scaled(shares, query[d] * scale, &turned_keys[d * tokens..][..=i]);
                            add_scaled(slopes, d_out[d], &turned_values[d * tokens..][..=i]);
                        }
                        let top = shares.iter().fold(f32::NEG_INFINITY, |top, x| if *x > top { *x } else { top });
                        shares.iter_mut().for_each(|x| *x = exp(*x - top));
                        let total: f32 = shares.iter().sum();
                        shares.iter_mut().for_each(|x| *x /= total);
                        let mean: f32 = shares.iter().zip(slopes.iter()).map(|(p, dp)| p * dp).sum();
                        for j in 0..=i {
                            let slope = shares[j] * (slopes[j] - mean) * scale;
                            let own = j * kv_width + kv * head;
                            add_scaled(&mut out.queries[place..][..head], slope, &keys[own..][..head]);
                            add_scaled(&mut out.keys[own..][..head], slope, query);
                            add_scaled(&mut out.values[own..][..head], shares[j], d_out);
                        }
                    }
                }
            },
        );
    }
    out
}
