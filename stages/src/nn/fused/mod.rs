//! Operators that do in one pass, forward and back, what candle composes of many.
//!
//! A composed operator walks memory once for each of its parts, and its gradient once more for each, with a buffer of zeros to add
//! to; at the widths of the networks here those walks cost more than the matrix products between them. Each operator here is one
//! of candle's custom ones, is checked in its tests against the plain composition and against finite differences in f64, and sums
//! in one fixed order, so that its bits depend neither on threads nor on the width of the processor's registers. What is large is
//! shared by the threads of the pool in parts whose borders depend on shapes alone; gradients of parameters go straight to the
//! optimiser that asked for them.
//!
//! They work on the processor. On a card each entry gives the composition in [`plain`] instead. Deliberately not here: second
//! derivatives.

mod adam;
mod elementary;
mod handed;
mod head;
mod layer_norm;
mod linear;
mod lookup;
pub mod plain;
mod product;
mod real;
mod recurrent;
mod softplus;
mod taken;
mod wide;

pub use adam::{Moments, Rates, Step, sum_of_squares};
pub use elementary::exp;
pub use handed::{Gradient, taking};
pub use head::{Chosen, Scene, head, shares};
pub use layer_norm::layer_norm;
pub use linear::{Activation, linear};
pub use lookup::lookup;
pub use real::{Real, contiguous, with_slices};
pub use recurrent::recurrent;
pub use softplus::softplus;
pub use taken::{Taken, highest, taken};
pub use wide::{LANES, PART, wide};
