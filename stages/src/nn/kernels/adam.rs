//! One step of AdamW in one pass over a parameter and its two moments, in place.

use std::sync::Mutex;

use candle_core::{CpuStorage, Error, InplaceOp2, Layout, Result};
use rayon::prelude::*;

use super::{Float, LANES, PART, contiguous, with_simd};

/// The two moments of one parameter, of its kind and in its order.
pub struct Moments {
    /// The mean of the gradient, m.
    pub mean: CpuStorage,
    /// The mean of its square, v.
    pub square: CpuStorage,
}

/// The coefficients of one step; see [`AdamW`](crate::nn::AdamW).
#[derive(Clone, Copy)]
pub struct Rates {
    /// Factor of the gradients, from clipping.
    pub scale: f64,
    /// β₁ and β₂.
    pub betas: [f64; 2],
    /// 1/(1 − β₁ᵗ) and 1/(1 − β₂ᵗ).
    pub corrections: [f64; 2],
    /// ε.
    pub epsilon: f64,
    /// η.
    pub learning_rate: f64,
    /// λ.
    pub weight_decay: f64,
}

/// For `parameter.inplace_op2(gradient, …)`.
pub struct Step<'m> {
    rates: Rates,
    /// The rows that the gradient is of; all where it is `None`.
    rows: Option<&'m [u32]>,
    /// Behind a lock, because candle shares the operator as a constant.
    moments: Mutex<&'m mut Moments>,
}

impl<'m> Step<'m> {
    /// A step that also updates `moments`.
    pub fn new(rates: Rates, moments: &'m mut Moments) -> Self {
        Self { rates, rows: None, moments: Mutex::new(moments) }
    }

    /// A step of some rows of a table, by a gradient `[rows, D]`; the others and their moments do not change.
    pub fn of_rows(rates: Rates, rows: &'m [u32], moments: &'m mut Moments) -> Self {
        Self { rates, rows: Some(rows), moments: Mutex::new(moments) }
    }
}

impl InplaceOp2 for Step<'_> {
    fn name(&self) -> &'static str {
        "adam-w"
    }

    fn cpu_fwd(
        &self,
        parameter: &mut CpuStorage,
        parameter_layout: &Layout,
        gradient: &CpuStorage,
        gradient_layout: &Layout,
    ) -> Result<()> {
        let mut moments = self.moments.lock().map_err(|_| Error::msg("a thread panicked within this kernel"))?;
        match parameter {
            CpuStorage::F64(_) => {
                self.step::<f64>(&mut moments, parameter, parameter_layout, contiguous(gradient, gradient_layout)?)
            }
            _ => self.step::<f32>(&mut moments, parameter, parameter_layout, contiguous(gradient, gradient_layout)?),
        }
    }
}

impl Step<'_> {
    fn step<T: Float>(
        &self,
        moments: &mut Moments,
        parameter: &mut CpuStorage,
        layout: &Layout,
        gradient: &[T],
    ) -> Result<()> {
        let (start, end) = layout.contiguous_offsets().ok_or_else(|| Error::msg("a parameter with gaps"))?;
        let parameter = &mut T::vec_mut(parameter)?[start..end];
        let (mean, square) = (T::vec_mut(&mut moments.mean)?, T::vec_mut(&mut moments.square)?);
        if [mean.len(), square.len()] != [parameter.len(); 2] {
            candle_core::bail!("moments of another size than the parameter's {}", parameter.len());
        }
        let Some(rows) = self.rows else {
            if gradient.len() != parameter.len() {
                candle_core::bail!("a gradient of {} numbers for {}", gradient.len(), parameter.len());
            }
            let parts = parameter.par_chunks_mut(PART).zip(gradient.par_chunks(PART));
            let parts = parts.zip(mean.par_chunks_mut(PART)).zip(square.par_chunks_mut(PART));
            parts.for_each(|(((parameter, gradient), mean), square)| {
                along(self.rates, gradient, parameter, mean, square);
            });
            return Ok(());
        };
        let width = layout.dims()[1..].iter().product::<usize>();
        if gradient.len() != rows.len() * width {
            candle_core::bail!("a gradient of {} numbers for {} rows of {width}", gradient.len(), rows.len());
        }
        if let Some(&row) = rows.last().filter(|&&row| (row as usize + 1) * width > parameter.len()) {
            candle_core::bail!("row {row} beyond its table of {}", layout.dims()[0]);
        }
        along_rows(self.rates, (rows, 0), gradient, [parameter, mean, square]);
        Ok(())
    }
}

/// The rows of tables that begin with row `first`, in ascending order; the threads share them where they are many.
fn along_rows<T: Float>(
    rates: Rates,
    (rows, first): (&[u32], usize),
    gradient: &[T],
    [parameter, mean, square]: [&mut [T]; 3],
) {
    let width = gradient.len() / rows.len().max(1);
    if gradient.len() < PART || rows.len() < 2 {
        for (&row, gradient) in rows.iter().zip(gradient.chunks_exact(width.max(1))) {
            let place = (row as usize - first) * width..(row as usize - first + 1) * width;
            along(rates, gradient, &mut parameter[place.clone()], &mut mean[place.clone()], &mut square[place]);
        }
        return;
    }
    let (half, border) = (rows.len() / 2, rows[rows.len() / 2] as usize);
    let split = |all| <[T]>::split_at_mut(all, (border - first) * width);
    let ((p, parameter), (m, mean), (v, square)) = (split(parameter), split(mean), split(square));
    let (one, other) = gradient.split_at(half * width);
    rayon::join(
        || along_rows(rates, (&rows[..half], first), one, [p, m, v]),
        || along_rows(rates, (&rows[half..], border), other, [parameter, mean, square]),
    );
}

/// m ← β₁m + (1−β₁)g; v ← β₂v + (1−β₂)g²; θ ← θ − η·(m̂/(√v̂ + ε) + λθ).
pub fn along<T: Float>(rates: Rates, gradient: &[T], parameter: &mut [T], mean: &mut [T], square: &mut [T]) {
    let of = T::from_f64;
    let (scale, epsilon, rate, decay) =
        (of(rates.scale), of(rates.epsilon), of(rates.learning_rate), of(rates.weight_decay));
    let ([keep_1, keep_2], [correct_1, correct_2]) = (rates.betas.map(of), rates.corrections.map(of));
    let (new_1, new_2) = (of(1.0 - rates.betas[0]), of(1.0 - rates.betas[1]));
    with_simd(
        #[inline(always)]
        || {
            let each = parameter.iter_mut().zip(gradient).zip(mean.iter_mut()).zip(square.iter_mut());
            for (((x, &g), m), v) in each {
                let g = g * scale;
                *m = *m * keep_1 + g * new_1;
                *v = *v * keep_2 + g * g * new_2;
                let update = *m * correct_1 / ((*v * correct_2).sqrt() + epsilon);
                *x -= (update + *x * decay) * rate;
            }
        },
    );
}

/// Σ x² in f64, by parts that are added in their order on any number of threads.
pub fn sum_of_squares<T: Float>(all: &[T]) -> f64 {
    let parts = all.par_chunks(PART).map(|part| {
        with_simd(
            #[inline(always)]
            || {
                let mut lanes = [0.0_f64; LANES];
                let (chunks, rest) = part.as_chunks::<LANES>();
                for chunk in chunks {
                    for (lane, &x) in lanes.iter_mut().zip(chunk) {
                        let x = x.widen();
                        *lane += x * x;
                    }
                }
                rest.iter().map(|x| x.widen() * x.widen()).chain(lanes).fold(0.0, |sum, square| sum + square)
            },
        )
    });
    parts.collect::<Vec<f64>>().into_iter().fold(0.0, |sum, part| sum + part)
}
