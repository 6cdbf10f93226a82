//! The tables of a policy's file that hold numbers of each item, and items behind those of the file.

use anyhow::{Context as _, Result, ensure};

use crate::artifact::{Array, TensorFile};
use crate::nn::encoders::item_features::{SLOTS, TABLE as FEATURES};
use crate::nn::encoders::item_similarity::item_bandwidth;
use crate::nn::policy::actor_critic::{ActorCriticConfig, BANDWIDTH, USER_VECTORS};
use crate::nn::policy::{bcq_policy, categorical, mixture_policy};

/// The frozen vectors of the items.
const VECTORS: &str = "table.item_vectors";
/// E_in, whose last row is the padding's.
const ITEM_IN: &str = "item_in";

/// What stands before the names of a network's parameters: nothing, or that of the second network of a form.
const NETWORKS: [&str; 3] = ["", bcq_policy::PREFIX, mixture_policy::FROZEN];
/// Parameters with a row for each item: of a network, and of the layer of a categorical one.
const OF_NETWORK: [&str; 3] = [ITEM_IN, "item_out", "bias"];
const OF_ATOMS: [&str; 2] = ["weight", "bias"];

/// The names of the tables, in one order.
fn names(file: &TensorFile) -> Vec<String> {
    let of_networks = NETWORKS.iter().flat_map(|network| OF_NETWORK.map(|name| format!("{network}{name}")));
    let of_atoms = OF_ATOMS.map(|name| format!("{}{name}", categorical::PREFIX));
    let all = of_networks.chain(of_atoms).chain([VECTORS.to_owned()]);
    all.filter(|name| file.arrays.contains_key(name)).collect()
}

/// What a policy knows of each of `items`, row numbers: a table `[items, K]` for each of its own. The vector of a recent item is that with
/// which its columns are added, where the policy reads some.
///
/// # Errors
/// When the file's arrays do not fit its items.
pub fn item_tables(file: &TensorFile, items: &[usize]) -> Result<Vec<Array>> {
    let config: ActorCriticConfig = file.about()?;
    let mut tables = Vec::new();
    for name in names(file) {
        let all = &file.arrays[&name];
        let rows = config.items + usize::from(name.ends_with(ITEM_IN));
        ensure!(all.shape.first() == Some(&rows), "`{name}` is {:?}, and there are {} items", all.shape, config.items);
        let width = all.data.len() / rows;
        let mut data: Vec<f32> = items.iter().flat_map(|&i| &all.data[i * width..(i + 1) * width]).copied().collect();
        if let Some(network) = name.strip_suffix(ITEM_IN) {
            add_columns(&mut data, file, network, items)?;
        }
        tables.push(Array::new(&[items.len(), width], data));
    }
    Ok(tables)
}

/// Adds Σ_k w_k·M\[id_k\] of the items' columns.
fn add_columns(rows: &mut [f32], file: &TensorFile, network: &str, items: &[usize]) -> Result<()> {
    let table = file.arrays.get(&format!("{network}{FEATURES}"));
    let ([Some(ids), Some(weights)], Some(table)) = (SLOTS.map(|name| file.arrays.get(name)), table) else {
        return Ok(());
    };
    let width = table.shape[1];
    for (row, &item) in rows.chunks_exact_mut(width).zip(items) {
        for (&id, &weight) in ids.row(item).iter().zip(weights.row(item)) {
            ensure!((id as usize) < table.shape[0], "item {item} has the column {id} of {}", table.shape[0]);
            row.iter_mut().zip(table.row(id as usize)).for_each(|(x, m)| *x += weight * m);
        }
    }
    Ok(())
}

/// Adds items behind those of the file: for each table of [`item_tables`] rows `[n, K]`. Nothing changes for the items that there are, the
/// unit of their similarity included.
///
/// # Errors
/// When the rows do not fit the tables.
pub fn add_items(file: &mut TensorFile, new: Vec<Array>) -> Result<()> {
    let config: ActorCriticConfig = file.about()?;
    let added = new.first().map_or(0, |rows| rows.shape[0]);
    if !file.arrays.contains_key(BANDWIDTH) {
        let of = |name: &str| file.arrays.get(name).with_context(|| format!("no array `{name}` in the policy's file"));
        let bandwidth = item_bandwidth(of(USER_VECTORS)?, of(VECTORS)?, config.similar_fraction)?;
        file.arrays.insert(BANDWIDTH.to_owned(), Array::new(&[1], vec![bandwidth as f32]));
    }
    let names = names(file);
    ensure!(names.len() == new.len(), "{} tables, and rows of {}", names.len(), new.len());
    for (name, rows) in names.into_iter().zip(new) {
        let table = file.take(&name)?;
        let width = table.data.len() / table.shape[0].max(1);
        ensure!(rows.shape == [added, width], "rows {:?} for `{name}` of {width} numbers an item", rows.shape);
        file.arrays.insert(name, inserted(table, config.items, &rows.data));
    }
    for name in SLOTS {
        // Their columns are in their vectors already.
        if let Some(slots) = file.arrays.remove(name) {
            let none = vec![0.0; added * slots.shape[1]];
            file.arrays.insert(name.to_owned(), inserted(slots, config.items, &none));
        }
    }
    file.tell("items", &(config.items + added))
}

/// A table with more rows behind the first `items`.
fn inserted(table: Array, items: usize, rows: &[f32]) -> Array {
    let Array { mut shape, mut data } = table;
    let width = data.len() / shape[0].max(1);
    shape[0] += rows.len() / width.max(1);
    data.splice(items * width..items * width, rows.iter().copied());
    Array { shape, data }
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;
    use crate::artifact::{FeatureColumn, ItemFeatures};
    use crate::env::{Observation, states};
    use crate::nn::policy::bcq_policy::BcqPolicy;
    use crate::nn::policy::categorical::Categorical;
    use crate::nn::policy::mixture_policy::MixturePolicy;
    use crate::nn::policy::policy_io::load;
    use crate::nn::policy::support::Support;
    use crate::nn::{ActorCritic, Encoder};

    const ITEMS: usize = 5;

    fn numbers(shape: &[usize], start: usize) -> Array {
        let value = |k: usize| ((k + start) as f32 * 1.7 + 0.3).sin();
        Array::new(shape, (0..shape.iter().product()).map(value).collect())
    }

    fn moved(mut file: TensorFile) -> TensorFile {
        for (start, (_, array)) in file.arrays.iter_mut().filter(|(name, _)| !name.starts_with("table.")).enumerate() {
            let change = numbers(&array.shape, 13 * start);
            array.data.iter_mut().zip(change.data).for_each(|(x, change)| *x += 0.2 * change);
        }
        file
    }

    fn network(seed: u64, columns: bool) -> ActorCritic {
        let config = ActorCriticConfig {
            users: 3,
            items: ITEMS,
            width: 2,
            window: 2,
            hidden_size: 4,
            encoder: Encoder::Window,
            prior_scale: 1.0,
            similarity_penalty: 1.0,
            similar_fraction: 0.3,
        };
        let features = ItemFeatures {
            columns: vec![FeatureColumn { name: "brand".into(), width: 1, table_rows: 3 }],
            ids: Array::new(&[ITEMS, 1], vec![0.0, 1.0, 2.0, 1.0, 0.0]),
            weights: Array::new(&[ITEMS, 1], vec![1.0, 0.5, -1.0, 1.0, 0.0]),
        };
        let vectors = [&numbers(&[3, 2], 5), &numbers(&[ITEMS, 2], 11)];
        let features = columns.then_some(&features);
        ActorCritic::with_item_features(&Device::Cpu, config, vectors, seed, features).unwrap()
    }

    /// Scores after a session of two items.
    fn scores(file: &TensorFile, session: &[u32]) -> Vec<f32> {
        let network = load(file).unwrap();
        let mut observation = Observation::unmasked(2);
        observation.push(1, session, &[0.5; 2][..session.len()], 4, network.config().items as u32);
        network.logits(&states(&network, &observation).unwrap()).unwrap().flatten_all().unwrap().to_vec1().unwrap()
    }

    #[test]
    fn a_copy_of_an_item_behind_all_others_is_that_item() {
        let plain = moved(network(1, false).export().unwrap());
        let support = Support { low: -2.0, high: 5.0, atoms: 3 };
        // Whether scores say nothing of other items: those of a mixture are log-probabilities over all of them.
        let forms = [
            (plain.clone(), true),
            (moved(network(1, true).export().unwrap()), true),
            (moved(BcqPolicy::export(&network(1, true), &network(2, true), 0.1).unwrap()), true),
            (moved(MixturePolicy::from_policy(&plain, 0.3, &Device::Cpu).unwrap().export().unwrap()), false),
            (moved(Categorical::new(network(1, true), support, 3).unwrap().export().unwrap()), true),
        ];
        for (file, alone) in forms {
            let mut more = file.clone();
            add_items(&mut more, item_tables(&file, &[3, 1]).unwrap()).unwrap();
            let apart = |scores: &[f32], item: usize| scores[item] - scores[0];
            for session in [&[][..], &[2, 3], &[1, 1], &[2, 0]] {
                let (before, after) = (scores(&file, session), scores(&more, session));
                assert_eq!(after.len(), ITEMS + 2);
                for item in 0..ITEMS {
                    let (old, new) = (apart(&before, item), apart(&after, item));
                    assert!(!alone || (old - new).abs() < 1e-4, "{item} after {session:?}: {old} {new}");
                }
                // A copy was not shown itself: it is as similar to what was shown as its original is, and no repeat.
                if session.iter().all(|item| ![3, 1].contains(item)) {
                    let (copy, own) = (apart(&after, ITEMS), apart(&after, 3));
                    assert!((copy - own).abs() < 1e-4, "{copy} {own}");
                }
            }
            // Shown, it is to the encoder what its original is.
            let apart = |scores: &[f32]| scores[2] - scores[4];
            let (of_copy, of_own) = (scores(&more, &[0, ITEMS as u32]), scores(&more, &[0, 3]));
            assert!((apart(&of_copy) - apart(&of_own)).abs() < 1e-4);
        }
    }

    #[test]
    fn rows_that_do_not_fit_are_refused() {
        let mut file = network(1, false).export().unwrap();
        let mut rows = item_tables(&file, &[0]).unwrap();
        assert_eq!(rows.iter().map(|rows| rows.shape.clone()).collect::<Vec<_>>(), [[1, 2], [1, 2], [1, 1], [1, 2]]);
        rows[1] = Array::new(&[1, 3], vec![0.0; 3]);
        assert!(add_items(&mut file.clone(), rows.clone()).unwrap_err().to_string().contains("`item_out`"));
        rows.pop();
        assert!(add_items(&mut file, rows).unwrap_err().to_string().starts_with("4 tables"));
    }
}
