//! Fused CPU kernels: operators with one forward and one backward pass where candle composes several.
//!
//! A composition makes one pass over memory for each of its parts and one more for each gradient, with a buffer of zeros to add to. At
//! the layer sizes used here these passes cost more than the matrix products between them. Each kernel is a custom operator of candle.
//! Tests compare it with its [`reference`] and with finite differences in f64. It sums in a fixed order, so that its bits depend neither
//! on the number of threads nor on the width of the SIMD registers. Large work is divided among the threads of the pool at borders that
//! depend on shapes only. Gradients of parameters go directly to the optimiser.
//!
//! On a GPU each function uses its [`reference`] implementation. Second derivatives are not implemented.

mod adam;
mod arguments;
mod embedding;
mod expected_returns;
mod float;
mod gathered_log_softmax;
mod gru;
mod item_inputs;
mod item_scores;
mod layer_norm;
mod linear;
mod mask;
mod masked_mean;
mod matmul;
mod output_layer;
mod param_grads;
pub mod reference;
mod score_tiles;
mod simd;
mod softplus;
mod streamed_choice;
mod streamed_head;

pub use crate::artifact::math::exp;
pub use adam::{Moments, Rates, Step, along as adam_along, sum_of_squares};
pub use arguments::{ActionScores, Activation, Atoms, HeadInputs};
pub use embedding::{embedding, gather_two};
pub use expected_returns::expected_returns;
pub use float::{Float, contiguous, with_slices};
pub use gathered_log_softmax::{GatheredLogSoftmax, gathered_log_softmax, row_max};
pub use gru::gru;
pub use item_inputs::{ITEM_BLOCK, ItemInputs, SimilarItems, add_item_inputs};
pub use item_scores::{
    Floored, FrozenHead, Paired, Pairing, Shifted, StateRows, counts_from, expectations, highest, log_sum_exp, picked,
    shown_means,
};
pub use layer_norm::layer_norm;
pub use linear::{chain, linear};
pub use mask::{MASKED_LOGIT, mask_logits};
pub use masked_mean::masked_mean;
pub use output_layer::{output_layer, softmax_sums};
pub use param_grads::{Gradient, collect_param_grads};
pub use score_tiles::ItemScores;
pub use simd::{LANES, PART, with_simd};
pub use softplus::softplus;
pub use streamed_choice::{item_choice, streamed_choice};
pub use streamed_head::{StreamedScores, Wanted, streamed_head};

#[cfg(test)]
mod tests {
    use candle_core::{DType, Device, Tensor};
    use candle_nn::Module as _;

    use crate::nn::{AdamW, Embedding, Gru, Init, Mlp, Params};

    /// Two steps of networks whose sizes make every kernel divide its work: the losses and all parameters afterwards.
    fn trained(threads: usize) -> (Vec<u64>, Vec<u32>) {
        let (items, batch, turns) = (2100_usize, 130, 3);
        let (mut params, mut init) = (Params::default(), Init::new(1));
        let table = Embedding::new(&mut params, "items", &init.normal(&[items, 32], 1.0).unwrap()).unwrap();
        let gru = Gru::new(&mut params, "gru", 32, 48, &mut init).unwrap();
        let out = Mlp::new(&mut params, "out", &[48, 300, 64, items], 1.0, &mut init).unwrap();
        let value = Mlp::new(&mut params, "value", &[48, 700, 1], 1.0, &mut init).unwrap();
        let mut adam = AdamW::new(&params, 0.01, 0.01, 1.0).unwrap();
        let ids: Vec<u32> = (0..(batch * turns) as u32).map(|k| k * 7919 % items as u32).collect();
        let actions: Vec<u32> = (0..batch as u32).map(|k| k * 104_729 % items as u32).collect();
        let ids = Tensor::from_vec(ids, (batch, turns), &Device::Cpu).unwrap();
        let mask = Tensor::ones((batch, turns), DType::F32, &Device::Cpu).unwrap();
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let losses = pool.install(|| {
            let mut step = || {
                let states = gru.forward(&table.forward(&ids)?, &mask)?;
                let chosen = out.action_scores(&states, &actions)?;
                let imitation = (chosen.log_prob.mean_all()? + (chosen.entropy.mean_all()? * 0.1)?)?;
                let loss = (value.forward(&states)?.sqr()?.mean_all()? - imitation)?;
                anyhow::Ok([f64::from(loss.to_scalar::<f32>()?).to_bits(), adam.descend(&params, &loss)?.to_bits()])
            };
            [step().unwrap(), step().unwrap()].concat()
        });
        let parameters = params.export().unwrap();
        (losses, parameters.values().flat_map(|array| array.data.iter().map(|x| x.to_bits())).collect())
    }

    #[test]
    fn a_whole_step_has_the_same_bits_on_any_number_of_threads() {
        let alone = trained(1);
        assert!(trained(2) == alone && trained(3) == alone);
    }

    /// Concurrent trainings on one pool.
    #[test]
    fn trainings_on_one_pool_do_not_touch_each_other() {
        use rayon::prelude::*;
        let alone = trained(1);
        let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap();
        let step = |seed: u64| {
            let (mut params, mut init) = (Params::default(), Init::new(seed));
            let network = Mlp::new(&mut params, "m", &[64, 600, 600, 1], 1.0, &mut init).unwrap();
            let x = init.normal(&[256, 64], 1.0).unwrap();
            let mut adam = AdamW::new(&params, 0.01, 0.0, 1.0).unwrap();
            adam.descend(&params, &network.forward(&x).unwrap().sqr().unwrap().sum_all().unwrap()).unwrap().to_bits()
        };
        let concurrent: Vec<u64> = pool.install(|| (0..6).into_par_iter().map(step).collect());
        assert_eq!(concurrent, (0..6).map(step).collect::<Vec<u64>>());
        assert!(trained(2) == alone);
    }
}
