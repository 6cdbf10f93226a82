//! f32 for training and f64 for tests, behind one trait.

use candle_core::{CpuStorage, Error, Layout, Result, Storage, Tensor, WithDType};

use crate::artifact::math;

/// A number type of the kernels.
pub trait Float: WithDType + std::ops::Neg<Output = Self> {
    /// eˣ.
    fn exp(self) -> Self;
    /// ln x.
    fn ln(self) -> Self;
    /// ln(1 + x).
    fn ln_1p(self) -> Self;
    /// √x.
    fn sqrt(self) -> Self;
    /// |x|.
    fn abs(self) -> Self;
    /// The hyperbolic tangent.
    fn tanh(self) -> Self;
    /// 1/(1 + e⁻ˣ).
    fn sigmoid(self) -> Self;
    /// The same number in f64.
    fn widen(self) -> f64;
    /// The numbers of a storage, to be changed.
    ///
    /// # Errors
    /// When the storage holds numbers of another kind.
    fn vec_mut(storage: &mut CpuStorage) -> Result<&mut Vec<Self>>;
}

impl Float for f32 {
    #[inline(always)]
    fn exp(self) -> Self {
        math::exp(self)
    }
    #[inline(always)]
    fn ln(self) -> Self {
        self.ln()
    }
    #[inline(always)]
    fn ln_1p(self) -> Self {
        self.ln_1p()
    }
    #[inline(always)]
    fn sqrt(self) -> Self {
        self.sqrt()
    }
    #[inline(always)]
    fn abs(self) -> Self {
        self.abs()
    }
    #[inline(always)]
    fn tanh(self) -> Self {
        math::tanh(self)
    }
    #[inline(always)]
    fn sigmoid(self) -> Self {
        math::sigmoid(self)
    }
    #[inline(always)]
    fn widen(self) -> f64 {
        f64::from(self)
    }
    fn vec_mut(storage: &mut CpuStorage) -> Result<&mut Vec<Self>> {
        match storage {
            CpuStorage::F32(all) => Ok(all),
            _ => Err(Error::msg("not all of the tensors are f32")),
        }
    }
}

impl Float for f64 {
    #[inline(always)]
    fn exp(self) -> Self {
        self.exp()
    }
    #[inline(always)]
    fn ln(self) -> Self {
        self.ln()
    }
    #[inline(always)]
    fn ln_1p(self) -> Self {
        self.ln_1p()
    }
    #[inline(always)]
    fn sqrt(self) -> Self {
        self.sqrt()
    }
    #[inline(always)]
    fn abs(self) -> Self {
        self.abs()
    }
    #[inline(always)]
    fn tanh(self) -> Self {
        self.tanh()
    }
    #[inline(always)]
    fn sigmoid(self) -> Self {
        1.0 / (1.0 + (-self).exp())
    }
    #[inline(always)]
    fn widen(self) -> f64 {
        self
    }
    fn vec_mut(storage: &mut CpuStorage) -> Result<&mut Vec<Self>> {
        match storage {
            CpuStorage::F64(all) => Ok(all),
            _ => Err(Error::msg("not all of the tensors are f64")),
        }
    }
}

/// The numbers of a contiguous tensor's part of its storage.
///
/// # Errors
/// When there are gaps between them, or they are of another kind.
pub fn contiguous<'s, T: Float>(storage: &'s CpuStorage, layout: &Layout) -> Result<&'s [T]> {
    let (start, end) = layout.contiguous_offsets().ok_or_else(|| Error::msg("a kernel needs contiguous rows"))?;
    Ok(&T::cpu_storage_as_slice(storage)?[start..end])
}

/// Hands the numbers of tensors on the CPU to `work`, without a copy where they have no gaps.
///
/// # Errors
/// When a tensor is elsewhere or of another kind.
pub fn with_slices<T: Float, R, const N: usize>(tensors: [&Tensor; N], work: impl FnOnce([&[T]; N]) -> R) -> Result<R> {
    let dense = tensors.map(Tensor::contiguous);
    let mut contiguous_tensors = Vec::with_capacity(N);
    for tensor in dense {
        contiguous_tensors.push(tensor?);
    }
    let guards: Vec<_> = contiguous_tensors.iter().map(Tensor::storage_and_layout).collect();
    let mut slices: [&[T]; N] = [&[]; N];
    for (slice, (storage, layout)) in slices.iter_mut().zip(&guards) {
        let Storage::Cpu(storage) = &**storage else { candle_core::bail!("a kernel works on the CPU only") };
        *slice = contiguous(storage, layout)?;
    }
    Ok(work(slices))
}
