//! What a model learns beside its weights, which stay as they are: low-rank terms of its maps, and virtual tokens.
//!
//! A virtual token is an embedding row that no text has (SPRING: Zhu et al. 2024, arXiv 2405.19670, §3). Its id follows those of the
//! vocabulary; the output map does not know it.

use super::low_rank::{LayerMaps, LowRank};

/// Low-rank terms and virtual tokens of one model.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Adaptation {
    /// The terms, layer by layer; none at all, or one entry a layer.
    pub low_rank: Vec<LayerMaps>,
    /// `[tokens, width]`.
    pub virtual_tokens: Vec<f32>,
}

impl Adaptation {
    /// Zeros of the same shapes.
    #[must_use]
    pub fn zeros_like(&self) -> Self {
        let zeros = |term: &LowRank| LowRank { a: vec![0.0; term.a.len()], b: vec![0.0; term.b.len()], ..*term };
        let layer = |maps: &LayerMaps| maps.iter().map(|(&projection, term)| (projection, zeros(term))).collect();
        Self {
            low_rank: self.low_rank.iter().map(layer).collect(),
            virtual_tokens: vec![0.0; self.virtual_tokens.len()],
        }
    }

    /// Every tensor by its name, such as `blk.3.attn_q.a` and `virtual_tokens`, in a fixed order.
    #[must_use]
    pub fn tensors(&self) -> Vec<(String, &[f32])> {
        let mut all = Vec::new();
        for (layer, maps) in self.low_rank.iter().enumerate() {
            for (projection, term) in maps {
                let name = |part: &str| format!("blk.{layer}.{}.{part}", projection.tensor());
                all.extend([(name("a"), &term.a[..]), (name("b"), &term.b[..])]);
            }
        }
        if !self.virtual_tokens.is_empty() {
            all.push(("virtual_tokens".to_owned(), &self.virtual_tokens[..]));
        }
        all
    }

    /// The numbers of [`Adaptation::tensors`], in its order.
    pub fn tensors_mut(&mut self) -> Vec<&mut [f32]> {
        let terms = self.low_rank.iter_mut().flat_map(|maps| maps.values_mut());
        let mut all: Vec<&mut [f32]> = terms.flat_map(|term| [&mut term.a[..], &mut term.b[..]]).collect();
        if !self.virtual_tokens.is_empty() {
            all.push(&mut self.virtual_tokens);
        }
        all
    }

    /// `self += factor · other`, of the same shapes.
    pub fn add_scaled(&mut self, factor: f32, other: &Self) {
        for (ours, (_, theirs)) in self.tensors_mut().into_iter().zip(other.tensors()) {
            ours.iter_mut().zip(theirs).for_each(|(x, y)| *x += factor * y);
        }
    }
}
