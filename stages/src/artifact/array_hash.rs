//! BLAKE3 of arrays: of each its lengths as u64, then its numbers as f32, all little-endian.

use super::tensors::Array;

/// Adds an array, on all cores.
pub(super) fn update(hasher: &mut blake3::Hasher, array: &Array) {
    for &length in &array.shape {
        hasher.update(&(length as u64).to_le_bytes());
    }
    if cfg!(target_endian = "big") {
        array.data.iter().for_each(|x| _ = hasher.update(&x.to_le_bytes()));
        return;
    }
    hasher.update_rayon(bytemuck::cast_slice(&array.data));
}

/// The digest in hex.
pub(super) fn hex(hasher: &blake3::Hasher) -> String {
    hasher.finalize().to_hex().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_digest_of_lengths_and_numbers() {
        for count in [0, 3, 1 << 18, (1 << 18) + 1] {
            let array = Array::new(&[1, count], (0..count).map(|k| k as f32 * 0.37 - 5.0).collect());
            let mut bytes: Vec<u8> = [1, count as u64].iter().flat_map(|x| x.to_le_bytes()).collect();
            bytes.extend(array.data.iter().flat_map(|x| x.to_le_bytes()));
            let mut hasher = blake3::Hasher::new();
            update(&mut hasher, &array);
            assert_eq!(hex(&hasher), blake3::hash(&bytes).to_hex().to_string());
        }
    }
}
