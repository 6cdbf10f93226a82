//! A model's [`Adaptation`] as an artifact, and back: refused for another model.

use anyhow::{Context as _, Result, bail, ensure};

use super::low_rank::LowRank;
use super::projection::Projection;
use super::{Adaptation, Gguf};
use crate::artifact::{Adapter, AdapterOrigin, Array, TensorFile};

impl Gguf {
    /// What was learned beside the weights of this model, as a file.
    ///
    /// # Errors
    /// Never in practice: the origin is plain text.
    pub fn adapter(&self, adaptation: &Adaptation, origin: &AdapterOrigin) -> Result<Adapter> {
        let mut file = TensorFile::new(origin)?;
        for (name, numbers) in adaptation.tensors() {
            let rows = match name.split('.').nth(1).and_then(|layer| layer.parse::<usize>().ok()) {
                Some(layer) => adaptation.low_rank[layer].values().next().map_or(0, |term| term.rank),
                None => numbers.len() / self.decoder.config.width,
            };
            file.arrays.insert(name, Array::new(&[rows, numbers.len() / rows], numbers.to_vec()));
        }
        Ok(Adapter(file))
    }

    /// Computes with what was learned from now on. `model_digest` is that of this model's file.
    ///
    /// # Errors
    /// An adapter of another model, or with a tensor that does not fit it.
    pub fn adapt(&mut self, adapter: &Adapter, model_digest: &str) -> Result<()> {
        let origin = adapter.origin()?;
        ensure!(
            origin.model_digest == model_digest,
            "the adapter was trained for the model {} whose file has the BLAKE3 digest {}; this is {} with {model_digest}\nhelp: \
             set `llm: {{ gguf: … }}` to the asset of the stage that trained it, or train an adapter for this model",
            origin.model,
            origin.model_digest,
            self.name
        );
        self.decoder.adaptation = Some(self.adaptation(adapter, origin.alpha)?);
        Ok(())
    }

    fn adaptation(&self, adapter: &Adapter, alpha: f64) -> Result<Adaptation> {
        let config = &self.decoder.config;
        let mut adaptation = Adaptation::default();
        for (name, array) in &adapter.0.arrays {
            let unfit = || format!("the adapter's tensor `{name}` of shape {:?} does not fit the model", array.shape);
            let &[rows, columns] = &array.shape[..] else { bail!(unfit()) };
            if name == "virtual_tokens" {
                ensure!(columns == config.width, unfit());
                adaptation.virtual_tokens.clone_from(&array.data);
                continue;
            }
            let parts: Vec<&str> = name.split('.').collect();
            let &["blk", layer, map, part] = &parts[..] else { bail!(unfit()) };
            let projection = Projection::ALL.into_iter().find(|projection| projection.tensor() == map);
            let (layer, projection): (usize, _) = (layer.parse().with_context(unfit)?, projection.with_context(unfit)?);
            let shape @ [outputs, inputs] = config.shape(projection);
            ensure!(layer < config.layers && columns == if part == "a" { inputs } else { outputs }, unfit());
            adaptation.low_rank.resize_with(config.layers, Default::default);
            let scale = (alpha / rows as f64) as f32;
            let term =
                adaptation.low_rank[layer].entry(projection).or_insert_with(|| LowRank::zeros(rows, shape, scale));
            ensure!(term.rank == rows && ["a", "b"].contains(&part), unfit());
            let numbers = if part == "a" { &mut term.a } else { &mut term.b };
            numbers.clone_from(&array.data);
        }
        Ok(adaptation)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Projection, toy};
    use super::*;

    const SEGMENTS: [&str; 2] = ["Watched: Heat\n", "Next:"];

    fn toy() -> Gguf {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("toy.gguf");
        toy::write_toy(&path).unwrap();
        Gguf::load(&path).unwrap()
    }

    fn origin(digest: &str) -> AdapterOrigin {
        let (model, learner) = ("toy".to_owned(), "align.sft".to_owned());
        AdapterOrigin { model, model_digest: digest.to_owned(), learner, alpha: 8.0 }
    }

    /// Low-rank terms that change the model, and two virtual tokens.
    fn learned(model: &Gguf) -> Adaptation {
        let mut learned = model.new_low_rank(&[Projection::Queries, Projection::Down], 4, 8.0, &[3]);
        for (place, numbers) in learned.tensors_mut().into_iter().enumerate() {
            numbers.iter_mut().step_by(3).for_each(|x| *x += 0.05 * (1 + place % 3) as f32);
        }
        learned.virtual_tokens = model.new_virtual_tokens("the theatre over", 2).unwrap().virtual_tokens;
        learned
    }

    #[test]
    fn a_session_of_an_adapted_model_computes_what_was_tuned() {
        let mut model = toy();
        let (segments, answer) = (SEGMENTS.map(str::to_owned), " the inner".to_owned());
        let learned = learned(&model);
        let mut score = |adapted: Option<&Adapter>| {
            if let Some(adapter) = adapted {
                model.adapt(adapter, "d1").unwrap();
            }
            let mut session = model.session();
            // The context without a question is cached without virtual tokens, and serves further questions.
            session.prepare(&segments[..1]).unwrap();
            let again = session.score(&segments, std::slice::from_ref(&answer)).unwrap()[0].logprob_sum;
            let fresh = model.session().score(&segments, std::slice::from_ref(&answer)).unwrap()[0].logprob_sum;
            assert_eq!(again.to_bits(), fresh.to_bits());
            fresh
        };
        let plain = score(None);
        let model = toy();
        let adapter = model.adapter(&learned, &origin("d1")).unwrap();
        let found = score(Some(&adapter));
        let sequence = model.sequence(&segments, &answer, 2).unwrap();
        let tuned = model.answer_nlls(&learned, &[sequence]).unwrap()[0];
        assert!((found + tuned).abs() < 1e-4 && (found - plain).abs() > 1e-3, "{found}, {tuned}, {plain}");
    }

    #[test]
    fn an_adapter_comes_back_and_is_refused_for_another_model() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("adapter.safetensors");
        let mut model = toy();
        let learned = learned(&model);
        let adapter = model.adapter(&learned, &origin("d1")).unwrap();
        pipeline::Artifact::write(&adapter, &path).unwrap();
        let read: Adapter = pipeline::Artifact::read(&path).unwrap();
        assert_eq!((&read, read.digest()), (&adapter, adapter.digest()));
        let error = model.adapt(&read, "d2").unwrap_err().to_string();
        assert!(
            error.contains("trained for the model toy") && error.contains("d1") && error.contains("help:"),
            "{error}"
        );
        model.adapt(&read, "d1").unwrap();
        assert_eq!(model.decoder.adaptation.as_ref(), Some(&learned));
        let mut other = read.clone();
        other.0.arrays.insert("blk.7.attn_q.a".to_owned(), Array::new(&[4, 32], vec![0.0; 128]));
        assert!(model.adapt(&other, "d1").unwrap_err().to_string().contains("`blk.7.attn_q.a` of shape [4, 32]"));
        other.0.arrays.insert("virtual_tokens".to_owned(), Array::new(&[1, 5], vec![0.0; 5]));
        assert_ne!(other.digest(), adapter.digest());
    }
}
