//! What settings of learners must keep, and how it is said.

/// The outcome of a check: the path of the setting and what is wrong with it.
pub type Validation = Result<(), (String, String)>;

fn require(path: &str, holds: bool, message: &str) -> Validation {
    if holds { Ok(()) } else { Err((path.to_owned(), message.to_owned())) }
}

/// A discount: between 0 and 1.
pub fn discount(path: &str, value: f64) -> Validation {
    require(path, (0.0..=1.0).contains(&value), "a discount lies between 0 and 1")
}

/// A share: between 0 and 1.
pub fn fraction(path: &str, value: f64) -> Validation {
    require(path, (0.0..=1.0).contains(&value), "a share lies between 0 and 1")
}

/// Between 0 and 1, both excluded.
pub fn open_interval(path: &str, value: f64, message: &str) -> Validation {
    require(path, value > 0.0 && value < 1.0, message)
}

/// Above 0; infinity where there is no bound.
pub fn positive(path: &str, value: f64, message: &str) -> Validation {
    require(path, value > 0.0, message)
}

/// What a loss or a decay counts for: 0 or more.
pub fn coefficient(path: &str, value: f64) -> Validation {
    require(path, value >= 0.0 && value.is_finite(), "what a part counts for is 0 or more")
}

/// Any finite number.
pub fn finite(path: &str, value: f64) -> Validation {
    require(path, value.is_finite(), "a finite number")
}

/// A count of at least one.
pub fn at_least_one(path: &str, value: usize, message: &str) -> Validation {
    require(path, value > 0, message)
}

/// Episodes that are played before something is learned of them.
pub fn episodes(value: usize) -> Validation {
    at_least_one("episodes", value, "at least one episode is played before it is learned from")
}

/// Gradient steps of a round.
pub fn gradient_steps(value: u64) -> Validation {
    at_least_one("gradient_steps", value as usize, "a round is learned from at least once")
}

/// Steps or transitions of a gradient step.
pub fn batch_size(value: usize) -> Validation {
    at_least_one("batch_size", value, "a gradient step needs at least one step of an episode")
}

/// Episodes of a replay.
pub fn replay_episodes(value: usize) -> Validation {
    at_least_one("replay_episodes", value, "a replay keeps at least one episode")
}

/// Steps of a return before something else tells the rest of it.
pub fn n_step(value: usize) -> Validation {
    at_least_one("n_step", value, "a return looks at least one step ahead")
}

/// Gradient steps between two renewals of a slow copy.
pub fn target_period(value: u64) -> Validation {
    at_least_one("target_period", value as usize, "a target lasts at least one gradient step")
}

/// The shares of random items, and of the rounds over which the first falls to the last.
pub fn epsilon(first: f64, last: f64, until: f64) -> Validation {
    fraction("epsilon_first", first)?;
    fraction("epsilon_last", last)?;
    fraction("epsilon_until", until)
}

/// What imitation counts for, and the demonstrated steps of each time.
pub fn imitation(value: f64, batch: usize) -> Validation {
    coefficient("imitation", value)?;
    at_least_one("imitation_batch", batch, "at least one step is imitated at a time; `imitation: 0` turns it off")
}

/// The updates between two checkpoints: at least one.
pub fn checkpoints(value: u64) -> Validation {
    require("checkpoint_every", value > 0, "a checkpoint comes after at least one update")
}

/// The settings of a part, named below `part`.
pub fn nested(part: &str, checked: Validation) -> Validation {
    checked.map_err(|(path, message)| (format!("{part}.{path}"), message))
}
