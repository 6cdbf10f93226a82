//! What settings of learners must keep, and how it is said.

use crate::nn::AdamW;

/// The outcome of a check: the path of the setting and what is wrong with it.
pub type Checked = Result<(), (String, String)>;

fn wanted(path: &str, holds: bool, message: &str) -> Checked {
    if holds { Ok(()) } else { Err((path.to_owned(), message.to_owned())) }
}

/// A discount: between 0 and 1.
pub fn discount(path: &str, value: f64) -> Checked {
    wanted(path, (0.0..=1.0).contains(&value), "a discount lies between 0 and 1")
}

/// A share: between 0 and 1.
pub fn share(path: &str, value: f64) -> Checked {
    wanted(path, (0.0..=1.0).contains(&value), "a share lies between 0 and 1")
}

/// Between 0 and 1, both excluded.
pub fn inside(path: &str, value: f64, message: &str) -> Checked {
    wanted(path, value > 0.0 && value < 1.0, message)
}

/// A step size: above 0.
pub fn step_size(path: &str, value: f64) -> Checked {
    wanted(path, AdamW::is_step_size(value), "a step size is above 0")
}

/// Above 0; infinity where there is no bound.
pub fn above_zero(path: &str, value: f64, message: &str) -> Checked {
    wanted(path, value > 0.0, message)
}

/// What a loss or a decay counts for: 0 or more.
pub fn weight(path: &str, value: f64) -> Checked {
    wanted(path, value >= 0.0 && value.is_finite(), "what a part counts for is 0 or more")
}

/// Any finite number.
pub fn finite(path: &str, value: f64) -> Checked {
    wanted(path, value.is_finite(), "a finite number")
}

/// A count of at least one.
pub fn some(path: &str, value: usize, message: &str) -> Checked {
    wanted(path, value > 0, message)
}

/// The updates between two checkpoints: at least one.
pub fn checkpoints(value: u64) -> Checked {
    wanted("checkpoint_every", value > 0, "a checkpoint comes after at least one update")
}

/// The settings of a part, named below `part`.
pub fn below(part: &str, checked: Checked) -> Checked {
    checked.map_err(|(path, message)| (format!("{part}.{path}"), message))
}
