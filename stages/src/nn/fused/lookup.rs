//! Rows of a table by id, whose gradient is of these rows alone.

use candle_core::backend::BackendStorage as _;
use candle_core::{CpuStorage, CudaStorage, CustomOp1, Layout, Result, Shape, Storage, Tensor};

use super::handed::{Gradient, Rows, handed_over};
use super::{Real, contiguous};

/// The rows `ids […]` of u32 of `table [N, D]` or `[N]` → `[…, D]` or `[…]`. An optimiser that takes gradients by itself gets those of
/// the rows that were used (see `handed`); candle gets one of the whole table.
///
/// # Errors
/// When a row is none of the N; on a card nobody looks, which would mean to wait for it.
pub fn lookup(table: &Tensor, ids: &Tensor) -> Result<Tensor> {
    let shape = Shape::from([ids.dims(), &table.dims()[1..]].concat());
    table.contiguous()?.apply_op1(Lookup { ids: ids.flatten_all()?, shape })
}

struct Lookup {
    /// `[B]`, where the table is.
    ids: Tensor,
    /// Of what is found.
    shape: Shape,
}

impl CustomOp1 for Lookup {
    fn name(&self) -> &'static str {
        "lookup"
    }

    fn cpu_fwd(&self, table: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        fn of<T: Real>(table: &[T], width: usize, ids: &[u32]) -> CpuStorage {
            let mut found = Vec::with_capacity(ids.len() * width);
            ids.iter().for_each(|&id| found.extend_from_slice(&table[id as usize * width..][..width]));
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
            true => handed_over(table, Rows::new(&self.ids.to_vec1::<u32>()?, gradient, table.dims())?),
            false => handed_over(table, Gradient::marked(&self.ids, gradient, table)?),
        }
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{DType, Device};

    use super::*;
    use crate::nn::Init;
    use crate::nn::gradient_check::{assert_finite_differences, assert_same_gradients};

    #[test]
    fn it_is_what_the_plain_operation_gives_and_its_gradient_is_exact() {
        let table = Init::new(1).normal(&[7, 5], 1.0).unwrap().to_dtype(DType::F64).unwrap();
        let ids = Tensor::new(&[[6_u32, 0], [6, 6], [3, 6]], &Device::Cpu).unwrap();
        let plain = |t: &Tensor| t.index_select(&ids.flatten_all()?, 0);
        assert_finite_differences(&table, |table| lookup(table, &ids)?.sqr()?.sum_all());
        assert_same_gradients(std::array::from_ref(&table), |[t]| lookup(t, &ids), |[t]| plain(t)?.reshape((3, 2, 5)));
        assert!(lookup(&table, &Tensor::new(&[7_u32], &Device::Cpu).unwrap()).is_err());
        let column = table.narrow(1, 0, 1).unwrap().squeeze(1).unwrap().contiguous().unwrap();
        assert_same_gradients(&[column], |[t]| lookup(t, &ids), |[t]| plain(t)?.reshape((3, 2)));
    }
}
