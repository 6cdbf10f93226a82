//! Conditions on the settings of learners, with their messages.

/// The outcome of a check; the error is the path of a setting and the condition that it breaks.
pub type Validation = Result<(), (String, String)>;

fn require(path: &str, holds: bool, message: &str) -> Validation {
    if holds { Ok(()) } else { Err((path.to_owned(), message.to_owned())) }
}

/// A discount: between 0 and 1.
pub fn discount(path: &str, value: f64) -> Validation {
    require(path, (0.0..=1.0).contains(&value), "a discount lies between 0 and 1")
}

/// A fraction: between 0 and 1.
pub fn fraction(path: &str, value: f64) -> Validation {
    require(path, (0.0..=1.0).contains(&value), "a fraction lies between 0 and 1")
}

/// Between 0 and 1, both excluded.
pub fn open_interval(path: &str, value: f64, message: &str) -> Validation {
    require(path, value > 0.0 && value < 1.0, message)
}

/// Above 0; infinity where there is no bound.
pub fn positive(path: &str, value: f64, message: &str) -> Validation {
    require(path, value > 0.0, message)
}

/// The weight of a loss: 0 or more.
pub fn coefficient(path: &str, value: f64) -> Validation {
    require(path, value >= 0.0 && value.is_finite(), "a weight is 0 or more")
}

/// Any finite number.
pub fn finite(path: &str, value: f64) -> Validation {
    require(path, value.is_finite(), "this is a finite number")
}

/// A count of at least one.
pub fn at_least_one(path: &str, value: usize, message: &str) -> Validation {
    require(path, value > 0, message)
}

/// Episodes of an iteration.
pub fn episodes_per_update(value: usize) -> Validation {
    at_least_one("episodes_per_update", value, "an iteration plays at least one episode")
}

/// Gradient steps of an iteration.
pub fn gradient_steps(value: u64) -> Validation {
    at_least_one("gradient_steps", value as usize, "an iteration takes at least one gradient step")
}

/// Steps or transitions of a gradient step.
pub fn batch_size(value: usize) -> Validation {
    at_least_one("batch_size", value, "a batch holds at least one step")
}

/// Episodes of a replay buffer.
pub fn buffer_episodes(value: usize) -> Validation {
    at_least_one("buffer_episodes", value, "a replay buffer holds at least one episode")
}

/// Rewards of an n-step return.
pub fn n_step(value: usize) -> Validation {
    at_least_one("n_step", value, "an n-step return sums at least one reward")
}

/// Gradient steps between two updates of a target network.
pub fn target_update_interval(value: u64) -> Validation {
    at_least_one(
        "target_update_interval",
        value as usize,
        "the target network is updated after at least one gradient step",
    )
}

/// The schedule of ε.
pub fn epsilon(start: f64, end: f64, exploration_fraction: f64) -> Validation {
    fraction("epsilon_start", start)?;
    fraction("epsilon_end", end)?;
    fraction("exploration_fraction", exploration_fraction)
}

/// The weight of the behaviour-cloning loss, and the demonstrated steps of its batches.
pub fn behaviour_cloning(coef: f64, batch_size: usize) -> Validation {
    coefficient("bc_coef", coef)?;
    at_least_one(
        "bc_batch_size",
        batch_size,
        "a batch has at least one demonstrated step; `bc_coef: 0` turns behaviour cloning off",
    )
}

/// The updates between two checkpoints: at least one.
pub fn checkpoints(value: u64) -> Validation {
    require("checkpoint_every", value > 0, "at least one iteration lies between two checkpoints")
}

/// The check of a block of settings, with paths below `part`.
pub fn nested(part: &str, checked: Validation) -> Validation {
    checked.map_err(|(path, message)| (format!("{part}.{path}"), message))
}
