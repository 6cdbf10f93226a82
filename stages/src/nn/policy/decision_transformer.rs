//! Decision transformer: a causal transformer over returns-to-go, states and actions that chooses the item of a session with the
//! return that is asked for.
//!
//! Turn k before the present one gives three tokens, R_k/unit, [v_u, progress] and the vector of the item that was shown, each mapped
//! to the width of a token, plus the place of the turn; the present turn gives the first two. A token sees those that came before it.
//! The present state's token takes the place of the encoding in the network's actor: logits = E_out·(MLP([v_u, h, progress]) + p·v_u) + …
//! as in [`ActorCritic`], so that the prior of the world's vectors, the similarity features and masks apply here, too.
//!
//! Chen et al. 2021 (arXiv 2106.01345, §3). Returns are not discounted. R_k of a past turn is the present return-to-go plus the rewards since,
//! so the present one is all that has to be asked for ([`Returns`]).

use anyhow::{Result, ensure};
use candle_core::{DType, Device, Tensor};
use candle_nn::Module;

use crate::artifact::TensorFile;
use crate::nn::encoders::state_batch::StateBatch;
use crate::nn::kernels::{Activation, linear};
use crate::nn::policy::item_values::ItemValues;
use crate::nn::policy::policy_network::PolicyNetwork;
use crate::nn::policy::policy_output::{PolicyOutput, Returns, under};
use crate::nn::{
    ActionLogProb, ActorCritic, AttentionBlock, Encoder, Init, LayerNorm, MASKED_LOGIT, Params, Transformer,
};

/// Prefix of the transformer's parameters in a file, beside those of the actor and the critic.
const PREFIX: &str = "decision.";

/// A decision transformer.
pub struct DecisionTransformer {
    backbone: ActorCritic,
    params: Params,
    returns: Returns,
    /// Weight `[width, I]` and bias `[width]` of each kind of token.
    of_return: (Tensor, Tensor),
    of_state: (Tensor, Tensor),
    of_action: (Tensor, Tensor),
    /// `[1 + W, width]`, the present turn first.
    place: Tensor,
    /// `[1, 1, T, T]`: 0 where the column is as old as the row or older, else [`MASKED_LOGIT`].
    past: Tensor,
    blocks: Vec<AttentionBlock>,
    norm: LayerNorm,
}

impl DecisionTransformer {
    /// A new network over an actor and a critic, with their device; its shape is that of their transformer.
    ///
    /// # Errors
    /// When their encoder is no transformer.
    pub fn new(backbone: ActorCritic, returns: Returns, seed: u64) -> Result<Self> {
        let config = backbone.config();
        let Encoder::Transformer(Transformer { n_layers, hidden_size: width, n_heads }) = config.encoder else {
            anyhow::bail!(
                "a decision transformer has the shape of the encoder `transformer`, not of {:?}",
                config.encoder
            )
        };
        let (vector, window) = (config.width, config.window);
        let (mut init, mut params) = (Init::new(seed), Params::on(backbone.device()));
        let mut layer = |params: &mut Params, name: &str, from: usize| -> Result<(Tensor, Tensor)> {
            let weight = params.add(&format!("{name}.weight"), &init.glorot(width, from, 1.0)?)?;
            let bias = params.add(&format!("{name}.bias"), &Tensor::zeros(width, DType::F32, &Device::Cpu)?)?;
            Ok((weight, bias))
        };
        let of_return = layer(&mut params, "return", 1)?;
        let of_state = layer(&mut params, "state", vector + 1)?;
        let of_action = layer(&mut params, "action", vector)?;
        let ages = ages(window);
        let younger = |k: usize| if ages[k % ages.len()] < ages[k / ages.len()] { MASKED_LOGIT as f32 } else { 0.0 };
        let past = Tensor::from_iter((0..ages.len() * ages.len()).map(younger), backbone.device())?;
        Ok(Self {
            of_return,
            of_state,
            of_action,
            place: params.add("place", &init.normal(&[1 + window, width], 0.1)?)?,
            past: past.reshape((1, 1, ages.len(), ages.len()))?,
            blocks: (0..n_layers)
                .map(|k| AttentionBlock::new(&mut params, &format!("block.{k}"), width, n_heads, &mut init))
                .collect::<Result<_>>()?,
            norm: LayerNorm::new(&mut params, "norm", width)?,
            backbone,
            params,
            returns,
        })
    }

    /// The parameters of the actor and the critic, and those of the transformer.
    #[must_use]
    pub fn params(&self) -> (&Params, &Params) {
        (self.backbone.params(), &self.params)
    }

    /// The unit of returns in the network.
    #[must_use]
    pub fn unit(&self) -> f64 {
        self.returns.unit
    }

    /// log π of `actions [B]` where the returns-to-go are `returns [B]`, and the entropy.
    pub fn action_log_prob(&self, states: &StateBatch, returns: &Tensor, actions: &[u32]) -> Result<ActionLogProb> {
        let (users, inputs) = self.inputs(states, returns)?;
        self.backbone.action_log_prob_of(states, &users, &inputs, actions)
    }

    /// Scores of the whole catalogue where the returns-to-go are `returns [B]`, `[B, I]`.
    pub fn logits_for(&self, states: &StateBatch, returns: &Tensor) -> Result<Tensor> {
        let (users, inputs) = self.inputs(states, returns)?;
        self.backbone.scores(states, &users, &inputs)
    }

    /// The critic's values `[B]`, in the unit of the network.
    pub fn values(&self, states: &StateBatch) -> Result<Tensor> {
        self.backbone.values(states)
    }

    /// What it asks for in each state when it is served, `[B]`.
    pub fn asked(&self, states: &StateBatch) -> Result<Tensor> {
        let Some(by_turn) = &self.returns.by_turn else {
            return Ok((self.backbone.values(states)?.detach() * self.returns.unit)?);
        };
        let turns = states.progress.flatten_all()?.to_vec1::<f32>()?;
        let last = by_turn.len() - 1;
        let asked = turns.iter().map(|progress| by_turn[last.min((progress * by_turn.len() as f32).round() as usize)]);
        Ok(Tensor::from_iter(asked, states.progress.device())?)
    }

    /// v_u `[B, D]` and [v_u, h, progress], with h of the present state's token.
    fn inputs(&self, states: &StateBatch, returns: &Tensor) -> Result<(Tensor, Tensor)> {
        let (users, items) = self.backbone.vectors(states)?;
        let (batch, window, _) = items.dims3()?;
        let of = |x: &Tensor, (weight, bias): &(Tensor, Tensor)| linear(x, weight, bias, Activation::None);
        let returns = (returns_to_go(returns, &states.rewards)? / self.returns.unit)?.unsqueeze(2)?;
        let state = of(&Tensor::cat(&[&users, &states.progress], 1)?, &self.of_state)?.unsqueeze(1)?;
        let x = Tensor::cat(
            &[
                &of(&returns, &self.of_return)?.broadcast_add(&self.place)?,
                &state.broadcast_add(&self.place)?,
                &of(&items, &self.of_action)?.broadcast_add(&self.place.narrow(0, 1, window)?)?,
            ],
            1,
        )?;
        let absent = ((&states.mask - 1.0)? * -MASKED_LOGIT)?;
        let turns = absent.pad_with_zeros(1, 1, 0)?;
        let absent = Tensor::cat(&[&turns, &turns, &absent], 1)?.reshape((batch, 1, 1, ()))?;
        let mask = absent.broadcast_add(&self.past)?;
        let x = self.blocks.iter().try_fold(x, |x, block| block.forward(&x, &mask))?;
        let present = self.norm.forward(&x.narrow(1, 1 + window, 1)?.squeeze(1)?)?;
        Ok((users.clone(), Tensor::cat(&[&users, &present, &states.progress], 1)?))
    }

    /// The content of a file.
    pub fn export(&self) -> Result<TensorFile> {
        let mut file = self.backbone.export()?;
        let named = |(name, array)| (format!("{PREFIX}{name}"), array);
        file.arrays.extend(self.params.export()?.into_iter().map(named));
        file.tell("served", &PolicyOutput::Decision(self.returns.clone()))?;
        Ok(file)
    }

    /// Reads what [`DecisionTransformer::export`] wrote, on that device, to ask for these returns.
    pub fn import_on(device: &Device, file: &TensorFile, returns: Returns) -> Result<Self> {
        ensure!(returns.by_turn.as_ref().is_none_or(|turns| !turns.is_empty()), "the policy asks for no turn's return");
        let network = Self::new(ActorCritic::import_on(device, file)?, returns, 0)?;
        network.params.import(&under(PREFIX, file))?;
        Ok(network)
    }
}

impl PolicyNetwork for DecisionTransformer {
    fn backbone(&self) -> &ActorCritic {
        &self.backbone
    }
    fn add_mean_user(&mut self) -> Result<()> {
        self.backbone.add_mean_user()
    }
    fn logits(&self, states: &StateBatch) -> Result<Tensor> {
        self.logits_for(states, &self.asked(states)?)
    }
    fn item_values(&self, states: &StateBatch) -> Result<ItemValues> {
        let (users, inputs) = self.inputs(states, &self.asked(states)?)?;
        self.backbone.item_values_of(states, &users, &inputs)
    }
    fn choose(&self, states: &StateBatch, uniforms: Option<&[f64]>) -> Result<Vec<u32>> {
        let (users, inputs) = self.inputs(states, &self.asked(states)?)?;
        self.backbone.choose_of(states, &users, &inputs, uniforms)
    }
    fn streams(&self) -> bool {
        self.backbone.streams()
    }
}

/// How long ago each token was: returns, states and actions of the present turn and the W before it, the present first.
fn ages(window: usize) -> Vec<usize> {
    let returns = (0..=window).map(|turn| 3 * turn + 2);
    let states = (0..=window).map(|turn| 3 * turn + 1);
    returns.chain(states).chain((1..=window).map(|turn| 3 * turn)).collect()
}

/// The return-to-go of the present turn and of the W before it, `[B, 1 + W]`: the present one plus what was paid since.
fn returns_to_go(returns: &Tensor, rewards: &Tensor) -> candle_core::Result<Tensor> {
    let returns = returns.unsqueeze(1)?;
    Tensor::cat(&[&returns, &rewards.cumsum(1)?.broadcast_add(&returns)?], 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::artifact::Array;
    use crate::nn::optim::gradient_check::assert_every_parameter_learns;
    use crate::nn::policy::actor_critic::ActorCriticConfig;
    use crate::nn::policy::policy_io::load;

    fn small(by_turn: Option<Vec<f32>>) -> DecisionTransformer {
        let config = ActorCriticConfig {
            users: 2,
            items: 3,
            width: 2,
            window: 2,
            hidden_size: 4,
            encoder: Encoder::Transformer(Transformer { n_layers: 2, hidden_size: 4, n_heads: 2 }),
            prior_scale: 1.0,
            similarity_penalty: 0.0,
            similar_fraction: 0.5,
        };
        let users = Array::new(&[2, 2], vec![1.0, 0.5, -0.5, 2.0]);
        let items = Array::new(&[3, 2], vec![1.0, 0.0, 0.0, 1.0, 0.5, 0.5]);
        let backbone = ActorCritic::new(config, &users, &items, 3).unwrap();
        DecisionTransformer::new(backbone, Returns { unit: 10.0, by_turn }, 4).unwrap()
    }

    fn tensor(values: &[f32]) -> Tensor {
        Tensor::new(values, &Device::Cpu).unwrap()
    }

    /// One state after two items, newest first, and a new one.
    fn states(network: &DecisionTransformer, recent: [u32; 2], rewards: [f32; 2]) -> StateBatch {
        let recent = [recent[0], recent[1], 3, 3];
        network.backbone().states(&[0, 1], &recent, &[rewards[0], rewards[1], 0.0, 0.0], &[0.5, 0.0]).unwrap()
    }

    #[test]
    fn what_is_to_go_at_past_turns_is_what_came_since_and_what_is_to_go_now() {
        let rewards = Tensor::new(&[[3.0_f32, 2.0], [0.0, 0.0]], &Device::Cpu).unwrap();
        let found = returns_to_go(&tensor(&[10.0, 7.0]), &rewards).unwrap().to_vec2::<f32>().unwrap();
        assert_eq!(found, [[10.0, 13.0, 15.0], [7.0, 7.0, 7.0]]);
    }

    #[test]
    fn a_token_sees_what_came_before_it() {
        // Present return and state; one turn ago return, state and action; two turns ago the same.
        assert_eq!(ages(2), [2, 5, 8, 1, 4, 7, 3, 6]);
        let past = small(None).past.reshape((8, 8)).unwrap().to_vec2::<f32>().unwrap();
        let sees = |row: usize| (0..8).filter(|&column| past[row][column] == 0.0).collect::<Vec<_>>();
        assert_eq!(sees(3), [0, 1, 2, 3, 4, 5, 6, 7], "the present state sees all");
        assert_eq!(sees(0), [0, 1, 2, 4, 5, 6, 7], "its return comes before it");
        assert_eq!(sees(4), [1, 2, 4, 5, 7], "the state before chose the action after it");
        assert_eq!(sees(2), [2], "the oldest return was first");
    }

    #[test]
    fn every_parameter_learns() {
        let network = small(None);
        let (actor_critic, transformer) = network.params();
        let loss = || {
            let states = states(&network, [1, 0], [3.0, 2.0]);
            let choice = network.action_log_prob(&states, &tensor(&[4.0, 9.0]), &[1, 2]).unwrap();
            choice.log_prob.sum_all()? + network.backbone.values(&states).unwrap().sqr()?.sum_all()?
        };
        assert_every_parameter_learns(actor_critic, loss);
        assert_every_parameter_learns(transformer, loss);
    }

    #[test]
    fn scores_depend_on_the_return_and_on_what_was_shown_and_paid_but_not_on_padding() {
        let network = small(None);
        let scores = |recent, rewards, returns: f32| {
            let states = states(&network, recent, rewards);
            network.logits_for(&states, &tensor(&[returns; 2])).unwrap().to_vec2::<f32>().unwrap()
        };
        let base = scores([1, 0], [3.0, 2.0], 5.0);
        assert_ne!(base, scores([1, 0], [3.0, 2.0], 9.0), "the return");
        assert_ne!(base[0], scores([1, 0], [3.0, 1.0], 5.0)[0], "a reward");
        assert_ne!(base[0], scores([1, 2], [3.0, 2.0], 5.0)[0], "an item");
        assert_eq!(base[1], scores([2, 2], [1.0, 1.0], 5.0)[1], "another state of the batch");
        assert_eq!(scores([1, 3], [3.0, 0.0], 5.0)[0], scores([1, 3], [3.0, 8.0], 5.0)[0], "what nobody paid");
    }

    #[test]
    fn a_file_asks_for_what_the_turn_or_the_critic_says() {
        for by_turn in [Some(vec![20.0, 10.0]), None] {
            let network = small(by_turn.clone());
            let again = load(&network.export().unwrap()).unwrap();
            let states = states(&network, [1, 0], [3.0, 2.0]);
            let served = |network: &dyn PolicyNetwork| network.logits(&states).unwrap().to_vec2::<f32>().unwrap();
            assert_eq!(served(&network), served(&again));
            let asked = network.asked(&states).unwrap().to_vec1::<f32>().unwrap();
            match by_turn {
                Some(_) => assert_eq!(asked, [10.0, 20.0], "half of the session is over, and none of it"),
                None => {
                    let values = network.backbone.values(&states).unwrap().to_vec1::<f32>().unwrap();
                    assert_eq!(asked, values.iter().map(|v| v * 10.0).collect::<Vec<_>>());
                }
            }
            assert!(again.config().encoder.reads_rewards(), "whoever asks has to give rewards");
        }
        let mut file = small(Some(vec![1.0])).export().unwrap();
        file.tell("served", &PolicyOutput::Decision(Returns { unit: 1.0, by_turn: Some(vec![]) })).unwrap();
        assert!(load(&file).is_err());
    }
}
