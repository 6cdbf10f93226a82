//! The actor-critic network: an actor that scores all items of the catalogue in a state, and a critic.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Result, anyhow, ensure};
use candle_core::{DType, Device, Tensor};
use candle_nn::Module;
use serde::{Deserialize, Serialize};

use crate::artifact::{Array, ItemFeatures, TensorFile};
use crate::nn::encoders::encoder::EncoderNet;
use crate::nn::encoders::history::History;
use crate::nn::encoders::item_features::{ItemFeatureTable, Slots};
use crate::nn::encoders::item_similarity::ItemSimilarity;
use crate::nn::encoders::state_batch::{FEATURE_SCALE, OfItems, StateBatch};
use crate::nn::kernels::{
    ActionScores, FrozenHead, HeadInputs, StreamedScores, Wanted, add_item_inputs, embedding, output_layer,
    streamed_choice, streamed_head,
};
use crate::nn::layers::params::{to_array, to_tensor};
use crate::nn::policy::action_choice::choose;
use crate::nn::policy::sampled_softmax::Candidates;
use crate::nn::{ActionLogProb, Embedding, Encoder, Init, Mlp, Params};

/// Scores of all items in all states of a batch beyond which they are refused: 256 MB, of which a learner holds about ten.
const LARGEST_SCORES: usize = 1 << 26;

/// The frozen vectors of the users in a file.
pub(in crate::nn) const USER_VECTORS: &str = "table.user_vectors";

/// σ² of the similarity in a file: of a catalogue without a table, where it is estimated from drawn pairs, and of one that items were added
/// to, where it stays as it was.
pub(in crate::nn) const BANDWIDTH: &str = "table.similarity_bandwidth";

/// The configuration of an [`ActorCritic`]; stored in the policy's file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ActorCriticConfig {
    /// U.
    pub users: usize,
    /// I.
    pub items: usize,
    /// D, the width of user and item vectors.
    pub width: usize,
    /// W, the number of last items in the state.
    pub window: usize,
    /// Units of the hidden layer.
    pub hidden_size: usize,
    /// The state encoder.
    #[serde(default)]
    pub encoder: Encoder,
    /// Initial weight of the world's vectors in the logits; 0 starts uniform.
    pub prior_scale: f64,
    /// Initial penalty of items that are similar to the last ones, in logits; 0 for none.
    pub similarity_penalty: f64,
    /// Share of item pairs, the closest by the policy's vectors, that count as similar.
    pub similar_fraction: f64,
}

/// logits = E_out · (MLP(x) + p·v_u) + b + 100·(c·shown + d·similar), value = MLP'(x), with x = [v_u, encoder(recent), progress]
/// and a state encoder over E_in(recent), see [`Encoder`]. For policy learners the logits are those of the softmax; for value learners
/// they are advantages, and the value is V (see `rl`). In both cases the best item has the highest logit.
///
/// v_u are the training world's user vectors, frozen. E_in and E_out are initialised with its item vectors, so that a new policy starts
/// from the world's ratings (p = `prior_scale`); declared columns of an item add to its E_in (`item_features.rs`). c and d are learned weights of items that were just shown (initially 0) and of items
/// similar to them (initially −`similarity_penalty`/100; the factor 100 compensates for the larger range of logits). The similarity is
/// computed from the policy's vectors and uses no quit rule of a world.
pub struct ActorCritic {
    config: ActorCriticConfig,
    params: Params,
    user_vectors: Tensor,
    item_vectors: Tensor,
    similarity: Arc<ItemSimilarity>,
    item_in: Embedding,
    /// What declared columns of the items add to E_in.
    item_features: Option<ItemFeatureTable>,
    item_out: Tensor,
    bias: Tensor,
    prior: Tensor,
    repeat_weight: Tensor,
    similarity_weight: Tensor,
    encoding: EncoderNet,
    actor: Mlp,
    critic: Mlp,
}

/// The output of an [`ActorCritic`] for B states.
pub struct ActorCriticOutput {
    /// Scores of the whole catalogue, `[B, I]`; [`MASKED_LOGIT`](crate::nn::MASKED_LOGIT) where the action mask is 0.
    pub logits: Tensor,
    /// The critic's value, `[B]`.
    pub values: Tensor,
    /// `[B, I]`: 1 where an item may be shown, else 0; `None` where all may.
    pub action_mask: Option<Tensor>,
}

impl ActorCritic {
    /// A new network from the world's `user_vectors [U, D]` and `item_vectors [I, D]`, on the CPU.
    pub fn new(config: ActorCriticConfig, user_vectors: &Array, item_vectors: &Array, seed: u64) -> Result<Self> {
        Self::new_on(&Device::Cpu, config, user_vectors, item_vectors, seed)
    }

    /// The same on that device.
    pub fn new_on(
        device: &Device,
        config: ActorCriticConfig,
        user_vectors: &Array,
        item_vectors: &Array,
        seed: u64,
    ) -> Result<Self> {
        Self::with_tables(device, config, [user_vectors, item_vectors], seed, (None, None))
    }

    /// The same with columns of the items, which the state encoder reads.
    pub fn with_item_features(
        device: &Device,
        config: ActorCriticConfig,
        vectors: [&Array; 2],
        seed: u64,
        features: Option<&ItemFeatures>,
    ) -> Result<Self> {
        Self::with_tables(device, config, vectors, seed, (None, features.map(Slots::of)))
    }

    /// The same, where σ² of the similarity may be known.
    fn with_tables(
        device: &Device,
        config: ActorCriticConfig,
        [user_vectors, item_vectors]: [&Array; 2],
        seed: u64,
        (bandwidth, features): (Option<f32>, Option<Slots>),
    ) -> Result<Self> {
        ensure!(user_vectors.shape == [config.users, config.width], "user vectors are {:?}", user_vectors.shape);
        ensure!(item_vectors.shape == [config.items, config.width], "item vectors are {:?}", item_vectors.shape);
        let mut init = Init::new(seed);
        let mut params = Params::on(device);
        let items = to_tensor(item_vectors)?;
        let padding = Tensor::zeros((1, config.width), DType::F32, &Device::Cpu)?;
        let scalar = |value: f64| Tensor::new(&[value as f32], &Device::Cpu);
        let inputs = config.width + config.encoder.width(config.width, config.window) + 1;
        let encoding = EncoderNet::new(&config.encoder, config.width, config.window, &mut params, &mut init)?;
        Ok(Self {
            encoding,
            user_vectors: to_tensor(user_vectors)?.to_device(device)?,
            similarity: ItemSimilarity::shared(user_vectors, item_vectors, config.similar_fraction, bandwidth)?,
            item_in: Embedding::new(&mut params, "item_in", &Tensor::cat(&[&items, &padding], 0)?)?,
            item_features: features
                .map(|slots| ItemFeatureTable::new(&mut params, &slots, config.width))
                .transpose()?,
            item_out: params.add("item_out", &items)?,
            bias: params.add("bias", &Tensor::zeros(config.items, DType::F32, &Device::Cpu)?)?,
            prior: params.add("prior", &scalar(config.prior_scale)?)?,
            repeat_weight: params.add("shown", &scalar(0.0)?)?,
            similarity_weight: params.add("alike", &scalar(-config.similarity_penalty / f64::from(FEATURE_SCALE))?)?,
            actor: Mlp::new(&mut params, "actor", &[inputs, config.hidden_size, config.width], 0.1, &mut init)?,
            critic: Mlp::new(&mut params, "critic", &[inputs, config.hidden_size, 1], 1.0, &mut init)?,
            item_vectors: items,
            params,
            config,
        })
    }

    /// The parameters.
    #[must_use]
    pub fn params(&self) -> &Params {
        &self.params
    }

    /// The device of the parameters.
    #[must_use]
    pub fn device(&self) -> &Device {
        self.params.device()
    }

    /// The configuration.
    #[must_use]
    pub fn config(&self) -> &ActorCriticConfig {
        &self.config
    }

    /// The names of the columns of the items that the encoder reads.
    #[must_use]
    pub fn item_features(&self) -> &[String] {
        self.item_features.as_ref().map_or(&[], |features| features.columns.as_slice())
    }

    /// Of the items, by its frozen vectors.
    pub(in crate::nn) fn similarity(&self) -> &ItemSimilarity {
        &self.similarity
    }

    /// Adds a user behind all others whose vector is the mean of theirs. What is made of all users' vectors, as the similarity of items
    /// is, stays as it was.
    ///
    /// # Errors
    /// When there is no memory for the table.
    pub fn add_mean_user(&mut self) -> Result<()> {
        let mean = self.user_vectors.to_dtype(DType::F64)?.mean_keepdim(0)?.to_dtype(self.user_vectors.dtype())?;
        self.user_vectors = Tensor::cat(&[&self.user_vectors, &mean], 0)?;
        self.config.users += 1;
        Ok(())
    }

    /// v_u `[B, D]`, and the recent items' vectors `[B, W, D]`.
    pub(in crate::nn) fn vectors(&self, states: &StateBatch) -> Result<(Tensor, Tensor)> {
        let mut items = self.item_in.forward(&states.recent)?;
        if let Some(features) = &self.item_features {
            items = (items + features.rows(&states.recent)?)?;
        }
        Ok((self.user_vectors.index_select(&states.user, 0)?, items))
    }

    /// v_u `[B, D]` and x `[B, D + X + 1]`.
    pub(in crate::nn) fn inputs(&self, states: &StateBatch) -> Result<(Tensor, Tensor)> {
        let (users, items) = self.vectors(states)?;
        let history = History { users: &users, items: &items, rewards: &states.rewards, mask: &states.mask };
        let inputs = Tensor::cat(&[&users, &self.encoding.forward(&history)?, &states.progress], 1)?;
        Ok((users, inputs))
    }

    /// Actor and critic; the states are encoded once.
    pub fn forward(&self, states: &StateBatch) -> Result<ActorCriticOutput> {
        let (users, inputs) = self.inputs(states)?;
        self.forward_inputs(states, &users, &inputs)
    }

    /// The outputs of this network and of another with the same configuration, both on this network's encoding of the states. The encoder
    /// of the other network is not used.
    pub fn forward_with_shared_encoder(
        &self,
        other: &Self,
        states: &StateBatch,
    ) -> Result<(ActorCriticOutput, ActorCriticOutput)> {
        let (users, inputs) = self.inputs(states)?;
        Ok((self.forward_inputs(states, &users, &inputs)?, other.forward_inputs(states, &users, &inputs)?))
    }

    fn forward_inputs(&self, states: &StateBatch, users: &Tensor, inputs: &Tensor) -> Result<ActorCriticOutput> {
        let values = self.values_of(inputs)?;
        Ok(ActorCriticOutput {
            logits: self.scores(states, users, inputs)?,
            values,
            action_mask: states.action_mask()?,
        })
    }

    /// The critic's values alone, `[B]`.
    pub fn values(&self, states: &StateBatch) -> Result<Tensor> {
        let (_, inputs) = self.inputs(states)?;
        self.values_of(&inputs)
    }

    /// Scores of the whole catalogue, `[B, I]`.
    pub fn logits(&self, states: &StateBatch) -> Result<Tensor> {
        let (users, inputs) = self.inputs(states)?;
        self.scores(states, &users, &inputs)
    }

    /// Of each state the first item of the highest score, or with `uniforms [B]` in [0, 1) one drawn from π.
    pub fn choose(&self, states: &StateBatch, uniforms: Option<&[f64]>) -> Result<Vec<u32>> {
        let (users, inputs) = self.inputs(states)?;
        self.choose_of(states, &users, &inputs, uniforms)
    }

    /// log π of `actions [B]` and the entropy: as [`action_log_prob`](crate::nn::policy::action_log_prob()) of the logits, which are not stored.
    pub fn action_log_prob(&self, states: &StateBatch, actions: &[u32]) -> Result<ActionLogProb> {
        let (users, inputs) = self.inputs(states)?;
        self.action_log_prob_of(states, &users, &inputs, actions)
    }

    /// The same with the critic's values `[B]`; the states are encoded once.
    pub fn evaluate_actions(&self, states: &StateBatch, actions: &[u32]) -> Result<(ActionLogProb, Tensor)> {
        let (users, inputs) = self.inputs(states)?;
        let values = self.values_of(&inputs)?;
        Ok((self.action_log_prob_of(states, &users, &inputs, actions)?, values))
    }

    pub(in crate::nn) fn action_log_prob_of(
        &self,
        states: &StateBatch,
        users: &Tensor,
        inputs: &Tensor,
        actions: &[u32],
    ) -> Result<ActionLogProb> {
        let query = self.query(users, inputs)?;
        let scores = match &states.of_items {
            OfItems::Dense { similarity_features, action_mask } => {
                let head_inputs = HeadInputs { features: Some(similarity_features), action_mask: action_mask.as_ref() };
                output_layer(&query, &self.item_out, &self.rest()?, head_inputs, actions)?
            }
            OfItems::Lists(of_items) => {
                let wanted = Wanted { softmax: true, ..Wanted::default() };
                let found = streamed_head(&query, &self.item_out, &self.rest()?, of_items, actions, wanted)?;
                return Ok(ActionLogProb { log_prob: found.log_prob, entropy: found.entropy });
            }
        };
        let ActionScores { log_prob, entropy, .. } = scores;
        Ok(ActionLogProb { log_prob, entropy })
    }

    /// Of each state the first item of the highest score, or one drawn from π by a uniform number in [0, 1).
    pub(in crate::nn) fn choose_of(
        &self,
        states: &StateBatch,
        users: &Tensor,
        inputs: &Tensor,
        uniforms: Option<&[f64]>,
    ) -> Result<Vec<u32>> {
        match &states.of_items {
            OfItems::Dense { .. } => choose(&self.scores(states, users, inputs)?, uniforms),
            OfItems::Lists(of_items) => {
                Ok(streamed_choice(&self.query(users, inputs)?, &self.item_out, &self.rest()?, of_items, uniforms)?)
            }
        }
    }

    /// Whether log π and choices need no scores of all items at once.
    #[must_use]
    pub fn streams(&self) -> bool {
        self.device().is_cpu() && self.similarity.vectors().is_some()
    }

    /// Of `actions [B]` their scores, and what is wanted of all items, in one pass over a catalogue without a table; `None` for another.
    pub(in crate::nn) fn streamed_scores(
        &self,
        states: &StateBatch,
        (users, inputs): (&Tensor, &Tensor),
        actions: &[u32],
        wanted: Wanted,
    ) -> Result<Option<StreamedScores>> {
        let OfItems::Lists(of_items) = &states.of_items else { return Ok(None) };
        let query = self.query(users, inputs)?;
        Ok(Some(streamed_head(&query, &self.item_out, &self.rest()?, of_items, actions, wanted)?))
    }

    /// The scores of a catalogue without a table, as constants; `None` for another.
    pub(in crate::nn) fn frozen_head(
        &self,
        states: &StateBatch,
        users: &Tensor,
        inputs: &Tensor,
    ) -> Result<Option<FrozenHead>> {
        let OfItems::Lists(of_items) = &states.of_items else { return Ok(None) };
        Ok(Some(FrozenHead::new(&self.query(users, inputs)?, &self.item_out, &self.rest()?, of_items)?))
    }

    /// The critic's values `[B]` of encoded states.
    pub(in crate::nn) fn values_of(&self, inputs: &Tensor) -> Result<Tensor> {
        Ok(self.critic.forward(inputs)?.squeeze(1)?)
    }

    /// The bias and the weights of what was shown and of what is similar, `[I + 2]`.
    fn rest(&self) -> candle_core::Result<Tensor> {
        Tensor::cat(&[&self.bias, &self.repeat_weight, &self.similarity_weight], 0)
    }

    /// log π̂ `[B]` of the positives by a sampled softmax, see [`sampled_softmax`](crate::nn::policy::sampled_softmax). It reads, and has gradients of, only
    /// the candidates' rows of the tables.
    pub fn sampled_log_prob(&self, states: &StateBatch, candidates: &Candidates) -> Result<Tensor> {
        let (users, inputs) = self.inputs(states)?;
        let items = Tensor::from_slice(&candidates.items, candidates.items.len(), self.bias.device())?;
        let (weight, bias) = (embedding(&self.item_out, &items)?, embedding(&self.bias, &items)?);
        let bias = (bias - candidates.log_proposal.to_device(self.device())?)?;
        let rest = Tensor::cat(&[&bias, &self.repeat_weight, &self.similarity_weight], 0)?;
        let OfItems::Dense { similarity_features, action_mask } = &states.of_items else {
            anyhow::bail!("a sampled softmax takes states of its candidates")
        };
        let head_inputs = HeadInputs { features: Some(similarity_features), action_mask: action_mask.as_ref() };
        Ok(output_layer(&self.query(&users, &inputs)?, &weight, &rest, head_inputs, &candidates.target_columns())?
            .log_prob)
    }

    /// `[B, D]`.
    fn query(&self, users: &Tensor, inputs: &Tensor) -> candle_core::Result<Tensor> {
        self.actor.forward(inputs)? + users.broadcast_mul(&self.prior)?
    }

    pub(in crate::nn) fn scores(&self, states: &StateBatch, users: &Tensor, inputs: &Tensor) -> Result<Tensor> {
        if self.similarity.vectors().is_some() {
            check_size(states.user.dim(0)?, self.config.items)?;
        }
        let scores = self.query(users, inputs)?.matmul(&self.item_out.t()?)?.broadcast_add(&self.bias)?;
        let weights = Tensor::cat(&[&self.repeat_weight, &self.similarity_weight], 0)?;
        match &states.of_items {
            OfItems::Dense { similarity_features, .. } => {
                let similarity_features = similarity_features.matmul(&weights.unsqueeze(1)?)?;
                let scores = (&scores + similarity_features.reshape(scores.shape())?)?;
                Ok(states.mask_logits(&scores)?)
            }
            OfItems::Lists(of_items) => Ok(add_item_inputs(&scores, &weights, of_items)?),
        }
    }

    /// The network as a file's content, with the frozen tables, so that the file is self-contained.
    pub fn export(&self) -> Result<TensorFile> {
        let mut file = TensorFile::new(&self.config)?;
        file.arrays = self.params.export()?;
        file.arrays.insert(USER_VECTORS.to_owned(), to_array(&self.user_vectors)?);
        file.arrays.insert("table.item_vectors".to_owned(), to_array(&self.item_vectors)?);
        if let Some(features) = &self.item_features {
            file.tell("item_features", &features.columns)?;
            file.arrays.extend(features.export()?);
        }
        if let Some(vectors) = self.similarity.vectors() {
            file.arrays.insert(BANDWIDTH.to_owned(), Array::new(&[1], vec![vectors.bandwidth()]));
        }
        Ok(file)
    }

    /// Reads a network from a file's content, on the CPU.
    pub fn import(file: &TensorFile) -> Result<Self> {
        Self::import_on(&Device::Cpu, file)
    }

    /// The same on that device.
    pub fn import_on(device: &Device, file: &TensorFile) -> Result<Self> {
        let config: ActorCriticConfig = file.about()?;
        let mut arrays: BTreeMap<String, Array> = file.arrays.clone();
        let users = arrays.remove(USER_VECTORS).unwrap_or_default();
        let items = arrays.remove("table.item_vectors").unwrap_or_default();
        let bandwidth = arrays.remove(BANDWIDTH).map(|array| match array.data[..] {
            [bandwidth] if bandwidth > 0.0 && bandwidth.is_finite() => Ok(bandwidth),
            _ => Err(anyhow!("the network's `{BANDWIDTH}` is {:?}, wanted one number above 0", array.data)),
        });
        let bandwidth = bandwidth.transpose()?;
        let ItemColumns { item_features } = file.about()?;
        let features = Slots::take_from(&mut arrays, item_features, config.items)?;
        let network = Self::with_tables(device, config, [&users, &items], 0, (bandwidth, features))?;
        network.params.import(&arrays)?;
        Ok(network)
    }
}

/// The columns of the items that the encoder reads; in the file's header.
#[derive(Deserialize)]
struct ItemColumns {
    #[serde(default)]
    item_features: Vec<String>,
}

/// Refuses the scores of so many items in so many states at once.
pub(in crate::nn) fn check_size(states: usize, items: usize) -> Result<()> {
    ensure!(
        states * items <= LARGEST_SCORES,
        "the scores of all {items} items in {states} states at once are {:.1} GB, of which a learner holds about ten\nhelp: take a \
         smaller `batch_size` or `episodes_per_update`; on a CPU every learner but rl.c51 needs no score of every item at once, unless \
         the policy at `reference` is one of rl.c51",
        (states * items) as f64 * 4e-9
    );
    Ok(())
}
