//! Tests on an NVIDIA GPU: operators and trainings agree with those on the CPU. Without a GPU, or in a program that was not built for
//! one, they print that they are skipped, and pass.

use std::collections::BTreeMap;

use candle_core::{DType, Device, Result, Tensor, Var};
use pipeline::{Context, Interrupted, Stage};

use super::kernels::{
    ActionScores, Activation, HeadInputs, chain, embedding, gru, layer_norm, linear, masked_mean, output_layer,
};
use super::{
    ActionLogProb, ActorCritic, AdamW, Average, Caser, Encoder, GruEncoder, Init, Params, SasRec, Transformer, device,
    rng,
};
use crate::artifact::Array;
use crate::nn::layers::spectral;
use crate::nn::optim::loss::{gathered_log_softmax, huber, softplus};
use crate::nn::policy::action_log_prob::action_log_prob;
use crate::nn::policy::actor_critic::ActorCriticConfig;
use crate::nn::policy::categorical::Categorical;
use crate::nn::policy::sampled_softmax::Proposal;
use crate::nn::policy::support::Support;

/// Numbers by name.
pub type Numbers = BTreeMap<String, Vec<f32>>;

/// The first GPU, where there is one.
fn gpu(what: &str) -> Option<Device> {
    device::gpu_for_test(what)
}

/// The largest error of each name where it exceeds `tolerance` times the largest number of that name.
fn off(processor: &Numbers, gpu: &Numbers, tolerance: f32) -> Vec<String> {
    let mut off_by = Vec::new();
    for (name, wanted) in processor {
        let Some(found) = gpu.get(name).filter(|found| found.len() == wanted.len()) else {
            off_by.push(format!("`{name}` is missing or of another size"));
            continue;
        };
        let largest = wanted.iter().fold(1e-3_f32, |largest, x| largest.max(x.abs()));
        let worst = wanted.iter().zip(found).map(|(a, b)| (a - b).abs()).fold(0.0, nan_or_larger);
        if worst.is_nan() || worst > tolerance * largest {
            off_by.push(format!("`{name}` is off by {worst:.2e} where the largest is {largest:.2e}"));
        }
    }
    off_by
}

fn nan_or_larger(worst: f32, x: f32) -> f32 {
    if x.is_nan() || x > worst { x } else { worst }
}

fn flat(tensor: &Tensor) -> Result<Vec<f32>> {
    tensor.to_dtype(DType::F32)?.flatten_all()?.to_vec1()
}

/// The value of `of` and its gradients at each of the tensors, on that device.
fn with_gradients(device: &Device, tensors: &[Tensor], of: &dyn Fn(&[Tensor]) -> Result<Tensor>) -> Result<Numbers> {
    let vars: Vec<Var> = tensors.iter().map(|t| Var::from_tensor(&t.to_device(device)?)).collect::<Result<_>>()?;
    let given: Vec<Tensor> = vars.iter().map(|var| var.as_tensor().clone()).collect();
    let found = of(&given)?;
    let weights = Init::new(9).normal(found.dims(), 1.0)?.to_device(device)?;
    let gradients = (&found * weights)?.sum_all()?.backward()?;
    let mut numbers = Numbers::from([("value".to_owned(), flat(&found)?)]);
    for (k, var) in vars.iter().enumerate() {
        let gradient = gradients.get(var.as_tensor()).map(flat).transpose()?.unwrap_or_default();
        numbers.insert(format!("gradient {k}"), gradient);
    }
    Ok(numbers)
}

type Operator = (&'static str, Vec<Tensor>, Box<dyn Fn(&[Tensor]) -> Result<Tensor>>);

fn operators() -> Vec<Operator> {
    let values = |seed, shape: &[usize]| Init::new(seed).normal(shape, 1.0).unwrap();
    let layer = |activation| move |t: &[Tensor]| linear(&t[0], &t[1], &t[2], activation);
    let ids: Vec<u32> = (0..64).map(|k| k * 7 % 37).collect();
    let (items, actions, drawn) = (ids.clone(), ids.clone(), Tensor::new(ids.clone(), &Device::Cpu).unwrap());
    let features = values(4, &[64 * 37, 2]);
    // All actions, and two of three of the other items.
    let open = |at: usize| f32::from(!at.is_multiple_of(3) || ids[at / 37] as usize == at % 37);
    let action_mask = Tensor::from_iter((0..64 * 37).map(open), &Device::Cpu).unwrap().reshape((64, 37)).unwrap();
    let actions_again = ids.clone();
    let mask = Tensor::new(&[[1.0_f32, 1.0, 0.0], [1.0, 1.0, 1.0]], &Device::Cpu).unwrap();
    let mask_again = mask.clone();
    vec![
        (
            "linear",
            vec![values(1, &[37, 50]), values(2, &[19, 50]), values(3, &[19])],
            Box::new(layer(Activation::None)),
        ),
        (
            "tanh",
            vec![values(1, &[4, 9, 50]), values(2, &[19, 50]), values(3, &[19])],
            Box::new(layer(Activation::Tanh)),
        ),
        (
            "chain",
            vec![values(1, &[37, 50]), values(2, &[19, 50]), values(3, &[19]), values(4, &[5, 19]), values(5, &[5])],
            Box::new(|t| {
                chain(&t[0], &[(t[1].clone(), &t[2], Activation::Tanh), (t[3].clone(), &t[4], Activation::None)])
            }),
        ),
        (
            "masked mean",
            vec![values(1, &[2, 3, 15])],
            Box::new(move |t| masked_mean(&t[0], &mask_again.to_device(t[0].device())?)),
        ),
        (
            "layer norm",
            vec![values(1, &[3, 4, 35]), values(2, &[35]), values(3, &[35])],
            Box::new(|t| layer_norm(&t[0], &t[1], &t[2], 1e-5)),
        ),
        ("softplus", vec![values(1, &[300])], Box::new(|t| softplus(&(&t[0] * 20.0)?))),
        (
            "gru",
            vec![values(1, &[2, 3, 15]), values(2, &[5, 15]), values(3, &[5])],
            Box::new(move |t| gru(&t[0], &t[1], &t[2], &mask.to_device(t[0].device())?)),
        ),
        (
            "gathered log-softmax",
            vec![values(1, &[64, 37])],
            Box::new(move |t| {
                let gathered = gathered_log_softmax(&t[0], &Tensor::new(items.clone(), t[0].device())?)?;
                Tensor::stack(&[gathered.logit, gathered.log_sum_exp], 0)
            }),
        ),
        (
            "action log-prob",
            vec![values(1, &[64, 37])],
            Box::new(move |t| {
                let ActionLogProb { log_prob, entropy } = action_log_prob(&t[0], &actions)?;
                Tensor::stack(&[log_prob, entropy], 0)
            }),
        ),
        (
            "output layer",
            vec![values(1, &[64, 9]), values(2, &[37, 9]), values(3, &[37 + 2])],
            Box::new(move |t| {
                let (features, action_mask) =
                    (features.to_device(t[0].device())?, action_mask.to_device(t[0].device())?);
                let head_inputs = HeadInputs { features: Some(&features), action_mask: Some(&action_mask) };
                let ActionScores { logit, log_prob, entropy } =
                    output_layer(&t[0], &t[1], &t[2], head_inputs, &actions_again)?;
                Tensor::stack(&[logit, log_prob, entropy], 0)
            }),
        ),
        (
            "embedding",
            vec![values(1, &[37, 5]), values(2, &[37])],
            Box::new(move |t| {
                let ids = drawn.to_device(t[0].device())?;
                embedding(&t[0], &ids.reshape((8, 8))?)?
                    .flatten_to(1)?
                    .broadcast_mul(&embedding(&t[1], &ids)?.unsqueeze(1)?)
            }),
        ),
        ("huber", vec![values(1, &[64])], Box::new(|t| huber(&t[0]))),
        ("spectral norm", vec![values(1, &[9, 21])], Box::new(|t| spectral::normalised(&t[0]))),
    ]
}

#[test]
fn operators_and_their_gradients_agree() {
    let Some(gpu) = gpu("comparing operators") else { return };
    let mut off_by = Vec::new();
    for (name, tensors, of) in operators() {
        let on = |device: &Device| with_gradients(device, &tensors, &of);
        match on(&gpu) {
            Ok(found) => {
                off_by.extend(off(&on(&Device::Cpu).unwrap(), &found, 1e-4).iter().map(|off| format!("{name}: {off}")))
            }
            Err(error) => off_by.push(format!("{name}: {error}")),
        }
    }
    assert!(off_by.is_empty(), "{off_by:#?}");
}

fn encoders() -> [Encoder; 6] {
    [
        Encoder::Window,
        Encoder::Average(Average::default()),
        Encoder::Gru(GruEncoder { hidden_size: 8 }),
        Encoder::Transformer(Transformer { hidden_size: 8, ..Transformer::default() }),
        Encoder::Sasrec(SasRec { hidden_size: 8, ..SasRec::default() }),
        Encoder::Caser(Caser { n_horizontal: 3, n_vertical: 2, hidden_size: 8 }),
    ]
}

fn network_on(device: &Device, encoder: Encoder) -> anyhow::Result<ActorCritic> {
    let config = ActorCriticConfig {
        users: 5,
        items: 23,
        width: 6,
        window: 4,
        hidden_size: 16,
        encoder,
        prior_scale: 1.0,
        similarity_penalty: 1.0,
        similar_fraction: 0.1,
    };
    let vectors = |seed, count| {
        Init::new(seed).normal(&[count, 6], 1.0).and_then(|t| flat(&t)).map(|v| Array::new(&[count, 6], v))
    };
    ActorCritic::new_on(device, config, &vectors(1, 5)?, &vectors(2, 23)?, 3)
}

/// The loss of a network and the gradient of each of its parameters; in each state an item is masked, and some states have padding.
fn loss_and_gradients(device: &Device, encoder: Encoder, actions: &[u32; 10]) -> anyhow::Result<Numbers> {
    let network = network_on(device, encoder)?;
    let recent: Vec<u32> = (0..40).map(|k| if k % 4 > k / 4 { 23 } else { k * 5 % 23 }).collect();
    let rewards: Vec<f32> = recent.iter().map(|&item| if item == 23 { 0.0 } else { item as f32 / 9.0 }).collect();
    let progress: Vec<f32> = (0..10).map(|k| k as f32 / 10.0).collect();
    let mut states = network.states(&[0, 1, 2, 3, 4, 0, 1, 2, 3, 4], &recent, &rewards, &progress)?;
    states.mask_actions((0..10).map(|row| (row, row as u32)))?;
    let heads = network.forward(&states)?;
    let ActionLogProb { log_prob, entropy } = action_log_prob(&heads.logits, actions)?;
    let again = network.action_log_prob(&states, actions)?;
    let loss = ((log_prob.mean_all()? + (heads.values - 1.0)?.sqr()?.mean_all()?)? + entropy.mean_all()?)?;
    let loss = (loss + (again.log_prob.mean_all()? * 2.0)? - again.entropy.mean_all()?)?;
    let gradients = loss.backward()?;
    let mut numbers = Numbers::from([("loss".to_owned(), flat(&loss)?)]);
    for (name, var) in network.params().iter() {
        numbers.insert(name.clone(), gradients.get(var.as_tensor()).map(flat).transpose()?.unwrap_or_default());
    }
    Ok(numbers)
}

#[test]
fn networks_of_every_encoder_learn_the_same() {
    let Some(gpu) = gpu("comparing networks") else { return };
    let mut off_by = Vec::new();
    // Also where the action is masked, in the second to the fifth state.
    let (open, forbidden) = ([20, 2, 3, 4, 5, 11, 12, 13, 14, 15], [20, 1, 2, 3, 4, 11, 12, 13, 14, 15]);
    for (encoder, actions) in encoders().iter().flat_map(|encoder| [(encoder, &open), (encoder, &forbidden)]) {
        match loss_and_gradients(&gpu, encoder.clone(), actions) {
            Ok(found) => {
                let wanted = loss_and_gradients(&Device::Cpu, encoder.clone(), actions).unwrap();
                off_by.extend(off(&wanted, &found, 2e-4).iter().map(|off| format!("{encoder:?}, {actions:?}: {off}")));
            }
            Err(error) => off_by.push(format!("{encoder:?}, {actions:?}: {error:#}")),
        }
    }
    assert!(off_by.is_empty(), "{off_by:#?}");
}

#[test]
fn distributions_learn_the_same() {
    let Some(gpu) = gpu("comparing distributions") else { return };
    let of = |device: &Device| -> anyhow::Result<Numbers> {
        let support = Support { low: 0.0, high: 4.0, atoms: 11 };
        let network = Categorical::new(network_on(device, Encoder::Window)?, support, 4)?;
        let states = crate::nn::PolicyNetwork::backbone(&network).states(
            &[0, 4],
            &[2, 0, 23, 23, 1, 3, 9, 7],
            &[1.0; 8],
            &[0.5, 0.25],
        )?;
        let logs = network.log_probs(&states, &Tensor::new(&[2_u32, 7], device)?)?;
        let means = network.q_values(&states)?;
        let gradients = (logs.mean_all()? + means.sqr()?.mean_all()?)?.backward()?;
        let mut numbers = Numbers::from([("logs".to_owned(), flat(&logs)?), ("means".to_owned(), flat(&means)?)]);
        for (name, var) in network.params().0.iter().chain(network.params().1.iter()) {
            numbers.insert(name.clone(), gradients.get(var.as_tensor()).map(flat).transpose()?.unwrap_or_default());
        }
        Ok(numbers)
    };
    let off_by = off(&of(&Device::Cpu).unwrap(), &of(&gpu).unwrap(), 2e-4);
    assert!(off_by.is_empty(), "{off_by:#?}");
}

/// A softmax over a sample, and two steps of the rows that were used: the second uses others.
fn of_sample(device: &Device) -> anyhow::Result<Numbers> {
    let network = network_on(device, Encoder::Average(Average::default()))?;
    let mut adam = AdamW::new(network.params(), 0.1, 0.01, 1.0)?.with_sparse_rows();
    let proposal = Proposal::new(23, &[4, 4, 4, 7], true);
    let mut numbers = Numbers::new();
    for (step, actions) in [[4, 7], [9, 7]].iter().enumerate() {
        let candidates = proposal.candidates(actions, 5, &mut rng(&[step as u64]))?;
        let action_mask = candidates.action_mask(|_| &[3])?;
        let (recent, rewards) = ([2, 0, 23, 23, 1, 3, 9, 7], [1.0; 8]);
        let states =
            network.states_for_candidates(&[0, 4], &recent, &rewards, &[0.5, 0.25], &candidates.items, action_mask)?;
        let loss = network.sampled_log_prob(&states, &candidates)?.mean_all()?.neg()?;
        let norm = adam.descend(network.params(), &loss)?;
        numbers.insert(format!("step {step}"), vec![norm as f32, loss.to_scalar()?]);
    }
    numbers.extend(network.params().export()?.into_iter().map(|(name, array)| (name, array.data)));
    Ok(numbers)
}

#[test]
fn sampled_softmaxes_learn_the_same() {
    let Some(gpu) = gpu("comparing samples") else { return };
    assert_close("a sample", &of_sample(&Device::Cpu).unwrap(), &of_sample(&gpu).unwrap());
}

/// Five steps, of which the optimiser is exported after the second and resumes on the second device.
fn five_steps(devices: [&Device; 2]) -> anyhow::Result<Numbers> {
    let shape = [40, 30];
    let mut saved = None;
    let mut numbers = Numbers::new();
    for (part, device) in devices.into_iter().enumerate() {
        let mut params = Params::on(device);
        let x = params.add("x", &Init::new(1).normal(&shape, 1.0)?)?;
        let mut adam = AdamW::new(&params, 0.1, 0.01, 1.0)?;
        if let Some((values, state)) = &saved {
            params.import(values)?;
            adam.import(state)?;
        }
        for step in [0..2, 2..5][part].clone() {
            let g = Init::new(2 + step).normal(&shape, 1.0)?.to_device(device)?;
            let norm = adam.descend(&params, &(&x * &g)?.sum_all()?)?;
            numbers.insert(format!("norm {step}"), vec![norm as f32]);
        }
        saved = Some((params.export()?, adam.export()?));
    }
    let (values, state) = saved.expect("two parts");
    numbers.extend(values.into_iter().chain(state).map(|(name, array)| (name, array.data)));
    Ok(numbers)
}

#[test]
fn the_optimiser_steps_the_same_and_resumes_on_the_other_device() {
    let Some(gpu) = gpu("comparing steps of the optimiser") else { return };
    let wanted = five_steps([&Device::Cpu, &Device::Cpu]).unwrap();
    let mut off_by = Vec::new();
    for devices in [[&gpu, &gpu], [&gpu, &Device::Cpu], [&Device::Cpu, &gpu]] {
        off_by.extend(off(&wanted, &five_steps(devices).unwrap(), 1e-5));
    }
    assert!(off_by.is_empty(), "{off_by:#?}");
}

/// Asserts that a stage trains on the GPU as on the CPU, and resumes alternately on both when it is interrupted after each unit.
pub fn assert_same_training<S: Stage>(
    what: &str,
    stage: &S,
    inputs: &dyn Fn() -> S::Inputs,
    numbers: &dyn Fn(S::Outputs) -> Numbers,
) {
    let Some(_) = gpu(what) else { return };
    let on = |folder: &std::path::Path, device| stage.run(inputs(), &Context::detached(folder).on(device));
    let whole = |device| {
        let folder = tempfile::tempdir().unwrap();
        numbers(on(folder.path(), device).unwrap_or_else(|error| panic!("{what} on {device}: {error:#}")))
    };
    let to_and_fro = || {
        let folder = tempfile::tempdir().unwrap();
        for turn in 0.. {
            let device = if turn % 2 == 0 { pipeline::Device::Cuda(0) } else { pipeline::Device::Cpu };
            let cx = Context::detached(folder.path()).on(device);
            cx.interrupt();
            match stage.run(inputs(), &cx) {
                Ok(outputs) => return numbers(outputs),
                Err(error) => assert!(error.is::<Interrupted>() && turn < 1000, "{what}, turn {turn}: {error:#}"),
            }
        }
        unreachable!("a training ends")
    };
    let wanted = whole(pipeline::Device::Cpu);
    for (how, found) in [("on the GPU", whole(pipeline::Device::Cuda(0))), ("to and fro", to_and_fro())] {
        assert_close(&format!("{what} {how}"), &wanted, &found);
    }
}

/// Of all numbers one in fifty may be off by more than a thousandth: where a gradient is nearly 0, AdamW's first steps follow its
/// sign.
fn assert_close(what: &str, wanted: &Numbers, found: &Numbers) {
    let all: usize = wanted.values().map(Vec::len).sum();
    let pairs = wanted.iter().flat_map(|(name, values)| {
        let found = found.get(name).unwrap_or_else(|| panic!("{what}: no `{name}`"));
        assert_eq!(found.len(), values.len(), "{what}: `{name}`");
        values.iter().zip(found).map(move |(a, b)| (name, *a, *b))
    });
    let close = |a: f32, b: f32| (a - b).abs() <= 1e-3 * a.abs().max(1.0);
    let far: Vec<_> = pairs.filter(|(_, a, b)| !close(*a, *b)).collect();
    let shown = &far[..far.len().min(5)];
    assert!(50 * far.len() <= all, "{what}: {} of {all} numbers are off, such as {shown:?}", far.len());
}

/// Perturbs the user or item vectors of a world for such tests, so that no two items have equal scores up to rounding.
pub fn perturb(array: &mut Array, seed: u64) {
    use rand::RngExt as _;
    let mut draw = rng(&[seed, 0xca4d]);
    array.data.iter_mut().for_each(|x| *x += draw.random_range(-0.5..0.5));
}
