//! Rows of a table by id, whose gradient is of these rows alone.

use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor};

use super::handed::{Rows, handed_over};
use super::{Real, contiguous};

/// The rows `ids [B]` of `table [N, D]` → `[B, D]`. An optimiser that takes gradients by itself gets those of the rows that were used
/// (see `handed`); candle gets one of the whole table.
///
/// # Errors
/// When a row is none of the N.
pub fn lookup(table: &Tensor, ids: Vec<u32>) -> Result<Tensor> {
    let (count, _) = table.dims2()?;
    if let Some(id) = ids.iter().find(|&&id| id as usize >= count) {
        candle_core::bail!("row {id} of a table of {count}");
    }
    if !table.device().is_cpu() {
        return table.index_select(&Tensor::new(ids, table.device())?, 0);
    }
    table.contiguous()?.apply_op1(Lookup { ids })
}

struct Lookup {
    ids: Vec<u32>,
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
        let (_, width) = layout.shape().dims2()?;
        let found = match table {
            CpuStorage::F64(_) => of::<f64>(contiguous(table, layout)?, width, &self.ids),
            _ => of::<f32>(contiguous(table, layout)?, width, &self.ids),
        };
        Ok((found, Shape::from((self.ids.len(), width))))
    }

    fn bwd(&self, table: &Tensor, _: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        handed_over(table, Rows::new(&self.ids, gradient)?)
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
        let ids = vec![6, 0, 6, 6, 3];
        let plain = Tensor::new(ids.clone(), &Device::Cpu).unwrap();
        assert_finite_differences(&table, |table| lookup(table, ids.clone())?.sqr()?.sum_all());
        assert_same_gradients(&[table.clone()], |[t]| lookup(t, ids.clone()), |[t]| t.index_select(&plain, 0));
        assert!(lookup(&table, vec![7]).is_err());
    }
}
