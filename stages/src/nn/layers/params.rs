//! Trainable tensors by name, in a fixed order.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use candle_core::{DType, Device, Tensor, Var};

use crate::artifact::Array;

/// The parameters of one module tree; names are dotted paths (`actor.body.0.weight`). The order is that of the names, so
/// that an optimiser's state and a file's bytes do not depend on how a module was built.
#[derive(Clone, Debug, Default)]
pub struct Params {
    vars: BTreeMap<String, Var>,
    /// The type of parameters; that of their initial values where it is `None`.
    dtype: Option<DType>,
    /// Their device; the CPU where it is `None`.
    device: Option<Device>,
}

impl Params {
    /// Parameters on that device.
    #[must_use]
    pub fn on(device: &Device) -> Self {
        Self { device: Some(device.clone()), ..Self::default() }
    }

    /// Their device.
    #[must_use]
    pub fn device(&self) -> &Device {
        self.device.as_ref().unwrap_or(&Device::Cpu)
    }

    /// Parameters in f64, whose gradients can be compared with finite differences.
    #[cfg(test)]
    pub fn in_f64() -> Self {
        Self { dtype: Some(DType::F64), ..Self::default() }
    }

    /// Adds a parameter with its initial value, from wherever, and returns the tensor that stays bound to it.
    pub fn add(&mut self, name: &str, initial: &Tensor) -> Result<Tensor> {
        ensure!(!self.vars.contains_key(name), "parameter `{name}` is declared twice");
        let var =
            Var::from_tensor(&initial.to_dtype(self.dtype.unwrap_or(initial.dtype()))?.to_device(self.device())?)?;
        let tensor = var.as_tensor().clone();
        self.vars.insert(name.to_owned(), var);
        Ok(tensor)
    }

    /// Parameters with their names, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&String, &Var)> {
        self.vars.iter()
    }

    /// Copies of all values.
    pub fn export(&self) -> Result<BTreeMap<String, Array>> {
        self.iter().map(|(name, var)| Ok((name.clone(), to_array(var.as_tensor())?))).collect()
    }

    /// Sets every parameter from `arrays`; names and shapes must agree.
    pub fn import(&self, arrays: &BTreeMap<String, Array>) -> Result<()> {
        for (name, var) in self.iter() {
            let array = arrays.get(name).with_context(|| format!("no parameter `{name}` in the file"))?;
            ensure!(
                array.shape == var.dims(),
                "parameter `{name}` is {:?} in the file and {:?} here",
                array.shape,
                var.dims()
            );
            var.set(&to_tensor(array)?.to_dtype(var.dtype())?.to_device(var.device())?)?;
        }
        Ok(())
    }
}

/// A copy of a tensor's values as f32.
pub fn to_array(tensor: &Tensor) -> Result<Array> {
    Ok(Array::new(tensor.dims(), tensor.to_dtype(DType::F32)?.flatten_all()?.to_vec1()?))
}

/// A tensor of an array's values, on the CPU.
pub fn to_tensor(array: &Array) -> Result<Tensor> {
    Ok(Tensor::from_slice(&array.data, array.shape.as_slice(), &Device::Cpu)?)
}
