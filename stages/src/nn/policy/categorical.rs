//! Distributional Q-network: for each state and item a categorical distribution of the return over fixed atoms.
//!
//! log p_k(s, a) = log softmax_k(x_k·A(s, a) + h(s)·W_{a,k} + b_{a,k}),  h = tanh(M·input),  x_k from −1 to 1
//!
//! W and b are the output layer of Bellemare et al. 2017 (arXiv 1707.06887). The tilt x_k·A(s, a), with A the logits of an
//! [`ActorCritic`], increases the mean with A, so that the prior from the world's vectors and the similarity features apply to
//! distributions, too. The policy's scores are the means Σ_k z_k·p_k.

use anyhow::Result;
use candle_core::{D, DType, Device, Tensor};
use candle_nn::Module;

use crate::artifact::TensorFile;
use crate::nn::encoders::state_batch::StateBatch;
use crate::nn::kernels::{Atoms, embedding, expected_returns};
use crate::nn::policy::policy_network::PolicyNetwork;
use crate::nn::policy::policy_output::{PolicyOutput, under};
use crate::nn::policy::support::Support;
use crate::nn::{ActorCritic, Init, Mlp, Params};

/// Prefix of the distributions' parameters in a file, beside those of the tilt.
pub(in crate::nn) const PREFIX: &str = "atoms.";

/// A distributional Q-network.
pub struct Categorical {
    support: Support,
    tilt: ActorCritic,
    params: Params,
    hidden: Mlp,
    /// `[I, K·H]`.
    weight: Tensor,
    /// `[I, K]`.
    bias: Tensor,
    /// From −1 to 1, and z.
    row: Atoms,
}

impl Categorical {
    /// A new network over a tilt, with its configuration and device.
    pub fn new(tilt: ActorCritic, support: Support, seed: u64) -> Result<Self> {
        let (mut init, mut params, config) = (Init::new(seed), Params::on(tilt.device()), tilt.config());
        let inputs = config.width + config.encoder.width(config.width, config.window) + 1;
        let (items, hidden, atoms) = (config.items, config.hidden_size, support.atoms);
        let places = (0..atoms).map(|k| (2.0 * k as f64 / (atoms - 1) as f64 - 1.0) as f32);
        let values = support.values().into_iter().map(|z| z as f32);
        let row = Atoms {
            places: Tensor::from_iter(places, tilt.device())?,
            values: Tensor::from_iter(values, tilt.device())?,
        };
        Ok(Self {
            hidden: Mlp::new(&mut params, "hidden", &[inputs, hidden], 1.0, &mut init)?,
            weight: params.add("weight", &init.normal(&[items, atoms * hidden], 0.1 / (hidden as f64).sqrt())?)?,
            bias: params.add("bias", &Tensor::zeros((items, atoms), DType::F32, &Device::Cpu)?)?,
            row,
            tilt,
            params,
            support,
        })
    }

    /// The atoms.
    #[must_use]
    pub fn support(&self) -> &Support {
        &self.support
    }

    /// The parameters of the tilt, and those of the distributions.
    #[must_use]
    pub fn params(&self) -> (&Params, &Params) {
        (self.tilt.params(), &self.params)
    }

    /// A and h `[B, H]`.
    fn parts(&self, states: &StateBatch) -> Result<(Tensor, Tensor)> {
        let (_, inputs) = self.tilt.inputs(states)?;
        Ok((self.tilt.logits(states)?, self.hidden.forward(&inputs)?.tanh()?))
    }

    /// log p of the actions' returns: `actions [B]` of u32 → `[B, K]`.
    pub fn log_probs(&self, states: &StateBatch, actions: &Tensor) -> Result<Tensor> {
        let (tilt, hidden) = self.parts(states)?;
        let (rows, width) = hidden.dims2()?;
        let weight = embedding(&self.weight, actions)?.reshape((rows, self.support.atoms, width))?;
        let own = weight.matmul(&hidden.unsqueeze(2)?)?.squeeze(2)?;
        let tilted = tilt.gather(&actions.unsqueeze(1)?, 1)?.broadcast_mul(&self.row.places.unsqueeze(0)?)?;
        let logits = ((own + embedding(&self.bias, actions)?)? + tilted)?;
        Ok(candle_nn::ops::log_softmax(&logits, D::Minus1)?)
    }

    /// Q = Σ_k z_k·p_k of the whole catalogue, `[B, I]`, in the unit of rewards; a constant.
    pub fn q_values(&self, states: &StateBatch) -> Result<Tensor> {
        let (tilt, hidden) = self.parts(states)?;
        Ok(expected_returns(&hidden, &self.weight, &self.bias, &tilt, &self.row)?)
    }

    /// The content of a file.
    pub fn export(&self) -> Result<TensorFile> {
        let mut file = self.tilt.export()?;
        let named = |(name, array)| (format!("{PREFIX}{name}"), array);
        file.arrays.extend(self.params.export()?.into_iter().map(named));
        file.tell("served", &PolicyOutput::Categorical(self.support))?;
        Ok(file)
    }

    /// Reads what [`Categorical::export`] wrote, on that device.
    pub fn import_on(device: &Device, file: &TensorFile, support: Support) -> Result<Self> {
        let network = Self::new(ActorCritic::import_on(device, file)?, support, 0)?;
        network.params.import(&under(PREFIX, file))?;
        Ok(network)
    }
}

impl PolicyNetwork for Categorical {
    fn backbone(&self) -> &ActorCritic {
        &self.tilt
    }
    fn add_mean_user(&mut self) -> Result<()> {
        self.tilt.add_mean_user()
    }
    fn logits(&self, states: &StateBatch) -> Result<Tensor> {
        Ok(states.mask_logits(&self.q_values(states)?)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::artifact::Array;
    use crate::nn::Encoder;
    use crate::nn::optim::gradient_check::assert_every_parameter_learns;
    use crate::nn::policy::actor_critic::ActorCriticConfig;
    use crate::nn::policy::policy_io::load;

    const SUPPORT: Support = Support { low: 0.0, high: 4.0, atoms: 5 };

    fn network() -> Categorical {
        let config = ActorCriticConfig {
            users: 2,
            items: 3,
            width: 2,
            window: 2,
            hidden_size: 4,
            encoder: Encoder::Window,
            prior_scale: 1.0,
            similarity_penalty: 1.0,
            similar_fraction: 0.5,
        };
        let users = Array::new(&[2, 2], vec![1.0, 0.5, -0.5, 2.0]);
        let items = Array::new(&[3, 2], vec![1.0, 0.0, 0.0, 1.0, 0.5, 0.5]);
        Categorical::new(ActorCritic::new(config, &users, &items, 3).unwrap(), SUPPORT, 4).unwrap()
    }

    fn states(network: &Categorical) -> StateBatch {
        network.backbone().states(&[0, 1], &[2, 0, 1, 3], &[1.0, 2.0, 3.0, 0.0], &[0.5, 0.25]).unwrap()
    }

    #[test]
    fn a_projection_agrees_with_hand_computed_values() {
        let project = |reward, discount, probs: [f32; 5]| SUPPORT.project(&[reward], &[discount], &probs);
        // 1 + ½·{0, 2, 4} = {1, 2, 3} with shares ¼, ½, ¼.
        assert_eq!(project(1.0, 0.5, [0.25, 0.0, 0.5, 0.0, 0.25]), [0.0, 0.25, 0.5, 0.25, 0.0]);
        // ½ + ½·{0, 1} = {½, 1}: the first lies between two atoms.
        assert_eq!(project(0.5, 0.5, [0.5, 0.5, 0.0, 0.0, 0.0]), [0.25, 0.75, 0.0, 0.0, 0.0]);
        // ¼ alone: three quarters of it to 0.
        assert_eq!(project(0.25, 0.0, [0.2, 0.2, 0.2, 0.2, 0.2])[..2], [0.75, 0.25]);
        // 3 + {0, 4}: 7 is beyond the end, and −2 before the beginning.
        assert_eq!(project(3.0, 1.0, [0.5, 0.0, 0.0, 0.0, 0.5]), [0.0, 0.0, 0.0, 0.5, 0.5]);
        assert_eq!(project(-2.0, 0.0, [1.0, 0.0, 0.0, 0.0, 0.0]), [1.0, 0.0, 0.0, 0.0, 0.0]);
        let two = SUPPORT.project(&[1.0, 2.0], &[0.0, 0.0], &[0.2; 10]);
        assert!((two[1] - 1.0).abs() < 1e-6 && (two[7] - 1.0).abs() < 1e-6, "{two:?}");
    }

    #[test]
    fn means_are_those_of_the_chances_of_each_item() {
        let network = network();
        let states = states(&network);
        let q_values = network.q_values(&states).unwrap().to_vec2::<f32>().unwrap();
        for item in 0..3_u32 {
            let actions = Tensor::new(&[item, item], &Device::Cpu).unwrap();
            let probs = network.log_probs(&states, &actions).unwrap().exp().unwrap().to_vec2::<f32>().unwrap();
            for (row, probs) in probs.iter().enumerate() {
                let mean: f32 = probs.iter().zip(SUPPORT.values()).map(|(p, z)| p * z as f32).sum();
                assert!((mean - q_values[row][item as usize]).abs() < 1e-5, "{mean} for {q_values:?}");
            }
        }
    }

    #[test]
    fn every_parameter_learns_from_the_actions() {
        let network = network();
        let (states, actions) = (states(&network), Tensor::new(&[2_u32, 2], &Device::Cpu).unwrap());
        let mass = Tensor::new(&[[0.0_f32, 0.5, 0.5, 0.0, 0.0], [0.0, 0.0, 0.0, 0.2, 0.8]], &Device::Cpu).unwrap();
        let loss = || (network.log_probs(&states, &actions).unwrap() * &mass)?.sum_all();
        assert_every_parameter_learns(network.params().1, loss);
        let gradients = loss().unwrap().backward().unwrap();
        for (name, var) in network.params().0.iter().filter(|(name, _)| !name.starts_with("critic.")) {
            let size = gradients.get(var.as_tensor()).unwrap().abs().unwrap().sum_all().unwrap();
            assert!(size.to_scalar::<f32>().unwrap() > 0.0, "`{name}` receives no gradient");
        }
    }

    #[test]
    fn a_file_serves_the_mean_and_never_what_is_masked() {
        let network = network();
        let served = load(&network.export().unwrap()).unwrap();
        let q_values = network.q_values(&states(&network)).unwrap().to_vec2::<f32>().unwrap();
        let found = |states: &StateBatch| served.logits(states).unwrap().to_vec2::<f32>().unwrap();
        assert_eq!(found(&states(&network)), q_values);
        let mut masked = states(&network);
        masked.mask_actions([(0, 1)]).unwrap();
        let scores = found(&masked);
        assert!(scores[0][1] < -1e8 && scores[0][0] == q_values[0][0] && scores[1] == q_values[1], "{scores:?}");
    }
}
