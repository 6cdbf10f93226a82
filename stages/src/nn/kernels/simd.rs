//! Loops compiled for the widest SIMD registers of the CPU.

/// Number of partial sums of a reduction. It does not depend on the registers, so that every CPU adds in the same order.
pub const LANES: usize = 16;

/// Runs `work` compiled for AVX-512, for AVX2 or for the baseline of the architecture. Functions that it calls must be inlined into it. Products and sums are never contracted, so the bits are the same each time.
#[inline(always)]
pub fn with_simd<R>(work: impl FnOnce() -> R) -> R {
    pulp::Arch::new().dispatch(work)
}

/// Numbers of an elementwise pass per thread.
pub const PART: usize = 1 << 15;
