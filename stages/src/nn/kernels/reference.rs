//! Reference implementations: the kernels composed of candle's operations. They run on a GPU, and tests compare the kernels with them.

use candle_core::{D, Result, Tensor, Var};
use candle_nn::ops::sigmoid;

use super::mask::mask_logits;
use super::{ActionScores, Activation, Atoms, HeadInputs, Rates};

/// See [`linear`](super::linear); `x [B, I]`.
pub fn linear(x: &Tensor, weight: &Tensor, bias: &Tensor, activation: Activation) -> Result<Tensor> {
    let sums = x.matmul(&weight.t()?)?.broadcast_add(bias)?;
    match activation {
        Activation::None => Ok(sums),
        Activation::Tanh => sums.tanh(),
    }
}

/// See [`layer_norm`](super::layer_norm).
pub fn layer_norm(x: &Tensor, gain: &Tensor, bias: &Tensor, epsilon: f64) -> Result<Tensor> {
    let centred = x.broadcast_sub(&x.mean_keepdim(D::Minus1)?)?;
    let variance = centred.sqr()?.mean_keepdim(D::Minus1)?;
    let normal = centred.broadcast_div(&(variance + epsilon)?.sqrt()?)?;
    normal.broadcast_mul(gain)?.broadcast_add(bias)
}

/// See [`softplus`](super::softplus).
pub fn softplus(x: &Tensor) -> Result<Tensor> {
    x.relu()? + (x.abs()?.neg()?.exp()? + 1.0)?.log()?
}

/// See [`gru`](super::gru()).
pub fn gru(x: &Tensor, hidden: &Tensor, hidden_bias: &Tensor, mask: &Tensor) -> Result<Tensor> {
    let ((batch, turns, _), (width, _)) = (x.dims3()?, hidden.dims2()?);
    let mut h = Tensor::zeros((batch, width), x.dtype(), x.device())?;
    for turn in (0..turns).rev() {
        let (x, of_h) = (x.narrow(1, turn, 1)?.squeeze(1)?, h.matmul(hidden)?);
        let part = |t: &Tensor, k: usize| t.narrow(1, k * width, width);
        let gates = sigmoid(&(x.narrow(1, 0, 2 * width)? + of_h.narrow(1, 0, 2 * width)?)?)?;
        let remembered = part(&of_h, 2)?.broadcast_add(hidden_bias)?;
        let new = (part(&x, 2)? + (part(&gates, 0)? * remembered)?)?.tanh()?;
        let next = (&new + (part(&gates, 1)? * (&h - &new)?)?)?;
        h = (&h + (next - &h)?.broadcast_mul(&mask.narrow(1, turn, 1)?)?)?;
    }
    Ok(h)
}

/// The logits `[B]` of `items [B]` among `logits [B, A]`, and log-sum-exp `[B]` of each row; see
/// [`gathered_log_softmax`](super::gathered_log_softmax()).
pub fn gathered_log_softmax(logits: &Tensor, items: &Tensor) -> Result<(Tensor, Tensor)> {
    let logit = logits.gather(&items.unsqueeze(1)?, 1)?.squeeze(1)?;
    // The maximum cancels out of the sum and of its gradient.
    let high = logits.max_keepdim(D::Minus1)?.detach();
    let sum = logits.broadcast_sub(&high)?.exp()?.sum_keepdim(D::Minus1)?;
    Ok((logit, (sum.log()? + high)?.squeeze(1)?))
}

/// log π of `items [B]` and the entropy of each row of `logits [B, A]`, both `[B]`; see [`action_log_prob`](crate::nn::action_log_prob()).
pub fn action_log_prob(logits: &Tensor, items: &Tensor) -> Result<(Tensor, Tensor)> {
    let high = logits.max_keepdim(D::Minus1)?.detach();
    let below = logits.broadcast_sub(&high)?;
    let logs = below.broadcast_sub(&below.exp()?.sum_keepdim(D::Minus1)?.log()?)?;
    let entropy = (logs.exp()? * &logs)?.sum(D::Minus1)?.neg()?;
    Ok((logs.gather(&items.unsqueeze(1)?, 1)?.squeeze(1)?, entropy))
}

/// See [`output_layer`](super::output_layer()).
pub fn output_layer(
    x: &Tensor,
    weight: &Tensor,
    rest: &Tensor,
    inputs: HeadInputs,
    items: &[u32],
) -> Result<ActionScores> {
    let width = weight.dim(0)?;
    let mut scores = x.matmul(&weight.t()?)?.broadcast_add(&rest.narrow(0, 0, width)?)?;
    if let Some(features) = inputs.features {
        let weights = rest.narrow(0, width, features.dim(1)?)?.unsqueeze(1)?;
        scores = (&scores + features.matmul(&weights)?.reshape(scores.shape())?)?;
    }
    if let Some(action_mask) = inputs.action_mask {
        scores = mask_logits(&scores, action_mask)?;
    }
    let items = Tensor::new(items, x.device())?;
    let logit = scores.gather(&items.unsqueeze(1)?, 1)?.squeeze(1)?;
    let (log_prob, entropy) = action_log_prob(&scores, &items)?;
    Ok(ActionScores { logit, log_prob, entropy })
}

/// See [`expected_returns`](super::expected_returns()).
pub fn expected_returns(
    hidden: &Tensor,
    weight: &Tensor,
    bias: &Tensor,
    tilt: &Tensor,
    atoms: &Atoms,
) -> Result<Tensor> {
    let ((rows, width), (items, count)) = (hidden.dims2()?, bias.dims2()?);
    let own = hidden.matmul(&weight.reshape((items * count, width))?.t()?)?.reshape((rows, items, count))?;
    let tilted = tilt.unsqueeze(2)?.broadcast_mul(&atoms.places.reshape((1, 1, count))?)?;
    let logits = own.broadcast_add(&bias.unsqueeze(0)?)?.add(&tilted)?;
    let chances = candle_nn::ops::softmax(&logits, D::Minus1)?.reshape((rows * items, count))?;
    chances.matmul(&atoms.values.unsqueeze(1)?)?.reshape((rows, items))
}

/// See [`masked_mean`](super::masked_mean()).
pub fn masked_mean(x: &Tensor, mask: &Tensor) -> Result<Tensor> {
    let sum = x.broadcast_mul(&mask.unsqueeze(2)?)?.sum(1)?;
    sum.broadcast_div(&mask.sum_keepdim(1)?.maximum(1.0)?)
}

/// One step of AdamW: θ, and the new m and v; see [`Step`](super::Step).
pub fn adam(var: &Var, gradient: &Tensor, mean: &Tensor, square: &Tensor, rates: &Rates) -> Result<[Tensor; 2]> {
    let (x, g) = (var.as_tensor().detach(), (gradient.detach() * rates.scale)?);
    let [keep_1, keep_2] = rates.betas;
    let [correct_1, correct_2] = rates.corrections;
    let mean = ((mean * keep_1)? + (&g * (1.0 - keep_1))?)?;
    let square = ((square * keep_2)? + (g.sqr()? * (1.0 - keep_2))?)?;
    let update = ((&mean * (correct_1 * rates.learning_rate))? / ((&square * correct_2)?.sqrt()? + rates.epsilon)?)?;
    var.set(&((x * (1.0 - rates.learning_rate * rates.weight_decay))? - update)?)?;
    Ok([mean, square])
}

/// The same for the rows of a table with `used [N]` above 0; the others keep their values and moments.
pub fn adam_sparse(
    var: &Var,
    (gradient, used): (&Tensor, &Tensor),
    [mean, square]: [&Tensor; 2],
    rates: &Rates,
) -> Result<[Tensor; 2]> {
    let before = var.as_tensor().copy()?.detach();
    let [new_mean, new_square] = adam(var, gradient, mean, square, rates)?;
    let mut shape = vec![1; var.rank()];
    shape[0] = var.dim(0)?;
    let used = used.gt(0.0)?.reshape(shape)?.broadcast_as(var.shape())?.contiguous()?;
    var.set(&used.where_cond(&var.as_tensor().detach(), &before)?)?;
    Ok([used.where_cond(&new_mean, mean)?, used.where_cond(&new_square, square)?])
}

/// Σ x², a scalar.
pub fn sum_of_squares(x: &Tensor) -> Result<Tensor> {
    x.detach().sqr()?.sum_all()
}
