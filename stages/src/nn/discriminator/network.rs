//! The discriminator of expert and policy, in GAIL's form or in AIRL's.

use anyhow::{Context as _, Result};
use candle_core::{Device, Tensor};
use candle_nn::Module;
use serde::{Deserialize, Serialize};

use crate::artifact::TensorFile;
use crate::nn::discriminator::adversarial::{airl_logits, shaped};
use crate::nn::kernels::gather_two;
use crate::nn::{Init, Mlp, Params, RewardForm};

/// The configuration of a [`Discriminator`] and the form of its reward; stored in the reward model's file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DiscriminatorConfig {
    /// Numbers in the features of one state and action.
    pub inputs: usize,
    /// Number of last items in the states of those features.
    pub window: usize,
    /// The vectors that those features were computed from: [`World::vectors_digest`](crate::artifact::World::vectors_digest).
    pub vectors: String,
    /// Turns of an episode in that world: the unit of the feature `progress`.
    pub horizon: usize,
    /// Units of a hidden layer.
    #[serde(rename = "hidden")]
    pub hidden_size: usize,
    /// Hidden layers of g and of the potential, at least 1.
    #[serde(rename = "layers", default = "one")]
    pub n_layers: usize,
    /// Bound of |logit|, so that one confident output does not dominate the others.
    pub clip: f64,
    /// Numbers in the features of one state.
    pub states: usize,
    /// Whether g reads the state only.
    pub state_only: bool,
    /// γ of AIRL's form; `None` in GAIL's form.
    pub discount: Option<f64>,
    /// Whether each weight matrix is divided by its largest singular value.
    pub spectral_norm: bool,
    /// Form of the exported reward.
    pub reward: RewardForm,
    /// Divisor of the reward.
    pub scale: f64,
    /// A caveat for readers of the reward.
    pub remark: Option<String>,
}

/// Files without this number have one layer.
fn one() -> usize {
    1
}

impl Default for DiscriminatorConfig {
    fn default() -> Self {
        Self {
            inputs: 0,
            window: 0,
            vectors: String::new(),
            horizon: 0,
            hidden_size: 64,
            n_layers: 1,
            clip: 10.0,
            states: 0,
            state_only: false,
            discount: None,
            spectral_norm: false,
            reward: RewardForm::NegLogOneMinusD,
            scale: 1.0,
            remark: None,
        }
    }
}

/// A batch of B steps as a discriminator reads them.
pub struct DiscriminatorBatch {
    /// `[B, F]`, features of state and action.
    pub state_actions: Tensor,
    /// The states before and after: AIRL's form and a g of the state read them.
    pub transition: Option<TransitionStates>,
    /// `[B]`, log π of the action, under the masking used to sample; only AIRL's logits read it.
    pub log_policy: Option<Tensor>,
}

/// The states before and after B steps.
pub struct TransitionStates {
    /// `[B, F_s]`, features of the state.
    pub states: Tensor,
    /// `[B, F_s]`, features of the state after the action.
    pub next_states: Tensor,
    /// `[B]`, 0 where the next state is terminal, else 1: h(terminal) = 0.
    pub not_done: Tensor,
}

impl DiscriminatorBatch {
    /// A batch for a g of state and action in GAIL's form, which reads nothing else: `state_actions [B, F]`.
    #[must_use]
    pub fn of_state_actions(state_actions: Tensor) -> Self {
        Self { state_actions, transition: None, log_policy: None }
    }

    /// The states before and after the steps.
    ///
    /// # Errors
    /// When the batch has none.
    pub fn transition(&self) -> Result<&TransitionStates> {
        self.transition.as_ref().context("this form reads the states before and after each step")
    }

    /// The batch on that device.
    pub fn to_device(&self, device: &Device) -> Result<Self> {
        let moved = |x: &Tensor| x.to_device(device);
        let transition = |TransitionStates { states, next_states, not_done }: &TransitionStates| {
            Ok::<_, anyhow::Error>(TransitionStates {
                states: moved(states)?,
                next_states: moved(next_states)?,
                not_done: moved(not_done)?,
            })
        };
        Ok(Self {
            state_actions: moved(&self.state_actions)?,
            transition: self.transition.as_ref().map(transition).transpose()?,
            log_policy: self.log_policy.as_ref().map(moved).transpose()?,
        })
    }

    /// This batch followed by the other. Parts that only one of them has are dropped.
    pub fn concat(&self, other: &Self) -> Result<Self> {
        self.with(other, |a, b| Ok(Tensor::cat(&[a, b], 0)?))
    }

    /// The rows `ids`, then the rows `more` of the other batch. Parts that only one of them has are dropped.
    ///
    /// # Errors
    /// When there is no such row.
    pub fn gather(&self, ids: &[u32], other: &Self, more: &[u32]) -> Result<Self> {
        self.with(other, |a, b| Ok(gather_two((a, ids), (b, more))?))
    }

    /// Combines the tensors of two batches by `both`.
    fn with(&self, other: &Self, both: impl Fn(&Tensor, &Tensor) -> Result<Tensor>) -> Result<Self> {
        let log_policy = self.log_policy.as_ref().zip(other.log_policy.as_ref()).map(|(a, b)| both(a, b));
        let transition = |(a, b): (&TransitionStates, &TransitionStates)| {
            Ok::<_, anyhow::Error>(TransitionStates {
                states: both(&a.states, &b.states)?,
                next_states: both(&a.next_states, &b.next_states)?,
                not_done: both(&a.not_done, &b.not_done)?,
            })
        };
        Ok(Self {
            state_actions: both(&self.state_actions, &other.state_actions)?,
            transition: self.transition.as_ref().zip(other.transition.as_ref()).map(transition).transpose()?,
            log_policy: log_policy.transpose()?,
        })
    }
}

/// GAIL's form: logit = clip(g(s, a)). AIRL's: f = g + γ·h(s') − h(s), logit = clip(f − log π). g sees the state alone where it
/// should. D_E = P(expert) = σ(logit).
pub struct Discriminator {
    config: DiscriminatorConfig,
    params: Params,
    g: Mlp,
    potential: Option<Mlp>,
}

impl Discriminator {
    /// A new network on the CPU.
    pub fn new(config: DiscriminatorConfig, seed: u64) -> Result<Self> {
        Self::new_on(&Device::Cpu, config, seed)
    }

    /// The same on that device.
    pub fn new_on(device: &Device, config: DiscriminatorConfig, seed: u64) -> Result<Self> {
        let mut params = Params::on(device);
        let mut init = Init::new(seed);
        let mut network = |name: &str, inputs: usize| {
            let mut widths = vec![config.hidden_size; config.n_layers + 2];
            (widths[0], widths[config.n_layers + 1]) = (inputs, 1);
            let network = Mlp::new(&mut params, name, &widths, 1.0, &mut init)?;
            Ok::<_, anyhow::Error>(if config.spectral_norm { network.with_spectral_norm() } else { network })
        };
        let g = network("network", if config.state_only { config.states } else { config.inputs })?;
        let potential = config.discount.map(|_| network("potential", config.states)).transpose()?;
        Ok(Self { config, params, g, potential })
    }

    /// The configuration.
    #[must_use]
    pub fn config(&self) -> &DiscriminatorConfig {
        &self.config
    }

    /// Sets what is known about the reward only after training.
    pub fn describe(&mut self, reward: RewardForm, scale: f64, remark: Option<String>) {
        self.config = DiscriminatorConfig { reward, scale, remark, ..self.config.clone() };
    }

    /// The parameters.
    #[must_use]
    pub fn params(&self) -> &Params {
        &self.params
    }

    /// f `[B]`: the shaped reward in AIRL's form, the unclipped logit in GAIL's.
    pub fn f(&self, rows: &DiscriminatorBatch) -> Result<Tensor> {
        let inputs = if self.config.state_only { &rows.transition()?.states } else { &rows.state_actions };
        let g = self.g.forward(inputs)?.squeeze(1)?;
        let (Some(potential), Some(gamma)) = (&self.potential, self.config.discount) else { return Ok(g) };
        let TransitionStates { states, next_states, not_done } = rows.transition()?;
        // Both in one pass: one gradient of each weight.
        let (rows, both) = (states.dim(0)?, potential.forward(&Tensor::cat(&[states, next_states], 0)?)?.squeeze(1)?);
        let after = (both.narrow(0, rows, rows)? * not_done)?;
        Ok(shaped(&g, &both.narrow(0, 0, rows)?, &after, gamma)?)
    }

    /// `[B]`, high where the expert is likely, in either form.
    pub fn logits(&self, rows: &DiscriminatorBatch) -> Result<Tensor> {
        self.clipped(&self.unclipped_logits(rows)?)
    }

    /// `[B]`, the logits of the loss: beyond the clipping bound they would have no gradient.
    pub fn unclipped_logits(&self, rows: &DiscriminatorBatch) -> Result<Tensor> {
        self.logits_of(&self.f(rows)?, rows)
    }

    /// r_IRL `[B]` in that form, in its own units.
    pub fn rewards(&self, form: RewardForm, rows: &DiscriminatorBatch) -> Result<Tensor> {
        let f = self.f(rows)?;
        // f does not contain log π: learners that read an exported reward have another policy.
        let logits = if form == RewardForm::F { f.clone() } else { self.clipped(&self.logits_of(&f, rows)?)? };
        Ok(form.of(&logits, &f)?)
    }

    fn logits_of(&self, f: &Tensor, rows: &DiscriminatorBatch) -> Result<Tensor> {
        match (&self.potential, &rows.log_policy) {
            (None, _) => Ok(f.clone()),
            (Some(_), Some(log_policy)) => Ok(airl_logits(f, log_policy)?),
            (Some(_), None) => anyhow::bail!("AIRL's logits need log π of each step"),
        }
    }

    fn clipped(&self, logits: &Tensor) -> Result<Tensor> {
        Ok(logits.clamp(-self.config.clip, self.config.clip)?)
    }

    /// The network as a file's content.
    pub fn export(&self) -> Result<TensorFile> {
        let mut file = TensorFile::new(&self.config)?;
        file.arrays = self.params.export()?;
        Ok(file)
    }

    /// Reads a network from a file's content.
    pub fn import(file: &TensorFile) -> Result<Self> {
        let discriminator = Self::new(file.about()?, 0)?;
        discriminator.params.import(&file.arrays)?;
        Ok(discriminator)
    }
}

#[cfg(test)]
mod tests {

    use super::*;
    use crate::nn::discriminator::adversarial::adversarial_loss;
    use crate::nn::optim::gradient_check::assert_every_parameter_learns;

    fn rows() -> DiscriminatorBatch {
        let normal = |seed, width| Init::new(seed).normal(&[4, width], 1.0).unwrap();
        let tensor = |values: [f32; 4]| Tensor::new(&values, &Device::Cpu).unwrap();
        DiscriminatorBatch {
            state_actions: normal(2, 3),
            transition: Some(TransitionStates {
                states: normal(3, 2),
                next_states: normal(4, 2),
                not_done: tensor([1.0, 1.0, 0.0, 1.0]),
            }),
            log_policy: Some(tensor([-1.0, -0.5, -2.0, -0.1])),
        }
    }

    #[test]
    fn every_parameter_learns_in_every_form() {
        let (expert, ones) = (Tensor::new(&[1.0_f32, 0.0, 1.0, 0.0], &Device::Cpu).unwrap(), [1.0_f32; 4]);
        let ones = Tensor::new(&ones, &Device::Cpu).unwrap();
        for (discount, state_only, spectral_norm) in
            [(None, false, false), (None, true, true), (Some(0.9), false, true), (Some(0.9), true, false)]
        {
            // A bound below every logit does not stop learning.
            let clip = 1e-9;
            let config = DiscriminatorConfig {
                inputs: 3,
                states: 2,
                hidden_size: 4,
                clip,
                discount,
                state_only,
                spectral_norm,
                ..DiscriminatorConfig::default()
            };
            let discriminator = Discriminator::new(config, 1).unwrap();
            assert_every_parameter_learns(discriminator.params(), || {
                adversarial_loss(&discriminator.unclipped_logits(&rows()).unwrap(), &expert, &ones)
            });
            let answers = discriminator.logits(&rows()).unwrap().to_vec1::<f32>().unwrap();
            assert!(answers.iter().all(|z| z.abs() <= 1e-9), "{answers:?}");
        }
    }

    #[test]
    fn what_comes_after_the_end_is_worth_nothing() {
        let config = DiscriminatorConfig {
            inputs: 3,
            states: 2,
            hidden_size: 4,
            discount: Some(0.9),
            ..DiscriminatorConfig::default()
        };
        let discriminator = Discriminator::new(config, 1).unwrap();
        let f = |rows: &DiscriminatorBatch| discriminator.f(rows).unwrap().to_vec1::<f32>().unwrap();
        let (before, mut moved) = (f(&rows()), rows());
        let transition = moved.transition.as_mut().unwrap();
        transition.next_states = (&transition.next_states + 1.0).unwrap();
        let after = f(&moved);
        assert_eq!(before[2], after[2]);
        assert!((before[0] - after[0]).abs() > 1e-4);
        assert!(discriminator.logits(&DiscriminatorBatch { log_policy: None, ..rows() }).is_err());
        assert!(discriminator.rewards(RewardForm::F, &DiscriminatorBatch { log_policy: None, ..rows() }).is_ok());
        assert!(
            discriminator.f(&DiscriminatorBatch::of_state_actions(rows().state_actions)).is_err(),
            "AIRL's form reads the states"
        );
    }
}
