//! The optimum of GAIL's form is the density ratio (method: known tables ρ_E and ρ_π).

use candle_core::{DType, Device, Tensor, Var};

use crate::nn::adversarial::adversarial_loss;
use crate::nn::discriminator::{DiscriminatorBatch, DiscriminatorConfig};
use crate::nn::{AdamW, Discriminator, Params};

const EXPERT: [f64; 3] = [0.5, 0.3, 0.2];
const POLICY: [f64; 3] = [0.2, 0.3, 0.5];

fn both(logits: &Tensor, expert: [f64; 3]) -> Tensor {
    let like = |values: &[f64]| Tensor::new(values, &Device::Cpu).unwrap().to_dtype(logits.dtype()).unwrap();
    let targets = like(&[1.0, 1.0, 1.0, 0.0, 0.0, 0.0]);
    adversarial_loss(&Tensor::cat(&[logits, logits], 0).unwrap(), &targets, &like(&[expert, POLICY].concat())).unwrap()
}

#[test]
fn the_discriminator_finds_the_density_ratio() {
    let discriminator =
        Discriminator::new(DiscriminatorConfig { inputs: 3, hidden_size: 8, ..DiscriminatorConfig::default() }, 1)
            .unwrap();
    let mut adam = AdamW::new(discriminator.params(), 0.02, 0.0, f64::INFINITY).unwrap();
    let one_hot = DiscriminatorBatch::of_state_actions(Tensor::eye(3, DType::F32, &Device::Cpu).unwrap());
    for step in 0..3000 {
        adam.learning_rate = 0.02 * (1.0 - f64::from(step) / 3000.0);
        let logits = discriminator.unclipped_logits(&one_hot).unwrap();
        adam.descend(discriminator.params(), &both(&logits, EXPERT)).unwrap();
    }
    let logits = discriminator.logits(&one_hot).unwrap().to_vec1::<f32>().unwrap();
    for ((z, e), p) in logits.iter().zip(EXPERT).zip(POLICY) {
        let (ratio, d) = (f64::from(*z).exp(), 1.0 / (1.0 + f64::from(*z).exp()));
        assert!((ratio - e / p).abs() < 1e-3, "1/D − 1 is {ratio} for {}", e / p);
        assert!((d - p / (p + e)).abs() < 1e-3, "D is {d} for {}", p / (p + e));
    }
}

#[test]
fn weights_m_times_as_large_add_log_m_to_the_logit() {
    let best = |m: f64| {
        let mut params = Params::default();
        let logits = params.add("z", &Tensor::zeros(3, DType::F64, &Device::Cpu).unwrap()).unwrap();
        let mut adam = AdamW::new(&params, 0.05, 0.0, f64::INFINITY).unwrap();
        for step in 0..1500 {
            adam.learning_rate = 0.05 * (1.0 - f64::from(step) / 1500.0);
            adam.descend(&params, &both(&logits, EXPERT.map(|e| m * e))).unwrap();
        }
        let (_, var): (_, &Var) = params.iter().next().unwrap();
        var.to_vec1::<f64>().unwrap()
    };
    for ((plain, heavy), (e, p)) in best(1.0).iter().zip(best(2.5)).zip(EXPERT.iter().zip(POLICY)) {
        assert!((plain - (e / p).ln()).abs() < 1e-3, "{plain}");
        assert!((heavy - plain - 2.5_f64.ln()).abs() < 1e-3, "{heavy} after {plain}");
    }
}
