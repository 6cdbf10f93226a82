//! A policy's scores as operations, for each form of a policy.

use anyhow::{Context as _, Result};

use super::encoders::{History, as_keys, past};
use super::graph::{Attribute, Element, Graph, Value};
use super::layers::Parameters;
use super::similarity::Similarity;
use crate::artifact::TensorFile;
use crate::nn::actor_critic::ActorCriticConfig;
use crate::nn::policy_output::PolicyOutput;
use crate::nn::policy_output::Returns;
use crate::nn::support::Support;
use crate::nn::{Encoder, MASKED_LOGIT};

/// What a graph is asked.
pub(super) struct Asked {
    /// `[B]` of rows; U is somebody new.
    pub user: Value,
    /// `[B, W]` of rows, newest first; I where there is none.
    pub recent: Value,
    /// `[B, W]`; 0 where there is no item. Nothing where the encoder does not read it.
    pub rewards: Option<Value>,
    /// `[B]`.
    pub progress: Value,
    /// `[B, I]` of bool.
    pub allowed: Value,
}

/// A policy whose graph is written.
pub(super) struct Writer<'a> {
    pub graph: Graph,
    pub file: &'a TensorFile,
    pub config: ActorCriticConfig,
    asked: Asked,
    /// v_u, `[B, D]`.
    user: Value,
    known: Value,
    mask: Value,
    /// `[B, 1]`.
    progress: Value,
    /// `[B, I]`: 0 where an item may be shown, else [`MASKED_LOGIT`].
    forbidden: Value,
    /// `[B, I]`, how often each item is in `recent`, and the sum of its similarities to it.
    shown: Value,
    alike: Value,
}

impl<'a> Writer<'a> {
    pub fn new(mut graph: Graph, file: &'a TensorFile, config: ActorCriticConfig, asked: Asked) -> Result<Self> {
        let items = config.items as i64;
        let none = graph.rows("none", &[], &[items]);
        let known = graph.op("Less", &[&asked.recent, &none], &[]);
        let mask = graph.cast(&known, Element::Float);
        let vectors = served_users(file)?;
        let vectors = graph.floats("table.user_vectors and the mean", &[config.users + 1, config.width], &vectors);
        let user = graph.op("Gather", &[&vectors, &asked.user], &[]);
        let progress = graph.unsqueeze(&asked.progress, 1);
        let (zero, masked) = (graph.number(0.0), graph.number(MASKED_LOGIT as f32));
        let forbidden = graph.op("Where", &[&asked.allowed, &zero, &masked], &[]);
        let rows = graph.rows("items", &[config.items], &(0..items).collect::<Vec<_>>());
        let recent = graph.unsqueeze(&asked.recent, 2);
        let same = graph.op("Equal", &[&recent, &rows], &[]);
        let same = graph.cast(&same, Element::Float);
        let shown = graph.sum(&same, 1);
        let alike = Similarity::of(file, &config)?.write(&mut graph, &asked.recent, &mask);
        Ok(Self { graph, file, config, asked, user, known, mask, progress, forbidden, shown, alike })
    }

    /// `[B, I]`.
    pub fn scores(&mut self, output: &PolicyOutput) -> Result<Value> {
        let own = Parameters { file: self.file, prefix: "" };
        match output {
            PolicyOutput::Logits => self.masked_logits(own),
            PolicyOutput::Bcq { threshold } => {
                let behaviour = self.masked_logits(Parameters { prefix: "behaviour.", ..own })?;
                let values = self.masked_logits(own)?;
                let most = [Attribute::Ints("axes", &[1]), Attribute::Int("keepdims", 1)];
                let most = self.graph.op("ReduceMax", &[&behaviour], &most);
                let share = self.graph.number(threshold.ln() as f32);
                let least = self.graph.op("Add", &[&most, &share], &[]);
                let usual = self.graph.op("GreaterOrEqual", &[&behaviour, &least], &[]);
                let masked = self.graph.number(MASKED_LOGIT as f32);
                let lowered = self.graph.op("Add", &[&values, &masked], &[]);
                Ok(self.graph.op("Where", &[&usual, &values, &lowered], &[]))
            }
            PolicyOutput::Mixture => {
                let shares = [Parameters { prefix: "frozen.", ..own }, own].map(|p| {
                    let logits = self.masked_logits(p)?;
                    anyhow::Ok(self.graph.op("Softmax", &[&logits], &[Attribute::Int("axis", -1)]))
                });
                let [frozen, learned] = shares;
                let (frozen, learned) = (frozen?, learned?);
                let weight = own.value(&mut self.graph, "mixture.logit")?;
                let weight = self.graph.op("Sigmoid", &[&weight], &[]);
                let toward = self.graph.op("Sub", &[&frozen, &learned], &[]);
                let toward = self.graph.op("Mul", &[&toward, &weight], &[]);
                let mixed = self.graph.op("Add", &[&learned, &toward], &[]);
                let least = self.graph.number(1e-30);
                let mixed = self.graph.op("Max", &[&mixed, &least], &[]);
                let log = self.graph.op("Log", &[&mixed], &[]);
                Ok(self.graph.op("Add", &[&log, &self.forbidden], &[]))
            }
            PolicyOutput::Categorical(support) => self.expected(own, support),
            PolicyOutput::Decision(returns) => self.decide(own, returns),
        }
    }

    fn masked_logits(&mut self, p: Parameters) -> Result<Value> {
        let x = self.state(p)?;
        let logits = self.logits(p, &x)?;
        Ok(self.graph.op("Add", &[&logits, &self.forbidden], &[]))
    }

    /// The vectors of the recent items, with the embeddings of their columns where the policy reads some: `[B, W, D]`.
    fn vectors(&mut self, p: Parameters) -> Result<Value> {
        let graph = &mut self.graph;
        let table = p.value(graph, "item_in")?;
        let items = graph.op("Gather", &[&table, &self.asked.recent], &[]);
        if !self.file.arrays.contains_key("item_features") {
            return Ok(items);
        }
        // The padding has no column.
        let [ids, weights] = ["ids", "weights"].map(|name| p.array(&format!("table.item_feature_{name}")));
        let (ids, (name, weights)) = (ids?.1, weights?);
        let shape = [ids.shape[0] + 1, ids.shape[1]];
        let padding = std::iter::repeat_n(0.0, shape[1]);
        let rows: Vec<i64> = ids.data.iter().copied().chain(padding.clone()).map(|id| id as i64).collect();
        let weights: Vec<f32> = weights.data.iter().copied().chain(padding).collect();
        let rows = graph.rows("table.item_feature_ids", &shape, &rows);
        let weights = graph.floats(&name, &shape, &weights);
        let columns = p.value(graph, "item_features")?;
        let [rows, weights] = [rows, weights].map(|table| graph.op("Gather", &[&table, &self.asked.recent], &[]));
        let columns = graph.op("Gather", &[&columns, &rows], &[]);
        let weights = graph.unsqueeze(&weights, 3);
        let columns = graph.op("Mul", &[&columns, &weights], &[]);
        let columns = graph.sum(&columns, 2);
        Ok(graph.op("Add", &[&items, &columns], &[]))
    }

    /// x = [v_u, encoding, progress].
    fn state(&mut self, p: Parameters) -> Result<Value> {
        let items = self.vectors(p)?;
        let history = History {
            user: &self.user,
            items: &items,
            rewards: self.asked.rewards.as_ref(),
            known: &self.known,
            mask: &self.mask,
            window: self.config.window,
            width: self.config.width,
        };
        let encoded = history.encode(&mut self.graph, p, &self.config.encoder)?;
        Ok(self.graph.concat(&[&self.user, &encoded, &self.progress], 1))
    }

    /// Logits in the states x, unmasked.
    fn logits(&mut self, p: Parameters, x: &Value) -> Result<Value> {
        let graph = &mut self.graph;
        let query = p.mlp(graph, "actor", x)?;
        let prior = p.value(graph, "prior")?;
        let prior = graph.op("Mul", &[&self.user, &prior], &[]);
        let query = graph.op("Add", &[&query, &prior], &[]);
        let items = p.transposed(graph, "item_out")?;
        let bias = p.value(graph, "bias")?;
        let mut logits = graph.op("MatMul", &[&query, &items], &[]);
        logits = graph.op("Add", &[&logits, &bias], &[]);
        let hundred = graph.number(100.0);
        for (name, feature) in [("shown", &self.shown), ("alike", &self.alike)] {
            let weight = p.value(graph, name)?;
            let weight = graph.op("Mul", &[&weight, &hundred], &[]);
            let part = graph.op("Mul", &[feature, &weight], &[]);
            logits = graph.op("Add", &[&logits, &part], &[]);
        }
        Ok(logits)
    }

    /// The means of distributions over atoms that are tilted by the logits.
    fn expected(&mut self, p: Parameters, support: &Support) -> Result<Value> {
        let x = self.state(p)?;
        let tilt = self.logits(p, &x)?;
        let (graph, atoms) = (&mut self.graph, Parameters { prefix: "atoms.", ..p });
        let count = support.atoms;
        let hidden = atoms.linear(graph, "hidden.0", &x)?;
        let hidden = graph.op("Tanh", &[&hidden], &[]);
        let (name, weight) = atoms.array("weight")?;
        let inputs = weight.data.len() / (self.config.items * count);
        let rows = self.config.items * count;
        // `[I, K·H]` as `[H, I·K]`.
        let by_input: Vec<f32> = (0..inputs * rows).map(|k| weight.data[k % rows * inputs + k / rows]).collect();
        let weight = graph.floats(&format!("{name} transposed"), &[inputs, rows], &by_input);
        let own = graph.op("MatMul", &[&hidden, &weight], &[]);
        let own = graph.reshape(&own, &[0, self.config.items as i64, count as i64]);
        let bias = atoms.value(graph, "bias")?;
        let own = graph.op("Add", &[&own, &bias], &[]);
        let places: Vec<f32> = (0..count).map(|k| (2.0 * k as f64 / (count - 1) as f64 - 1.0) as f32).collect();
        let values: Vec<f32> = support.values().into_iter().map(|value| value as f32).collect();
        let (places, values) = (graph.floats("places", &[count], &places), graph.floats("atoms", &[count, 1], &values));
        let tilt = graph.unsqueeze(&tilt, 2);
        let tilt = graph.op("Mul", &[&tilt, &places], &[]);
        let logits = graph.op("Add", &[&own, &tilt], &[]);
        let shares = graph.op("Softmax", &[&logits], &[Attribute::Int("axis", -1)]);
        let means = graph.op("MatMul", &[&shares, &values], &[]);
        let means = graph.squeeze(&means, 2);
        Ok(graph.op("Add", &[&means, &self.forbidden], &[]))
    }

    /// A decision transformer: the return of each turn, the state and the item shown, the present turn first.
    fn decide(&mut self, own: Parameters, returns: &Returns) -> Result<Value> {
        let Encoder::Transformer(shape) = self.config.encoder.clone() else {
            anyhow::bail!("a decision transformer has the encoder `transformer`, not {:?}", self.config.encoder)
        };
        let items = self.vectors(own)?;
        let asked = self.asked_return(own, returns)?;
        let (graph, p, window) = (&mut self.graph, Parameters { prefix: "decision.", ..own }, self.config.window);
        let one = graph.rows("axis 1", &[], &[1]);
        let rewards = self.asked.rewards.as_ref().context("a decision transformer reads rewards")?;
        let paid = graph.op("CumSum", &[rewards, &one], &[]);
        let past_returns = graph.op("Add", &[&paid, &asked], &[]);
        let all = graph.concat(&[&asked, &past_returns], 1);
        let unit = graph.number(returns.unit as f32);
        let all = graph.op("Div", &[&all, &unit], &[]);
        let all = graph.unsqueeze(&all, 2);
        let of_returns = p.linear(graph, "return", &all)?;
        let state = graph.concat(&[&self.user, &self.progress], 1);
        let state = p.linear(graph, "state", &state)?;
        let state = graph.unsqueeze(&state, 1);
        let actions = p.linear(graph, "action", &items)?;
        let place = p.value(graph, "place")?;
        let later = graph.slice(&place, 0, 1, 1 + window);
        let tokens = [(&of_returns, &place), (&state, &place), (&actions, &later)];
        let tokens = tokens.map(|(token, place)| graph.op("Add", &[token, place], &[]));
        let mut x = graph.concat(&tokens.iter().collect::<Vec<_>>(), 1);
        let history = History {
            user: &self.user,
            items: &items,
            rewards: self.asked.rewards.as_ref(),
            known: &self.known,
            mask: &self.mask,
            window,
            width: self.config.width,
        };
        let (turns, absent) = (history.absent(graph, 1), history.absent(graph, 0));
        let absent = graph.concat(&[&turns, &turns, &absent], 1);
        let returns = (0..=window).map(|turn| 3 * turn + 2);
        let states = (0..=window).map(|turn| 3 * turn + 1);
        let ages: Vec<usize> = returns.chain(states).chain((1..=window).map(|turn| 3 * turn)).collect();
        let (absent, past) = (as_keys(graph, &absent), past(graph, &ages));
        let mask = graph.op("Add", &[&absent, &past], &[]);
        for k in 0..shape.n_layers {
            let size = [ages.len(), shape.hidden_size, shape.n_heads];
            x = p.attention(graph, &format!("block.{k}"), &x, &mask, size)?;
        }
        let present = graph.slice(&x, 1, 1 + window, 2 + window);
        let present = graph.squeeze(&present, 1);
        let present = p.norm(graph, "norm", &present)?;
        let x = graph.concat(&[&self.user, &present, &self.progress], 1);
        let logits = self.logits(own, &x)?;
        Ok(self.graph.op("Add", &[&logits, &self.forbidden], &[]))
    }

    /// The return that is asked for, `[B, 1]`.
    fn asked_return(&mut self, p: Parameters, returns: &Returns) -> Result<Value> {
        let Some(by_turn) = &returns.by_turn else {
            let x = self.state(p)?;
            let value = p.mlp(&mut self.graph, "critic", &x)?;
            let unit = self.graph.number(returns.unit as f32);
            return Ok(self.graph.op("Mul", &[&value, &unit], &[]));
        };
        let graph = &mut self.graph;
        let table = graph.floats("returns by turn", &[by_turn.len()], by_turn);
        let (count, last) =
            (graph.number(by_turn.len() as f32), graph.rows("last turn", &[], &[by_turn.len() as i64 - 1]));
        let turn = graph.op("Mul", &[&self.progress, &count], &[]);
        let half = graph.number(0.5);
        let turn = graph.op("Add", &[&turn, &half], &[]);
        let turn = graph.op("Floor", &[&turn], &[]);
        let turn = graph.cast(&turn, Element::Row);
        let turn = graph.op("Min", &[&turn, &last], &[]);
        Ok(graph.op("Gather", &[&table, &turn], &[]))
    }
}

/// The vectors of all users, and behind them their mean: that of somebody who is not in the log.
fn served_users(file: &TensorFile) -> Result<Vec<f32>> {
    let users = file.arrays.get("table.user_vectors").context("the policy has no array `table.user_vectors`")?;
    let [rows, width] = users.shape[..] else { anyhow::bail!("`table.user_vectors` is {:?}", users.shape) };
    let column = |k: usize| (0..rows).map(|row| f64::from(users.data[row * width + k])).sum::<f64>() / rows as f64;
    Ok(users.data.iter().copied().chain((0..width).map(|k| column(k) as f32)).collect())
}
