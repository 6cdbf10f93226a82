//! The similarity of all items to the recent ones as operations: exp(−(δ²/σ²)⁴), see `nn/encoders/item_similarity.rs`.
//!
//! δ² = |a|² + |b|² − 2·a·b in the metric of the users' vectors. The difference of large numbers is taken in 64 bits. A graph holds
//! vectors and no table of pairs, so that a large catalogue has no large file.

use anyhow::{Context as _, Result};

use super::graph::{Attribute, Element, Graph, Value};
use crate::artifact::TensorFile;
use crate::nn::actor_critic::ActorCriticConfig;
use crate::nn::item_bandwidth;

/// The vectors of I items, and of the padding, which is 0.
pub(super) struct Similarity {
    items: usize,
    width: usize,
    /// `[I + 1, D]`.
    vectors: Vec<f32>,
    /// a·metric/σ², `[I + 1, D]`.
    measured: Vec<f64>,
    /// |a|²/σ², `[I + 1]`.
    lengths: Vec<f64>,
}

impl Similarity {
    pub fn of(file: &TensorFile, config: &ActorCriticConfig) -> Result<Self> {
        let array = |name: &str| file.arrays.get(name).with_context(|| format!("the policy has no array `{name}`"));
        let (users, vectors) = (array("table.user_vectors")?, array("table.item_vectors")?);
        let (items, width) = (config.items, config.width);
        let bandwidth = match file.arrays.get("table.similarity_bandwidth").and_then(|told| told.data.first()) {
            Some(&told) => f64::from(told),
            None => item_bandwidth(users, vectors, config.similar_fraction)?,
        };
        let mut metric = vec![0.0_f64; width * width];
        for user in users.data.chunks_exact(width.max(1)) {
            for (k, cell) in metric.iter_mut().enumerate() {
                *cell += f64::from(user[k / width]) * f64::from(user[k % width]);
            }
        }
        let scale = 1.0 / (config.users.max(1) as f64 * bandwidth);
        let vectors: Vec<f32> = vectors.data.iter().copied().chain(std::iter::repeat_n(0.0, width)).collect();
        let measure = |vector: &[f32]| -> Vec<f64> {
            let cell = |k: usize| (0..width).map(|d| f64::from(vector[d]) * metric[d * width + k]).sum::<f64>() * scale;
            (0..width).map(cell).collect()
        };
        let measured: Vec<f64> = vectors.chunks_exact(width.max(1)).flat_map(measure).collect();
        let length = |(a, b): (&[f32], &[f64])| a.iter().zip(b).map(|(a, b)| f64::from(*a) * b).sum();
        let lengths = vectors.chunks_exact(width.max(1)).zip(measured.chunks_exact(width.max(1))).map(length).collect();
        Ok(Self { items, width, vectors, measured, lengths })
    }

    /// Sums of the similarities to `recent [B, W]`, where `mask [B, W]` is 1: `[B, I]`.
    pub fn write(&self, graph: &mut Graph, recent: &Value, mask: &Value) -> Value {
        let rows = self.items + 1;
        let vectors = graph.floats("table.item_vectors and none", &[rows, self.width], &self.vectors);
        let measured = graph.doubles("measured item vectors", &[rows, self.width], &self.measured);
        let lengths = graph.doubles("lengths of item vectors", &[rows], &self.lengths);
        let (mine, my_lengths) =
            (graph.op("Gather", &[&measured, recent], &[]), graph.op("Gather", &[&lengths, recent], &[]));
        let vectors = graph.slice(&vectors, 0, 0, self.items);
        let vectors = graph.cast(&vectors, Element::Double);
        let vectors = graph.op("Transpose", &[&vectors], &[Attribute::Ints("perm", &[1, 0])]);
        let products = graph.op("MatMul", &[&mine, &vectors], &[]);
        let two = graph.doubles("two", &[], &[2.0]);
        let products = graph.op("Mul", &[&products, &two], &[]);
        let (my_lengths, lengths) = (graph.unsqueeze(&my_lengths, 2), graph.slice(&lengths, 0, 0, self.items));
        let sums = graph.op("Add", &[&my_lengths, &lengths], &[]);
        let squares = graph.op("Sub", &[&sums, &products], &[]);
        let zero = graph.doubles("zero", &[], &[0.0]);
        let squares = graph.op("Max", &[&squares, &zero], &[]);
        let fourth = graph.op("Mul", &[&squares, &squares], &[]);
        let fourth = graph.op("Mul", &[&fourth, &fourth], &[]);
        let low = graph.op("Neg", &[&fourth], &[]);
        let similar = graph.op("Exp", &[&low], &[]);
        let similar = graph.cast(&similar, Element::Float);
        let mask = graph.unsqueeze(mask, 2);
        let similar = graph.op("Mul", &[&similar, &mask], &[]);
        graph.sum(&similar, 1)
    }
}
