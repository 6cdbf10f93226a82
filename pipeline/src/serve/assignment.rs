//! Which of several policies answers whom.

/// The place in `shares`, which sum to 1, that a user belongs to: always the same, and independent of every other user's. `who` is the user's id,
/// or of somebody unnamed the history.
pub(super) fn assigned(who: &str, shares: &[f64]) -> usize {
    let bytes = blake3::hash(who.as_bytes());
    let number = u64::from_le_bytes(bytes.as_bytes()[..8].try_into().expect("a digest has 32 bytes"));
    let at = (number >> 11) as f64 / (1_u64 << 53) as f64;
    let mut sum = 0.0;
    let found = shares.iter().position(|share| {
        sum += share;
        at < sum
    });
    // Shares may sum to a little less than 1.
    found.unwrap_or_else(|| shares.iter().rposition(|&share| share > 0.0).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_split_by_the_shares_and_stay_where_they_are() {
        let of = |shares: &[f64]| (0..20_000).map(|k| assigned(&format!("u{k}"), shares)).collect::<Vec<_>>();
        let split = of(&[0.9, 0.1]);
        let second = split.iter().filter(|&&place| place == 1).count();
        assert!((1_850..2_150).contains(&second), "{second}");
        assert_eq!(split, of(&[0.9, 0.1]));
        // Where the first share grows, nobody leaves it.
        let grown = of(&[0.95, 0.05]);
        assert!(split.iter().zip(&grown).all(|(before, after)| after <= before));
        assert!(of(&[1.0]).iter().chain(&of(&[1.0, 0.0])).all(|&place| place == 0));
        assert!(of(&[0.0, 1.0]).iter().all(|&place| place == 1));
        assert!(of(&[0.3, 0.3, 0.399_999_9]).iter().all(|&place| place < 3));
    }
}
