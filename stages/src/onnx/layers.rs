//! Layers of networks as operations, with the parameters of a policy's file.

use anyhow::{Context as _, Result};

use super::graph::{Attribute, Graph, Value};
use crate::artifact::{Array, TensorFile};

/// The parameters of one network in a file that may hold several.
#[derive(Clone, Copy)]
pub(super) struct Parameters<'a> {
    pub file: &'a TensorFile,
    /// What its own names begin with; what has no such name is shared.
    pub prefix: &'a str,
}

impl<'a> Parameters<'a> {
    /// An array with its name in the file.
    pub fn array(&self, name: &str) -> Result<(String, &'a Array)> {
        let own = format!("{}{name}", self.prefix);
        let arrays = &self.file.arrays;
        let found = arrays.get_key_value(&own).or_else(|| arrays.get_key_value(name));
        let (name, array) = found.with_context(|| format!("the policy has no array `{own}`"))?;
        Ok((name.clone(), array))
    }

    pub fn value(&self, graph: &mut Graph, name: &str) -> Result<Value> {
        let (name, array) = self.array(name)?;
        Ok(graph.floats(&name, &array.shape, &array.data))
    }

    /// A matrix `[R, C]` as `[C, R]`.
    pub fn transposed(&self, graph: &mut Graph, name: &str) -> Result<Value> {
        let (name, array) = self.array(name)?;
        let [rows, columns] = array.shape[..] else { anyhow::bail!("`{name}` is {:?}, wanted a matrix", array.shape) };
        let data: Vec<f32> = (0..rows * columns).map(|k| array.data[k % rows * columns + k / rows]).collect();
        Ok(graph.floats(&format!("{name} transposed"), &[columns, rows], &data))
    }

    /// `x [.., I]` → `[.., O]`.
    pub fn linear(&self, graph: &mut Graph, name: &str, x: &Value) -> Result<Value> {
        let weight = self.transposed(graph, &format!("{name}.weight"))?;
        let bias = self.value(graph, &format!("{name}.bias"))?;
        let product = graph.op("MatMul", &[x, &weight], &[]);
        Ok(graph.op("Add", &[&product, &bias], &[]))
    }

    /// Two layers with a tanh between them.
    pub fn mlp(&self, graph: &mut Graph, name: &str, x: &Value) -> Result<Value> {
        let hidden = self.linear(graph, &format!("{name}.0"), x)?;
        let hidden = graph.op("Tanh", &[&hidden], &[]);
        self.linear(graph, &format!("{name}.1"), &hidden)
    }

    /// Layer normalisation over the last dimension.
    pub fn norm(&self, graph: &mut Graph, name: &str, x: &Value) -> Result<Value> {
        let gain = self.value(graph, &format!("{name}.gain"))?;
        let bias = self.value(graph, &format!("{name}.bias"))?;
        let attributes = [Attribute::Int("axis", -1), Attribute::Float("epsilon", 1e-5)];
        Ok(graph.op("LayerNormalization", &[x, &gain, &bias], &attributes))
    }

    /// A block of attention: `x [B, T, H]`, `mask` (added to the scores `[B, heads, T, T]`) → `[B, T, H]`.
    pub fn attention(
        &self,
        graph: &mut Graph,
        name: &str,
        x: &Value,
        mask: &Value,
        [tokens, width, heads]: [usize; 3],
    ) -> Result<Value> {
        let size = width / heads;
        let normed = self.norm(graph, &format!("{name}.first_norm"), x)?;
        let all = self.linear(graph, &format!("{name}.queries_keys_values"), &normed)?;
        let all = graph.reshape(&all, &[0, tokens as i64, 3, heads as i64, size as i64]);
        let all = graph.op("Transpose", &[&all], &[Attribute::Ints("perm", &[2, 0, 3, 1, 4])]);
        let parts = graph.split(&all, 0, 3, 1);
        let [queries, keys, values] = [0, 1, 2].map(|k| graph.squeeze(&parts[k], 0));
        let keys = graph.op("Transpose", &[&keys], &[Attribute::Ints("perm", &[0, 1, 3, 2])]);
        let scores = graph.op("MatMul", &[&queries, &keys], &[]);
        let root = graph.number((size as f64).sqrt() as f32);
        let scores = graph.op("Div", &[&scores, &root], &[]);
        let scores = graph.op("Add", &[&scores, mask], &[]);
        let shares = graph.op("Softmax", &[&scores], &[Attribute::Int("axis", -1)]);
        let mixed = graph.op("MatMul", &[&shares, &values], &[]);
        let mixed = graph.op("Transpose", &[&mixed], &[Attribute::Ints("perm", &[0, 2, 1, 3])]);
        let mixed = graph.reshape(&mixed, &[0, tokens as i64, width as i64]);
        let attended = self.linear(graph, &format!("{name}.output"), &mixed)?;
        let x = graph.op("Add", &[x, &attended], &[]);
        let normed = self.norm(graph, &format!("{name}.second_norm"), &x)?;
        let fed = self.mlp(graph, &format!("{name}.feed_forward"), &normed)?;
        Ok(graph.op("Add", &[&x, &fed], &[]))
    }
}
