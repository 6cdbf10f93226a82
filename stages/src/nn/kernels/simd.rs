//! Loops compiled for the widest registers that the processor at hand has.

/// How many partial sums a reduction here keeps, whatever the registers hold: a fixed number, so that every processor adds in the
/// same order.
pub const LANES: usize = 16;

/// Runs `work` as it was compiled for AVX-512, for AVX2 or for any processor of the architecture. What it calls must be inlined into
/// it to gain by that. Products and sums are never contracted, so the bits are the same each time.
#[inline(always)]
pub fn with_simd<R>(work: impl FnOnce() -> R) -> R {
    pulp::Arch::new().dispatch(work)
}

/// Numbers of an elementwise pass that are worth a thread.
pub const PART: usize = 1 << 15;
