//! Columns of integers in the smallest width that holds their range (frame of reference), which halves the writes of a log.
//!
//! It compresses less than a general compressor, but is as fast as copying.

use anyhow::{Context as _, Result, ensure};

/// Appends `least (8 bytes) · shift (1) · width (1) · ((number − least) >> shift, width bytes each)`, all little-endian: no
/// number loses a bit.
pub(in crate::ingest) fn pack(numbers: impl ExactSizeIterator<Item = i64> + Clone, into: &mut Vec<u8>) {
    let first = numbers.clone().next().unwrap_or(0);
    // The lowest bit in which two numbers differ is the lowest of their difference, whichever two are compared.
    let span = |(least, most, bits): (i64, i64, i64), x: i64| (least.min(x), most.max(x), bits | (x ^ first));
    let (least, most, bits) = numbers.clone().fold((first, first, 0), span);
    let shift = if bits == 0 { 0 } else { bits.trailing_zeros() };
    let width = match most.wrapping_sub(least) as u64 >> shift {
        0 => 0,
        1..=0xff => 1,
        0x100..=0xffff => 2,
        0x1_0000..=0xffff_ffff => 4,
        _ => 8,
    };
    into.extend(least.to_le_bytes());
    into.extend([shift as u8, width]);
    let shifted = numbers.map(|x| x.wrapping_sub(least) as u64 >> shift);
    match width {
        0 => {}
        1 => put(shifted, into, |x| [x as u8]),
        2 => put(shifted, into, |x| (x as u16).to_le_bytes()),
        4 => put(shifted, into, |x| (x as u32).to_le_bytes()),
        _ => put(shifted, into, u64::to_le_bytes),
    }
}

/// Into bytes that are there already: to append them one by one costs more than all the rest.
fn put<const W: usize>(
    numbers: impl ExactSizeIterator<Item = u64>,
    into: &mut Vec<u8>,
    bytes: impl Fn(u64) -> [u8; W],
) {
    let start = into.len();
    into.resize(start + W * numbers.len(), 0);
    for (slot, number) in into[start..].as_chunks_mut().0.iter_mut().zip(numbers) {
        *slot = bytes(number);
    }
}

/// Takes `count` numbers from the front of the bytes.
pub(in crate::ingest) fn unpack<T>(bytes: &mut &[u8], count: usize, to: impl Fn(i64) -> T) -> Result<Vec<T>> {
    let early = "a column that ends early";
    let (least, rest) = bytes.split_first_chunk::<8>().context(early)?;
    let (&[shift, width], rest) = rest.split_first_chunk::<2>().context(early)?;
    ensure!(shift < 64 && [0, 1, 2, 4, 8].contains(&width), "a column of {width} bytes shifted by {shift}");
    let length = count.checked_mul(usize::from(width)).context(early)?;
    let (column, rest) = rest.split_at_checked(length).context(early)?;
    *bytes = rest;
    let least = i64::from_le_bytes(*least);
    let number = |x: u64| to(least.wrapping_add((x << shift) as i64));
    Ok(match width {
        0 => (0..count).map(|_| number(0)).collect(),
        1 => column.iter().map(|&x| number(x.into())).collect(),
        2 => column.as_chunks().0.iter().map(|x| number(u16::from_le_bytes(*x).into())).collect(),
        4 => column.as_chunks().0.iter().map(|x| number(u32::from_le_bytes(*x).into())).collect(),
        _ => column.as_chunks().0.iter().map(|x| number(u64::from_le_bytes(*x))).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_back_and_take_what_they_need() {
        let halves: Vec<i64> = (1..=10).map(|x| i64::from((x as f32 / 2.0).to_bits())).collect();
        for (numbers, width) in [
            (vec![], 0),
            (vec![7, 7, 7], 0),
            (vec![-3, 252], 1),
            (halves, 1),
            (vec![0, 0x100], 1),
            (vec![0, 0x101], 2),
            (vec![1_000_000_000, 1_999_999_999], 4),
            (vec![i64::MIN, -1, 0, i64::MAX], 8),
        ] {
            let mut packed = Vec::new();
            pack(numbers.iter().copied(), &mut packed);
            assert_eq!(packed.len(), 10 + width * numbers.len(), "{numbers:?}");
            packed.push(9);
            let mut rest = &packed[..];
            assert_eq!(unpack(&mut rest, numbers.len(), |x| x).unwrap(), numbers);
            assert_eq!(rest, [9]);
            assert!(unpack(&mut &packed[..9], numbers.len(), |x| x).is_err());
            if width > 0 {
                assert!(unpack(&mut &packed[..packed.len() - 2], numbers.len(), |x| x).is_err(), "{numbers:?}");
            }
        }
    }
}
