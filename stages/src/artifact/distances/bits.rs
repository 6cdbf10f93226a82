//! Sets of item numbers.

/// The numbers below `count` for which `is` holds, as bits.
pub(super) fn bits(count: usize, is: impl Fn(u32) -> bool) -> Vec<u64> {
    let mut bits = vec![0; count.div_ceil(64)];
    (0..count as u32).filter(|&k| is(k)).for_each(|k| bits[k as usize / 64] |= 1 << (k % 64));
    bits
}
