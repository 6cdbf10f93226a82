//! Returns and advantages of whole episodes, for learners with a critic.

/// R_t = Σ_{k<n} γᵏ r_{t+k} + γⁿ V(s_{t+n}) within each episode; beyond its end the value is 0. `rewards [S]`,
/// `values [S]` in the rewards' unit, `lengths` of the episodes → `[S]`. Mnih et al. 2016, algorithm S3.
#[must_use]
pub fn n_step_returns(rewards: &[f32], values: &[f32], lengths: &[usize], gamma: f64, n_step: usize) -> Vec<f32> {
    let mut returns = Vec::with_capacity(rewards.len());
    let mut start = 0;
    for &length in lengths {
        let end = start + length;
        for t in start..end {
            let last = t.saturating_add(n_step).min(end);
            let beyond = if last < end { f64::from(values[last]) } else { 0.0 };
            let sum = rewards[t..last].iter().rev().fold(beyond, |sum, &r| f64::from(r) + gamma * sum);
            returns.push(sum as f32);
        }
        start = end;
    }
    returns
}

/// A_t = Σ_k (γλ)ᵏ δ_{t+k}, δ_t = r_t + γ·V(s_{t+1}) − V(s_t), within each episode; beyond its end the value is 0.
/// Shapes as in [`n_step_returns`]. Schulman et al. 2016 (arXiv 1506.02438), eq. 16.
#[must_use]
pub fn generalised_advantages(rewards: &[f32], values: &[f32], lengths: &[usize], gamma: f64, lambda: f64) -> Vec<f32> {
    let mut advantages = vec![0.0; rewards.len()];
    let mut start = 0;
    for &length in lengths {
        let (mut sum, mut beyond) = (0.0, 0.0);
        for t in (start..start + length).rev() {
            let value = f64::from(values[t]);
            sum = f64::from(rewards[t]) + gamma * beyond - value + gamma * lambda * sum;
            advantages[t] = sum as f32;
            beyond = value;
        }
        start += length;
    }
    advantages
}

/// Adds γ·V(s′) to the reward of each step in `last`, with which an episode was cut off and not over: returns that reach it then go
/// on. `rewards [S]`, `last` and `beyond` the steps and the values V(s′) after them, in the rewards' unit.
pub fn bootstrap_truncated(rewards: &mut [f32], last: &[usize], beyond: &[f32], gamma: f64) {
    for (&step, &value) in last.iter().zip(beyond) {
        rewards[step] = (f64::from(rewards[step]) + gamma * f64::from(value)) as f32;
    }
}

/// Mean and 1/deviation.
fn moments(values: &[f32]) -> (f64, f64) {
    let count = values.len().max(1) as f64;
    let mean = values.iter().map(|&x| f64::from(x)).sum::<f64>() / count;
    let variance = values.iter().map(|&x| (f64::from(x) - mean).powi(2)).sum::<f64>() / count;
    (mean, 1.0 / (variance.sqrt() + 1e-6))
}

/// An estimate of each step's true advantage in the world that it was played in: the discounted return from there to the episode's end,
/// less the mean of all steps at the same turn. The world answers without chance and every episode is played by the present policy,
/// so that it is unbiased up to what differs between the states of a turn; it uses no critic. Shapes as in [`n_step_returns`].
#[must_use]
pub fn true_advantages(rewards: &[f32], lengths: &[usize], gamma: f64) -> Vec<f32> {
    let mut returns = n_step_returns(rewards, &[], lengths, gamma, usize::MAX);
    let longest = lengths.iter().copied().max().unwrap_or(0);
    let mut turns = vec![(0.0, 0_u32); longest];
    for (row, turn) in lengths.iter().flat_map(|&length| 0..length).enumerate() {
        turns[turn].0 += f64::from(returns[row]);
        turns[turn].1 += 1;
    }
    for (row, turn) in lengths.iter().flat_map(|&length| 0..length).enumerate() {
        let (sum, count) = turns[turn];
        returns[row] = (f64::from(returns[row]) - sum / f64::from(count)) as f32;
    }
    returns
}

/// Less the mean, over the deviation.
#[must_use]
pub fn normalised(mut values: Vec<f32>) -> Vec<f32> {
    let (mean, scale) = moments(&values);
    values.iter_mut().for_each(|x| *x = ((f64::from(*x) - mean) * scale) as f32);
    values
}

/// Advantages `[S]` of which the first `played` are the policy's own and the others demonstrated: the former less the mean of all,
/// the latter max(A, 0), both over the deviation of all. A mean would move the cut away from where a step is as good as usual.
#[must_use]
pub fn normalised_and_clipped(mut advantages: Vec<f32>, played: usize) -> Vec<f32> {
    let (mean, scale) = moments(&advantages);
    let (own, shown) = advantages.split_at_mut(played);
    own.iter_mut().for_each(|a| *a = ((f64::from(*a) - mean) * scale) as f32);
    shown.iter_mut().for_each(|a| *a = (f64::from(a.max(0.0)) * scale) as f32);
    advantages
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn returns_agree_with_hand_computed_values() {
        // Two episodes, n = 2, γ = ½: 1 + ½·2 + ¼·12; then 2 + ½·4; then 4; and 8 alone.
        let returns = n_step_returns(&[1.0, 2.0, 4.0, 8.0], &[10.0, 11.0, 12.0, 13.0], &[3, 1], 0.5, 2);
        assert_eq!(returns, [5.0, 4.0, 4.0, 8.0]);
    }

    #[test]
    fn advantages_agree_with_hand_computed_values() {
        // γ = ½, λ = ½: δ = (1 + 1 − 4, 3 − 2), A = (−2 + ¼·1, 1); and 8 − 3 alone.
        let advantages = generalised_advantages(&[1.0, 3.0, 8.0], &[4.0, 2.0, 3.0], &[2, 1], 0.5, 0.5);
        assert_eq!(advantages, [-1.75, 1.0, 5.0]);
        // λ = 1 is the whole return less the value, λ = 0 one step.
        let (rewards, values) = ([1.0, 2.0, 4.0], [10.0, 11.0, 12.0]);
        let whole = n_step_returns(&rewards, &values, &[3], 0.5, 3);
        let less: Vec<f32> = whole.iter().zip(values).map(|(r, v)| r - v).collect();
        assert_eq!(generalised_advantages(&rewards, &values, &[3], 0.5, 1.0), less);
        let one = n_step_returns(&rewards, &values, &[3], 0.5, 1);
        let less: Vec<f32> = one.iter().zip(values).map(|(r, v)| r - v).collect();
        assert_eq!(generalised_advantages(&rewards, &values, &[3], 0.5, 0.0), less);
    }

    #[test]
    fn a_true_advantage_is_what_a_step_returned_beyond_the_others_of_its_turn() {
        // γ = ½: returns 1 + ½·2 and 2; 4 alone; so the first turn's mean is 3.
        assert_eq!(true_advantages(&[1.0, 2.0, 4.0], &[2, 1], 0.5), [-1.0, 0.0, 1.0]);
        assert!(true_advantages(&[], &[], 0.5).is_empty());
    }

    #[test]
    fn normalised_values_have_mean_zero_and_deviation_one() {
        let found = normalised(vec![1.0, 3.0, 5.0, 7.0]);
        let wanted = [-3.0, -1.0, 1.0, 3.0].map(|d: f32| d / 5.0_f32.sqrt());
        assert!(found.iter().zip(wanted).all(|(a, b)| (a - b).abs() < 1e-5), "{found:?}");
        assert_eq!(normalised(vec![2.0, 2.0]), [0.0, 0.0]);
    }

    #[test]
    fn demonstrated_advantages_are_cut_where_a_step_is_as_good_as_usual() {
        // Mean 4 and deviation √5: a 3 is below the mean, and better than usual all the same.
        let found = normalised_and_clipped(vec![1.0, 7.0, 3.0, 5.0], 2);
        let wanted = [-3.0, 3.0, 3.0, 5.0].map(|d: f32| d / 5.0_f32.sqrt());
        assert!(found.iter().zip(wanted).all(|(a, b)| (a - b).abs() < 1e-5), "{found:?}");
        // Mean −4: a −3 is above the mean, and worse than usual.
        let found = normalised_and_clipped(vec![-1.0, -7.0, -3.0, -5.0], 2);
        let wanted = [3.0, -3.0, 0.0, 0.0].map(|d: f32| d / 5.0_f32.sqrt());
        assert!(found.iter().zip(wanted).all(|(a, b)| (a - b).abs() < 1e-5), "{found:?}");
    }

    #[test]
    fn returns_go_on_beyond_a_cut() {
        // n = 2, γ = ½, V(s′) = 8 after the third step: 1 + ½·2 + ¼·12; 2 + ½·4 + ¼·8; 4 + ½·8; the episode of 8 is over.
        let mut rewards = [1.0, 2.0, 4.0, 8.0];
        bootstrap_truncated(&mut rewards, &[2], &[8.0], 0.5);
        assert_eq!(n_step_returns(&rewards, &[10.0, 11.0, 12.0, 13.0], &[3, 1], 0.5, 2), [5.0, 6.0, 8.0, 8.0]);
    }
}
