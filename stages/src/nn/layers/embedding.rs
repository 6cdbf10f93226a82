//! Rows of a table by id.

use anyhow::{Result, ensure};
use candle_core::Tensor;

use crate::nn::Params;
use crate::nn::kernels::embedding;

/// A trainable table `[N, D]`.
#[derive(Clone, Debug)]
pub struct Embedding {
    table: Tensor,
}

impl Embedding {
    /// The parameter `name` with these initial rows.
    pub fn new(params: &mut Params, name: &str, initial: &Tensor) -> Result<Self> {
        ensure!(initial.rank() == 2, "table `{name}` is {:?}, wanted rows of equal width", initial.dims());
        Ok(Self { table: params.add(name, initial)? })
    }

    /// The rows of `ids`, any shape `[…]` of u32 → `[…, D]`.
    ///
    /// # Errors
    /// When an id is beyond the table.
    pub fn forward(&self, ids: &Tensor) -> candle_core::Result<Tensor> {
        embedding(&self.table, ids)
    }
}

/// Refuses ids at or beyond `count`.
pub fn check_ids(what: &str, ids: &[u32], count: usize) -> Result<()> {
    let wrong = ids.iter().find(|&&id| id as usize >= count);
    ensure!(wrong.is_none(), "{what} {} is not among {count}", wrong.unwrap_or(&0));
    Ok(())
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;
    use crate::nn::optim::gradient_check::assert_every_parameter_learns;

    #[test]
    fn rows_are_found_and_learn() {
        let mut params = Params::default();
        let rows = Tensor::new(&[[1.0_f32, 2.0], [3.0, 4.0], [5.0, 6.0]], &Device::Cpu).unwrap();
        let table = Embedding::new(&mut params, "t", &rows).unwrap();
        let ids = Tensor::new(&[[2_u32, 0], [2, 2]], &Device::Cpu).unwrap();
        let found = table.forward(&ids).unwrap();
        let wanted = [[[5.0, 6.0], [1.0, 2.0]], [[5.0, 6.0], [5.0, 6.0]]];
        assert_eq!(found.to_vec3::<f32>().unwrap(), wanted.map(|pair| pair.map(|row| row.to_vec()).to_vec()).to_vec());
        assert_every_parameter_learns(&params, || table.forward(&ids)?.sqr()?.sum_all());
        check_ids("item", &[0, 2], 3).unwrap();
        assert_eq!(check_ids("item", &[0, 3], 3).unwrap_err().to_string(), "item 3 is not among 3");
    }
}
