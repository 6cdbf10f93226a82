//! The whole network, with each encoder: gradients, masks, sampled softmax, files.

use candle_core::{Device, Tensor};

use crate::artifact::Array;
use crate::nn::encoders::encoder::{Average, GruEncoder, Transformer};
use crate::nn::encoders::state_batch::StateBatch;
use crate::nn::optim::gradient_check::assert_every_parameter_learns;
use crate::nn::optim::loss::log_prob;
use crate::nn::policy::actor_critic::{ActorCriticConfig, ActorCriticOutput};
use crate::nn::policy::sampled_softmax::Candidates;
use crate::nn::{ActionLogProb, ActorCritic, Encoder};
use crate::nn::{Caser, SasRec};

fn small(encoder: Encoder) -> ActorCritic {
    let config = ActorCriticConfig {
        users: 2,
        items: 3,
        width: 2,
        window: 2,
        hidden_size: 4,
        encoder,
        prior_scale: 1.0,
        similarity_penalty: 1.0,
        similar_fraction: 0.5,
    };
    let users = Array::new(&[2, 2], vec![1.0, 0.5, -0.5, 2.0]);
    let items = Array::new(&[3, 2], vec![1.0, 0.0, 0.0, 1.0, 0.5, 0.5]);
    ActorCritic::new(config, &users, &items, 3).unwrap()
}

/// Two states: the padding row of E_in, an item just shown, and both users take part.
fn states(network: &ActorCritic) -> StateBatch {
    network.states(&[0, 1], &[2, 0, 1, 3], &[1.0, 2.0, 3.0, 0.0], &[0.5, 0.25]).unwrap()
}

fn encoders() -> [Encoder; 6] {
    [
        Encoder::Window,
        Encoder::Average(Average::default()),
        Encoder::Gru(GruEncoder { hidden_size: 3 }),
        Encoder::Transformer(Transformer { hidden_size: 4, ..Transformer::default() }),
        Encoder::Sasrec(SasRec { hidden_size: 4, ..SasRec::default() }),
        Encoder::Caser(Caser::default()),
    ]
}

#[test]
fn every_parameter_learns() {
    for encoder in encoders() {
        let network = small(encoder);
        let states = states(&network);
        let action = Tensor::new(&[1_u32, 2], &Device::Cpu).unwrap();
        assert_every_parameter_learns(network.params(), || {
            let ActorCriticOutput { logits, values, .. } = network.forward(&states).unwrap();
            log_prob(&logits, &action)?.sum_all()? + values.sqr()?.sum_all()?
        });
    }
}

/// In values and in the gradient of every parameter, with and without an action mask.
#[test]
fn evaluated_actions_agree_with_the_logits() {
    for forbidden in [vec![], vec![(0, 2), (1, 0)]] {
        let network = small(Encoder::Gru(GruEncoder { hidden_size: 3 }));
        let mut states = states(&network);
        states.mask_actions(forbidden).unwrap();
        let of = |ActionLogProb { log_prob, entropy }: ActionLogProb, values: Tensor| {
            let loss = ((log_prob + (entropy * 0.3).unwrap()).unwrap() + values.sqr().unwrap()).unwrap();
            let gradients = loss.sum_all().unwrap().backward().unwrap();
            let flat = |tensor: &Tensor| tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap();
            let parameters = network.params().iter().map(|(_, var)| flat(gradients.get(var.as_tensor()).unwrap()));
            std::iter::once(flat(&loss)).chain(parameters).flatten().collect::<Vec<f32>>()
        };
        let ActorCriticOutput { logits, values, .. } = network.forward(&states).unwrap();
        let reference = of(crate::nn::action_log_prob(&logits, &[1, 2]).unwrap(), values);
        let (choice, values) = network.evaluate_actions(&states, &[1, 2]).unwrap();
        for (a, b) in of(choice, values).iter().zip(&reference) {
            assert!((a - b).abs() < 1e-5 * b.abs().max(1.0), "{a} {b}");
        }
    }
}

/// With every item once and equal chances to be drawn, a sample is the catalogue.
#[test]
fn a_softmax_over_a_sample_of_everything_is_the_full_one() {
    let network = small(Encoder::Window);
    let log_proposal = Tensor::full(-1.1_f32, 5, &Device::Cpu).unwrap();
    let candidates = Candidates { items: vec![2, 0, 1, /* positives */ 1, 2], states: 2, log_proposal, sets: None };
    let masked = |row: usize| if row == 0 { &[2][..] } else { &[] };
    let allowed = candidates.action_mask(masked).unwrap();
    let (user, recent, rewards, progress) = ([0, 1], [2, 0, 1, 3], [1.0, 2.0, 3.0, 0.0], [0.5, 0.25]);
    let among = network.states_for_candidates(&user, &recent, &rewards, &progress, &candidates.items, allowed).unwrap();
    let mut states = states(&network);
    states.mask_actions([(0, 2)]).unwrap();
    let of = |log: Tensor| {
        let gradients = log.sum_all().unwrap().backward().unwrap();
        let flat = |tensor: &Tensor| tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        let parameters = network.params().iter().filter_map(|(_, var)| gradients.get(var.as_tensor()).map(flat));
        std::iter::once(flat(&log)).chain(parameters).flatten().collect::<Vec<f32>>()
    };
    let sampled = of(network.sampled_log_prob(&among, &candidates).unwrap());
    let full = of(network.action_log_prob(&states, &[1, 2]).unwrap().log_prob);
    assert_eq!(sampled.len(), full.len());
    for (a, b) in sampled.iter().zip(&full) {
        assert!((a - b).abs() < 1e-4 * b.abs().max(1.0), "{a} sampled, {b} full");
    }
}

#[test]
fn a_masked_item_has_no_probability_and_no_gradient() {
    let network = small(Encoder::Window);
    let reference = network.logits(&states(&network)).unwrap().to_vec2::<f32>().unwrap();
    let mut masked = states(&network);
    masked.mask_actions([(0, 1), (1, 0), (1, 0)]).unwrap();
    let logits = network.logits(&masked).unwrap();
    let shares = candle_nn::ops::softmax(&logits, 1).unwrap().to_vec2::<f32>().unwrap();
    assert_eq!((shares[0][1], shares[1][0]), (0.0, 0.0));
    let ratio = (reference[1][1] - reference[1][2]).exp();
    assert!((shares[1][1] / shares[1][2] / ratio - 1.0).abs() < 1e-4, "the others keep their ratio");
    let log_prob = crate::nn::action_log_prob(&logits, &[0, 2]).unwrap().log_prob.sum_all().unwrap();
    let gradients = log_prob.backward().unwrap();
    let (_, bias) = network.params().iter().find(|(name, _)| *name == "bias").unwrap();
    let bias = gradients.get(bias.as_tensor()).unwrap().to_vec1::<f32>().unwrap();
    assert!(bias.iter().all(|g| g.is_finite()) && bias.iter().sum::<f32>().abs() < 1e-6, "{bias:?}");
    assert!(states(&network).mask_actions([(0, 3)]).is_err());
    let stuck = states(&network).mask_actions([(1, 0), (1, 1), (1, 2)]).unwrap_err().to_string();
    assert!(stuck.contains("state 1 has none of 3 items left to show\nhelp: lower `simulator.horizon`"), "{stuck}");
}

#[test]
fn a_file_gives_the_same_network_and_foreign_ids_are_refused() {
    for encoder in encoders() {
        let network = small(encoder);
        let again = ActorCritic::import(&network.export().unwrap()).unwrap();
        let logits = |n: &ActorCritic| n.logits(&states(n)).unwrap().to_vec2::<f32>().unwrap();
        assert_eq!(logits(&network), logits(&again));
        assert_eq!(logits(&network), network.forward(&states(&network)).unwrap().logits.to_vec2::<f32>().unwrap());
        assert!(network.states(&[0], &[4, 3], &[0.0; 2], &[0.0]).is_err());
        assert!(network.states(&[2], &[3, 3], &[0.0; 2], &[0.0]).is_err());
    }
}
