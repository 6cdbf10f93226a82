//! The factors against dense normal equations and finite differences, and a training that was stopped.

use super::*;

/// The objectives of Hu et al. and of Rendle et al.
fn objectives() -> [AlternatingLeastSquares; 2] {
    let of_hu = AlternatingLeastSquares {
        n_factors: 3,
        n_iterations: 4,
        unobserved_weight: 1.0,
        observed_weight: 0.0,
        alpha: 2.0,
        regularization: 0.5,
        frequency_exponent: 0.0,
        seed: 1,
    };
    let of_rendle = AlternatingLeastSquares {
        unobserved_weight: 0.1,
        observed_weight: 1.0,
        alpha: 0.3,
        regularization: 0.02,
        frequency_exponent: 0.7,
        ..of_hu.clone()
    };
    [of_hu, of_rendle]
}

/// Seven of eight users who rated some of fifteen items, one of them twice.
fn observed() -> ImplicitFeedback {
    let mut log = Interactions::default();
    for k in 0..40_u32 {
        log.user.push(k % 7);
        log.item.push((k * k + 3 * k) % 13);
        log.rating.push(1.0 + (k % 3) as f32);
        log.timestamp.push(0);
    }
    ImplicitFeedback::of(&log, [8, 15], "").unwrap()
}

fn r(observed: &ImplicitFeedback, user: usize, item: usize) -> f64 {
    observed.by_user.row(user).find(|(i, _)| *i as usize == item).map_or(0.0, |(_, r)| r)
}

/// L, each pair written out as the papers write it, less a constant of Hu et al.'s.
fn by_hand(als: &AlternatingLeastSquares, observed: &ImplicitFeedback, factors: &ImplicitFactors) -> f64 {
    let row = |of: &[f64], k: usize| of[k * 3..][..3].to_vec();
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let mut loss = 0.0;
    for user in 0..8 {
        for item in 0..15 {
            let (r, s) = (r(observed, user, item), dot(&row(&factors.users, user), &row(&factors.items, item)));
            let confidence = 1.0 + als.alpha * r;
            loss += match (als.observed_weight == 0.0, r > 0.0) {
                (true, true) => confidence * (1.0 - s).powi(2),
                (true, false) => s * s,
                (false, true) => confidence * (1.0 - s).powi(2) + als.unobserved_weight * s * s,
                (false, false) => als.unobserved_weight * s * s,
            };
        }
    }
    let count = |of: &SparseRows<f64>, row: usize| of.columns(row).len() as f64;
    let scale =
        |met: f64, all: f64| als.regularization * (met + als.unobserved_weight * all).powf(als.frequency_exponent);
    for user in 0..8 {
        let x = row(&factors.users, user);
        loss += scale(count(&observed.by_user, user), 15.0) * dot(&x, &x);
    }
    for item in 0..15 {
        let y = row(&factors.items, item);
        loss += scale(count(&observed.by_item, item), 8.0) * dot(&y, &y);
    }
    loss
}

#[test]
fn a_half_step_is_the_minimum_and_the_loss_is_that_of_all_pairs_and_never_rises() {
    let observed = observed();
    for als in objectives() {
        let folder = tempfile::tempdir().unwrap();
        let cx = Context::detached(folder.path());
        let bar = cx.bar("rows", None, "rows");
        let mut factors = als.initial(8, 15);
        let mut last = f64::INFINITY;
        for _ in 0..5 {
            factors.users = als.half_step(&observed.by_user, &factors.items, &bar, &cx).unwrap();
            let between = als.loss(&observed, &factors);
            assert!(factors.users[21..].iter().all(|&x| x == 0.0), "who rated nothing has no factors");
            for at in 0..24 {
                let moved = |by: f64| {
                    let mut factors = factors.clone();
                    factors.users[at] += by;
                    by_hand(&als, &observed, &factors)
                };
                let slope = (moved(1e-4) - moved(-1e-4)) / 2e-4;
                assert!(slope.abs() < 1e-6, "{at}: {slope}");
            }
            factors.items = als.half_step(&observed.by_item, &factors.users, &bar, &cx).unwrap();
            let loss = als.loss(&observed, &factors);
            assert!(between <= last && loss <= between, "{last} → {between} → {loss}");
            let wanted = by_hand(&als, &observed, &factors);
            assert!((loss - wanted).abs() < 1e-9 * wanted, "{loss} for {wanted}");
            last = loss;
        }
    }
}

#[test]
fn a_training_that_was_stopped_ends_as_one_that_was_not() {
    let (observed, [als, _]) = (observed(), objectives());
    let fit = |cx: &Context| {
        let mut curves = Curves::default();
        als.fit(&observed, &mut curves, |factors| Ok(vec![("first", factors.users[0])]), cx)
            .map(|factors| (factors, curves))
    };
    let (whole, pieces) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let undisturbed = fit(&Context::detached(whole.path())).unwrap();
    assert_eq!(undisturbed.1.0.len(), 8);
    let mut stops = 0;
    let resumed = loop {
        let cx = Context::detached(pieces.path());
        cx.interrupt();
        match fit(&cx) {
            Ok(found) => break found,
            Err(error) => assert!(error.is::<pipeline::Interrupted>(), "{error:#}"),
        }
        stops += 1;
        assert!(stops <= 4, "no way ahead");
    };
    assert!(stops > 2 && undisturbed == resumed);
}

#[test]
fn a_penalty_that_is_lost_in_rounding_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let [als, _] = objectives();
    let als = AlternatingLeastSquares { n_factors: 64, alpha: 1e12, regularization: 1e-15, ..als };
    let found = als.fit(&observed(), &mut Curves::default(), |_| Ok(Vec::new()), &Context::detached(folder.path()));
    let error = found.err().unwrap().to_string();
    assert!(error.contains("have no solution") && error.ends_with("help: raise `regularization`"), "{error}");
}
