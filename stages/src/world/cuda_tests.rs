//! Worlds fitted on an NVIDIA GPU; see [`assert_same_training`].

use super::{DeepFm, MatrixFactorisation, Outputs, UserSimulator, small_log, weighted};
use crate::nn::cuda_tests::{Numbers, assert_same_training};

fn numbers(outputs: Outputs) -> Numbers {
    let mut numbers = Numbers::from([("reward".to_owned(), outputs.world.stored_rewards().to_vec())]);
    for point in outputs.curves.0 {
        numbers.entry(point.series).or_default().push(point.value as f32);
    }
    numbers
}

#[test]
fn factors_are_fitted_alike() {
    let simulator = UserSimulator { embedding_dim: 2, ..UserSimulator::default() };
    let stage = MatrixFactorisation { n_epochs: 3, batch_size: 5, simulator, ..MatrixFactorisation::default() };
    assert_same_training("world.mf", &stage, &small_log, &numbers);
    let several = MatrixFactorisation { ensemble_size: 2, sample_negatives: true, ..stage };
    assert_same_training("world.mf", &several, &|| weighted(small_log()), &numbers);
}

#[test]
fn fields_are_fitted_alike() {
    let simulator = UserSimulator { embedding_dim: 2, ..UserSimulator::default() };
    let stage =
        DeepFm { n_epochs: 3, batch_size: 5, ensemble_size: 2, predict_variance: true, simulator, ..DeepFm::default() };
    assert_same_training("world.deepfm", &stage, &|| weighted(small_log()), &numbers);
}
