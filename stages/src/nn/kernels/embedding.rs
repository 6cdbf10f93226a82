//! Embedding lookup with a sparse gradient.

use candle_core::backend::BackendStorage as _;
use candle_core::{CpuStorage, CudaStorage, CustomOp1, DType, Layout, Result, Shape, Storage, Tensor};
use rayon::prelude::*;

use super::param_grads::{Gradient, SparseRows, route_grad};
use super::{Float, PART, contiguous, with_slices};

/// The rows `ids […]` of u32 of `table [N, D]` or `[N]` → `[…, D]` or `[…]`. An optimiser gets the gradient of the used rows
/// only (see `param_grads`); candle gets that of the whole table.
///
/// # Errors
/// When an id is out of range. On a GPU ids are not checked, because that would synchronise with the CPU.
pub fn embedding(table: &Tensor, ids: &Tensor) -> Result<Tensor> {
    let shape = Shape::from([ids.dims(), &table.dims()[1..]].concat());
    table.contiguous()?.apply_op1(EmbeddingOp { ids: ids.flatten_all()?, shape })
}

struct EmbeddingOp {
    /// `[B]`, where the table is.
    ids: Tensor,
    /// Shape of the result.
    shape: Shape,
}

impl CustomOp1 for EmbeddingOp {
    fn name(&self) -> &'static str {
        "embedding"
    }

    fn cpu_fwd(&self, table: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        fn of<T: Float>(table: &[T], width: usize, ids: &[u32]) -> CpuStorage {
            let mut found = vec![T::zero(); ids.len() * width];
            copy(table, width, ids, &mut found);
            T::to_cpu_storage_owned(found)
        }
        let (count, ids) = (layout.dims()[0], self.ids.to_vec1::<u32>()?);
        if let Some(id) = ids.iter().find(|&&id| id as usize >= count) {
            candle_core::bail!("row {id} of a table of {count}");
        }
        let width = layout.dims()[1..].iter().product();
        let found = match table {
            CpuStorage::F64(_) => of::<f64>(contiguous(table, layout)?, width, &ids),
            _ => of::<f32>(contiguous(table, layout)?, width, &ids),
        };
        Ok((found, self.shape.clone()))
    }

    fn cuda_fwd(&self, table: &CudaStorage, layout: &Layout) -> Result<(CudaStorage, Shape)> {
        let (ids, of_ids) = self.ids.storage_and_layout();
        let Storage::Cuda(ids) = &*ids else { candle_core::bail!("ids that are not beside their table") };
        Ok((table.index_select(ids, layout, of_ids, 0)?, self.shape.clone()))
    }

    fn bwd(&self, table: &Tensor, _: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        match table.device().is_cpu() {
            true => route_grad(table, SparseRows::new(&self.ids.to_vec1::<u32>()?, gradient, table.dims())?),
            false => route_grad(table, Gradient::row_masked(&self.ids, gradient, table)?),
        }
    }
}

/// Copies the rows `ids` of `table`, which are in range, on several threads.
fn copy<T: Float>(table: &[T], width: usize, ids: &[u32], out: &mut [T]) {
    let width = width.max(1);
    let least = (PART / width).max(1);
    out.par_chunks_exact_mut(width).zip(ids).with_min_len(least).for_each(|(out, &id)| {
        out.copy_from_slice(&table[id as usize * width..][..width]);
    });
}

/// The rows `ids` of one table `[N, …]`, then the rows `more` of another, as constants: `[B + C, …]`.
///
/// # Errors
/// When an id is out of range, or the tables differ in shape or type.
pub fn gather_two((one, ids): (&Tensor, &[u32]), (other, more): (&Tensor, &[u32])) -> Result<Tensor> {
    fn of<T: Float>(tables: [&Tensor; 2], width: usize, ids: [&[u32]; 2]) -> Result<Vec<T>> {
        let mut found = vec![T::zero(); (ids[0].len() + ids[1].len()) * width];
        let (first, second) = found.split_at_mut(ids[0].len() * width);
        with_slices::<T, _, 2>(tables, |[one, other]| {
            copy(one, width, ids[0], first);
            copy(other, width, ids[1], second);
        })?;
        Ok(found)
    }
    let (rows, rest) = (one.dim(0)?, &one.dims()[1..]);
    if rest != &other.dims()[1..] || one.dtype() != other.dtype() {
        candle_core::bail!("rows of {:?} and of {:?}", one.dims(), other.dims());
    }
    for (ids, rows) in [(ids, rows), (more, other.dim(0)?)] {
        if let Some(id) = ids.iter().find(|&&id| id as usize >= rows) {
            candle_core::bail!("row {id} of a table of {rows}");
        }
    }
    if !one.device().is_cpu() {
        let at = |table: &Tensor, ids: &[u32]| table.index_select(&Tensor::new(ids, table.device())?, 0);
        return Tensor::cat(&[at(one, ids)?, at(other, more)?], 0);
    }
    let (width, shape) = (rest.iter().product(), [&[ids.len() + more.len()], rest].concat());
    match one.dtype() {
        DType::F64 => Tensor::from_vec(of::<f64>([one, other], width, [ids, more])?, shape, one.device()),
        _ => Tensor::from_vec(of::<f32>([one, other], width, [ids, more])?, shape, one.device()),
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;
    use crate::nn::Init;
    use crate::nn::optim::gradient_check::{assert_finite_differences, assert_same_gradients};

    #[test]
    fn it_is_what_the_reference_gives_and_its_gradient_is_exact() {
        let table = Init::new(1).normal(&[7, 5], 1.0).unwrap().to_dtype(DType::F64).unwrap();
        let ids = Tensor::new(&[[6_u32, 0], [6, 6], [3, 6]], &Device::Cpu).unwrap();
        let reference = |t: &Tensor| t.index_select(&ids.flatten_all()?, 0);
        assert_finite_differences(&table, |table| embedding(table, &ids)?.sqr()?.sum_all());
        assert_same_gradients(
            std::array::from_ref(&table),
            |[t]| embedding(t, &ids),
            |[t]| reference(t)?.reshape((3, 2, 5)),
        );
        assert!(embedding(&table, &Tensor::new(&[7_u32], &Device::Cpu).unwrap()).is_err());
        let column = table.narrow(1, 0, 1).unwrap().squeeze(1).unwrap().contiguous().unwrap();
        assert_same_gradients(&[column], |[t]| embedding(t, &ids), |[t]| reference(t)?.reshape((3, 2)));
    }

    #[test]
    fn rows_of_two_tables_stand_one_after_the_other() {
        for width in [None, Some(3)] {
            let table = |seed, rows: usize| {
                let shape: Vec<usize> = [rows].into_iter().chain(width).collect();
                Init::new(seed).normal(&shape, 1.0).unwrap()
            };
            let (one, other, ids, more) = (table(1, 5), table(2, 4), [4_u32, 0, 4], [3_u32, 1]);
            let at =
                |table: &Tensor, ids: &[u32]| table.index_select(&Tensor::new(ids, &Device::Cpu).unwrap(), 0).unwrap();
            let wanted = Tensor::cat(&[at(&one, &ids), at(&other, &more)], 0).unwrap();
            let found = gather_two((&one, &ids), (&other, &more)).unwrap();
            assert_eq!(found.dims(), wanted.dims());
            let numbers = |tensor: &Tensor| tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap();
            assert_eq!(numbers(&found), numbers(&wanted));
            assert!(
                gather_two((&one, &[5]), (&other, &more)).is_err() && gather_two((&one, &ids), (&other, &[4])).is_err()
            );
        }
    }
}
