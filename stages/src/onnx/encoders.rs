//! The state encoders as operations, see [`crate::nn::Encoder`].

use anyhow::{Context as _, Result};

use super::graph::{Attribute, Graph, Value};
use super::layers::Parameters;
use crate::nn::{Encoder, GruEncoder, MASKED_LOGIT, SasRec, Transformer};

/// Of an encoder that is asked without rewards and reads them.
const UNREAD: &str = "the encoder reads rewards";

/// What an encoder reads of B states.
pub(super) struct History<'a> {
    /// v_u, `[B, D]`.
    pub user: &'a Value,
    /// The vectors of the recent items, `[B, W, D]`.
    pub items: &'a Value,
    /// `[B, W]`, where the encoder reads it.
    pub rewards: Option<&'a Value>,
    /// `[B, W]` of bool: whether there is an item.
    pub known: &'a Value,
    /// The same as 1 and 0.
    pub mask: &'a Value,
    /// W.
    pub window: usize,
    /// D.
    pub width: usize,
}

impl History<'_> {
    /// `[B, X]`.
    pub fn encode(&self, graph: &mut Graph, p: Parameters, encoder: &Encoder) -> Result<Value> {
        match encoder {
            Encoder::Window => Ok(graph.reshape(self.items, &[0, (self.window * self.width) as i64])),
            Encoder::Average(average) => Ok(self.average(graph, average.n_recent.min(self.window))),
            Encoder::Gru(shape) => self.gru(graph, p, shape),
            Encoder::Transformer(shape) => self.transformer(graph, p, shape),
            Encoder::Sasrec(shape) => self.sasrec(graph, p, shape),
            Encoder::Caser(_) => self.caser(graph, p),
        }
    }

    fn average(&self, graph: &mut Graph, count: usize) -> Value {
        let (items, mask) = (graph.slice(self.items, 1, 0, count), graph.slice(self.mask, 1, 0, count));
        let sum = weighed(graph, &items, &mask);
        let sum = graph.sum(&sum, 1);
        let counts = graph.sum(&mask, 1);
        let one = graph.number(1.0);
        let counts = graph.op("Max", &[&counts, &one], &[]);
        let counts = graph.unsqueeze(&counts, 1);
        graph.op("Div", &[&sum, &counts], &[])
    }

    /// Step by step: where there is no item the state stays, which the operation `GRU` says of the end of a sequence only.
    fn gru(&self, graph: &mut Graph, p: Parameters, shape: &GruEncoder) -> Result<Value> {
        let size = shape.hidden_size;
        let [input, input_bias] = ["encoder.input", "encoder.input_bias"].map(|name| p.value(graph, name));
        let [hidden, hidden_bias] = ["encoder.hidden", "encoder.hidden_bias"].map(|name| p.value(graph, name));
        let (hidden, hidden_bias) = (hidden?, hidden_bias?);
        let rewards = graph.unsqueeze(self.rewards.context(UNREAD)?, 2);
        let x = graph.concat(&[self.items, &rewards], 2);
        let x = graph.op("MatMul", &[&x, &input?], &[]);
        let x = graph.op("Add", &[&x, &input_bias?], &[]);
        let one = graph.number(1.0);
        let mut h = graph.floats("no state", &[1, size], &vec![0.0; size]);
        for turn in (0..self.window).rev() {
            let now = graph.slice(&x, 1, turn, turn + 1);
            let now = graph.squeeze(&now, 1);
            let [reset, keep, new] = three(graph.split(&now, 1, 3, size));
            let of_state = graph.op("MatMul", &[&h, &hidden], &[]);
            let [reset_h, keep_h, new_h] = three(graph.split(&of_state, 1, 3, size));
            let mut gate = |own: &Value, of_state: &Value| {
                let sum = graph.op("Add", &[own, of_state], &[]);
                graph.op("Sigmoid", &[&sum], &[])
            };
            let (reset, keep) = (gate(&reset, &reset_h), gate(&keep, &keep_h));
            let new_h = graph.op("Add", &[&new_h, &hidden_bias], &[]);
            let new_h = graph.op("Mul", &[&reset, &new_h], &[]);
            let new = graph.op("Add", &[&new, &new_h], &[]);
            let new = graph.op("Tanh", &[&new], &[]);
            let rest = graph.op("Sub", &[&one, &keep], &[]);
            let (new, old) = (graph.op("Mul", &[&rest, &new], &[]), graph.op("Mul", &[&keep, &h], &[]));
            let moved = graph.op("Add", &[&new, &old], &[]);
            let known = graph.slice(self.known, 1, turn, turn + 1);
            h = graph.op("Where", &[&known, &moved, &h], &[]);
        }
        Ok(h)
    }

    fn transformer(&self, graph: &mut Graph, p: Parameters, shape: &Transformer) -> Result<Value> {
        let user = p.linear(graph, "encoder.user", self.user)?;
        let user = graph.unsqueeze(&user, 1);
        let items = p.linear(graph, "encoder.item", self.items)?;
        let rewards = graph.unsqueeze(self.rewards.context(UNREAD)?, 2);
        let rewards = p.linear(graph, "encoder.reward", &rewards)?;
        let items = graph.op("Add", &[&items, &rewards], &[]);
        let (x, place) = (graph.concat(&[&user, &items], 1), p.value(graph, "encoder.place")?);
        let mut x = graph.op("Add", &[&x, &place], &[]);
        let absent = self.absent(graph, 1);
        let mask = as_keys(graph, &absent);
        let Transformer { n_layers, hidden_size, n_heads } = *shape;
        for k in 0..n_layers {
            let size = [1 + self.window, hidden_size, n_heads];
            x = p.attention(graph, &format!("encoder.block.{k}"), &x, &mask, size)?;
        }
        let first = graph.slice(&x, 1, 0, 1);
        let first = graph.squeeze(&first, 1);
        let normed = p.norm(graph, "encoder.norm", &first)?;
        Ok(graph.op("Relu", &[&normed], &[]))
    }

    fn sasrec(&self, graph: &mut Graph, p: Parameters, shape: &SasRec) -> Result<Value> {
        let items = p.linear(graph, "encoder.item", self.items)?;
        let place = p.value(graph, "encoder.place")?;
        let mut x = graph.op("Add", &[&items, &place], &[]);
        let ages: Vec<usize> = (0..self.window).collect();
        let (absent, past) = (self.absent(graph, 0), past(graph, &ages));
        let absent = as_keys(graph, &absent);
        let mask = graph.op("Add", &[&absent, &past], &[]);
        let SasRec { n_layers, hidden_size, n_heads } = *shape;
        for k in 0..n_layers {
            let size = [self.window, hidden_size, n_heads];
            x = p.attention(graph, &format!("encoder.block.{k}"), &x, &mask, size)?;
        }
        let newest = graph.slice(&x, 1, 0, 1);
        let newest = graph.squeeze(&newest, 1);
        let normed = p.norm(graph, "encoder.norm", &newest)?;
        let known = graph.slice(self.mask, 1, 0, 1);
        Ok(graph.op("Mul", &[&normed, &known], &[]))
    }

    fn caser(&self, graph: &mut Graph, p: Parameters) -> Result<Value> {
        let image = weighed(graph, self.items, self.mask);
        let mut found = Vec::new();
        for height in 1..=self.window {
            let size = [0, 1, (height * self.width) as i64];
            let slices: Vec<Value> = (0..=self.window - height)
                .map(|first| {
                    let slice = graph.slice(&image, 1, first, first + height);
                    graph.reshape(&slice, &size)
                })
                .collect();
            let slices = graph.concat(&slices.iter().collect::<Vec<_>>(), 1);
            let all = p.linear(graph, &format!("encoder.horizontal.{height}"), &slices)?;
            let largest =
                graph.op("ReduceMax", &[&all], &[Attribute::Ints("axes", &[1]), Attribute::Int("keepdims", 0)]);
            found.push(graph.op("Relu", &[&largest], &[]));
        }
        let vertical = p.value(graph, "encoder.vertical")?;
        let filters = p.array("encoder.vertical")?.1.shape[0];
        let weighed = graph.op("MatMul", &[&vertical, &image], &[]);
        found.push(graph.reshape(&weighed, &[0, (filters * self.width) as i64]));
        let all = graph.concat(&found.iter().collect::<Vec<_>>(), 1);
        let output = p.linear(graph, "encoder.output", &all)?;
        Ok(graph.op("Relu", &[&output], &[]))
    }

    /// `[B, before + W]`: 0 where there is an item, and in the first `before` places; else [`MASKED_LOGIT`].
    pub fn absent(&self, graph: &mut Graph, before: usize) -> Value {
        let (zero, masked) = (graph.number(0.0), graph.number(MASKED_LOGIT as f32));
        let absent = graph.op("Where", &[self.known, &zero, &masked], &[]);
        if before == 0 {
            return absent;
        }
        let pads = graph.list(&[0, before as i64, 0, 0]);
        graph.op("Pad", &[&absent, &pads], &[])
    }
}

/// `mask [B, T]` of keys as what is added to scores of attention.
pub(super) fn as_keys(graph: &mut Graph, mask: &Value) -> Value {
    let axes = graph.list(&[1, 2]);
    graph.op("Unsqueeze", &[mask, &axes], &[])
}

/// `[T, T]`: 0 where the column is as old as the row or older, else [`MASKED_LOGIT`].
pub(super) fn past(graph: &mut Graph, ages: &[usize]) -> Value {
    let row =
        |row: &usize| ages.iter().map(|age| if age < row { MASKED_LOGIT as f32 } else { 0.0 }).collect::<Vec<_>>();
    let data: Vec<f32> = ages.iter().flat_map(row).collect();
    graph.floats(&format!("past of {}", ages.len()), &[ages.len(), ages.len()], &data)
}

/// `x [B, T, D]` times `mask [B, T]`.
fn weighed(graph: &mut Graph, x: &Value, mask: &Value) -> Value {
    let mask = graph.unsqueeze(mask, 2);
    graph.op("Mul", &[x, &mask], &[])
}

fn three(parts: Vec<Value>) -> [Value; 3] {
    parts.try_into().expect("a split into three has three parts")
}
