//! Gradients of parameters, passed from the operators to the optimiser.
//!
//! Candle adds each gradient to a buffer of zeros of the parameter's size: for a table of 100,000 items this costs more than the
//! optimiser's step. While an optimiser runs a backward pass, operators therefore store the gradients of its parameters here, and of an
//! embedding table only the rows that were used. Without an optimiser they return gradients to candle as usual. The collectors are
//! thread-local and form a stack, because a pool may run another training on the same thread meanwhile.

use std::cell::RefCell;

use candle_core::{DType, Error, Result, Tensor, TensorId};
use rayon::prelude::*;

use super::{Float, PART, with_slices};

/// The gradient of one parameter.
pub enum Gradient {
    /// Of the whole parameter.
    Dense(Tensor),
    /// Of some rows of a table; the gradient of the others is 0.
    Sparse(SparseRows),
    /// Of some rows of a table on a GPU, marked there, because listing them would synchronise with the CPU.
    RowMasked {
        /// Of the whole table.
        dense: Tensor,
        /// `[N]`: above 0 for each row that was used, else 0.
        used: Tensor,
    },
}

/// Rows of a table `[N, D]` or `[N]`.
pub struct SparseRows {
    /// Row numbers, ascending and distinct.
    pub ids: Vec<u32>,
    /// `[ids, D]` or `[ids]`.
    pub values: Tensor,
}

/// Gradients by parameter.
type ParamGrads = Vec<(TensorId, Option<Gradient>)>;

thread_local! {
    static COLLECTORS: RefCell<Vec<ParamGrads>> = const { RefCell::new(Vec::new()) };
}

/// Runs `work`, a backward pass, and returns its result with the gradients of `parameters` that it collected, in their order.
pub fn collect_param_grads<R>(parameters: &[&Tensor], work: impl FnOnce() -> R) -> (R, Vec<Option<Gradient>>) {
    /// Removes the collector when `work` panics, too.
    struct PopOnDrop;
    impl Drop for PopOnDrop {
        fn drop(&mut self) {
            COLLECTORS.with_borrow_mut(Vec::pop);
        }
    }
    COLLECTORS.with_borrow_mut(|collectors| {
        collectors.push(parameters.iter().map(|parameter| (parameter.id(), None)).collect())
    });
    let guard = PopOnDrop;
    let found = work();
    let collected =
        COLLECTORS.with_borrow_mut(|collectors| collectors.last_mut().map(std::mem::take)).unwrap_or_default();
    drop(guard);
    (found, collected.into_iter().map(|(_, gradient)| gradient).collect())
}

impl From<Tensor> for Gradient {
    fn from(dense: Tensor) -> Self {
        Self::Dense(dense)
    }
}

impl From<SparseRows> for Gradient {
    fn from(rows: SparseRows) -> Self {
        Self::Sparse(rows)
    }
}

impl Gradient {
    /// [`Gradient::RowMasked`] of the gradients `[…, D]` or `[…]` of the rows `ids [B]` of `table`.
    ///
    /// # Errors
    /// When their numbers differ.
    pub fn row_masked(ids: &Tensor, gradients: &Tensor, table: &Tensor) -> Result<Self> {
        let (drawn, rows) = (ids.dim(0)?, table.dim(0)?);
        let width = table.elem_count() / rows.max(1);
        let ones = Tensor::ones((drawn, 1), gradients.dtype(), gradients.device())?;
        let with_ones = Tensor::cat(&[&gradients.reshape((drawn, width))?, &ones], 1)?;
        let zeros = Tensor::zeros((rows, width + 1), gradients.dtype(), gradients.device())?;
        let sums = zeros.index_add(ids, &with_ones, 0)?;
        let dense = sums.narrow(1, 0, width)?.contiguous()?.reshape(table.shape())?;
        Ok(Self::RowMasked { dense, used: sums.narrow(1, width, 1)?.contiguous()?.squeeze(1)? })
    }

    /// Its stored numbers; all others are 0.
    #[must_use]
    pub fn values(&self) -> &Tensor {
        match self {
            Self::Dense(values) | Self::RowMasked { dense: values, .. } => values,
            Self::Sparse(rows) => &rows.values,
        }
    }

    /// As the gradient of the whole `parameter`.
    ///
    /// # Errors
    /// When a row is out of range.
    pub fn dense(self, parameter: &Tensor) -> Result<Tensor> {
        match self {
            Self::Dense(gradient) | Self::RowMasked { dense: gradient, .. } => Ok(gradient),
            Self::Sparse(rows) => rows.dense(parameter),
        }
    }
}

/// Passes the gradient of an operator's argument on: to the optimiser that collects it, else it is returned for candle.
///
/// # Errors
/// When two gradients of a parameter do not fit.
pub fn route_grad(argument: &Tensor, gradient: impl Into<Gradient>) -> Result<Option<Tensor>> {
    let gradient = gradient.into();
    COLLECTORS.with_borrow_mut(|collectors| {
        let place = collectors.iter_mut().rev().flatten().find(|(id, _)| *id == argument.id());
        let Some((_, sum)) = place else { return gradient.dense(argument).map(Some) };
        *sum = Some(match (sum.take(), gradient) {
            (None, gradient) => gradient,
            (Some(Gradient::Sparse(sum)), Gradient::Sparse(more)) => Gradient::Sparse(sum.add(&more)?),
            (Some(Gradient::RowMasked { dense: sum, used }), Gradient::RowMasked { dense, used: too }) => {
                Gradient::RowMasked { dense: (sum + dense)?, used: (used + too)? }
            }
            (Some(sum), more) => Gradient::Dense((sum.dense(argument)? + more.dense(argument)?)?),
        });
        Ok(None)
    })
}

impl SparseRows {
    /// Of the gradients `[…, D]` or `[…]` of the rows `ids [B]` of a table of the given shape; gradients of
    /// repeated ids are added in their order.
    ///
    /// # Errors
    /// When their numbers differ.
    pub fn new(ids: &[u32], gradients: &Tensor, table: &[usize]) -> Result<Self> {
        match gradients.dtype() {
            DType::F64 => Self::of::<f64>(ids, gradients, table),
            _ => Self::of::<f32>(ids, gradients, table),
        }
    }

    fn of<T: Float>(ids: &[u32], gradients: &Tensor, table: &[usize]) -> Result<Self> {
        let mut shape = table.to_vec();
        let width = shape[1..].iter().product::<usize>();
        if ids.len() * width != gradients.elem_count() {
            candle_core::bail!("{} ids for gradients of {:?}", ids.len(), gradients.dims());
        }
        let mut order: Vec<(u32, u32)> = ids.iter().zip(0..).map(|(&id, at)| (id, at)).collect();
        order.sort_unstable();
        let mut own: Vec<u32> = order.iter().map(|&(id, _)| id).collect();
        own.dedup();
        let mut values = vec![T::zero(); own.len() * width];
        let same: Vec<&[(u32, u32)]> = order.chunk_by(|a, b| a.0 == b.0).collect();
        with_slices::<T, _, 1>([gradients], |[gradients]| {
            let sums = values.par_chunks_exact_mut(width.max(1)).zip(&same).with_min_len((PART / width.max(1)).max(1));
            sums.for_each(|(sum, same)| {
                for &(_, at) in *same {
                    let row = &gradients[at as usize * width..][..width];
                    sum.iter_mut().zip(row).for_each(|(sum, &x)| *sum += x);
                }
            });
        })?;
        shape[0] = own.len();
        let values = Tensor::from_vec(values, shape, gradients.device())?;
        Ok(Self { ids: own, values })
    }

    /// As the gradient of the whole `table`.
    fn dense(&self, table: &Tensor) -> Result<Tensor> {
        fn of<T: Float>(rows: &SparseRows, table: &Tensor) -> Result<Tensor> {
            let mut all = vec![T::zero(); table.elem_count()];
            let width = table.elem_count() / table.dim(0)?.max(1);
            with_slices::<T, _, 1>([&rows.values], |[values]| {
                for (&id, row) in rows.ids.iter().zip(values.chunks_exact(width.max(1))) {
                    let place = all.get_mut(id as usize * width..).and_then(|all| all.get_mut(..width));
                    place.ok_or_else(|| Error::msg("a row is beyond its table"))?.copy_from_slice(row);
                }
                Ok::<(), Error>(())
            })??;
            Tensor::from_vec(all, table.shape(), table.device())
        }
        match table.dtype() {
            DType::F64 => of::<f64>(self, table),
            _ => of::<f32>(self, table),
        }
    }

    /// The sum of two sparse gradients.
    fn add(&self, more: &Self) -> Result<Self> {
        let ids = [self.ids.as_slice(), &more.ids].concat();
        Self::new(&ids, &Tensor::cat(&[&self.values, &more.values], 0)?, self.values.dims())
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, Var};

    use super::*;

    fn table() -> Var {
        Var::new(&[[1.0_f32, 2.0], [3.0, 4.0], [5.0, 6.0]], &Device::Cpu).unwrap()
    }

    fn rows(ids: &[u32], values: &[[f32; 2]]) -> SparseRows {
        let values = Tensor::from_slice(values.as_flattened(), (ids.len(), 2), &Device::Cpu).unwrap();
        SparseRows::new(ids, &values, &[3, 2]).unwrap()
    }

    #[test]
    fn rows_that_are_used_again_are_added_and_the_others_are_zero() {
        let found = rows(&[2, 0, 2], &[[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]);
        assert_eq!(found.ids, [0, 2]);
        let all = found.dense(table().as_tensor()).unwrap().to_vec2::<f32>().unwrap();
        assert_eq!(all, [[3.0, 4.0], [0.0, 0.0], [6.0, 8.0]]);
        assert!(rows(&[3], &[[1.0, 1.0]]).dense(table().as_tensor()).is_err());
        assert!(SparseRows::new(&[1, 2], &Tensor::new(&[[1.0_f32]], &Device::Cpu).unwrap(), &[3, 1]).is_err());
    }

    #[test]
    fn a_row_masked_gradient_equals_the_sparse_one() {
        let (table, ids) = (table(), [2_u32, 0, 2]);
        let values = [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]];
        let collected = Tensor::new(&values, &Device::Cpu).unwrap().reshape((1, 3, 2)).unwrap();
        let of = |table: &Tensor, collected: &Tensor| {
            let row_masked = Gradient::row_masked(&Tensor::new(&ids, &Device::Cpu).unwrap(), collected, table).unwrap();
            let Gradient::RowMasked { dense, used } = row_masked else { panic!("it is marked") };
            (dense, used.to_vec1::<f32>().unwrap())
        };
        let (dense, used) = of(table.as_tensor(), &collected);
        let wanted = rows(&ids, &values).dense(table.as_tensor()).unwrap();
        assert_eq!(dense.to_vec2::<f32>().unwrap(), wanted.to_vec2::<f32>().unwrap());
        assert_eq!(used, [1.0, 0.0, 2.0]);
        let (bias, collected) =
            (table.narrow(1, 0, 1).unwrap().squeeze(1).unwrap(), collected.narrow(2, 1, 1).unwrap());
        let (dense, used) = of(&bias, &collected.contiguous().unwrap().reshape((1, 3)).unwrap());
        assert_eq!((dense.to_vec1::<f32>().unwrap(), used), (vec![4.0, 0.0, 8.0], vec![1.0, 0.0, 2.0]));
    }

    #[test]
    fn a_collector_gets_the_sum_and_candle_gets_the_rest() {
        let (table, other) = (table(), table());
        let (table, other) = (table.as_tensor(), other.as_tensor());
        let give = |to: &Tensor, id: u32| route_grad(to, rows(&[id], &[[1.0, 1.0]])).unwrap();
        assert_eq!(give(table, 1).unwrap().to_vec2::<f32>().unwrap(), [[0.0, 0.0], [1.0, 1.0], [0.0, 0.0]]);
        let (returned, collected) = collect_param_grads(&[table], || {
            // A nested training on this thread collects its own gradients.
            let ((), inner) = collect_param_grads(&[other], || assert!(give(other, 0).is_none()));
            assert!(matches!(&inner[0], Some(Gradient::Sparse(rows)) if rows.ids == [0]));
            assert!(give(table, 1).is_none() && give(table, 0).is_none());
            give(other, 2)
        });
        assert!(returned.is_some());
        assert!(matches!(&collected[0], Some(Gradient::Sparse(rows)) if rows.ids == [0, 1]));
        let (_, collected) = collect_param_grads(&[table, other], || {
            give(table, 2);
            route_grad(table, table.ones_like().unwrap()).unwrap()
        });
        let Some(Gradient::Dense(sum)) = &collected[0] else { panic!("a gradient of all of it") };
        assert_eq!(sum.to_vec2::<f32>().unwrap(), [[1.0, 1.0], [1.0, 1.0], [2.0, 2.0]]);
        assert!(collected[1].is_none());
    }
}
