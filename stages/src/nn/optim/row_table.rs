//! A table of parameters whose used rows are stepped by lazy Adam, with the two moments of a row beside it.
//!
//! The other rows keep their values and moments; bias correction is by the number of all steps, as in PyTorch's `SparseAdam` and
//! TensorFlow's `LazyAdam`. A row of parameters and its moments are read together, so they lie together: a step of few rows of a large
//! table costs as many accesses to memory as there are rows.

use anyhow::{Result, ensure};

use crate::artifact::Array;
use crate::nn::kernels::{Rates, adam_along, sum_of_squares};

/// Rows that are worth a thread.
pub const ROWS: usize = 128;

/// `[N, W]` with moments.
pub struct RowTable {
    width: usize,
    /// θ, m and v of each row, `[N, 3, W]`.
    all: Vec<f32>,
}

impl RowTable {
    /// Of rows that lie in parts `[N, W_k]` with ΣW_k = W: those of θ, of m, and of v.
    ///
    /// # Errors
    /// When the parts differ in their number of rows.
    pub fn new(parts: &[Vec<Array>; 3]) -> Result<Self> {
        let rows = parts[0].first().map_or(0, |part| part.shape[0]);
        ensure!(parts.iter().flatten().all(|part| part.shape[0] == rows), "the parts of a table differ in their rows");
        let width = parts[0].iter().map(|part| part.shape[1]).sum::<usize>();
        let mut all = Vec::with_capacity(rows * 3 * width);
        for row in 0..rows {
            parts.iter().flatten().for_each(|part| all.extend_from_slice(part.row(row)));
        }
        ensure!(all.len() == rows * 3 * width, "θ, m and v of a table differ in their widths");
        Ok(Self { width, all })
    }

    /// The rows in parts of those widths: θ, m and v.
    #[must_use]
    pub fn parts(&self, widths: &[usize]) -> [Vec<Array>; 3] {
        let rows = self.all.len() / (3 * self.width).max(1);
        let mut first = 0;
        [(); 3].map(|()| {
            let part = |&width: &usize| {
                let own = self.all.chunks_exact(3 * self.width).flat_map(|row| &row[first..first + width]);
                let part = Array::new(&[rows, width], own.copied().collect());
                first += width;
                part
            };
            widths.iter().map(part).collect()
        })
    }

    /// W.
    #[must_use]
    pub fn width(&self) -> usize {
        self.width
    }

    /// θ of a row.
    #[must_use]
    #[inline(always)]
    pub fn row(&self, id: u32) -> &[f32] {
        &self.all[id as usize * 3 * self.width..][..self.width]
    }

    /// Steps the rows `ids`, ascending and distinct, along `gradients [ids, W]`; the threads share them.
    pub fn step(&mut self, rates: Rates, ids: &[u32], gradients: &[f32]) {
        step(rates, self.width, (ids, 0), gradients, &mut self.all);
    }
}

/// The rows of a table that begins with row `first`.
fn step(rates: Rates, width: usize, (ids, first): (&[u32], usize), gradients: &[f32], table: &mut [f32]) {
    if ids.len() <= ROWS {
        for (&id, gradient) in ids.iter().zip(gradients.chunks_exact(width)) {
            let row = &mut table[(id as usize - first) * 3 * width..][..3 * width];
            let (parameter, moments) = row.split_at_mut(width);
            let (mean, square) = moments.split_at_mut(width);
            adam_along(rates, gradient, parameter, mean, square);
        }
        return;
    }
    let (half, border) = (ids.len() / 2, ids[ids.len() / 2] as usize);
    let (table, other) = table.split_at_mut((border - first) * 3 * width);
    let (one, two) = gradients.split_at(half * width);
    rayon::join(
        || step(rates, width, (&ids[..half], first), one, table),
        || step(rates, width, (&ids[half..], border), two, other),
    );
}

/// √Σ x² over the gradients of several tables, by parts that are added in their order.
#[must_use]
pub fn gradient_norm(gradients: &[&[f32]]) -> f64 {
    gradients.iter().map(|gradient| sum_of_squares(gradient)).sum::<f64>().sqrt()
}

/// a · b in a fixed order of eight sums, for loops within [`with_simd`](crate::nn::with_simd).
#[must_use]
#[inline(always)]
pub fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut lanes = [0.0_f32; 8];
    let ((a, rest), (b, other)) = (a.as_chunks::<8>(), b.as_chunks::<8>());
    for (a, b) in a.iter().zip(b) {
        lanes.iter_mut().zip(a.iter().zip(b)).for_each(|(lane, (a, b))| *lane += a * b);
    }
    let rest = rest.iter().zip(other).fold(0.0, |sum, (a, b)| sum + a * b);
    let [a, b, c, d, e, f, g, h] = lanes;
    ((a + e) + (c + g)) + ((b + f) + (d + h)) + rest
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, Tensor};

    use super::*;
    use crate::nn::kernels::embedding;
    use crate::nn::{AdamW, Init, Params};

    /// Three steps of other rows of a table `[N, 1 + 4]` in two parts, beside those of AdamW with sparse rows.
    #[test]
    fn its_steps_are_those_of_the_optimiser_on_any_number_of_threads() {
        let rows = 5 * ROWS;
        let mut params = Params::default();
        let initial = |seed, width| Init::new(seed).normal(&[rows, width], 1.0).unwrap();
        let tables =
            [("a", 1, 1), ("b", 4, 2)].map(|(name, width, seed)| params.add(name, &initial(seed, width)).unwrap());
        let new = || AdamW::new(&params, 0.1, 0.01, f64::INFINITY).unwrap().with_sparse_rows();
        let (mut adam, mut counting) = (new(), new());
        let parts = |adam: &AdamW| {
            let (values, state) = (params.export().unwrap(), adam.export().unwrap());
            let of = |prefix: &str| ["a", "b"].map(|name| state[&format!("{prefix}.{name}")].clone()).to_vec();
            [["a", "b"].map(|name| values[name].clone()).to_vec(), of("m"), of("v")]
        };
        let mut stepped = [1, 2, 16].map(|threads| (threads, RowTable::new(&parts(&adam)).unwrap()));
        for step in 0..3_u32 {
            let ids: Vec<u32> = (0..rows as u32).filter(|id| id % (2 + step) == 0).collect();
            let gradient = Init::new(10 + u64::from(step)).normal(&[ids.len(), 5], 1.0).unwrap();
            let used = Tensor::new(ids.as_slice(), &Device::Cpu).unwrap();
            let of = |k: usize, from: usize, width: usize| {
                let gradient = gradient.narrow(1, from, width).unwrap();
                (embedding(&tables[k], &used).unwrap() * gradient).unwrap().sum_all().unwrap()
            };
            let norm = adam.descend(&params, &(of(0, 0, 1) + of(1, 1, 4)).unwrap()).unwrap();
            let gradient = gradient.flatten_all().unwrap().to_vec1::<f32>().unwrap();
            assert!((gradient_norm(&[&gradient]) - norm).abs() < 1e-3 * norm);
            let rates = counting.next_rates(norm).unwrap();
            for (threads, table) in &mut stepped {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(*threads).build().unwrap();
                pool.install(|| table.step(rates, &ids, &gradient));
            }
        }
        let wanted = parts(&adam);
        for (threads, found) in &stepped {
            assert!(found.parts(&[1, 4]) == wanted, "{threads} threads");
            assert_eq!((found.width(), found.row(3)[0]), (5, wanted[0][0].data[3]));
        }
    }

    #[test]
    fn parts_of_other_rows_or_widths_are_refused() {
        let part = |rows: usize, width: usize| vec![Array::new(&[rows, width], vec![0.0; rows * width])];
        assert!(RowTable::new(&[part(3, 1), part(3, 1), part(2, 1)]).is_err());
        assert!(RowTable::new(&[part(3, 1), part(3, 1), part(3, 2)]).is_err());
        assert!(RowTable::new(&[part(3, 2), part(3, 2), part(3, 2)]).is_ok());
    }

    #[test]
    fn a_product_by_hand_of_any_length() {
        for length in [0, 1, 7, 8, 19] {
            let a: Vec<f32> = (0..length).map(|k| k as f32).collect();
            let b: Vec<f32> = (0..length).map(|k| 1.0 - k as f32).collect();
            assert_eq!(dot(&a, &b), (0..length).map(|k| (k * (1 - k)) as f32).sum::<f32>());
        }
    }
}
